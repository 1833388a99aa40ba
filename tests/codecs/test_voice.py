"""What our own ear makes of a caller's line: loud or quiet above its noise, and sound that is no voice's."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable

import pytest

from bridge.codecs.voice import GLANCE, VoiceDetector
from tests.codecs.lines import dog, frames, louder, mixed, music, noise, voice

HISS = noise(10, -60)


def heard(sound: bytes, before: bytes = HISS) -> list[tuple[bool, bool]]:
    """`loud` and `steady` at each glance of `sound`, on a line that has been heard `before`."""
    ear, found = VoiceDetector(), []
    for frame in frames(before, GLANCE):
        ear.update(b64encode(frame).decode())
    for frame in frames(sound, GLANCE):
        ear.update(b64encode(frame).decode())
        found.append((ear.loud, ear.steady))
    return found


def share_loud(sound: bytes, before: bytes = HISS) -> float:
    found = heard(sound, before)
    return sum(loud for loud, _ in found) / len(found)


def steady_s(sound: bytes, before: bytes = HISS) -> float | None:
    """When the sound is first known to be steady, None if never."""
    states = [steady for _, steady in heard(sound, before)]
    return states.index(True) * GLANCE / 50 if True in states else None


QUIET: dict[str, bytes] = {
    "digital silence": b"\xff" * 80_000,
    "the other zero": b"\x7f" * 80_000,
    "comfort noise": noise(10, -62),
    "a hiss of 5 dB more": noise(10, -55),
    "sound that comes and goes (DTX)": (noise(0.4, -65) + b"\xff" * 4_000) * 10,
}


@pytest.mark.parametrize("sound", QUIET)
def test_quiet_lines(sound: str) -> None:
    assert share_loud(QUIET[sound]) == 0


@pytest.mark.parametrize("dbfs", [-56, -48, -42, -36])
def test_a_noise_that_was_always_there_is_quiet_and_a_voice_above_it_loud(dbfs: float) -> None:
    """A street, a fan, a car."""
    street = noise(10, dbfs)
    assert share_loud(street, street) < 0.01
    assert share_loud(mixed(voice(20), noise(20, dbfs)), street) > 0.5


@pytest.mark.parametrize("dbfs", [-46, -40])
def test_a_noise_that_stays_becomes_quiet(dbfs: float) -> None:
    found = heard(noise(50, dbfs))
    assert all(loud for loud, _ in found[:20])
    assert not any(loud for loud, _ in found[-20:])


def test_after_it_a_quiet_line_is_learnt_again_at_once() -> None:
    found = heard(voice(3), noise(20, -36) + noise(2, -60))
    assert sum(loud for loud, _ in found) > len(found) // 2


def test_the_threshold_is_6_db_above_the_noise() -> None:
    street = noise(10, -42)
    assert share_loud(noise(2, -37.5), street) < 0.05
    assert share_loud(noise(2, -34.5), street) > 0.95


def test_what_is_lost_on_the_way_is_no_new_floor() -> None:
    """Some zeros where packets were lost, in the noise of a street."""
    street = bytearray(noise(10, -38))
    for at in range(8_000, 80_000, 16_000):
        street[at : at + 640] = b"\xff" * 640
    assert share_loud(bytes(street), noise(10, -38)) < 0.05


VOICES: dict[str, Callable[[], bytes]] = {
    "80 s without a stop": lambda: voice(80),
    "soft": lambda: louder(voice(40), -18),
    "a television": lambda: mixed(louder(voice(40), -14), music(40, -50)),
    "a dog": lambda: dog(40),
    "a voice in noise": lambda: mixed(voice(40), noise(40, -40)),
}


@pytest.mark.parametrize("sound", VOICES)
def test_a_voice_is_never_steady(sound: str) -> None:
    assert steady_s(VOICES[sound]()) is None
    assert 0.3 < share_loud(VOICES[sound]()) < 0.98


STEADY: dict[str, Callable[[], bytes]] = {
    "music": lambda: music(30),
    "soft music": lambda: music(30, -30),
    "a tone": lambda: b"\x10\x90" * 120_000,
    "a loud hum": lambda: noise(30, -25),
}


@pytest.mark.parametrize("sound", STEADY)
def test_sound_without_the_pauses_of_a_voice_is_steady_after_ten_seconds(sound: str) -> None:
    at_s = steady_s(STEADY[sound]())
    assert at_s is not None
    assert 8 < at_s < 20


def test_it_is_over_with_the_sound() -> None:
    assert heard(music(25) + HISS)[-1] == (False, False)


@pytest.mark.parametrize("audio", ["AAA", "µ-law", "AA=A", "A A=", "\x00" * 8])
def test_what_is_not_base64_is_known_and_changes_nothing(audio: str) -> None:
    ear = VoiceDetector()
    assert ear.update(audio) is None
    assert ear.judge(audio) is None
    assert (ear.loud, ear.steady) == (False, False)


def test_between_two_glances_only_loudness_is_judged() -> None:
    ear = VoiceDetector()
    loud, soft = (b64encode(sample * 160).decode() for sample in (b"\x10", b"\xff"))
    assert ear.update(soft) is False
    assert ear.judge(loud) is True
    assert ear.judge(loud) is False
    assert ear.judge(soft) is True
