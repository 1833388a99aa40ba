"""The second vendor is no better than the first, in each way that a real socket has."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import websockets
from websockets.asyncio.server import ServerConnection, serve

from bridge.doubles.options import ServerOptions
from bridge.simulators.servers import EmbeddedUpstream
from tests.calls import KeepingServer, bridge, hang_up, within
from tests.hostile.test_failover_sockets import Talker, loud

pytestmark = pytest.mark.hostile

NONSENSE = (
    "", "{", "[]", "null", "7", '"session.created"', "{}", '{"type":7}', '{"type":null}', b"\x00\xff" * 40,
    '{"type":"session.created"}', '{"type":"session.created","session":[]}',
    '{"type":"session.updated","session":7}', '{"type":"error"}', '{"type":"error","error":"no"}',
    '{"type":"response.output_audio.delta","delta":"%%%"}', "[" * 5000,
)  # fmt: skip


async def nothing(socket: ServerConnection) -> None:
    await socket.wait_closed()


async def nonsense(socket: ServerConnection) -> None:
    while True:
        for frame in NONSENSE:
            await socket.send(frame)
        await asyncio.sleep(0.02)


async def leaves(socket: ServerConnection) -> None:
    session = {"type": "realtime", "audio": {}}
    await socket.send(json.dumps({"type": "session.created", "event_id": "a", "session": session}))
    await socket.close(1011, "no")


async def refuses(socket: ServerConnection) -> None:
    error = {"type": "invalid_request_error", "code": "model_not_found", "message": "no"}
    await socket.send(json.dumps({"type": "error", "event_id": "e", "error": error}))
    await socket.wait_closed()


async def floods(socket: ServerConnection) -> None:
    while True:
        await socket.send(json.dumps({"type": "response.mood.updated", "x": "y" * 60_000}))


@asynccontextmanager
async def websocket(act: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[str]:
    async def run(socket: ServerConnection) -> None:
        with suppress(websockets.ConnectionClosed):
            await act(socket)

    async with serve(run, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/realtime"


@asynccontextmanager
async def half_open(_act: object) -> AsyncIterator[str]:
    async def run(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(30)
        finally:
            writer.close()

    server = await asyncio.start_server(run, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/realtime"
    finally:
        server.close()


@asynccontextmanager
async def http(_act: object) -> AsyncIterator[str]:
    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 429 Too Many\r\nretry-after: 3600\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(run, "127.0.0.1", 0)
    async with server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/realtime"


KINDS: dict[str, tuple[Any, Any]] = {
    "half open": (half_open, None),
    "429 for an hour": (http, None),
    "nothing": (websocket, nothing),
    "nonsense": (websocket, nonsense),
    "leaves": (websocket, leaves),
    "refuses": (websocket, refuses),
    "floods": (websocket, floods),
}


@pytest.mark.parametrize("kind", list(KINDS))
async def test_the_third_is_heard_where_the_second_is_no_good(kind: str) -> None:
    place, act = KINDS[kind]
    third = EmbeddedUpstream(lambda: KeepingServer(Talker(700), ServerOptions(latency_ms=50)))
    async with place(act) as bad, third.serve() as url:
        given = {"failover": f"embedded@{bad},embedded@{url}"}
        async with bridge(Talker(440), given=given, config={"greeting": "Hello."}) as house:
            call = await house.call()
            await within(8, lambda: loud(call))
            began_s = time.monotonic()
            house.lose_model(1006)
            await within(1, lambda: not loud(call))
            await within(8, lambda: len(third.sessions) == 1 and loud(call))
            assert time.monotonic() - began_s < 5
            hang_up(call)
            await within(6, lambda: len(house.log.ended) == 1)
