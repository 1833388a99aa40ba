"""The carrier's websocket under uvicorn and Starlette: the same calls directly and over plain ASGI."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK, InvalidStatus

from bridge.sockets.asgi import AsgiSocket
from bridge.sockets.frames import FrameCodec, Message
from bridge.sockets.limits import CARRIER_LIMITS, Limits, bound_kernel
from bridge.sockets.stream import StreamSocket
from bridge.sockets.uvicorn import EXTENSION, UVICORN_PROTOCOLS, DirectProtocol, take_socket
from tests.loops import Census, Run, both_loops, until

Endpoint = Callable[[WebSocket], Awaitable[None]]
Leg = StreamSocket | AsgiSocket

PLAIN: dict[str, Any] = {"ws": "websockets-sansio"}
"""uvicorn as it comes: no extension, so the same call runs over ASGI."""


@pytest.fixture(params=["direct", "plain"])
def protocols(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"direct": UVICORN_PROTOCOLS, "plain": PLAIN}[request.param]


@contextlib.asynccontextmanager
async def serving(
    endpoint: Endpoint, protocols: dict[str, Any] = UVICORN_PROTOCOLS, **options: Any
) -> AsyncIterator[tuple[uvicorn.Server, int]]:
    listening = socket.create_server(("127.0.0.1", 0))
    bound_kernel(listening)
    app = Starlette(routes=[WebSocketRoute("/media-stream", endpoint)])
    options = {"ws_max_size": 64 * 1024, "ws_per_message_deflate": False, **options, **protocols}
    config = uvicorn.Config(app, lifespan="off", log_config=None, **options)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup([listening])
    try:
        yield server, listening.getsockname()[1]
    finally:
        await server.shutdown([listening])


def phone(port: int, **options: Any) -> connect:
    return connect(f"ws://127.0.0.1:{port}/media-stream", compression=None, **options)


class Calls:
    """An application whose calls echo what they hear, and which remembers how they went."""

    def __init__(self, *, stay: bool = True, late: float = 0, limits: Limits | None = None) -> None:
        self.stay = stay
        self.limits = limits
        self.late = late
        self.legs: list[Leg] = []
        self.heard: list[Message] = []
        self.ends: list[tuple[int, str]] = []

    async def endpoint(self, websocket: WebSocket) -> None:
        await websocket.accept()
        if self.late:
            await asyncio.sleep(self.late)
        leg = take_socket(websocket, self.limits)
        self.legs.append(leg)

        def frame(said: Message) -> None:
            self.heard.append(said)
            if said == "hang up":
                leg.close(1000, "as you wish")
            elif said == "fail":
                raise ZeroDivisionError
            else:
                leg.send(said)

        leg.start(frame, lambda code, reason: self.ends.append((code, reason)))
        if self.stay:
            await leg.released()


# --- the same on both paths


@both_loops
async def test_a_call_and_the_caller_hangs_up(protocols: dict[str, Any]) -> None:
    calls = Calls()
    async with serving(calls.endpoint, protocols) as (server, port):
        async with phone(port) as caller:
            for word in ("one", "µ" * 300, b"\x02", "x" * 60_000):
                await caller.send(word)
                assert await caller.recv() == word
            [leg] = calls.legs
            assert isinstance(leg, StreamSocket if protocols is UVICORN_PROTOCOLS else AsgiSocket)
            assert leg.outbox_bytes == 0
            await caller.send(iter(["in ", "fragments"]))
            assert await caller.recv() == "in fragments"
            await (await caller.ping())
            await caller.close(1001, "gone home")
        await until(lambda: calls.ends != [])
        assert calls.ends == [(1001, "gone home")]
        leg.send("into the void")
        leg.close()
        await leg.released()
        await until(lambda: not server.server_state.tasks)
        assert not server.server_state.connections
        assert calls.ends == [(1001, "gone home")]


@both_loops
async def test_we_hang_up(protocols: dict[str, Any]) -> None:
    calls = Calls()
    async with serving(calls.endpoint, protocols) as (_, port), phone(port) as caller:
        await caller.send("hello")
        await caller.send("hang up")
        await caller.send("one more")
        assert await caller.recv() == "hello"
        with pytest.raises(ConnectionClosedOK) as closed:
            await caller.recv()
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1000, "as you wish")  # type: ignore[union-attr]
        await until(lambda: calls.ends != [])
        assert calls.ends == [(1000, "as you wish")]
        assert calls.heard == ["hello", "hang up"]


def test_an_owner_that_raises(run: Run, protocols: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)

    async def main() -> None:
        calls = Calls()
        async with serving(calls.endpoint, protocols) as (_, port):
            async with phone(port) as caller, phone(port) as other:
                await caller.send("fail")
                with pytest.raises(ConnectionClosedError) as closed:
                    await caller.recv()
                assert closed.value.rcvd.code == 1011  # type: ignore[union-attr]
                await other.send("nobody else noticed")
                assert await other.recv() == "nobody else noticed"
            await until(lambda: len(calls.ends) == 2)
            assert calls.ends == [(1011, "internal error"), (1000, "")]

    run(main())
    assert [record.message for record in caplog.records] == [
        "the receiver of a frame failed; its socket closes with 1011"
    ]


@both_loops
async def test_a_megabyte_in_one_frame_is_refused(protocols: dict[str, Any]) -> None:
    calls = Calls()
    async with serving(calls.endpoint, protocols) as (_, port), phone(port) as caller:
        with contextlib.suppress(ConnectionClosed):
            await caller.send("x" * 1_000_000)
        with pytest.raises(ConnectionClosedError) as closed:
            await caller.recv()
        assert closed.value.rcvd.code == 1009  # type: ignore[union-attr]
        await until(lambda: calls.ends != [])
        [(code, _)] = calls.ends
        assert code == 1009
        assert calls.heard == []


@both_loops
async def test_a_caller_that_vanishes(protocols: dict[str, Any]) -> None:
    calls = Calls()
    async with serving(calls.endpoint, protocols) as (server, port):
        async with phone(port) as caller:
            await until(lambda: calls.legs != [])
            caller.transport.abort()
        await until(lambda: calls.ends != [])
        [(code, _)] = calls.ends
        assert code in (1005, 1006)  # what uvicorn calls it over ASGI is its own affair
        await calls.legs[0].released()
        await until(lambda: not server.server_state.tasks)


@both_loops
async def test_a_caller_that_never_reads(protocols: dict[str, Any]) -> None:
    calls = Calls()
    async with serving(calls.endpoint, protocols) as (server, port):
        caller = await phone(port)
        caller.transport.pause_reading()
        await until(lambda: calls.legs != [])
        [leg] = calls.legs
        most = 0
        while not calls.ends:
            leg.send("x" * 20_000)
            most = max(most, leg.outbox_bytes)
            await asyncio.sleep(0)
        assert calls.ends == [(1006, "outbox full")]
        assert 500_000 < most <= 1 << 20
        assert leg.outbox_bytes == 0
        await leg.released()
        await until(lambda: not server.server_state.tasks)
        caller.transport.abort()
        await caller.wait_closed()


@both_loops
async def test_a_caller_that_is_dead_when_we_hang_up(protocols: dict[str, Any]) -> None:
    calls = Calls(limits=replace(CARRIER_LIMITS, close_timeout_s=0.1))
    async with serving(calls.endpoint, protocols) as (_, port):
        caller = await phone(port)
        caller.transport.pause_reading()
        await until(lambda: calls.legs != [])
        [leg] = calls.legs
        for _ in range(50):
            leg.send("x" * 20_000)
        began = asyncio.get_running_loop().time()
        leg.close()
        await leg.released()
        assert 0.05 < asyncio.get_running_loop().time() - began < 0.5
        assert calls.ends == [(1006, "the close handshake timed out")]
        caller.transport.abort()
        await caller.wait_closed()


@both_loops
async def test_frames_sent_right_behind_the_handshake_wait_for_the_endpoint(
    protocols: dict[str, Any],
) -> None:
    calls = Calls(late=0.05)
    async with serving(calls.endpoint, protocols) as (_, port), phone(port) as caller:
        await caller.send("connected")
        await caller.send("start")
        assert [await caller.recv(), await caller.recv()] == ["connected", "start"]


# --- the test client


def test_the_same_call_in_starlettes_test_client() -> None:
    calls = Calls()
    client = TestClient(Starlette(routes=[WebSocketRoute("/media-stream", calls.endpoint)]))
    with client.websocket_connect("/media-stream") as caller:
        caller.send_text("hello")
        assert caller.receive_text() == "hello"
        caller.send_bytes(b"\x00")
        assert caller.receive_bytes() == b"\x00"
        caller.send_text("hang up")
        with pytest.raises(WebSocketDisconnect) as closed:
            caller.receive_text()
        assert (closed.value.code, closed.value.reason) == (1000, "as you wish")
    assert calls.ends == [(1000, "as you wish")]
    with client.websocket_connect("/media-stream") as caller:
        caller.send_text("x" * 100_000)
        with pytest.raises(WebSocketDisconnect) as closed:
            caller.receive_text()
        assert closed.value.code == 1009
    assert calls.ends[1:] == [(1009, "message over 65536 bytes")]
    with client.websocket_connect("/media-stream") as caller:
        caller.close(1001, "bye")
    assert calls.ends[2:] == [(1001, "bye")]


# --- the direct path alone


UPGRADE = (
    b"GET /media-stream HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def by_hand(port: int, *segments: bytes, expect: list[Message]) -> None:
    """A phone that writes these segments, one by one, and hears its echo."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for segment in segments:
        writer.write(segment)
        await asyncio.sleep(0.02)
    assert b" 101 " in (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0]
    codec = FrameCodec(server=False, max_size_bytes=1 << 20)
    heard: list[Message] = []
    while len(heard) < len(expect):
        data = await reader.read(65536)
        assert data, f"closed after {heard}"
        heard += codec.receive(data)
    assert heard == expect
    writer.write(codec.encode_close(1000))
    assert await reader.read() == b"\x88\x02\x03\xe8"
    writer.close()
    await writer.wait_closed()


