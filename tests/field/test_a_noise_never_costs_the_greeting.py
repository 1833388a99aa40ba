"""A noise may stop a greeting, at any moment of its making; then it is said again. One that is protected is
said whole, whatever the caller says meanwhile.

Reported of other bridges: a cough while the greeting is generated, and the call begins with silence.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridge import Agent, ConfigError, Session
from bridge.core import messages as m
from bridge.doubles.options import ServerOptions
from bridge.testing.call import begin
from bridge.testing.scripted_call import ScriptedCall

WELCOME = "Welcome to the bakery. How can I help?"
ANSWER = "Sorry, what?"


def heard(call: ScriptedCall) -> list[str]:
    said = [action for _, action in call.rehearsal.said if isinstance(action, m.Spoken)]
    return [spoken.heard for spoken in said if spoken.heard]


def greeted(model: ServerOptions, **fields: Any) -> ScriptedCall:
    call = begin(Agent(instructions="x", greeting=WELCOME, **fields), model=model)
    call.model.answers(ANSWER)
    return call


def slow(**options: Any) -> ServerOptions:
    return ServerOptions(delta_bytes=(1600,), latency_ms=1_500, speed=1.2, **options)


@pytest.mark.parametrize("at_ms", [0, 500, 1_200, 1_500])
@pytest.mark.parametrize("done_first", [False, True])
def test_a_noise_while_it_is_generated(at_ms: int, done_first: bool) -> None:
    call = greeted(slow(done_first=done_first))
    call.at(at_ms)
    call.caller.says("xxx", ms=150, words="")
    call.at(20_000)
    assert heard(call)[-1] == WELCOME
    assert heard(call).count(WELCOME) == 1
    call.close()


def test_a_noise_while_it_is_heard() -> None:
    call = greeted(slow())
    call.at(4_000)
    call.caller.says("xxx", ms=150, words="")
    call.at(20_000)
    cut, *rest = heard(call)
    assert WELCOME.startswith(cut)
    assert rest[-1] == WELCOME
    call.close()


def test_a_second_noise_costs_it_no_more_than_the_first() -> None:
    call = greeted(slow())
    for at_ms in (500, 3_500):
        call.at(at_ms)
        call.caller.says("xxx", ms=150, words="")
    call.at(20_000)
    assert heard(call)[-1] == WELCOME
    call.close()


def test_words_are_answered_instead() -> None:
    call = greeted(slow())
    call.at(500)
    call.caller.says("Are you open today?", ms=600)
    call.at(20_000)
    assert heard(call) == [ANSWER]
    call.close()


def test_a_noise_after_it_says_it_no_second_time() -> None:
    call = greeted(ServerOptions(delta_bytes=(1600,)))
    call.at(6_000)
    call.caller.says("xxx", ms=150, words="")
    call.at(20_000)
    assert heard(call) == [WELCOME, ANSWER]
    call.close()


@pytest.mark.parametrize(("ms", "said"), [(120, WELCOME), (900, ANSWER)])
def test_without_transcription_our_own_ear_tells_a_noise_from_a_voice(ms: int, said: str) -> None:
    call = greeted(slow(), transcription="off")
    call.at(500)
    call.caller.says("xxx", ms=ms)
    call.at(20_000)
    assert heard(call)[-1] == said
    call.close()


def test_a_noise_of_which_the_vendor_says_no_words_at_all() -> None:
    """It could not transcribe it: the turn may have been one, and its answer stands."""
    call = greeted(slow(transcribe=lambda _item: None))
    call.at(500)
    call.caller.says("xxx", ms=600)
    call.at(20_000)
    assert heard(call) == [ANSWER]
    call.close()


# -- protected


@pytest.mark.parametrize("at_ms", [0, 500, 1_700, 2_500])
@pytest.mark.parametrize("words", ["", "Are you open today?"])
def test_a_protected_one_is_heard_whole_and_words_are_answered_after_it(at_ms: int, words: str) -> None:
    call = greeted(slow(), greeting_interruptible=False)
    call.at(at_ms)
    call.caller.says("xxxxxx", ms=600, words=words)
    call.at(20_000)
    assert heard(call)[0] == WELCOME
    assert WELCOME not in heard(call)[1:]
    assert ANSWER in heard(call)[1:] or not words
    call.close()


def test_a_protected_one_after_the_disclosure() -> None:
    call = begin(
        Agent(instructions="x", greeting=WELCOME, greeting_interruptible=False), disclosure="disclosure"
    )
    call.at(3_000)
    call.caller.says("Hello? Hello?", ms=800)
    call.at(20_000)
    assert heard(call)[0] == WELCOME
    call.close()


def test_a_protected_one_of_a_session_that_is_lost_is_said_by_the_next() -> None:
    call = greeted(slow(), greeting_interruptible=False)
    call.at(500)
    call.model.is_lost()
    call.at(20_000)
    assert heard(call)[0] == WELCOME
    call.caller.says("Are you open today?", ms=800)
    call.at(30_000)
    assert ANSWER in heard(call), "and the caller is listened to again"
    call.close()


def test_a_handler_s_greeting_can_be_protected_too() -> None:
    async def handler(session: Session) -> None:
        async for _ in session.input():
            await session.say("I heard you.")
            await asyncio.sleep(0)

    call = begin(Agent(instructions="x", greeting=WELCOME, greeting_interruptible=False, handler=handler))
    call.at(500)
    call.caller.says("Are you open today?", ms=800)
    call.at(20_000)
    assert heard(call) == [WELCOME, "I heard you."]
    call.close()


def test_it_is_yes_or_no() -> None:
    with pytest.raises(ConfigError, match="greeting_interruptible is True or False, not 'no'"):
        Agent(greeting_interruptible="no")  # type: ignore[arg-type]
