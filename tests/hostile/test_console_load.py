"""What looking on costs calls: processor time, memory, and nothing that callers hear.

Calls go on all the time; consoles are opened and closed by turns, so that each minute with them has one
without beside it, whatever else this machine does. One of three does not read.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.hostile.console_page import TOKEN, Page, open_page
from tests.hostile.kit import Bridge, Model, Phone, bridge

pytestmark = [pytest.mark.hostile, pytest.mark.alone]
CALLS = 30
TURN_S = 5.0
MOST_MORE = 0.35
"""Processor time with three consoles; measured are 0.03 to 0.10, of a server that has 30 calls only."""
MOST_MB = 10.0
CLOSED_S = 12.0


def spent_s(house: Bridge) -> float:
    """Processor time of the server, all threads."""
    tasks = Path(f"/proc/{house.process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


async def goes_on(phone: Phone) -> None:
    """A caller who asks, hears a second, and asks again."""
    while phone.closed_s is None:
        await phone.talk(0.3)
        await asyncio.sleep(1.7)


@contextlib.asynccontextmanager
async def three_consoles(house: Bridge, sid: str) -> AsyncIterator[tuple[Page, Page]]:
    """A list, a call in view, and one that does not read: the first and the last."""
    pages = [await open_page(house) for _ in range(3)]
    async with pages[0].looking(), pages[1].looking():
        await pages[1].tell(kind="look", call=sid)
        pages[2].socket = await pages[2].connect(max_queue=1)
        yield pages[0], pages[2]
        pages[2].socket.transport.abort()


@pytest.mark.parametrize("seconds", [60, pytest.param(600, marks=pytest.mark.long)])
async def test_three_consoles_cost_thirty_calls_little_and_keep_nothing(seconds: int) -> None:
    async with Model() as model, bridge(model, BRIDGE_CONSOLE_TOKEN=TOKEN, BRIDGE_GREETING="off") as house:
        phones = [await Phone(house).dial() for _ in range(CALLS)]
        talking = [asyncio.create_task(goes_on(phone)) for phone in phones]
        await asyncio.sleep(3)
        more: list[float] = []
        kept_mb = []
        for _ in range(round(seconds / (2 * TURN_S))):
            began_s = spent_s(house)
            await asyncio.sleep(TURN_S)
            alone_s = spent_s(house) - began_s
            async with three_consoles(house, phones[0].sid) as (page, _stalled):
                began_s = spent_s(house)
                await asyncio.sleep(TURN_S)
                more.append((spent_s(house) - began_s) / alone_s - 1)
                assert len(page.calls) == CALLS
                assert page.gaps == 0
            kept_mb.append(house.rss_mb)
        sys.stdout.write(f"more: {[round(one, 2) for one in more]}, MB: {[round(mb) for mb in kept_mb]}\n")
        assert statistics.median(more) < MOST_MORE
        assert kept_mb[-1] - kept_mb[1] < MOST_MB
        assert all(phone.closed_s is None for phone in phones)
        for task in talking:
            task.cancel()


async def test_a_console_that_does_not_read_is_closed() -> None:
    async with Model() as model, bridge(model, BRIDGE_CONSOLE_TOKEN=TOKEN, BRIDGE_GREETING="off") as house:
        phone = await Phone(house).dial()
        page, stalled = await open_page(house), await open_page(house)
        async with page.looking():
            socket = await stalled.connect(max_queue=1)
            await page.until(lambda: page.came[-1][1].get("system", {}).get("viewers") == 2)
            socket.transport.pause_reading()
            await page.until(lambda: page.came[-1][1].get("system", {}).get("viewers") == 1, CLOSED_S)
            assert phone.closed_s is None
            socket.transport.abort()
