"""The carrier's fast path: uvicorn and Starlette open the websocket, then we take its transport over.

Give uvicorn our protocol classes, ``uvicorn.Config(app, **UVICORN_PROTOCOLS)``. Starlette routes, checks and
accepts as ever; then the endpoint takes the socket::

    await websocket.accept()
    socket = take_socket(websocket)
    ...
    await socket.released()

Where the transport is ours, nothing of the server's is left on it, and it is not among the server's
connections: a shutdown does not close it. It may wait for it, as asyncio's servers do since Python 3.12
(uvicorn bounds that by ``timeout_graceful_shutdown``), so the owner of a socket closes it first.

With `http_protocol.py` this is what knows uvicorn's insides (as of 0.54); `tests/test_direct.py` notices when
they move.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import cache
from typing import Any, Final, cast

from starlette.websockets import WebSocket
from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from bridge.sockets.asgi import AsgiSocket
from bridge.sockets.frames import INTERNAL_ERROR, NO_STATUS
from bridge.sockets.limits import CARRIER_LIMITS, Limits
from bridge.sockets.strangers import Stranger
from bridge.sockets.stream import StreamSocket

EXTENSION: Final = "phonebridge.socket"
"""Our entry in the ASGI scope's ``extensions``."""

_MAX_HELD_BYTES: Final = 64 * 1024


def take_socket(
    websocket: WebSocket, limits: Limits | None = None, *, stranger: bool = False
) -> StreamSocket | AsgiSocket:
    """The connection of a websocket that has just been accepted, as a socket that is the caller's alone.

    It runs over plain ASGI under another server, or if something was received or sent already. The endpoint
    may await :meth:`released`; on the direct path it may as well return, and must have started its socket
    before: one that was not started is closed with 1011. Without ``limits`` a carrier's hold, with uvicorn's
    ``ws_max_size`` on the direct path. Nothing may be received or sent through ``websocket`` any more.

    A ``stranger`` counts as one (see `strangers.py`) until :func:`admitted` says otherwise.
    """
    take = (websocket.scope.get("extensions") or {}).get(EXTENSION)
    direct: StreamSocket | None = None if take is None else take(limits, stranger)
    return AsgiSocket(websocket, limits=limits or CARRIER_LIMITS) if direct is None else direct


def admitted(socket: object) -> None:
    """The peer of a socket that was taken as a stranger's has proven itself: its place is its own."""
    if isinstance(socket, StreamSocket) and socket.stranger is not None:
        socket.stranger.leave()
        socket.stranger = None


@cache
def _limits_of(ws_max_size: int) -> Limits:
    return replace(CARRIER_LIMITS, max_size_bytes=ws_max_size)


class DirectProtocol(WebSocketsSansIOProtocol):
    """uvicorn's websocket protocol, which can give its connection away between accepting and reading.

    Until an endpoint decides, what the peer sends behind its request is kept as bytes: half a frame inside
    the library's parser could not be taken back.
    """

    _held: bytearray | None = None
    _holding = True
    _receiving = False
    _taken: StreamSocket | None = None
    stranger: Stranger | None = None
    """Its place among the strangers, from the HTTP protocol before it."""

    def take(self, limits: Limits | None = None, stranger: bool = False) -> StreamSocket | None:
        """Gives the transport to our own socket and keeps nothing of the connection; None if it can't."""
        if (
            not self.handshake_complete
            or not self._holding
            or self._taken is not None
            or self.initial_response is not None
            or self.close_sent
            or self.disconnected
            or self.transport.is_closing()
            or self.conn.extensions  # compression was agreed; our codec has none
        ):
            return None
        transport, held = self.transport, self._held
        self.stop_keepalive()
        self._taken = socket = StreamSocket(
            transport, server=True, limits=limits or _limits_of(self.config.ws_max_size)
        )
        transport.set_protocol(socket)
        if stranger:
            socket.stranger, self.stranger = self.stranger, None
        self._proven()
        self.connections.discard(self)
        if not self.writable.is_set():
            socket.pause_writing()
        # What uvicorn would do to the transport when the endpoint returns now happens to nothing.
        self.transport = _NO_TRANSPORT
        self.disconnected = True
        self.scope["extensions"].pop(EXTENSION, None)
        self.conn.parser.close()  # a generator that holds its owner: a cycle until the collector comes
        for name in ("_held", "conn", "frames", "queue", "request", "response", "scope"):
            self.__dict__.pop(name, None)
        if held:
            if len(held) > _MAX_HELD_BYTES:
                transport.resume_reading()
            socket.data_received(bytes(held))
        return socket

    def data_received(self, data: bytes) -> None:
        if self.handshake_initiated and self._holding:
            if self._held is None:
                self._held = bytearray()
            self._held += data
            if self.stranger is not None and not self.stranger.hold(len(self._held)):
                self.transport.abort()
            elif len(self._held) > _MAX_HELD_BYTES:
                self.transport.pause_reading()
        else:
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._proven()
        super().connection_lost(exc)

    async def run_asgi(self) -> None:
        extensions = cast("dict[str, Any]", self.scope["extensions"])
        extensions[EXTENSION] = self.take
        try:
            await super().run_asgi()
        finally:
            extensions.pop(EXTENSION, None)
            if self._taken is not None and not self._taken.started:
                self._taken.close(INTERNAL_ERROR, "no answer")

    async def receive(self) -> ASGIReceiveEvent:
        if self._taken is not None:
            return {"type": "websocket.disconnect", "code": NO_STATUS}
        if self.handshake_complete:
            self._stop_holding()
        self._receiving = True
        try:
            return await super().receive()
        finally:
            self._receiving = False

    async def send(self, message: ASGISendEvent) -> None:
        if self._taken is not None:
            raise ClientDisconnected
        if self.handshake_complete:
            self._stop_holding()
        await super().send(message)
        if self._receiving and self.handshake_complete:
            self._stop_holding()

    def send_keepalive_ping(self) -> None:
        # An endpoint that accepted and then neither receives nor sends; its peer's pong must be read.
        self._stop_holding()
        super().send_keepalive_ping()

    def _stop_holding(self) -> None:
        """The endpoint speaks ASGI: the library gets what was kept, and everything from here on."""
        if self._holding:
            self._holding = False
            self._proven()
            held, self._held = self._held, None
            if held:
                if len(held) > _MAX_HELD_BYTES:
                    self.transport.resume_reading()
                super().data_received(bytes(held))

    def _proven(self) -> None:
        """The endpoint knows its peer, or the peer is gone."""
        if self.stranger is not None:
            self.stranger.leave()
            self.stranger = None


class _NoTransport(asyncio.Transport):
    """Stands where the transport was, for the code of uvicorn's that runs after an endpoint."""

    def is_closing(self) -> bool:
        return True

    def close(self) -> None: ...


_NO_TRANSPORT: Final = _NoTransport()

UVICORN_PROTOCOLS: dict[str, Any] = {"ws": DirectProtocol}
"""For ``uvicorn.Config(**UVICORN_PROTOCOLS)``."""

try:
    from bridge.sockets.http_protocol import BoundedHttpProtocol
except ImportError:  # httptools is not for Windows
    pass
else:
    UVICORN_PROTOCOLS["http"] = BoundedHttpProtocol
