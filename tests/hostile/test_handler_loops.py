"""A handler that blocks its event loop, in a real process: how late the handlers of all other calls are."""

from __future__ import annotations

import asyncio
import re
import time

import pytest

from .kit import Bridge, Model, Phone, bridge, tone

pytestmark = [pytest.mark.hostile, pytest.mark.alone]

AGENT = """
import time
from bridge import Agent
async def handler(session):
    while True:
        key = await session.digits(max=1, timeout_ms=60_000)
        if key == "9":
            time.sleep(4)
        elif key:
            await session.play(SOUND)
agent = Agent("Be kind.", handler=handler)
"""
AT_ONCE_S = 0.2
CALLS = 12


async def press(phone: Phone, digit: str) -> None:
    await phone.tell({
        "event": "dtmf", "streamSid": phone.stream_sid, "dtmf": {"track": "inbound_track", "digit": digit},
    })  # fmt: skip


async def answered_s(phone: Phone) -> float:
    """From a key until the handler's sound for it comes."""
    came, began_s = len(phone.heard), time.monotonic()
    await press(phone, "1")
    async with asyncio.timeout(10):
        while len(phone.heard) == came:  # noqa: ASYNC110  frames come by another task
            await asyncio.sleep(0.005)
    return time.monotonic() - began_s


async def scraped(served: Bridge, name: str) -> float:
    found = re.search(rf"^phonebridge_{name} (\S+)$", (await served.get("/metrics"))[1], re.MULTILINE)
    assert found is not None
    return float(found[1])


async def blocked_for_four_seconds(loops: str | None) -> tuple[list[float], list[float], list[float], str]:
    """With so many loops: how late the handlers of the other calls were, those of new calls, what metrics
    said of loops and calls meanwhile, and the log.
    """
    files = {"mine.py": f"SOUND = {tone(0.2)!r}\n{AGENT}"}
    how = {"BRIDGE_AGENT": "mine:agent", "BRIDGE_DTMF": "event", "BRIDGE_HANDLER_LOOPS": loops}
    async with Model() as model, bridge(model, files=files, **how) as served:  # type: ignore[arg-type]
        phones = [await Phone(served).dial() for _ in range(CALLS)]
        await asyncio.sleep(1.0)
        await asyncio.gather(*map(answered_s, phones))  # each has answered once, so that nothing is new
        await asyncio.sleep(0.5)
        await press(phones[0], "9")
        await asyncio.sleep(0.2)
        others = [asyncio.create_task(answered_s(phone)) for phone in phones[1:]]

        async def comes() -> float:
            phone = await Phone(served).dial()
            phones.append(phone)
            await asyncio.sleep(0.3)  # its call begins when its session is configured
            return await answered_s(phone)

        newer = [await comes()]  # before anything can have noticed
        await asyncio.sleep(0.3)
        told = [await scraped(served, name) for name in ("handler_loops_stuck", "calls_waiting")]
        newer += [await comes() for _ in range(3)]
        late_s = await asyncio.gather(*others)
        for phone in phones:
            await phone.hang_up()
        await asyncio.sleep(0.5)
        return sorted(late_s), newer, told, served.log


def test_a_handler_that_blocks_is_felt_on_its_own_loop_only() -> None:
    late_s, newer_s, told, log = asyncio.run(blocked_for_four_seconds(None))
    waited = [one for one in late_s if one > 1]
    assert len(waited) == CALLS // 4 - 1, late_s
    assert max(late_s[: -len(waited)]) < AT_ONCE_S
    assert max(newer_s) < AT_ONCE_S
    assert told == [1, CALLS // 4]
    [line] = [line for line in log.splitlines() if "has been blocked for over 250 ms" in line]
    assert re.search(
        r"by handler \(.*mine\.py:\d+\) for call CA\w+ while 2 other calls wait \(CA\w+, CA\w+\)", line
    )


def test_with_one_loop_all_of_them_wait_as_they_did() -> None:
    """What the figures above are held against."""
    late_s, _, _, log = asyncio.run(blocked_for_four_seconds("1"))
    assert min(late_s) > 1
    assert re.search(f"while ({CALLS - 1}|{CALLS}) other calls wait [(]", log)  # the newer one may be in it
