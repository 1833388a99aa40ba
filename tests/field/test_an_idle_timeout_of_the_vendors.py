"""A caller who says nothing until the vendor's own idle timer fires: a silence for the handler, and no turn.

Reported of other bridges: an empty turn each time, as if the caller had mumbled.
"""

from __future__ import annotations

from typing import Any

from bridge import Agent, Silence, Turn
from bridge.core import messages as m
from bridge.testing.call import begin

IDLE = {"type": "server_vad", "idle_timeout_ms": 5_000}


def inputs_of(detection: dict[str, Any], speaks_at_ms: int | None = None) -> list[object]:
    found: list[object] = []

    async def handler(session: Any) -> None:
        await session.say("Hello there.")
        async for one in session.input():
            found.append(one)  # noqa: PERF401  as it comes: the call may end before the loop does

    call = begin(Agent(handler=handler, turn_detection=detection))
    if speaks_at_ms is not None:
        call.at(speaks_at_ms)
        call.caller.says("I am back.", ms=600)
    call.at(20_000)
    call.close()
    return found


def test_it_is_a_silence_and_no_turn() -> None:
    found = inputs_of(IDLE)
    assert found
    assert all(isinstance(one, Silence) for one in found)


def test_its_length_is_that_of_the_silence() -> None:
    lengths_ms = [one.ms for one in inputs_of(IDLE) if isinstance(one, Silence)]
    assert 4_500 <= lengths_ms[0] <= 6_500


def test_a_turn_after_it_is_a_turn() -> None:
    found = inputs_of(IDLE, speaks_at_ms=9_000)
    assert [one.text for one in found if isinstance(one, Turn)] == ["I am back."]


def test_without_a_timeout_there_is_neither() -> None:
    assert inputs_of({"type": "server_vad"}) == []


def test_the_model_answers_the_silence() -> None:
    call = begin(Agent(instructions="x", greeting="Hello.", turn_detection=IDLE))
    call.model.answers("Are you still there?")
    call.at(20_000)
    spoken = [action.heard for _, action in call.rehearsal.said if isinstance(action, m.Spoken)]
    assert spoken[:2] == ["Hello.", "Are you still there?"]
    call.close()
