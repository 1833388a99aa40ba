"""Machines of one service: `phonebridge serve` processes that share a store only, behind a balancer."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import sys
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import redis

from bridge.core.messages import CallSnapshot
from bridge.doubles.agents import Agent
from bridge.server.store.sealing import KeyRing
from bridge.simulators.phone import Kind, PhoneCall
from tests.calls import Served
from tests.hostile.kit import FRAME_BYTES, is_loud
from tests.processes.rig import Site, phone, run, site
from tests.store.redis_server import RedisServer, needed

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def run_long(work: Coroutine[Any, Any, None]) -> None:
    """Five minutes at most: processes start one after another, on a machine that may be busy."""
    run(work, 300)


@dataclass
class Machines:
    """`site` is the address, with model and callers; `store` what the machines share."""

    site: Site
    store: RedisServer
    folder: Path
    started: list[Served] = field(default_factory=list)

    async def start(self, name: str, *arguments: str, **settings: str) -> Served:
        """One more machine, which the balancer knows at once. Its files are its own."""
        own = self.folder / f"{name}-{len(self.started)}"
        own.mkdir()
        usual = {
            "BRIDGE_STORE": self.store.url,
            "BRIDGE_STORE_KEY": KEY,
            "BRIDGE_MACHINE": name,
            "BRIDGE_JOURNAL": str(own / "intents.jsonl"),
            "BRIDGE_RECORDINGS": str(own / "recordings"),
        }
        served = await self.site.server(*arguments, **{**usual, **settings})
        self.started.append(served)
        self.site.balancer.pool.append(served.base.removeprefix("http://"))
        return served

    def leave(self, served: Served) -> None:
        """The balancer sends nothing there any more."""
        address = served.base.removeprefix("http://")
        self.site.balancer.pool = [one for one in self.site.balancer.pool if one != address]

    def spent_micro_usd(self) -> int:
        """What all machines together have spent, as the store has it."""
        client = redis.Redis(unix_socket_path=str(self.store.socket), decode_responses=True)
        with client:
            names = [str(name) for name in client.keys("{pb}:usd:*") if str(name).count(":") == 2]
            return sum(int(value) for name in names for value in client.hvals(name))

    def calls(self) -> dict[str, dict[str, str]]:
        """What the store has of each call, by CallSid."""
        client = redis.Redis(unix_socket_path=str(self.store.socket), decode_responses=True)
        with client:
            names = [str(name) for name in client.keys("{pb}:c:*")]
            return {name.rpartition(":")[2]: _fields(client.hgetall(name)) for name in names}

    def conversations(self) -> int:
        """Of how many calls the store has what was said."""
        client = redis.Redis(unix_socket_path=str(self.store.socket))
        with client:
            return len(list(client.scan_iter("{pb}:t:*")))

    def said(self) -> list[CallSnapshot]:
        """What the store has of each conversation."""
        ring, client = KeyRing([base64.b64decode(KEY)]), redis.Redis(unix_socket_path=str(self.store.socket))
        with client:
            kept: dict[str, Any] = {key.decode(): client.get(key) for key in client.scan_iter("{pb}:t:*")}
        plain = [ring.open(key.removeprefix("{pb}:"), blob) for key, blob in kept.items() if blob is not None]
        return [msgspec.json.decode(one, type=CallSnapshot) for one in plain if one is not None]

    def recordings(self, name: str) -> list[Path]:
        """Those of that machine."""
        return sorted(self.folder.glob(f"{name}-*/recordings/*.call.jsonl"))


def _fields(found: Any) -> dict[str, str]:
    return {str(name): str(value) for name, value in found.items()}


@contextlib.asynccontextmanager
async def machines(mind: Agent, folder: Path, **model: Any) -> AsyncIterator[Machines]:
    """A store, a balancer and a model while the block runs; machines are started by the test."""
    needed()
    store = await asyncio.to_thread(RedisServer().start)
    try:
        async with site(mind, folder, **model) as here:
            found = Machines(here, store, folder)
            try:
                yield found
            except BaseException:
                for one in found.started:
                    sys.stdout.write("\n".join([*one.said, *one.logged, ""]))  # beside the failure
                raise
    finally:
        await asyncio.to_thread(store.remove)


def loud_at_ms(call: PhoneCall, number: int) -> int | None:
    """When that stream was first heard to be loud, in milliseconds of the call; None if not yet. By loudness
    alone, each 20 ms.
    """
    if not 0 <= number < len(call.streams):
        return None
    at_ms, _ = call.streams[number]
    heard = phone(call, number).heard
    for start in range(0, len(heard), FRAME_BYTES):
        if is_loud(heard[start : start + FRAME_BYTES]):
            return at_ms + start // 8
    return None


def over_at_ms(call: PhoneCall) -> int:
    """When the call's first stream was over."""
    return next(step.at_ms for step in call.steps if step.kind is Kind.STREAM_OVER)
