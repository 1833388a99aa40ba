"""One HTTP connection without a socket: the server's protocol, a transport that keeps what is written, and an
application that says what it was asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from bridge.sockets.http_protocol import BoundedHttpProtocol
from bridge.sockets.strangers import Strangers
from bridge.sockets.uvicorn import UVICORN_PROTOCOLS


def answering_after(gate: asyncio.Event) -> Any:
    """An application that has read the request and answers it when the gate opens."""

    async def slow(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await gate.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    return slow


class Wire(asyncio.Transport):
    """The transport. `answered` is what has been written; `open` until somebody has closed it."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__({"peername": (host, 40_000), "sockname": ("127.0.0.1", 80)})
        self.protocol: Any = None
        self.answered = b""
        self.open = True
        self.aborted = False
        self.lost = False
        self.reading = True
        self.wrote_eof = False
        self.stuck = False
        """Nothing that is written is taken any more."""

    def says(self, data: bytes) -> None:
        """The peer sends; nothing arrives while the server does not read, or has closed."""
        if self.reading and self.open:
            self.protocol.data_received(data)

    def get_protocol(self) -> Any:
        return self.protocol

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def write(self, data: Any) -> None:
        if self.open:
            self.answered += bytes(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.wrote_eof = True

    def is_closing(self) -> bool:
        return not self.open

    def close(self) -> None:
        if self.open:
            self.open = False
            if not self.stuck:
                self._lose()

    def abort(self) -> None:
        self.open = False
        self.aborted = True
        self._lose()

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return 0

    def _lose(self) -> None:
        if not self.lost:
            self.lost = True
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        self.protocol.connection_lost(None)
        self.protocol = None


class Site:
    """A server of `app` on wires; without one it answers 200, and with the body it got. `asked` are its
    scopes, with the bodies.
    """

    def __init__(self, app: Callable[..., Any] | None = None) -> None:
        self.asked: list[tuple[dict[str, Any], bytes]] = []
        self.config = uvicorn.Config(
            app or self._echo, **UVICORN_PROTOCOLS, interface="asgi3", lifespan="off", log_config=None
        )
        self.config.load()
        self.state = ServerState()
        self.strangers = Strangers()
        vars(self.state)["strangers"] = self.strangers

    def connect(self, host: str = "127.0.0.1") -> Wire:
        wire = Wire(host)
        wire.protocol = BoundedHttpProtocol(self.config, self.state, {})
        wire.protocol.connection_made(wire)
        return wire

    async def answer(self, *pieces: bytes) -> bytes:
        """What a connection of its own gets to hear."""
        wire = self.connect()
        for piece in pieces:
            wire.says(piece)
        await settled()
        wire.abort()
        await settled()
        return wire.answered

    async def _echo(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        event = await receive()
        assert not event["more_body"]
        self.asked.append((scope, event["body"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"<" + event["body"][:100] + b">"})


async def settled() -> None:
    """Until everything that was begun is done, but for what waits for a later moment."""
    for _ in range(12):
        await asyncio.sleep(0)


def statuses(answered: bytes) -> list[int]:
    return [int(piece.split(b" ", 1)[0]) for piece in answered.split(b"HTTP/1.1 ")[1:]]
