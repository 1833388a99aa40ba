"""Results of tools, functions and those of MCP servers, are answered once: not twice, and not never."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bridge import Agent, McpServer, tool
from bridge.core import messages as m
from bridge.testing.call import begin, tool_call
from bridge.testing.scripted_call import ScriptedCall

CRM = McpServer(label="crm", url="https://mcp.example.com/mcp", require_approval="never")


@tool(filler=None)
async def opening_hours(day: str) -> str:
    """Look up the opening hours."""
    return f"{day}: nine to five"


@pytest.fixture
def begun() -> Iterator[Callable[..., ScriptedCall]]:
    """Begins calls as `begin` does, and closes them."""
    calls: list[ScriptedCall] = []

    def make(agent: Agent | None) -> ScriptedCall:
        calls.append(begin(agent))
        return calls[-1]

    yield make
    for call in calls:
        call.close()


def told(call: ScriptedCall, kind: type[m.Message]) -> list[Any]:
    return [action for _, action in call.rehearsal.said if isinstance(action, kind)]


@pytest.mark.parametrize(
    "forced", ["required", {"type": "function", "name": "opening_hours"}], ids=["any tool", "one tool"]
)
def test_a_model_that_must_call_a_tool_calls_it_once_a_turn_and_then_speaks(
    begun: Callable[..., ScriptedCall], forced: Any
) -> None:
    call = begun(Agent("Be brief.", greeting="", tools=[opening_hours], tool_choice=forced))

    def obeys(asked: Any) -> list[Any]:
        choice = asked.request.get("tool_choice") or asked.session.get("tool_choice")
        words = call._mind.speech("We open at nine.")
        return [words] if choice in ("auto", "none") else [tool_call("opening_hours", day="Monday")]

    call._mind.answer = obeys  # type: ignore[assignment,method-assign]
    for at_ms in (1_000, 11_000):
        call.at(at_ms)
        call.caller.says("When do you open?", ms=800)
    call.at(21_000)
    assert len(told(call, m.ToolWanted)) == 2
    assert [spoken.heard for spoken in told(call, m.Spoken)] == ["We open at nine."] * 2


def test_a_model_that_must_call_a_tool_can_still_greet(begun: Callable[..., ScriptedCall]) -> None:
    call = begun(Agent("Be brief.", greeting="Good day.", tools=[opening_hours], tool_choice="required"))
    call.at(3_000)
    [greeting] = told(call, m.CreateResponse)
    assert (greeting.tag, greeting.tool_choice) == ("greeting", "none")


def mcp_calls(call: ScriptedCall, response: str, *numbers: int) -> None:
    """A response of the model's that calls so many tools of the server's, and is over before they are."""
    send = call.model.sends
    body = {"id": response, "status": "in_progress", "conversation_id": "conv_1"}
    send("response.created", response=body)
    for number in numbers:
        item = {"id": f"mcp_{number}", "type": "mcp_call", "name": "find", "server_label": "crm"}
        send("response.output_item.added", response_id=response, output_index=number, item=item)
        send("response.mcp_call.in_progress", item_id=f"mcp_{number}", output_index=number)
    send("response.done", response={**body, "status": "completed", "output": []})


@pytest.mark.parametrize("count", [1, 2, 5])
def test_what_the_mcp_calls_of_one_response_found_is_told_once(
    begun: Callable[..., ScriptedCall], count: int
) -> None:
    call = begun(Agent("Be brief.", greeting="", tools=[CRM]))
    call.model.answers("I have found it.")
    call.model.answers("As I said, I have found it.")
    call.at(1_000)
    mcp_calls(call, "resp_m", *range(count))
    for number in range(count):
        call.at(2_000 + 40 * number)
        over = "failed" if number % 2 else "completed"
        call.model.sends(f"response.mcp_call.{over}", item_id=f"mcp_{number}", output_index=0)
    call.at(10_000)
    assert len(told(call, m.CreateResponse)) == 1
    assert [spoken.heard for spoken in told(call, m.Spoken)] == ["I have found it."]


def test_two_responses_that_call_mcp_tools_are_answered_each(begun: Callable[..., ScriptedCall]) -> None:
    call = begun(Agent("Be brief.", greeting="", tools=[CRM]))
    for words in ("It is sunny.", "It rains."):
        call.model.answers(words)
    call.at(1_000)
    for number, at_ms in ((1, 1_500), (2, 6_500)):
        mcp_calls(call, f"resp_{number}", number)
        call.at(at_ms)
        call.model.sends("response.mcp_call.completed", item_id=f"mcp_{number}", output_index=0)
        call.at(at_ms + 4_500)
    assert [spoken.heard for spoken in told(call, m.Spoken)] == ["It is sunny.", "It rains."]


def test_a_result_that_comes_after_the_model_has_said_one_moment_is_told(
    begun: Callable[..., ScriptedCall],
) -> None:
    """The caller asks again while the tool runs, and the model answers that at once."""
    call = begun(None)
    call.at(1_000)
    send = call.model.sends
    body = {"id": "resp_t", "status": "in_progress", "conversation_id": "conv_1"}
    item = {
        "id": "fc_1",
        "type": "function_call",
        "status": "completed",
        "name": "look_up",
        "call_id": "call_1",
    }
    send("response.created", response=body)
    made = {**item, "status": "completed", "arguments": json.dumps({"day": "Monday"})}
    send("response.output_item.done", response_id="resp_t", output_index=0, item=made)
    send("response.done", response={**body, "status": "completed", "output": []})
    call.model.answers("One moment, I am still looking.")
    call.model.answers("It is nine to five.")
    call.at(2_000)
    call.caller.says("Hello?", ms=400)
    call.at(6_000)
    call.wish(m.ToolFinished("call_1", "nine to five"))
    call.at(10_000)
    spoken = [spoken.heard for spoken in told(call, m.Spoken)]
    assert spoken == ["One moment, I am still looking.", "It is nine to five."]
