"""What the model says on its way to an answer ("Let me look that up") is heard, and is no answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest

from bridge import Agent, tool
from bridge.core import messages as m
from bridge.doubles.agents import Pause, Speech
from bridge.testing.call import begin, tool_call
from bridge.testing.scripted_call import ScriptedCall
from bridge.upstreams.openai import session_tree
from bridge.upstreams.realtime import Realtime

MOMENT = Speech(1_500, "One moment, let me look.", phase="commentary")
ANSWER = Speech(1_200, "It is nine to five.", phase="final_answer")
UNSAID = Speech(1_200, "It is nine to five.")


@tool(filler=None)
async def opening_hours(day: str) -> str:
    """Look up the opening hours."""
    return f"{day}: nine to five"


@pytest.fixture
def call() -> Iterator[ScriptedCall]:
    call = begin(Agent("Be brief.", greeting="", tools=[opening_hours]))
    yield call
    call.close()


def ask(call: ScriptedCall, *answers: Sequence[object]) -> tuple[list[str], int]:
    """What the caller heard after their question, and how many responses we asked for."""
    for outputs in answers:
        call.model.answers(*outputs)  # type: ignore[arg-type]
    call.at(1_000)
    call.caller.says("When do you open?", ms=800)
    call.at(20_000)
    said = [action for _, action in call.rehearsal.said]
    heard = [action.heard for action in said if isinstance(action, m.Spoken)]
    return heard, sum(isinstance(action, m.CreateResponse) for action in said)


@pytest.mark.parametrize("answer", [ANSWER, UNSAID], ids=["named", "without a phase"])
def test_a_response_of_nothing_else_is_followed_by_the_answer(call: ScriptedCall, answer: Speech) -> None:
    assert ask(call, [MOMENT], [answer], [answer]) == ([MOMENT.text, answer.text], 1)


def test_an_answer_in_the_same_response_is_one(call: ScriptedCall) -> None:
    assert ask(call, [MOMENT, Pause(900), ANSWER], [ANSWER]) == ([MOMENT.text, ANSWER.text], 0)


def test_a_tool_that_is_called_after_it_is_answered_once(call: ScriptedCall) -> None:
    heard = ask(call, [MOMENT, tool_call("opening_hours", day="Monday")], [ANSWER], [ANSWER])
    assert heard == ([MOMENT.text, ANSWER.text], 1)


def test_so_is_one_whose_result_is_met_with_commentary(call: ScriptedCall) -> None:
    heard = ask(call, [tool_call("opening_hours", day="Monday")], [MOMENT], [ANSWER], [ANSWER])
    assert heard == ([MOMENT.text, ANSWER.text], 2)


def test_a_model_that_never_comes_to_an_answer_is_asked_three_times(call: ScriptedCall) -> None:
    heard, asked = ask(call, *[[MOMENT]] * 9)
    assert len(heard) == 3
    assert asked == 2


def test_a_caller_who_speaks_over_it_is_answered_by_what_they_said_then(call: ScriptedCall) -> None:
    call.model.answers(MOMENT)
    call.model.answers(ANSWER)
    call.at(1_000)
    call.caller.says("When do you open?", ms=800)
    call.at(3_300)
    call.caller.says("On Monday, I mean.", ms=800)
    call.at(12_000)
    whole = [a.heard for _, a in call.rehearsal.said if isinstance(a, m.Spoken) and not a.cut]
    assert whole == [ANSWER.text]


def test_the_phase_may_stand_in_either_event_of_an_item() -> None:
    model = Realtime(session_tree)
    item = {"id": "item_1", "type": "message", "role": "assistant", "content": []}
    phase = {"phase": "commentary"}
    place = {"type": "response.output_item.added", "response_id": "resp_1"}
    first = model.parse(json.dumps({**place, "item": {**item, **phase}}))
    told = m.ItemAdded("item_1", "message", "assistant", response_id="resp_1", commentary=True)
    assert first == told
    assert model.parse(json.dumps({**place, "item": item})) is None
    second = model.parse(json.dumps({"type": "conversation.item.added", "item": {**item, **phase}}))
    assert second == told
    for other in ("final_answer", "analysis", None):
        again = model.parse(json.dumps({"type": "conversation.item.added", "item": {**item, "phase": other}}))
        assert isinstance(again, m.ItemAdded)
        assert not again.commentary
