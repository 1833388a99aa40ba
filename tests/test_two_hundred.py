"""Two hundred calls at once, each with sound of its own: every caller hears its own call and no other.

The load comes from its own processes: all phones in one, all Realtime servers in another, and the bridge is
a `phonebridge serve` of its own, signatures and all. Measured is what the phones played, byte for byte: the
greeting, then their own words, and nothing else. Gaps in between are counted and not asserted, for they are
this machine's.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.calls import ROOT, TOKEN, served

CALLS = 200


async def load(*arguments: str) -> asyncio.subprocess.Process:
    command = (sys.executable, "-m", "tests.load", *arguments)
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)


async def told(process: asyncio.subprocess.Process, seconds: float) -> dict[str, Any]:
    assert process.stdout is not None
    async with asyncio.timeout(seconds):
        said: dict[str, Any] = json.loads(await process.stdout.readline())
        return said


@pytest.mark.load
def test_each_caller_hears_its_own_call(record_property: Callable[[str, object], None]) -> None:
    async def main() -> None:
        models = await load("models")
        try:
            asked = {
                "BRIDGE_UPSTREAM": "openai",
                "BRIDGE_UPSTREAM_URL": (await told(models, 20))["url"],
                "BRIDGE_MAX_CALLS": str(CALLS),
            }
            async with served(**asked) as bridge:
                phones = await load("phones", f"{bridge.base}/incoming-call", str(CALLS), TOKEN)
                account = await told(phones, 60)
                record_property("account", account)
                assert account["alive_at_once"] == account["closed"] == CALLS
                assert account["wrong"] == []
                assert (account["cleared"], account["refused"]) == (0, 0)
                assert await phones.wait() == 0
                bridge.process.terminate()
                assert await bridge.ended(2) == 0  # no call is left that it would wait for
        finally:
            models.kill()
            await models.wait()

    asyncio.run(main())
