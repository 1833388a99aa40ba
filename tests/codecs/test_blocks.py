"""A delta's blocks of 20 ms, loud or quiet: A1 to A7 of the reference, and how a delta is taken apart."""

from __future__ import annotations

import random
from base64 import b64decode, b64encode
from itertools import pairwise

import pytest

from bridge.codecs.blocks import marked, marked_bytes, marks, runs
from bridge.codecs.g711 import pcmu_to_pcm

BLOCKS = {
    "A1 digital silence": (b"\xff" * 160, False),
    "A1 the other zero": (b"\x7f" * 160, False),
    "A2 8 of 32,768, which is -73 dBFS": (b"\xfe\x7e" * 80, False),
    "A3 120, which is -49 dBFS": (b"\xf0\x70" * 80, True),
    "A4 372, which is -39 dBFS": (b"\xe0\x60" * 80, True),
    "A5 a click": (b"\x80" + b"\xff" * 159, False),
    "A6 a constant": (b"\x90" * 160, True),
    "A7 8 samples at -39 dBFS": (b"\xe0\x60" * 4 + b"\xff" * 152, True),
    "3 of them": (b"\xe0\x60\xe0" + b"\xff" * 157, False),
}


def text(sound: bytes) -> str:
    return b64encode(sound).decode()


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block(name: str) -> None:
    block, loud = BLOCKS[name]
    assert runs(text(block)) == [(text(block), 160, loud)]


def test_the_border_is_at_minus_55_dbfs() -> None:
    for byte in range(256):
        sample = int.from_bytes(pcmu_to_pcm(bytes([byte])), "little", signed=True)
        [(_, _, loud)] = runs(text(bytes([byte]) * 160))
        assert loud is (abs(sample) >= 58)


def test_neighbours_of_a_kind_stay_together_and_nothing_is_lost() -> None:
    rng = random.Random(3)
    for _ in range(200):
        kinds = [rng.random() < 0.5 for _ in range(rng.randrange(1, 12))]
        sound = b"".join((b"\x10\x90" if loud else b"\xff\x7f") * 80 for loud in kinds)
        sound = sound[: len(sound) - rng.randrange(150)]
        parts = runs(text(sound))
        assert b"".join(b64decode(audio) for audio, _, _ in parts) == sound
        assert [size_bytes for _, size_bytes, _ in parts] == [len(b64decode(audio)) for audio, _, _ in parts]
        assert all(one[2] is not other[2] for one, other in pairwise(parts))
        marked = [loud for _, size_bytes, loud in parts for _ in range(-(-size_bytes // 160))]
        assert marked == kinds


@pytest.mark.parametrize("size_bytes", [1, 2, 3, 160, 799, 800, 801])
def test_digital_silence_is_passed_on_as_it_came(size_bytes: int) -> None:
    silence = text(b"\xff" * size_bytes)
    assert runs(silence) == [(silence, size_bytes, False)]


def test_an_end_that_is_not_silence_is_seen() -> None:
    for tail in (b"\x00", b"\x00\x00"):
        sound = b"\xff" * 798 + tail * 4
        assert sum(size_bytes for _, size_bytes, _ in runs(text(sound))) == len(sound)
    assert runs(text(b"\xff" * 160 + b"\x00\x80" * 80)) == [
        (text(b"\xff" * 160), 160, False),
        (text(b"\x00\x80" * 80), 160, True),
    ]


def test_what_is_no_base64_is_refused_and_nothing_is_nothing() -> None:
    assert runs("") == []
    for wrong in ("AAA", "é" * 8, "////é===", "AA AA"):
        with pytest.raises(ValueError, match=r"base64|ASCII|padding|Excess|Incorrect|Only"):
            runs(wrong)


def test_marks_stand_for_sound_with_the_same_runs() -> None:
    rng = random.Random(4)
    kinds = (b"\xff\x7f", b"\x10\x90", b"\xf0\x70")
    for _ in range(200):
        sound = b"".join(rng.choice(kinds) * 80 for _ in range(rng.randrange(1, 8)))
        sound = sound[: len(sound) - rng.randrange(150)]
        told = marks(text(sound))
        again = marked(told)
        assert marks(again) == told
        assert marked_bytes(told) == len(b64decode(again)) == len(sound)
        assert [part[1:] for part in runs(again)] == [part[1:] for part in runs(text(sound))]
    assert marks("") == ""
    assert marks(text(b"\xff" * 320 + b"\x10\x90" * 240)) == "320.480!"