@both_loops
async def test_frames_in_one_segment_with_the_request_are_not_lost() -> None:
    codec = FrameCodec(server=False, max_size_bytes=1 << 20)
    frames = codec.encode("connected") + codec.encode("start" * 50)
    words: list[Message] = ["connected", "start" * 50]
    half = len(UPGRADE) // 2

    calls = Calls()
    async with serving(calls.endpoint) as (_, port):
        await by_hand(port, UPGRADE + frames, expect=words)
        await by_hand(port, UPGRADE + frames[:7], frames[7:], expect=words)
        await by_hand(port, UPGRADE, frames, expect=words)
        await by_hand(port, UPGRADE[:half], UPGRADE[half:] + frames[:50], frames[50:], expect=words)
        await by_hand(port, UPGRADE[:-1], UPGRADE[-1:] + frames[:1], frames[1:], expect=words)
        await until(lambda: len(calls.ends) == 5)
        assert calls.ends == [(1000, "")] * 5


@both_loops
async def test_a_peer_that_floods_before_it_is_accepted_is_made_to_wait_and_loses_nothing() -> None:
    codec = FrameCodec(server=False, max_size_bytes=1 << 20)
    words: list[Message] = [f"{n}" * 5000 for n in range(10, 100)]
    stream = b"".join(codec.encode(word) for word in words)

    calls = Calls(late=0.1)
    async with serving(calls.endpoint) as (_, port):
        await by_hand(port, UPGRADE, stream, expect=words)


