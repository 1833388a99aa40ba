"""What is in the store after calls of a real machine, and how often it was asked; both as the server says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from bridge.server.store.redis_connection import connect
from bridge.server.store.scripts import scripts
from bridge.simulators.phone import PhoneCall
from tests.calls import ACCOUNT, TOKEN
from tests.processes.machines import KEY, Machines, machines
from tests.processes.rig import WORDS, Clerk, answer, phone, run, silence, speak, until

pytestmark = [pytest.mark.redis, pytest.mark.runs_with(function=run)]

CALLS = 5
TURNS = 3


async def talk(here: Machines, turns: int) -> None:
    """Calls of some turns each, which the callers end."""
    calls = [here.site.dial(silence(600) + WORDS) for _ in range(CALLS)]
    for turn in range(1, turns + 1):
        said = answer(turn)
        await until(partial(have_heard, calls, said), 30, f"turn {turn}")
        await asyncio.sleep(0.6)
        if turn < turns:
            speak(calls)


def have_heard(calls: list[PhoneCall], said: bytes) -> bool:
    return all(call.streams and said in phone(call).heard for call in calls)


async def contents(client: Redis) -> dict[str, Any]:
    """Every key with all that is in it, as bytes."""
    found: dict[str, Any] = {}
    async for key in client.scan_iter("*"):
        kind: Any = await client.type(key)
        read: Any = {
            b"hash": client.hgetall,
            b"set": client.smembers,
            b"zset": lambda name: client.zrange(name, 0, -1),
            b"list": lambda name: client.lrange(name, 0, -1),
            b"stream": client.xrange,
            b"string": client.get,
        }[kind]
        found[key.decode()] = await read(key)
    return found


async def test_what_it_costs_and_that_nothing_is_in_the_clear(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Three commands a call and one a turn, the greeting being one; no word, number or key can be read."""
    async with machines(Clerk(), tmp_path) as here, connect(here.store.url, socket_s=5) as client:
        served = await here.start("one")
        async with asked(client) as named:
            await talk(here, TURNS)
            found = await contents(client)
            await here.site.hung_up()
            await asyncio.sleep(1.0)
            stats = await client.info("commandstats")
            late = await unanswered(served.base)
        record_property("commands", json.dumps({**named, "late": late}))
        # A machine that is busy may not see an answer in time: it looks later, and asks once more.
        assert max(named[op] for op in ("ring", "claim", "end")) <= CALLS + late
        assert sum(named.values()) - named["beat"] - named["look"] <= CALLS * (3 + 1 + TURNS) + late
        assert stats["cmdstat_evalsha"]["calls"] == sum(named.values()), "every command is one of these"

        assert len([name for name in found if name.startswith("{pb}:t:")]) == CALLS
        raw = repr(found)
        for planted in (
            "turn",
            "That is",
            "1555",
            "user",
            "assistant",
            "items",
            ACCOUNT,
            TOKEN,
            KEY,
            "openai",
        ):
            assert planted not in raw, planted
        left = await contents(client)
        assert not [name for name in left if name.startswith("{pb}:t:")], "they have ended"
        lives_ms = [await client.pttl(name) for name in left if name != "{pb}:ms"]
        assert all(0 < life_ms <= 7 * 24 * 3_600_000 for life_ms in lives_ms)
        served.process.terminate()
        assert await served.ended(10) == 0


async def test_without_a_key_no_conversation_is_there(tmp_path: Path) -> None:
    async with machines(Clerk(), tmp_path) as here, connect(here.store.url, socket_s=5) as client:
        served = await here.start("one", BRIDGE_STORE_KEY="")
        await talk(here, 1)
        found = await contents(client)
        assert len([name for name in found if name.startswith("{pb}:c:")]) == CALLS
        assert not [name for name in found if name.startswith("{pb}:t:")]
        await here.site.hung_up()
        served.process.terminate()
        assert await served.ended(10) == 0
        lines = [line for line in (*served.said, *served.logged) if "BRIDGE_STORE_KEY is not set" in line]
        assert len(lines) == 1


async def unanswered(base: str) -> int:
    """How many commands the machine itself has given up, as it says."""
    text = (await asyncio.to_thread(get, f"{base}/metrics")).decode()
    found = re.findall(r"^phonebridge_store_errors_total{.*} (.*)$", text, re.MULTILINE)
    assert found, "the series is there"
    return round(sum(map(float, found)))


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as reply:
        return bytes(reply.read())


@contextlib.asynccontextmanager
async def asked(client: Redis) -> AsyncIterator[Counter[str]]:
    """The scripts that are asked for while the block runs, by name."""
    names = {script.sha1: name for name, script in scripts().items()}
    named: Counter[str] = Counter()

    async def watch(monitor: Any) -> None:
        async for told in monitor.listen():
            command = told["command"].split()
            if command[0].upper() == "EVALSHA":
                named[names[command[1].strip('"')]] += 1

    async with client.monitor() as monitor:
        await client.config_resetstat()
        watching = asyncio.ensure_future(watch(monitor))
        yield named
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
