"""User code that holds the interpreter's lock: what becomes of other calls, and who is told."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from .kit import ROOT, Model, Phone, Session, bridge

pytestmark = [pytest.mark.hostile, pytest.mark.long]

BACKTRACKS = "(.|.)*X$"
"""Against a line of some thirty characters: minutes."""
IN_THE_PROCESS = '''
import re
from bridge.agents.agent import Agent
from bridge.agents.tools import tool

@tool
def find_orders(pattern: str) -> str:
    """Find orders."""
    return str(re.match("(a|a)*$", "a" * 25 + "b"))

agent = Agent("Be kind.", tools=[find_orders])
'''


async def calls_the_tool(session: Session) -> None:
    await session.turn_ends()
    response_id = await session.begin()
    item = {"id": "item_tool", "type": "function_call", "status": "completed", "call_id": "call_1"}
    item |= {"name": "find_orders", "arguments": json.dumps({"pattern": BACKTRACKS})}
    await session.tell("response.output_item.done", response_id=response_id, output_index=0, item=item)
    await session.done(response_id)


async def stood_still_s(model: Model, agent: str) -> tuple[float, str, str]:
    """How long another call's sound stopped, what the log says, and who the caller of the tool was."""
    async with model, bridge(model, files={"mine.py": agent}, BRIDGE_AGENT="mine:agent") as served:
        other = await Phone(served).dial()
        caller = await Phone(served).dial()
        await asyncio.sleep(2.0)
        since_s = time.monotonic()
        await caller.talk(0.6)
        await asyncio.sleep(6.0)
        wait_s = model.longest_wait_s(since_s)
        await other.hang_up()
        await caller.hang_up()
        await asyncio.sleep(0.5)
        return wait_s, served.log, caller.sid


def test_the_log_names_the_tool_and_its_call_when_it_can_speak_again() -> None:
    wait_s, log, sid = asyncio.run(stood_still_s(Model(calls_the_tool), IN_THE_PROCESS))
    assert wait_s > 0.5, "the lock was held, and nobody heard anything: the exception that the promise has"
    [line] = [json.loads(line) for line in log.splitlines() if "no thread of this process ran" in line]
    assert line["level"] == "error"
    assert "user code at work: find_orders (" in line["message"]
    assert f"…{sid[-4:]}" in line["message"] or sid in line["message"]


def test_the_same_in_a_process_of_its_own_stops_nobody() -> None:
    example = Path(ROOT, "examples", "own_process.py").read_text()
    wait_s, log, _ = asyncio.run(stood_still_s(Model(calls_the_tool), example))
    assert wait_s < 0.4
    assert "no thread of this process ran" not in log
    assert "user code at work" not in log, "it ended in time, in words to the model"
