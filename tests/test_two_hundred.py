"""Two hundred calls at once, each with sound of its own: every caller hears its own call and no other.

The load comes from its own processes: all phones in one, all Realtime servers in another, and the bridge has
one to itself. Measured is what the phones played, byte for byte: the greeting, then their own words, and
nothing else. Gaps in between are counted and not asserted, for they are this machine's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.calls import ROOT

CALLS = 200
STOPPED_MS = 500
"""Where the phones' own process had to wait so long for a core, how many calls there can be is not asked."""


@contextlib.asynccontextmanager
async def load(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """One of the processes, while the block runs."""
    command = (sys.executable, "-m", "tests.load", *arguments)
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def told(process: asyncio.subprocess.Process, seconds: float) -> dict[str, Any]:
    assert process.stdout is not None
    async with asyncio.timeout(seconds):
        said: dict[str, Any] = json.loads(await process.stdout.readline())
        return said


@pytest.mark.hostile
async def test_each_caller_hears_its_own_call() -> None:
    async with load("models") as models:
        url = (await told(models, 20))["url"]
        async with load("bridge", url) as bridge:
            webhook = f"{(await told(bridge, 20))['base']}/incoming-call"
            async with load("phones", webhook, str(CALLS)) as phones:
                account = await told(phones, 90)
            sys.stdout.write(f"{account}\n")
            assert account["closed"] == CALLS
            assert account["foreign"] == []
            assert account["refused"] == 0
            # All of them, where nothing else runs. But a phone that was stopped for a second in the
            # middle of a word has made two turns of it, and interrupted the answer to the first; and a
            # bridge that was stopped as long hears nothing of a model and tries another.
            if account["late_ms"] < STOPPED_MS:
                assert account["alive_at_once"] >= CALLS * 9 // 10
                assert account["whole"] >= CALLS // 2
            bridge.terminate()
            after = await told(bridge, 5)
            assert after["left"] == 0
            assert after["ended"]["the caller hung up"] == account["alive_at_once"]
