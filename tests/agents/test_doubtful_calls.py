"""A tool is not started while the call may be another machine's."""

from __future__ import annotations

import asyncio
import json

import pytest

from bridge.agents.agent import Agent
from bridge.agents.tools import tool
from bridge.core import messages as m
from tests.agents import virtual_time
from tests.agents.door import CALL, Door, settled

pytestmark = pytest.mark.runs_with(function=virtual_time.run)


async def booking(asked: list[asyncio.Future[bool]]) -> tuple[Door, list[str]]:
    booked: list[str] = []

    @tool
    async def book() -> str:
        """Book a table."""
        booked.append("a table")
        return "done"

    door = await Door(Agent(tools=[book])).begin()

    def doubt(call_sid: str) -> asyncio.Future[bool]:
        assert call_sid == CALL
        asked.append(asyncio.get_running_loop().create_future())
        return asked[-1]

    door.side.doubt = doubt
    return door, booked


async def test_it_waits_until_it_is_known_whose_the_call_is() -> None:
    asked: list[asyncio.Future[bool]] = []
    door, booked = await booking(asked)
    door.tell(m.ToolWanted("call_1", "book", "{}"))
    await settled()
    assert not booked
    asked[0].set_result(True)
    assert (await door.next(m.ToolFinished)).output == "done"
    assert booked == ["a table"]
    door.end()


async def test_it_is_never_run_for_a_call_that_may_be_anothers() -> None:
    asked: list[asyncio.Future[bool]] = []
    door, booked = await booking(asked)
    door.tell(m.ToolWanted("call_1", "book", "{}"))
    asked[0].set_result(False)
    finished = await door.next(m.ToolFinished)
    assert (finished.call_id, finished.respond) == ("call_1", True)
    assert "error" in json.loads(finished.output)
    await settled()
    assert not booked
    door.end()
