"""Who is at the far end of a call: scripts that hear, say and press, exactly to the frame."""

from __future__ import annotations

import pytest

from bridge.codecs.caption import caption_of
from bridge.codecs.dtmf import KEYS, dialled, key_tone
from bridge.codecs.g711 import pcm_to_pcmu
from bridge.codecs.level import level_dbfs
from bridge.doubles.people import scripts
from bridge.doubles.people.detection import DetectionOptions, Detector
from bridge.doubles.people.mixing import mixed
from bridge.doubles.people.person import HangUp, Listen, Person, Press, Say, Script, Wait
from bridge.doubles.people.words import spoken
from bridge.doubles.tones import tone

SILENT_MS = b"\xff" * 8


def silence(ms: int) -> bytes:
    return SILENT_MS * ms


def whole(sound: bytes) -> bytes:
    """In whole frames."""
    return sound + b"\xff" * (-len(sound) % 160)


def test_as_much_comes_out_as_goes_in() -> None:
    person = Person(scripts.human(spoken("Hello?")))
    said = person.exchange(silence(2_000))
    assert len(said) == 16_000
    assert said.startswith(silence(300) + spoken("Hello?"))
    assert person.said == said
    with pytest.raises(ValueError, match="no whole number"):
        person.exchange(b"\xff" * 161)


def test_a_script_waits_for_what_it_hears_and_not_for_a_clock() -> None:
    def script() -> Script:
        heard = yield Listen(quiet_ms=400)
        assert heard
        yield Say(spoken("Yes."))
        yield Press("5")
        assert not (yield Listen(timeout_ms=1_000))
        yield HangUp()

    person = Person(script())
    person.exchange(silence(3_000))
    assert bytes(person.said).strip(b"\xff") == b"", "nothing was asked"
    person.exchange(whole(spoken("Are you there?")) + silence(400))
    answer = person.exchange(silence(2_000))
    assert caption_of(answer) == "Yes."
    assert [key for _, key in person.pressed] == ["5"]
    assert person.left


def test_who_converses_lets_a_long_answer_end() -> None:
    """As long as there is sound they neither speak nor hang up; without any they do."""
    person = Person(scripts.converses(spoken("Hello?"), [spoken("Yes.")], tail_ms=4_000))
    person.exchange(silence(1_500))
    for _ in range(2):
        before = len(person.said)
        person.exchange(whole(tone(12_000, 440)))
        assert bytes(person.said[before:]).strip(b"\xff") == b""
        assert not person.left
        person.exchange(silence(1_600))
    assert caption_of(bytes(person.said)) == "Hello? Yes."
    person.exchange(silence(4_000))
    assert person.left


def test_keys_are_heard_in_the_sound_and_speech_is_none() -> None:
    person = Person()
    person.exchange(whole(dialled(f"{KEYS}w55")))
    assert person.decoded == f"{KEYS}55"
    person.exchange(whole(spoken("The quick brown fox jumps over the lazy dog, and back again.")))
    person.exchange(whole(tone(400, 1_000)) + whole(tone(400, 700)))
    assert person.decoded == f"{KEYS}55"
    with pytest.raises(ValueError, match="no key"):
        key_tone("x")


def test_a_pressed_key_is_a_tone_for_whoever_listens() -> None:
    ivr, person = Person(scripts.ivr(spoken("Press 2."), {"2": spoken("Two it is.")})), Person()
    frame = silence(20)
    for _ in range(300):
        frame = person.exchange(ivr.exchange(frame))
        if person.now_ms == 700:
            person.press("2")
    assert (caption_of(bytes(person.heard)) or "").endswith("Two it is.")


def test_a_mailbox_records_from_the_end_of_the_beep() -> None:
    person = Person(scripts.voicemail(spoken("Not here."), beep_hz=900, beep_ms=300, quiet_ms=2_000))
    greeting = person.exchange(silence(200 + 9 * 60 + 300 + 300))
    assert level_dbfs(greeting[-200 * 8 : -50 * 8]) > -25, "the beep"
    person.exchange(whole(spoken("Call me.")))
    assert caption_of(bytes(person.mailbox)) == "Call me."
    assert person.recorded_at_ms == 1_340
    person.exchange(silence(2_100))
    assert person.left, "nothing more was said"


def test_a_screened_call_is_taken_or_refused() -> None:
    for hello, end in ((spoken("Hello, who is there?"), False), (None, True)):
        person = Person(scripts.screening(spoken("Your name?"), hello, reads_ms=5_000, refusal=spoken("No.")))
        person.exchange(silence(1_000))
        person.exchange(whole(spoken("It is the clinic.")))
        said = person.exchange(silence(9_000))
        assert caption_of(said) == ("No." if end else "Hello, who is there?")
        assert said.startswith(silence(5_000)), "they read first"
        assert person.left is end


def test_voices_are_added_and_never_wrap_around() -> None:
    loud = pcm_to_pcmu(b"\x00\x70" * 160)
    assert mixed([]) == mixed([b"\xff" * 160]) == b"\xff" * 160
    assert mixed([loud, b"\xff" * 160]) == loud, "one voice is that voice"
    assert set(mixed([loud, loud])) == {0x80}, "full scale, of the same sign"
    assert mixed([loud, pcm_to_pcmu(b"\x00\x90" * 160)]) == b"\xff" * 160


def verdict(sound: bytes, **options: int | bool) -> tuple[str | None, int]:
    detector = Detector(DetectionOptions(**options))  # type: ignore[arg-type]
    for at in range(0, len(sound) - 159, 160):
        detector.hear(sound[at : at + 160])
    return detector.verdict, detector.at_ms


LONG = spoken("You have reached the office, and all of us are busy with other calls just now.")


@pytest.mark.parametrize(
    ("sound", "options", "answer", "at_ms"),
    [
        (silence(300) + spoken("Hello?") + silence(2_000), {}, "human", 1_800),
        (whole(LONG) + silence(300) + tone(400, 1_000) + silence(500), {}, "machine_end_beep", 5_560),
        (whole(LONG) + silence(3_000), {}, "machine_end_silence", 5_860),
        (whole(LONG) + silence(3_000), {"waits_for_end": False}, "machine_start", 2_940),
        (silence(6_000), {}, "unknown", 5_000),
        (LONG * 9, {}, "unknown", 30_000),
    ],
)
def test_machine_detection_judges_by_length_silence_and_tone(
    sound: bytes, options: dict[str, int | bool], answer: str, at_ms: int
) -> None:
    told, told_ms = verdict(sound, **options)
    assert told == answer
    assert abs(told_ms - at_ms) <= 120


def test_a_person_in_no_hurry() -> None:
    def script() -> Script:
        yield Wait(1_000)
        yield Say(tone(100))

    person = Person(script())
    assert person.exchange(silence(1_000)).strip(b"\xff") == b""
    assert person.exchange(silence(100)) == tone(100)
