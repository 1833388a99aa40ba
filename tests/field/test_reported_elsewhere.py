"""What people have reported of other bridges (livekit, pipecat), tried here: who answers after an interrupt,
a noise or an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bridge import Agent, Session, tool
from bridge.core import messages as m
from bridge.doubles.agents import Speech
from bridge.doubles.options import ServerOptions
from bridge.testing.call import begin, tool_call
from bridge.testing.scripted_call import ScriptedCall


@tool(filler=None)
async def book(people: int) -> str:
    """Book a table."""
    await asyncio.sleep(1)
    return f"booked for {people}"


@tool(filler=None)
async def announce(session: Session) -> str:
    """Say something on the way."""
    said = await session.say("I am looking that up for you, this may take a moment.")
    return f"found, cut: {said.cut}"


@tool(filler=None)
async def speed_up(session: Session) -> str:
    """Speak faster."""
    session.update(speed=1.4)
    return "done"


@pytest.fixture
def begun() -> Iterator[Callable[..., ScriptedCall]]:
    calls: list[ScriptedCall] = []

    def make(*tools: Any, **how: Any) -> ScriptedCall:
        calls.append(begin(Agent("Be brief.", greeting="", tools=list(tools)), **how))
        return calls[-1]

    yield make
    for call in calls:
        call.close()


def heard(call: ScriptedCall) -> list[str]:
    """What the caller heard to its end."""
    return [a.heard for _, a in call.rehearsal.said if isinstance(a, m.Spoken) and not a.cut]


def outputs(call: ScriptedCall) -> list[str]:
    """Results of tools that the model was given."""
    told = [a.output for _, a in call.rehearsal.said if isinstance(a, m.CreateItem)]
    return [output for output in told if output is not None]


def asks(call: ScriptedCall, at_ms: int, words: str = "When do you open?", ms: int = 800) -> None:
    call.at(at_ms)
    call.caller.says(words, ms=ms)


def test_a_tool_whose_words_are_interrupted_goes_on(begun: Callable[..., ScriptedCall]) -> None:
    call = begun(announce)
    call.model.answers(tool_call("announce"))
    call.model.answers("Yes, I am here.")
    call.model.answers("It was found.")
    asks(call, 1_000)
    asks(call, 3_600, "Hello?", 500)
    call.at(15_000)
    assert outputs(call) == ["found, cut: True"]
    assert heard(call)[0] == "Yes, I am here."


def test_a_result_survives_an_interruption_and_its_tool_runs_once(begun: Callable[..., ScriptedCall]) -> None:
    call = begun(book)
    call.model.answers(tool_call("book", people=6))
    call.model.answers(Speech(4_000, "Your table for six is booked."))
    call.model.answers("All right.")
    asks(call, 1_000)
    asks(call, 4_200, "Thank you.", 500)
    call.at(12_000)
    assert outputs(call) == ["booked for 6"]
    assert heard(call) == ["All right."]


def test_a_clap_before_the_answer_costs_no_answer(begun: Callable[..., ScriptedCall]) -> None:
    call = begun(model=ServerOptions(delta_bytes=(1600,), latency_ms=900))
    call.model.answers("We open at nine.")
    call.model.answers("We open at nine.")
    asks(call, 1_000)
    call.at(2_700)
    call.caller.says("", ms=120)
    call.at(14_000)
    assert "We open at nine." in heard(call)


def test_an_update_that_is_refused_leaves_the_call_as_it_was(begun: Callable[..., ScriptedCall]) -> None:
    call = begun(speed_up)
    call.at(500)
    call.model.behaves(refuse={"session.update": "invalid_value"})
    call.model.answers(tool_call("speed_up"))
    call.model.answers("It is done.")
    asks(call, 1_000)
    call.at(10_000)
    assert heard(call) == ["It is done."]


def test_a_result_that_comes_while_the_caller_speaks_is_told_with_their_turn(
    begun: Callable[..., ScriptedCall],
) -> None:
    call = begun(book)
    call.model.answers(tool_call("book", people=4))
    call.model.answers("Yes, it is booked.")
    asks(call, 1_000)
    asks(call, 2_600, "Are you there? I have been waiting for some time.", 2_500)
    call.at(14_000)
    assert heard(call) == ["Yes, it is booked."]
    assert [a for _, a in call.rehearsal.said if isinstance(a, m.CreateResponse)] == []


def test_a_hand_off_while_a_tool_of_the_first_agent_runs() -> None:
    second = Agent("You are B.", name="b", greeting="")
    call = begin(Agent("You are A.", name="a", greeting="", tools=[book], handoffs=[second]))
    call.model.answers(tool_call("book", people=2), tool_call("hand_off_to_b"))
    call.model.answers("It is booked, says B.")
    call.model.answers("As I said.")
    asks(call, 1_000)
    call.at(12_000)
    call.close()
    assert "booked for 2" in outputs(call)
    assert heard(call) == ["It is booked, says B."]
