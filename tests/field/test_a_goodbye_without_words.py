"""Who hangs up without a word has the phrase `goodbye` said for them; who said something hangs up after it.

Reported of other bridges: the line goes dead 200 ms after the caller's last word.
"""

from __future__ import annotations

from base64 import b64encode

import pytest

from bridge import Agent, Session, hang_up, sounds
from bridge.core import messages as m
from bridge.testing.call import begin, tool_call
from bridge.testing.scripted_call import ScriptedCall

GOODBYE = sounds.text("goodbye")


def goodbyes(call: ScriptedCall) -> list[m.Heard]:
    said = [action for _, action in call.rehearsal.said if isinstance(action, m.Heard)]
    return [heard for heard in said if heard.say_id == "goodbye"]


def ended_ms(call: ScriptedCall) -> int | None:
    return next((at_ms for at_ms, action in call.rehearsal.said if isinstance(action, m.Ended)), None)


@pytest.mark.parametrize("said_before", ["", "How can I help?"])
def test_a_model_that_only_calls_hang_up(said_before: str) -> None:
    call = begin(Agent(instructions="x", greeting=said_before, tools=[hang_up]))
    call.model.answers(tool_call("hang_up"))
    call.at(4_000)
    call.caller.says("That is all, bye.", ms=800)
    call.at(15_000)
    [goodbye] = goodbyes(call)
    assert (goodbye.text, goodbye.cut) == (GOODBYE, False)
    assert call.rehearsal.ended is not None
    assert call.rehearsal.ended.reason is m.Reason.WE_HUNG_UP
    call.close()


@pytest.mark.parametrize("words_first", [True, False])
def test_a_model_that_says_it_itself(words_first: bool) -> None:
    call = begin(Agent(instructions="x", greeting="", tools=[hang_up]))
    answer = ["Bye, until soon.", tool_call("hang_up")]
    call.model.answers(*(answer if words_first else reversed(answer)))
    call.at(1_000)
    call.caller.says("That is all, bye.", ms=800)
    call.at(15_000)
    assert goodbyes(call) == []
    assert call.rehearsal.ended is not None
    call.close()


def test_it_is_in_the_language_of_the_call() -> None:
    call = begin(Agent(instructions="x", greeting="", language="de", tools=[hang_up]))
    call.model.answers(tool_call("hang_up"))
    call.at(1_000)
    call.caller.says("Das war alles.", ms=800)
    call.at(15_000)
    assert [heard.text for heard in goodbyes(call)] == [sounds.text("goodbye", "de")]
    call.close()


def test_a_handler_that_hangs_up_after_a_turn_and_one_that_has_spoken() -> None:
    async def silent(session: Session) -> None:
        await session.input()

    async def polite(session: Session) -> None:
        await session.input()
        await session.say("See you.")

    for handler, times in ((silent, 1), (polite, 0)):
        call = begin(Agent(instructions="x", greeting="", handler=handler))
        call.at(1_000)
        call.caller.says("Bye.", ms=600)
        call.at(15_000)
        assert len(goodbyes(call)) == times
        assert ended_ms(call) is not None
        call.close()


def test_a_caller_who_speaks_over_it_has_the_call_back_and_hears_it_again_in_the_end() -> None:
    call = begin(Agent(instructions="x", greeting="", tools=[hang_up]))
    call.model.answers(tool_call("hang_up"))
    call.model.answers(tool_call("hang_up"))
    call.at(1_000)
    call.caller.says("That is all.", ms=800)
    call.at(3_000)
    call.caller.interrupts("Wait, one more thing.", ms=800)
    call.at(20_000)
    assert [heard.cut for heard in goodbyes(call)] == [True, False]
    call.close()


def test_a_phrase_without_words_ends_the_call_too() -> None:
    bare = m.Sound(b64encode(b"\x55" * 160).decode(), 160)
    call = begin(Agent(instructions="x", greeting="", tools=[hang_up]), phrases={"goodbye": bare})
    call.model.answers(tool_call("hang_up"))
    call.at(1_000)
    call.caller.says("That is all.", ms=800)
    call.at(8_000)
    assert len(goodbyes(call)) == 1
    assert ended_ms(call) is not None
    call.close()
