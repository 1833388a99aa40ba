"""`phonebridge fleet`, as an operator runs it: a process of its own beside machines in a real store."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from bridge.server.fleet.machine_commands import MachineCommands
from bridge.server.store.claims import Process, Status
from bridge.server.store.redis_claims import RedisClaims
from bridge.server.store.redis_commands import RedisCommands
from bridge.server.store.redis_connection import connect

pytestmark = pytest.mark.redis
CALL = f"CA{7:032x}"


class Fleet:
    def __init__(self, url: str) -> None:
        self.url, self.prefix = url, f"pb-{secrets.token_hex(6)}"
        self.claims = RedisClaims(connect(url), self.prefix)
        self.told: list[str] = []

    async def phonebridge(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, what it printed, what it complained of."""
        usual = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
        ours = {"BRIDGE_STORE": self.url, "BRIDGE_STORE_PREFIX": self.prefix, "COLUMNS": "100"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bridge", "fleet", *arguments, env={**usual, **ours},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    async def beat(self, machine: str, **status: Any) -> None:
        usual: dict[str, Any] = {"capacity": 20, "version": "1.2.3", "config": "c"}
        await self.claims.beat(
            Process(machine, f"inst-{machine}"), Status(**{**usual, **status}), lease_ms=99_000
        )

    @contextlib.asynccontextmanager
    async def obeying(self, machine: str) -> AsyncIterator[None]:
        async def drain(_wanted: Mapping[str, Any]) -> dict[str, int]:
            self.told.append(f"drain {machine}")
            return {"calls": 3}

        async def calls(_wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
            return [{"call_sid": CALL, "seconds": 75, "away": False}]

        way = RedisCommands(lambda socket_s: connect(self.url, socket_s=socket_s), self.prefix)
        ops = {"drain": drain, "undrain": drain, "calls": calls}
        task = asyncio.create_task(MachineCommands(machine, way, ops).obey())
        await asyncio.sleep(0.1)
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await way.close()


@contextlib.asynccontextmanager
async def fleet(url: str) -> AsyncIterator[Fleet]:
    made = Fleet(url)
    yield made
    await made.claims.close()


async def test_the_machines_and_their_calls(redis_url: str) -> None:
    async with fleet(redis_url) as one:
        assert await one.phonebridge() == (0, "no machine has shown itself in the last hour\n", "")
        await one.beat("web-1", calls=3)
        await one.beat("web-2", draining=True, config="other")
        async with one.obeying("web-1"):
            code, out, _ = await one.phonebridge("--calls")
        assert code == 0
        lines = [line.split() for line in out.splitlines()]
        [shown] = [line for line in lines if line[:1] == ["web-1"]]
        assert (shown[:4], shown[5:]) == (["web-1", "live", "3", "20"], ["s", "1.2.3"])
        assert any(line[:2] == ["web-2", "draining"] for line in lines)
        assert f"{CALL}  1:15" in out
        assert "web-2: no answer" in out
        code, out, _ = await one.phonebridge("--json")
        assert [(each["machine"], each["state"], each["calls"]) for each in json.loads(out)] == [
            ("web-1", "live", 3), ("web-2", "draining", 0),
        ]  # fmt: skip


async def test_letting_a_machine_go(redis_url: str) -> None:
    async with fleet(redis_url) as one:
        await one.beat("web-1", calls=3)
        code, _, err = await one.phonebridge("drain", "web-1")
        assert (code, "the only live machine" in err) == (2, True)
        await one.beat("web-2")
        code, _, err = await one.phonebridge("drain", "web-3")
        assert (code, "live are: web-1, web-2" in err) == (2, True)
        code, _, err = await one.phonebridge("drain", "web-1")
        assert (code, err) == (1, "phonebridge: web-1: no answer\n")
        async with one.obeying("web-1"):
            code, out, _ = await one.phonebridge("drain", "web-1")
            assert (code, out.startswith("web-1 takes no new calls; it still has 3 calls.")) == (0, True)
            code, out, _ = await one.phonebridge("drain", "web-1", "--undo")
            assert (code, out) == (0, "web-1 takes calls again\n")
        assert one.told == ["drain web-1"] * 2


async def test_a_store_that_is_not_there() -> None:
    async with fleet("redis://127.0.0.1:1") as one:
        code, out, err = await one.phonebridge()
        assert (code, out, err.startswith("phonebridge: the store does not answer")) == (1, "", True)
