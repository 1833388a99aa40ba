"""Each implementation of `Claims`, and what a test does to its store behind its back."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

from redis.asyncio import Redis

from bridge.server.store.claims import Claims
from bridge.server.store.embedded_claims import EmbeddedClaims, _Call
from bridge.server.store.redis_claims import RedisClaims
from bridge.server.store.redis_connection import SOCKET_S, connect
from bridge.server.store.socket_claims import SocketClaims, answered


class Engine(Protocol):
    """One store."""

    async def connect(self) -> Claims:
        """Another process's way to it."""
        ...

    async def set_back(self, call_sid: str, machine: str, inst: str, epoch: int) -> None:
        """Later claims of that call are lost."""
        ...

    async def lose_all(self) -> None: ...

    async def lapse(self, machine: str) -> None:
        """That machine's lease is over."""
        ...


class Embedded:
    def __init__(self) -> None:
        self.claims = EmbeddedClaims()

    async def connect(self) -> Claims:
        return self.claims

    async def set_back(self, call_sid: str, machine: str, inst: str, epoch: int) -> None:
        call = self.claims._calls.get(call_sid)
        assert isinstance(call, _Call)
        call.owner, call.inst, call.epoch, call.seq = machine, inst, epoch, 0

    async def lose_all(self) -> None:
        self.claims.__init__(self.claims._now_ms)  # type: ignore[misc]

    async def lapse(self, machine: str) -> None:
        self.claims._leases[machine].until_ms = self.claims._now_ms()


class OnSocket(Embedded):
    """The claims of a supervisor, as a worker reaches them: what is said goes through JSON."""

    async def connect(self) -> Claims:
        async def send(op: str, arguments: Sequence[Any]) -> Any:
            await asyncio.sleep(0)
            op, arguments = json.loads(json.dumps([op, arguments]))
            return json.loads(json.dumps(answered(self.claims, op, arguments)))

        return SocketClaims(send)


@asynccontextmanager
async def on_socket() -> AsyncIterator[Engine]:
    yield OnSocket()


@asynccontextmanager
async def embedded() -> AsyncIterator[Engine]:
    yield Embedded()


class OnRedis:
    """A prefix on a server, which others may use too."""

    def __init__(self, client: Redis, open_another: Callable[[], Redis]) -> None:
        self.client = client
        self.name = f"pb-{secrets.token_hex(6)}"
        self.prefix = f"{{{self.name}}}:"
        self.opened: list[RedisClaims] = []
        self._open_another = open_another

    async def connect(self) -> Claims:
        self.opened.append(RedisClaims(self._open_another(), self.name))
        return self.opened[-1]

    async def set_back(self, call_sid: str, machine: str, inst: str, epoch: int) -> None:
        mapping: Any = {"owner": machine, "inst": inst, "epoch": epoch, "seq": 0}
        await self.client.hset(f"{self.prefix}c:{call_sid}", mapping=mapping)

    async def lose_all(self) -> None:
        found = [key async for key in self.client.scan_iter(f"{self.prefix}*")]
        if found:
            await self.client.delete(*found)

    async def lapse(self, machine: str) -> None:
        seconds, micros = await self.client.time()
        await self.client.zadd(f"{self.prefix}ms", {machine: seconds * 1000 + micros // 1000})

    async def close(self) -> None:
        await self.lose_all()
        for claims in self.opened:
            await claims.close()
        await self.client.aclose()


def on_redis(url: str, socket_s: float = SOCKET_S) -> Opened:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Engine]:
        engine = OnRedis(connect(url, socket_s=socket_s), lambda: connect(url, socket_s=socket_s))
        try:
            yield engine
        finally:
            await engine.close()

    return opened


@asynccontextmanager
async def on_fakeredis() -> AsyncIterator[Engine]:
    """The scripts as they are, in an interpreter of Lua, and a server in Python."""
    import fakeredis

    server = fakeredis.FakeServer(version=(7, 0))

    def client() -> Redis:
        fake: Redis = fakeredis.FakeAsyncRedis(server=server, protocol=2)
        return fake

    engine = OnRedis(client(), client)
    try:
        yield engine
    finally:
        await engine.close()


Opened = Callable[[], AbstractAsyncContextManager[Engine]]
ENGINES: dict[str, Opened] = {"embedded": embedded, "socket": on_socket, "fakeredis": on_fakeredis}
"""Those that need no server; others add theirs here."""
