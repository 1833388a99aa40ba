"""What can be heard of the model's sound: by a table, at -45 dBFS, 8 samples in 20 ms."""

from __future__ import annotations

import random
import struct
from base64 import b64encode

import pytest

from bridge.codecs.audible import is_audible, is_audible_block
from bridge.codecs.g711 import pcmu_to_pcm

SILENT = 0xFF
BLOCKS = {
    "digital silence": (b"\xff" * 160, False),
    "digital silence, the other zero": (b"\x7f" * 160, False),
    "8 of 32,768, which is -73 dBFS": (b"\xfe\x7e" * 80, False),
    "120, which is -49 dBFS": (b"\xf0\x70" * 80, False),
    "372, which is -39 dBFS": (b"\xe0\x60" * 80, True),
    "a click": (b"\x80" + b"\xff" * 159, False),
    "8 samples at -39 dBFS": (b"\xe0\x60" * 4 + b"\xff" * 152, True),
    "7 of them": (b"\xe0\x60" * 3 + b"\xe0" + b"\xff" * 153, False),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_is_audible_by_its_loud_samples(name: str) -> None:
    block, audible = BLOCKS[name]
    assert is_audible_block(block) is audible
    assert is_audible(b64encode(block).decode()) is audible


@pytest.mark.parametrize("before", [0, 160, 8_000, 80_000])
def test_one_audible_block_makes_a_delta_audible_wherever_it_stands(before: int) -> None:
    quiet = bytes(random.Random(1).choices((0xFE, 0x7E, 0xFD, 0x7D), k=before))
    assert not is_audible(b64encode(quiet).decode())
    assert is_audible(b64encode(quiet + b"\x90\x10" * 80 + quiet).decode())


def test_clicks_all_over_are_no_sound() -> None:
    assert not is_audible(b64encode((b"\x80" + b"\xff" * 159) * 50).decode())


def test_the_glance_and_the_whole_agree() -> None:
    rng = random.Random(7)
    for _ in range(300):
        share = rng.choice((0.0, 0.02, 0.05, 0.2, 0.9))
        sound = bytes(
            rng.randrange(256) if rng.random() < share else SILENT for _ in range(rng.randrange(160, 3_000))
        )
        blocks = [sound[at : at + 160] for at in range(0, len(sound), 160)]
        above = [sum(abs(sample) >= 184 for sample in samples(block)) for block in blocks]
        assert is_audible(b64encode(sound).decode()) is any(count >= 8 for count in above)


def samples(block: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(block)}h", pcmu_to_pcm(block))


def test_what_is_no_base64_is_no_sound() -> None:
    assert not is_audible("AAA")
    assert not is_audible("")
    assert not is_audible("é" * 8)
