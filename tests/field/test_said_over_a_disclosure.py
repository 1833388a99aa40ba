"""What the caller says while they cannot interrupt costs them nothing that they have not heard yet.

Reported of other bridges: "Hello?" during the announcement, and the greeting never came.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bridge import Agent
from bridge.core import messages as m
from bridge.testing.call import begin
from bridge.testing.scripted_call import ScriptedCall

WELCOME = "Welcome to the bakery. How can I help?"


def told(call: ScriptedCall, kind: type[m.Action]) -> list[m.Action]:
    return [action for _, action in call.rehearsal.said if isinstance(action, kind)]


def heard(call: ScriptedCall) -> list[str]:
    return [spoken.heard for spoken in told(call, m.Spoken) if isinstance(spoken, m.Spoken)]


@pytest.fixture
def call() -> Iterator[ScriptedCall]:
    call = begin(Agent(instructions="x", greeting=WELCOME), disclosure="disclosure")
    call.model.answers("Hello to you.")
    yield call
    call.close()


@pytest.mark.parametrize("words", ["Hello?", ""])
def test_the_greeting_is_heard_and_words_are_answered_after_it(call: ScriptedCall, words: str) -> None:
    call.at(500)
    call.caller.says("xxxxxx", ms=500, words=words)
    call.at(15_000)
    assert heard(call) == [WELCOME, "Hello to you."]
    assert not told(call, m.TruncateItem)
    assert not told(call, m.DeleteItem)


def test_it_is_a_turn_of_the_caller(call: ScriptedCall) -> None:
    call.at(500)
    call.caller.says("Hello?", ms=500)
    call.at(15_000)
    assert [turn.text for turn in told(call, m.Turn) if isinstance(turn, m.Turn)] == ["Hello?"]


def test_a_caller_who_goes_on_speaking_cuts_the_greeting(call: ScriptedCall) -> None:
    call.at(2_000)
    call.caller.says("One moment, I only want to ask something.", ms=2_500)
    call.at(15_000)
    assert WELCOME not in heard(call)


def test_a_caller_who_speaks_over_the_greeting_cuts_it(call: ScriptedCall) -> None:
    call.at(500)
    call.caller.says("Hello?", ms=500)
    call.at(3_800)
    call.caller.interrupts("No, listen.")
    call.at(15_000)
    assert heard(call)[0] != WELCOME
