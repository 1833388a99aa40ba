"""A mailbox's tone: found at every pitch, length and level that there is, and in nothing else."""

from __future__ import annotations

import pytest

from bridge import sounds
from bridge.codecs.single_tone import Tone, ToneDetector
from bridge.doubles.people.words import spoken
from bridge.doubles.tones import tone
from tests.codecs.lines import mixed, music, noise, voice

SILENCE = b"\xff" * 4_000


def found(sound: bytes) -> list[tuple[int, Tone]]:
    """What was told, and after how much of the sound, in ms."""
    detector, told = ToneDetector(), []
    for at in range(0, len(sound) - 159, 160):
        tone_ = detector.update(sound[at : at + 160])
        if tone_ is not None:
            told.append((at // 8 + 20, tone_))
    return told


def beeps(sound: bytes) -> list[Tone]:
    return [one for _, one in found(sound) if one.over and one.quiet_ms]


@pytest.mark.parametrize("hz", [350, 425, 1_000, 2_600])
@pytest.mark.parametrize("ms", [120, 400, 1_500])
def test_a_beep_is_told_when_it_begins_and_when_silence_follows_it(hz: int, ms: int) -> None:
    for offset in (0, 37, 120):
        line = mixed(b"\xff" * (800 + offset) + tone(ms, hz, -30) + SILENCE, noise(4, -60))
        (begun_ms, begun), (over_ms, over) = found(line)
        assert begun_ms <= 100 + offset / 8 + 105
        assert not begun.over
        assert (over.over, over.quiet_ms) == (True, 200)
        assert abs(over.hz - hz) <= 0.03 * hz
        assert abs(over.duration_ms - ms) <= 20
        assert abs(over_ms - 200 - (100 + offset / 8 + ms)) <= 25


def test_a_tone_that_something_else_follows_is_over_without_silence() -> None:
    [(_, begun), (_, over)] = found(tone(400, 800) + voice(2.0))
    assert not begun.over
    assert (over.over, over.quiet_ms) == (True, 0)


def test_two_keys_of_a_phone_a_chord_and_hiss_are_none() -> None:
    keys = mixed(tone(300, 697), tone(300, 1_209))
    assert found(keys + SILENCE + music(4.0) + SILENCE + noise(2, -30) + SILENCE) == []


@pytest.mark.hostile
@pytest.mark.parametrize("language", sounds.LANGUAGES)
def test_no_voice_is_one(language: str) -> None:
    for name in sounds.phrase_names(language):
        assert beeps(sounds.load(name, language) + SILENCE) == [], name


@pytest.mark.parametrize("words", ["Is that all", "I see", "Miss", "Too", "Will you please leave a message"])
def test_two_notes_of_one_pitch_are_none(words: str) -> None:
    """Simulated people speak in short notes, one a letter."""
    assert beeps(spoken(words) + SILENCE) == []
