"""A socket over plain ASGI under servers that misbehave; under good ones it is tested in test_direct.py."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.websockets import WebSocket

from bridge.sockets.asgi import AsgiSocket
from bridge.sockets.keepalive import running_tick
from bridge.sockets.limits import CARRIER_LIMITS, Quota
from tests.loops import Owner, until

Sender = Callable[[dict[str, Any]], Awaitable[None]]


class Server:
    """The far side of an ASGI websocket: what it hands in, and what it was sent."""

    def __init__(self, send: Sender | None = None) -> None:
        self.inbox: asyncio.Queue[dict[str, Any] | Exception] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self._send_hook = send
        self.inbox.put_nowait({"type": "websocket.connect"})

    async def receive(self) -> dict[str, Any]:
        message = await self.inbox.get()
        if isinstance(message, Exception):
            raise message
        return message

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] != "websocket.accept" and self._send_hook is not None:
            await self._send_hook(message)
        self.sent.append(message)

    async def socket(self) -> AsgiSocket:
        websocket = WebSocket({"type": "websocket"}, self.receive, self.send)  # type: ignore[arg-type]
        await websocket.accept()
        return AsgiSocket(websocket)

    def says(self, text: str) -> None:
        self.inbox.put_nowait({"type": "websocket.receive", "text": text})


def nothing_left() -> bool:
    return asyncio.all_tasks() == {asyncio.current_task()} and running_tick()._timer is None


async def test_frames_sent_before_the_start_go_out_and_an_end_before_it_is_told_then() -> None:
    server = Server()
    leg = await server.socket()
    leg.send("early")
    leg.close(1008, "not you")
    await leg.released()
    owner = Owner()
    leg.start(owner.frame, owner.closed)
    assert owner.ends == [(1008, "not you")]
    assert [message["type"] for message in server.sent[1:]] == ["websocket.send", "websocket.close"]
    assert nothing_left()


async def test_a_socket_is_handed_on_from_within_a_callback() -> None:
    server = Server()
    leg = await server.socket()
    first, second = Owner(), Owner()

    def start(frame: str | bytes) -> None:
        first.frame(frame)
        leg.start(second.frame, second.closed)

    leg.start(start, first.closed)
    server.says("start")
    server.says("media")
    server.inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})
    await leg.released()
    assert (first.heard, first.ends) == (["start"], [])
    assert (second.heard, second.ends) == (["media"], [(1000, "")])
    assert nothing_left()


@pytest.mark.parametrize("half", ["receive", "send"])
@pytest.mark.parametrize("error", [RuntimeError("a bug of the server's"), ConnectionResetError()])
def test_a_server_that_raises(half: str, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def broken(_message: dict[str, Any]) -> None:
            raise error

        server = Server(broken if half == "send" else None)
        leg = await server.socket()
        owner = Owner()
        leg.start(owner.frame, owner.closed)
        if half == "receive":
            server.inbox.put_nowait(error)
        else:
            leg.send("hello")
        await leg.released()
        assert owner.ends == [(1006, "the connection was lost")]
        assert nothing_left()

    asyncio.run(main())
    logged = [record.levelno for record in caplog.records]
    assert logged == ([logging.ERROR] if isinstance(error, RuntimeError) else [])


async def test_a_server_that_cancels_its_endpoint() -> None:
    server = Server()
    leg = await server.socket()
    owner = Owner()
    leg.start(owner.frame, owner.closed)
    endpoint = asyncio.create_task(leg.released())
    await asyncio.sleep(0)
    endpoint.cancel()
    with pytest.raises(asyncio.CancelledError):
        await endpoint
    assert owner.ends == [(1006, "the server ended the connection")]
    await until(nothing_left)


async def test_an_outbox_that_is_full_is_told_after_the_call() -> None:
    async def stuck(_message: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    leg = await Server(stuck).socket()
    owner = Owner()
    leg.start(owner.frame, owner.closed)
    leg.send("x" * CARRIER_LIMITS.max_outbox_bytes)
    assert leg.outbox_bytes == CARRIER_LIMITS.max_outbox_bytes
    leg.send("y")
    assert owner.ends == []
    await leg.released()
    assert owner.ends == [(1006, "outbox full")]
    assert leg.gave_up
    assert nothing_left()


async def test_a_server_with_much_to_hand_in_keeps_nobody_else_waiting() -> None:
    """Its queue is never empty, so reading it never gives way by itself."""

    server = Server()
    leg = await server.socket()
    owner = Owner()
    frames = [str(number) for number in range(1_000)]
    for frame in frames:
        server.says(frame)
    leg.start(owner.frame, owner.closed)
    rounds: list[int] = []
    while len(owner.heard) < len(frames):
        await asyncio.sleep(0)
        rounds.append(len(owner.heard))
    steps = [later - sooner for sooner, later in itertools.pairwise([0, *rounds])]
    assert max(steps) <= 64
    assert owner.heard == frames
    leg.close()
    await leg.released()
    assert nothing_left()


@pytest.mark.parametrize(
    ("text", "number", "why"),
    [
        ("", 201, "more than 200 frames before it was let in"),
        ("x" * 1_000, 66, "too many bytes before it was let in"),
    ],
)
async def test_frames_are_counted_until_the_peer_is_let_in(text: str, number: int, why: str) -> None:
    server = Server()
    leg = await server.socket()
    owner = Owner()
    leg.start(owner.frame, owner.closed, Quota(200, 65_536, 50))
    for _ in range(number):
        server.says(text)
    await leg.released()
    assert len(owner.heard) == number - 1
    assert owner.ends == [(1008, why)]
    assert leg.gave_up
    assert server.sent[-1]["code"] == 1008
    assert nothing_left()


async def test_a_socket_on_hold_keeps_what_comes_for_the_next_owner() -> None:
    server = Server()
    leg = await server.socket()
    first, second = Owner(), Owner()

    def start(frame: str | bytes) -> None:
        first.frame(frame)
        leg.hold()

    leg.start(start, first.closed, Quota(2, 100, 2))
    for frame in ("start", "media", "media", "media"):
        server.says(frame)
    for _ in range(10):
        await asyncio.sleep(0)
    assert first.heard == ["start"]
    leg.start(second.frame, second.closed)
    await until(lambda: len(second.heard) == 3)
    leg.hold()
    leg.close()
    await leg.released()
    assert nothing_left()


def test_an_owner_that_raises_at_the_end_and_a_code_that_cannot_be_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        server = Server()
        leg = await server.socket()

        def broken(_code: int, _reason: str) -> None:
            raise ZeroDivisionError

        leg.start(Owner().frame, broken)
        with pytest.raises(ValueError):
            leg.close(1006)
        leg.close()
        await leg.released()
        assert nothing_left()

    asyncio.run(main())
    assert [record.message for record in caplog.records] == ["the receiver of a socket's end failed"]
