"""Forty people and more. None of them is played the message, none is hung up on, and each is greeted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from bridge import sounds
from bridge.core import messages as m
from tests.codecs.lines import dog, louder, mixed, music, noise

from .callees import Callee, beep, placed, said, silence

HELLO = said(600)


@dataclass(frozen=True)
class Person:
    """`says`: at which time which sound, and its words. `verdicts`: what the carrier says, and when."""

    says: tuple[tuple[int, bytes, str], ...]
    verdicts: tuple[tuple[int, str], ...] = ()
    transcribed: bool = True
    greeted_by_ms: int = 9_000
    answers: tuple[str, ...] = field(default=("Is this a good time?", "It is about your order. It is ready."))


def person(*says: tuple[int, bytes, str], **how: object) -> Person:
    return Person(says, **how)  # type: ignore[arg-type]


def child(sound: bytes) -> bytes:
    """A voice an octave higher and twice as fast."""
    return sound[::2]


def echoed(sound: bytes, db: float) -> bytes:
    return louder(sound, db)


def foreign(language: str) -> bytes:
    return sounds.load("still_there", language)


WORK = "Miller and Sons, good morning, this is Anna speaking, how can I help you today?"
REACHED = "You have reached Miller and Sons, this is Anna speaking."
FOREIGN = {
    "de": "Müller, guten Tag, was kann ich für Sie tun?",
    "es": "¿Diga? ¿Quién es?",
    "fr": "Allô, oui, bonjour ?",
    "it": "Pronto, chi parla?",
    "ja": "もしもし",
    "nl": "Met Jansen, waarmee kan ik u helpen?",
    "pl": "Halo, słucham?",
    "pt": "Alô, quem fala?",
    "zh": "喂，您好",
}
LATER = (16_000, said(800, 5.0), "Yes, go on.")
PEOPLE: dict[str, Person] = {
    "hello": person((300, HELLO, "Hello?")),
    "no transcript": person((300, HELLO, ""), transcribed=False),
    "hello, and hello again": person(
        (300, HELLO, "Hello?"), (1_900, HELLO, "Hello?"), (6_000, HELLO, "What?")
    ),
    "after three seconds": person((3_000, HELLO, "Hello?")),
    "after eight seconds": person((8_000, HELLO, "Hello?")),
    "never": person(),
    "a cough, then hello": person((300, noise(0.12, -20), ""), (1_500, HELLO, "Hello?")),
    "a sentence": person((300, said(2_200), "Hello, this is Bob Baker here.")),
    "at work": person((300, said(4_500), WORK)),
    "at work, and a wrong verdict": person(
        (300, said(4_500), WORK), verdicts=((5_400, "machine_end_silence"),)
    ),
    "at work, and a wrong verdict before": person(
        (300, said(4_500), WORK), verdicts=((3_900, "machine_start"),)
    ),
    "who has been reached": person((300, said(3_800), REACHED), verdicts=((4_600, "machine_end_other"),)),
    "at work, nothing transcribed": person((300, said(5_500), ""), transcribed=False),
    "at work, hello again": person((300, said(5_500), ""), (8_400, HELLO, "Hello?"), transcribed=False),
    "a long greeting, and a wrong verdict": person(
        (300, said(6_500), ""),
        (9_500, HELLO, "Hello?"),
        verdicts=((7_300, "machine_end_other"),),
        greeted_by_ms=11_000,
    ),
    "for somebody else": person((300, said(4_000), "Sorry, she is not available. Can I take a message?")),
    "would you like to leave one": person(
        (300, said(3_500), "He is out. Would you like to leave a message?")
    ),
    "can't come to the phone": person(
        (300, said(3_600), "My mother can't come to the phone right now. Who is calling?")
    ),
    "in German, would you like to leave one": person(
        (300, said(3_200), "Er ist nicht da. Möchten Sie eine Nachricht hinterlassen?")
    ),
    "in French, the same, and a wrong verdict": person(
        (300, said(2_200), "Voulez-vous laisser un message ?"), verdicts=((3_600, "machine_start"),)
    ),
    "leave one with me": person((300, said(4_200), "The doctor is out, you can leave a message with me.")),
    "got your voicemail": person((300, said(3_200), "Yes, hello, I got your voicemail yesterday.")),
    "a wrong verdict of a tone that nobody hears": person(
        (300, HELLO, "Hello?"), LATER, verdicts=((3_000, "machine_end_beep"),)
    ),
    "nothing, and a tone that nobody hears": person(
        LATER, verdicts=((6_000, "machine_end_beep"),), greeted_by_ms=20_000
    ),
    "it rings on": person(
        *[(300 + 5_000 * n, beep(1_000, 425, -20), "") for n in range(3)],
        (16_000, HELLO, "Hello?"),
        greeted_by_ms=19_000,
    ),
    "is this a machine, and a wrong verdict": person(
        (300, said(1_500), "Hello? Is this an answering machine?"), verdicts=((2_500, "machine_end_other"),)
    ),
    **{f"in {language}": person((300, foreign(language), words)) for language, words in FOREIGN.items()},
    "a child": person((300, child(said(1_800)), "Mummy, there is somebody on the phone!"), LATER),
    "a child who sings": person((300, child(said(5_000)), "la la la"), (7_000, HELLO, "Hello? Who is this?")),
    "pauses": person(
        (300, said(500), "Hello"), (1_500, said(700, 3.0), "this is"), (2_900, said(900, 6.0), "Anna.")
    ),
    "hold music": person((300, music(20), ""), (21_500, HELLO, "Hello?"), greeted_by_ms=25_000),
    "hold music, and a wrong verdict": person(
        (300, music(12), ""),
        (13_500, HELLO, "Hello?"),
        verdicts=((9_000, "machine_end_other"),),
        greeted_by_ms=17_000,
    ),
    "music with pure tones": person(
        (300, b"".join(beep(400, hz, -20) for hz in (523, 659, 784, 659, 523, 392)) + music(3), ""),
        (7_500, HELLO, "Hello?"),
        greeted_by_ms=12_000,
    ),
    "a microwave behind them": person((300, HELLO, "Hello?"), (6_500, beep(900, 2_000, -30), ""), LATER),
    "another call comes in": person((300, HELLO, "Hello?"), (2_600, beep(300, 440, -20), ""), LATER),
    "keys are pressed": person(
        (300, HELLO, "Hello?"), (2_700, mixed(beep(200, 697, -15), beep(200, 1_209, -15)), ""), LATER
    ),
    "an echo of us": person((300, HELLO, "Hello?"), (1_800, echoed(said(2_400, 9.0), -34), "")),
    "a street": person((0, mixed(silence(900) + HELLO + silence(9_000), noise(12, -38)), "Hello?")),
    "a dog": person((100, dog(3.0), ""), (3_600, HELLO, "Hello?")),
    "a dog, and hello in between": person((100, mixed(dog(5.0), silence(1_200) + HELLO), "Hello?")),
    "a wrong verdict of a fax": person((300, HELLO, "Hello?"), verdicts=((3_000, "fax"),)),
    "a wrong verdict at once": person((300, HELLO, "Hello?"), verdicts=((700, "machine_start"),)),
    "a wrong verdict of a tone": person((300, HELLO, "Hello?"), verdicts=((3_000, "machine_end_silence"),)),
    "unknown": person((300, HELLO, "Hello?"), verdicts=((4_000, "unknown"),)),
    "a story as the second turn": person(
        (300, HELLO, "Hello?"), (6_200, said(9_000), "Well, it is like this.")
    ),
    "a receptionist": person(
        (300, said(3_000), "Thank you for calling Miller and Sons. Please hold."),
        (9_000, said(900, 4.0), "Anna speaking."),
        greeted_by_ms=14_000,
    ),
}
OFTEN = ("at work, and a wrong verdict", "in German, would you like to leave one")
EACH = [pytest.param(name, marks=() if name in OFTEN else pytest.mark.hostile) for name in PEOPLE]


def answered(one: Person, **rules: Any) -> Callee:
    session = m.SessionConfig(transcription="gpt-4o-mini-transcribe" if one.transcribed else None)
    callee = placed(recorded=True, how={"session": session}, **rules)
    for answer in one.answers:
        callee.call.model.answers(answer)
    for at_ms, sound, words in one.says:
        callee.says(at_ms, sound, words)
    for at_ms, verdict in one.verdicts:
        callee.verdict(at_ms, verdict)
    return callee


@pytest.mark.parametrize("name", EACH)
def test_nobody_is_played_the_message(name: str) -> None:
    one = PEOPLE[name]
    callee = answered(one).until(30_000)
    assert callee.left == []
    assert [heard for _, heard in callee.told(m.Heard) if heard.say_id == "voicemail"] == []
    assert callee.ended is None
    greeted = [at_ms for at_ms, one in callee.told(m.CreateResponse) if one.tag == "greeting"]
    assert greeted, callee.kinds
    assert greeted[0] <= one.greeted_by_ms


@pytest.mark.hostile
@pytest.mark.parametrize("name", PEOPLE)
def test_nobody_is_hung_up_on(name: str) -> None:
    callee = answered(PEOPLE[name], on_machine="hang_up").until(30_000)
    assert callee.ended is None


def test_words_before_a_tone_that_was_no_mailbox_s_stop_the_message() -> None:
    one = person((300, HELLO, "Hello?"), (1_200, beep(250, 1_000, -25), ""))
    callee = answered(one).until(15_000)
    assert callee.kinds == ["voicemail", "human"]
    assert [left.whole for left in callee.left] == [False]
    assert callee.left[0].heard_ms <= 500
    assert callee.ended is None
    assert "interrupted" in callee.asked
