"""AF-5: calling a tool from a handler works next to the live loop, and so does the model's calling it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from bridge.agents.agent import Agent
from bridge.agents.inputs import Turn
from bridge.agents.session import Session
from bridge.agents.tools import tool
from bridge.doubles.agents import ToolCall
from tests.agents.obedient import Obedient


@tool
async def lookup(number: int) -> str:
    """Look up an order.

    Args:
        number: the order's number, as the caller says it
    """
    await asyncio.sleep(0.1)
    return f"order {number} is on its way"


@tool
def price(item: str, *, count: int = 1) -> dict[str, Any]:
    """What so many of an item cost."""
    return {"item": item, "cents": 250 * count}


def test_af_05_a_handler_calls_tools_by_name_and_by_themselves_while_the_caller_talks(calls: Any) -> None:
    results: list[object] = []

    async def handler(session: Session) -> None:
        async for happening in session.input():
            if isinstance(happening, Turn):
                results.append(await session.call("lookup", number=7))
                results.append(await session.call(price, item="bun", count=2))
                await session.say(str(results[-2]))

    live = calls(Agent(handler=handler, tools=[lookup, price]))
    live.caller.says("where is my order?")
    live.wait(6_000)
    live.caller.says("thank you")
    live.wait(3_000)
    live.caller.hangs_up()
    live.until_over()
    conversation = live.model.conversation
    assert results[:2] == ["order 7 is on its way", {"item": "bun", "cents": 500}]
    assert conversation[:3] == [
        ("user", "where is my order?"),
        ("assistant", "order 7 is on its way"),
        ("user", "thank you"),
    ]


def test_af_05_what_a_tool_raises_reaches_the_handler_that_called_it(calls: Any) -> None:
    raised: list[BaseException] = []

    @tool
    async def broken() -> None:
        """Breaks."""
        raise LookupError("no such order")

    @tool(deadline_ms=50)
    async def slow() -> None:
        """Takes long."""
        await asyncio.sleep(10)

    async def handler(session: Session) -> None:
        for name, given in (("broken", {}), ("slow", {}), ("nothing", {}), ("lookup", {"number": "seven"})):
            try:
                await session.call(name, **given)
            except Exception as error:  # noqa: BLE001  that is what is looked at
                raised.append(error)

    live = calls(Agent(handler=handler, tools=[broken, slow, lookup]))
    live.until_over()
    assert [type(error).__name__ for error in raised] == [
        "LookupError", "TimeoutError", "ValueError", "WrongArguments",
    ]  # fmt: skip
    assert "there is broken, slow, lookup" in str(raised[2])


def test_af_05_the_model_calls_the_same_tool_and_tells_its_result(calls: Any) -> None:
    mind = Obedient(outputs=[ToolCall("lookup", {"number": 7})])

    live = calls(Agent(tools=[lookup], greeting=""), mind=mind)
    live.caller.says("where is my order?")
    live.wait(6_000)
    live.caller.hangs_up()
    live.until_over()
    conversation, session = live.model.conversation, live.model.told("session.update")[-1]["session"]
    assert conversation == [
        ("user", "where is my order?"),
        ("function_call", '{"number": 7}'),
        ("function_call_output", "order 7 is on its way"),
        ("assistant", "It is order 7 is on its way"),
    ]
    assert session["tools"] == [
        {
            "type": "function",
            "name": "lookup",
            "description": "Look up an order.",
            "parameters": {
                "type": "object",
                "properties": {
                    "number": {"type": "integer", "description": "the order's number, as the caller says it"}
                },
                "required": ["number"],
                "additionalProperties": False,
            },
        }
    ]


@pytest.mark.parametrize("sync", [True, False])
def test_af_05_a_tool_may_ask_for_the_session(calls: Any, sync: bool) -> None:
    seen: list[tuple[str, str]] = []

    @tool
    async def who_async(session: Session) -> str:
        """Who is calling?"""
        seen.append((session.fields["From"], threading.current_thread().name))
        return "noted"

    @tool
    def who_sync(session: Session) -> str:
        """Who is calling?"""
        seen.append((session.fields["From"], threading.current_thread().name))
        return "noted"

    chosen = who_sync if sync else who_async
    mind = Obedient(outputs=[ToolCall(chosen.name)])

    agent = Agent(tools=[chosen], greeting="")
    live = calls(agent, mind=mind, parameters={"From": "+15550001111"})
    live.caller.says("do you know me?")
    live.wait(4_000)
    live.caller.hangs_up()
    live.until_over()
    assert [number for number, _ in seen] == ["+15550001111"]