@both_loops
async def test_the_hand_over_leaves_nothing_behind() -> None:
    made: list[weakref.ref[Any]] = []

    class Watched(DirectProtocol):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(weakref.ref(self))

    calls = Calls(stay=False)
    http = UVICORN_PROTOCOLS["http"]
    async with serving(calls.endpoint, {"ws": Watched, "http": http}) as (server, port):
        before = asyncio.all_tasks()
        census = Census("ServerProtocol", http.__name__, "HttpRequestParser", "WebSocket")
        gc.disable()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
            await until(lambda: calls.legs != [])
            await until(lambda: asyncio.all_tasks() == before)
            [protocol] = made
            assert protocol() is None
            assert census.new() == []
        finally:
            gc.enable()
        assert not server.server_state.tasks
        assert not server.server_state.connections
        # The endpoint has returned; the call goes on all the same.
        codec = FrameCodec(server=False, max_size_bytes=1 << 20)
        writer.write(codec.encode("still here"))
        assert codec.receive(await reader.read(100)) == ["still here"]
        writer.close()
        await writer.wait_closed()
        await calls.legs[0].released()
        assert calls.ends == [(1006, "the peer left without a close frame")]


@both_loops
async def test_a_socket_that_stays_leaves_nothing_of_the_library_either() -> None:
    calls = Calls()
    census = Census("ServerProtocol", "HttpRequestParser")
    async with serving(calls.endpoint) as (server, port), phone(port) as caller:
        await caller.send("hello")
        await caller.recv()
        assert census.new() == []
        assert not server.server_state.connections
        assert len(server.server_state.tasks) == 1  # the endpoint, which wants to stay


