"""Words that travel in the sound: exact, inaudible, and never found where there are none."""

from __future__ import annotations

import random

import pytest

from bridge.codecs.caption import MOST_BYTES, caption_of, captioned
from bridge.codecs.level import level_dbfs
from bridge.doubles.tones import tone
from bridge.sounds import load_demo

VOICE = tone(2_000, 300)


@pytest.mark.parametrize("words", ["yes", "Book a table, for two: 19:30!", "für zwei – 二人", "", "x" * 180])
def test_words_are_read_from_any_part_that_holds_them_once(words: str) -> None:
    sound = captioned(VOICE, words)
    assert len(sound) == len(VOICE)
    assert caption_of(sound) == words
    assert caption_of(b"\xff" * 2_400 + sound[777:] + b"\xff" * 4_000) == words


def test_several_captions_are_read_in_their_order() -> None:
    sounds = [captioned(VOICE, "book a table"), VOICE, captioned(VOICE, "on friday")]
    assert caption_of(b"".join(sounds)) == "book a table on friday"


def test_sound_without_words_has_none() -> None:
    noise = random.Random(1).randbytes(80_000)
    for sound in (VOICE, b"", b"\xff" * 8_000, load_demo("caller"), noise):
        assert caption_of(sound) is None


def test_damaged_words_are_none() -> None:
    short = captioned(tone(60), "yes")[:112]
    assert caption_of(short) == "yes"
    assert caption_of(short[:111]) is None
    assert caption_of(bytes([*short[:100], short[100] ^ 1, *short[101:]])) is None


def test_nobody_hears_it() -> None:
    sound = captioned(VOICE, "book a table")
    assert max(abs(a - b) for a, b in zip(sound, VOICE, strict=True)) == 1
    assert abs(level_dbfs(sound) - level_dbfs(VOICE)) <= 1


def test_words_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="these words need"):
        captioned(b"\xff" * 80, "a long sentence")
    with pytest.raises(ValueError, match="at most"):
        captioned(VOICE, "x" * (MOST_BYTES + 1))
