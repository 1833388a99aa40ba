"""Blocks of 20 ms, how loud they are and whether they can be heard: the vectors of the rule."""

from __future__ import annotations

import pytest

from bridge.codecs.audible import is_audible_block
from bridge.codecs.level import level_dbfs
from bridge.doubles.tones import murmur, tone

BLOCK = 160


@pytest.mark.parametrize(
    ("block", "dbfs", "audible"),
    [
        (b"\xff" * BLOCK, -96, False),
        (b"\x7f" * BLOCK, -96, False),
        (b"\xfe\x7e" * 80, -73, False),
        (b"\xf0\x70" * 80, -49, False),
        (b"\xe0\x60" * 80, -39, True),
        (b"\x80" + b"\xff" * 159, -23, False),
        (b"\x90" * BLOCK, -7, False),
        (b"\x10" * BLOCK, -7, False),
        (b"\xe0\x60" * 4 + b"\xff" * 152, -52, True),
        (b"\xe0" * 7 + b"\x60" + b"\xff" * 152, -52, False),
        (b"\xe0" * 6 + b"\x60" * 2 + b"\xff" * 152, -52, True),
        (b"\xe0\x60" * 3 + b"\xff" * 154, -54, False),
        (b"", -96, False),
    ],
    ids=[
        "A1 silence", "A1 negative silence", "A2 faint", "A3 quiet", "A4 audible", "A5 click",
        "A6 constant", "A6 the other sign", "A7 eight samples", "one of a sign", "two of a sign",
        "six samples", "nothing",
    ],
)  # fmt: skip
def test_a_block(block: bytes, dbfs: int, audible: bool) -> None:
    assert level_dbfs(block) == dbfs
    assert is_audible_block(block) is audible


@pytest.mark.parametrize("sound", [tone(200), tone(200, 100), tone(200, 3_000), murmur("Hello")])
def test_what_stands_for_a_voice_can_be_heard(sound: bytes) -> None:
    blocks = [sound[at : at + BLOCK] for at in range(0, len(sound), BLOCK)]
    assert all(map(is_audible_block, blocks))