@both_loops
async def test_a_shutdown_leaves_a_taken_socket_to_its_owner() -> None:
    calls = Calls(stay=False)
    async with serving(calls.endpoint) as (server, port):
        caller = await phone(port)
        await until(lambda: calls.legs != [])
        shutdown = asyncio.create_task(server.shutdown())
        await asyncio.sleep(0.15)  # it has told every connection of its own to close
        await caller.send("the server is going")
        assert await caller.recv() == "the server is going"
        calls.legs[0].close(1001)
        await caller.wait_closed()
        await shutdown  # since Python 3.12 it waits for us, if the loop is asyncio's
        assert calls.ends == [(1001, "")]


@both_loops
async def test_an_endpoint_that_returns_without_starting_its_socket() -> None:
    async def forgetful(websocket: WebSocket) -> None:
        await websocket.accept()
        take_socket(websocket)

    async with serving(forgetful) as (_, port), phone(port) as caller:
        with pytest.raises(ConnectionClosedError) as closed:
            await caller.recv()
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1011, "no answer")  # type: ignore[union-attr]


def test_an_endpoint_that_raises_after_the_hand_over_does_not_end_the_call(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        calls = Calls(stay=False)

        async def clumsy(websocket: WebSocket) -> None:
            await calls.endpoint(websocket)
            raise ZeroDivisionError

        async with serving(clumsy) as (_, port), phone(port) as caller:
            await caller.send("hello")
            assert await caller.recv() == "hello"

    run(main())
    assert "Exception in ASGI application\n" in [record.message for record in caplog.records]


@both_loops
async def test_the_websocket_is_of_no_use_after_the_hand_over() -> None:
    seen: list[str] = []

    async def greedy(websocket: WebSocket) -> None:
        await websocket.accept()
        leg = take_socket(websocket)
        leg.start(lambda _frame: None, lambda _code, _reason: None)
        assert EXTENSION not in websocket.scope["extensions"]
        with pytest.raises(WebSocketDisconnect):
            await websocket.send_text("over the other way")
        seen.append((await websocket.receive())["type"])
        await leg.released()

    async with serving(greedy) as (_, port):
        async with phone(port) as caller:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await caller.recv()
        await until(lambda: seen == ["websocket.disconnect"])


def test_the_servers_own_limit_is_the_sockets_limit(run: Run) -> None:
    async def main() -> None:
        calls = Calls()
        async with serving(calls.endpoint, ws_max_size=300_000) as (_, port), phone(port) as caller:
            await caller.send("x" * 300_000)
            assert len(await caller.recv()) == 300_000

    run(main())
    assert CARRIER_LIMITS.max_size_bytes == 64 * 1024


@both_loops
async def test_compression_that_was_agreed_on_means_plain_asgi() -> None:
    calls = Calls()
    async with (
        serving(calls.endpoint, ws_per_message_deflate=True) as (_, port),
        connect(f"ws://127.0.0.1:{port}/media-stream") as caller,
    ):
        await caller.send("hello" * 100)
        assert await caller.recv() == "hello" * 100
        assert isinstance(calls.legs[0], AsgiSocket)


# --- an application's other websockets, on the same server


@both_loops
async def test_an_endpoint_that_never_heard_of_us() -> None:
    async def ordinary(websocket: WebSocket) -> None:
        await websocket.accept(subprotocol="chat")
        await asyncio.sleep(0.02)
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                await websocket.send_text((await websocket.receive_text()).upper())

    async with serving(ordinary) as (server, port):
        async with phone(port, subprotocols=["chat"]) as caller:
            assert caller.subprotocol == "chat"
            for word in ("one", "two", "three"):
                await caller.send(word)
            assert [await caller.recv() for _ in range(3)] == ["ONE", "TWO", "THREE"]
            await (await caller.ping())
        await until(lambda: not server.server_state.tasks)
        assert not server.server_state.connections


@both_loops
async def test_an_endpoint_that_waits_for_a_frame_before_it_accepts() -> None:
    legs: list[Leg] = []

    async def eager(websocket: WebSocket) -> None:
        await websocket.receive()
        first = asyncio.create_task(websocket.receive())
        await asyncio.sleep(0)
        await websocket.accept()
        await websocket.send_text((await first)["text"])
        legs.append(take_socket(websocket))
        legs[0].start(legs[0].send, lambda _code, _reason: None)
        await legs[0].released()

    async with serving(eager) as (_, port), phone(port) as caller:
        await caller.send("one")
        assert await caller.recv() == "one"
        await caller.send("two")
        assert await caller.recv() == "two"
        assert isinstance(legs[0], AsgiSocket)


@both_loops
async def test_an_endpoint_that_only_speaks_still_has_a_living_peer() -> None:
    async def monologue(websocket: WebSocket) -> None:
        await websocket.accept()
        await asyncio.sleep(0.15)
        await websocket.send_text("well")
        await websocket.close(1000)

    options = {"ws_ping_interval": 0.02, "ws_ping_timeout": 0.05}
    async with serving(monologue, **options) as (_, port), phone(port) as caller:  # type: ignore[arg-type]
        assert await caller.recv() == "well"


@both_loops
async def test_a_refusal_before_accepting() -> None:
    async def closed_door(websocket: WebSocket) -> None:
        await websocket.close()

    async with serving(closed_door) as (server, port):
        with pytest.raises(InvalidStatus) as refused:
            await phone(port)
        assert refused.value.response.status_code == 403
        await until(lambda: not server.server_state.connections)


@both_loops
async def test_a_caller_that_hangs_up_before_it_is_accepted() -> None:
    calls = Calls()

    async def slow(websocket: WebSocket) -> None:
        await asyncio.sleep(0.05)
        await calls.endpoint(websocket)

    async with serving(slow) as (server, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(UPGRADE)
        await asyncio.sleep(0.01)
        writer.transport.abort()
        await asyncio.sleep(0.06)
        await until(lambda: not server.server_state.tasks)
        assert not server.server_state.connections


@both_loops
async def test_a_caller_that_hangs_up_between_accepting_and_taking() -> None:
    calls = Calls(late=0.05)
    async with serving(calls.endpoint) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()
        await until(lambda: calls.ends != [])
        await until(lambda: not server.server_state.tasks)
        assert not server.server_state.connections


@both_loops
async def test_a_server_without_our_protocol_gets_plain_sockets() -> None:
    calls = Calls()
    async with serving(calls.endpoint, {"ws": "websockets-sansio", "http": "h11"}) as (_, port):
        async with phone(port) as caller:
            await caller.send("hello")
            assert await caller.recv() == "hello"
        assert isinstance(calls.legs[0], AsgiSocket)


# --- what is refused, over real sockets


@both_loops
@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 3_000_000, 431),
        (b"POST / HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n" + b"a" * 3_000_000, 413),
    ],
    ids=lambda given: str(given) if isinstance(given, int) else "",
)
async def test_a_refusal_reaches_a_peer_that_is_still_sending(said: bytes, status: int) -> None:
    """Closing over unread bytes resets a connection, and an answer on its way may be lost with it."""

    async with serving(Calls().endpoint) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        assert (await reader.readline()).split()[1] == str(status).encode()
        writer.transport.abort()


@both_loops
async def test_a_connection_that_is_kept_is_used_again_and_a_half_closed_one_answered() -> None:
    async with serving(Calls().endpoint) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in range(3):
            writer.write(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
            if number == 2:
                writer.write_eof()
            assert b" 404 " in await reader.readline()
            await reader.readuntil(b"Not Found")
        assert await reader.read() == b""
        writer.close()
        await until(lambda: not server.server_state.connections)
