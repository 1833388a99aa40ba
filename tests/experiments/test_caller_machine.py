"""A simulated caller as a pure machine: sound and time in, acts out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bridge.doubles.people.caller import (
    Act,
    CallerMachine,
    Habits,
    HangUp,
    Interjection,
    Keys,
    Manner,
    Press,
    Say,
    Silence,
    Think,
)
from bridge.doubles.people.caption_ear import CaptionEar
from bridge.doubles.people.words import spoken
from bridge.doubles.tones import tone

BLOCK = 160
QUIET = b"\xff" * BLOCK
NO_SOUND = b""


def never() -> float:
    raise AssertionError("no chance is asked for")


class Phone:
    """Plays sound to a caller, 20 ms at a time, and speaks for them."""

    def __init__(self, caller: CallerMachine, talk_ms: int = 1_000) -> None:
        self.caller = caller
        self.now_ms = 0
        self.acts: list[tuple[int, Act]] = []
        self._talk_ms = talk_ms
        self._talks_until_ms = 0

    def plays(self, sound: bytes = b"", ms: int = 0) -> Phone:
        whole = sound + b"\xff" * (ms * 8)
        for at in range(0, len(whole), BLOCK):
            self.now_ms += 20
            speaking = self.now_ms < self._talks_until_ms
            for act in self.caller.hear(whole[at : at + BLOCK], self.now_ms, speaking=speaking):
                self.acts.append((self.now_ms, act))
                if isinstance(act, Say):
                    self._talks_until_ms = self.now_ms + self._talk_ms
        return self

    def done(self) -> list[Act]:
        return [act for _, act in self.acts]


def caller(*lines: str, ear: bool = False, chance: Callable[[], float] = never, **habits: object) -> Phone:
    given = Habits(**habits)  # type: ignore[arg-type]
    return Phone(CallerMachine(list(lines), given, chance, ear=CaptionEar() if ear else None))


def test_a_caller_answers_when_the_other_side_has_finished_and_hangs_up_when_nothing_is_left():
    phone = (
        caller("One.", "Two.")
        .plays(tone(1_000), ms=2_000)
        .plays(tone(500), ms=2_000)
        .plays(tone(500), ms=3_000)
    )
    assert phone.done()[:2] == [Say("One."), Say("Two.")]
    assert isinstance(phone.done()[2], HangUp)
    first_ms = phone.acts[0][0]
    assert 1_700 <= first_ms <= 1_720
    assert phone.caller.unanswered == []


def test_a_pause_within_a_turn_is_no_end():
    phone = caller("One.").plays(tone(500), ms=600).plays(tone(500), ms=600)
    assert phone.done() == []


def test_without_a_greeting_the_caller_speaks_first_and_that_is_no_fault():
    phone = caller("One.").plays(ms=5_000)
    assert phone.acts == [(4_020, Say("One."))]
    assert phone.caller.unanswered == []


def test_without_an_answer_the_caller_goes_on_and_that_is_noted():
    phone = caller("One.", "Two.").plays(tone(500), ms=1_000).plays(ms=10_000)
    assert phone.done()[:2] == [Say("One."), Say("Two.")]
    assert len(phone.caller.unanswered) == 1


@pytest.mark.parametrize("at_ms", [20, 700, 1_500])
def test_an_interruption_falls_at_the_ms_that_was_heard(at_ms: int):
    phone = caller("One.", interrupts=Interjection(at_ms=at_ms)).plays(tone(3_000))
    assert phone.acts == [(at_ms, Say("One.", Manner.INTERRUPTION))]


def test_gaps_in_what_is_played_are_not_heard():
    phone = caller("One.", interrupts=Interjection(at_ms=800)).plays(tone(500), ms=400).plays(tone(1_000))
    assert phone.acts[0][0] == 500 + 400 + 300


WORDS = "Hello, this is the bakery, what can I do for you?"


@pytest.mark.parametrize("word", [1, 4, 9])
def test_an_interruption_falls_at_the_word_that_was_heard(word: int):
    phone = caller("One.", ear=True, interrupts=Interjection(at_word=word)).plays(spoken(WORDS), ms=100)
    assert phone.done() == [Say("One.", Manner.INTERRUPTION)]
    assert [line.words for line in phone.caller.story] == [" ".join(WORDS.split()[:word]), "One."]
    assert not phone.caller.guessed_words


def test_without_an_ear_a_word_is_400_ms_and_that_is_told():
    phone = caller("One.", interrupts=Interjection(at_word=3)).plays(tone(3_000))
    assert phone.acts[0][0] == 1_200
    assert phone.caller.guessed_words


def test_an_interruption_waits_for_a_new_answer():
    phone = caller("One.", "Two.", interrupts=Interjection(at_ms=400, turn=1))
    phone.plays(tone(500), ms=3_000)
    assert phone.done() == [Say("One.", Manner.INTERRUPTION)]
    phone.plays(tone(500), ms=1_000)
    assert phone.done()[1:] == [Say("Two.")]


def test_a_server_that_talks_on_is_heard_out():
    phone = caller("One.", "Two.", interrupts=Interjection(at_ms=400, turn=1)).plays(tone(4_000), ms=1_000)
    assert phone.done() == [Say("One.", Manner.INTERRUPTION), Say("Two.")]


def test_a_backchannel_takes_no_turn():
    phone = caller("One.", backchannel=Interjection(at_ms=300)).plays(tone(2_000), ms=1_000)
    assert phone.done() == [Say("mm-hm", Manner.BACKCHANNEL), Say("One.")]


def test_silence_before_a_turn_holds_it_back():
    phone = caller("One.", silences=[Silence(1, 3_000)]).plays(tone(500), ms=6_000)
    assert phone.acts[0] == (500 + 700 + 3_000, Say("One."))


def test_keys_are_pressed_when_their_prompt_was_heard_and_take_the_turn():
    words = "For bookings, press one. For anything else, press two."
    phone = caller("One.", ear=True, keys=[Keys("Press ONE", "1")]).plays(spoken(words), ms=1_500)
    assert phone.done() == [Press("1")]
    assert phone.acts[0][0] < len(spoken(words)) // 8
    assert phone.caller.story[-1].words == "[1 key]"


def test_chance_is_drawn_once_a_turn_and_noted():
    draws = iter([0.9, 0.1])
    habit = Interjection(at_ms=100, chance=0.5)
    phone = caller("One.", "Two.", chance=lambda: next(draws), interrupts=habit)
    phone.plays(tone(500), ms=1_800).plays(tone(500), ms=100)
    assert phone.done() == [Say("One."), Say("Two.", Manner.INTERRUPTION)]
    assert phone.caller.draws == [0.9, 0.1]


def test_mumbling_is_drawn_for_each_turn():
    draws = iter([0.4, 0.6])
    phone = caller("One.", "Two.", chance=lambda: next(draws), mumbles=0.5)
    phone.plays(tone(500), ms=1_800).plays(tone(500), ms=1_000)
    assert phone.done() == [Say("One.", mumbled=True), Say("Two.")]


def test_a_mind_is_asked_once_and_its_answer_waits():
    machine = CallerMachine(None, Habits(), never)
    phone = Phone(machine).plays(tone(500), ms=2_000)
    assert phone.done() == [Think()]
    machine.decided(Say("Well."), phone.now_ms, 700)
    phone.plays(ms=680)
    assert phone.done() == [Think()]
    phone.plays(ms=40)
    assert phone.done() == [Think(), Say("Well.")]
    phone.plays(ms=1_000).plays(tone(500), ms=1_000)
    machine.decided(HangUp(reached=True, why="done"), phone.now_ms)
    phone.plays(ms=40)
    assert machine.left == HangUp(reached=True, why="done")


def test_no_more_turns_than_there_may_be():
    machine = CallerMachine(["One."] * 9, Habits(), never, most_turns=2)
    phone = Phone(machine)
    for _ in range(4):
        phone.plays(tone(300), ms=2_000)
    assert [type(act) for act in phone.done()] == [Say, Say, HangUp]
    assert machine.out_of_turns
