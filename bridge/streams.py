"""A WebSocket on a transport: bytes arrive, the owner's callback runs, bytes leave, in one call stack.

:class:`StreamSocket` is put in the place of whoever did the opening handshake (``transport.set_protocol``),
on either side: ``direct.py`` takes over from uvicorn, ``sockets.dial`` from ``websockets``. No task, queue,
timer or log line belongs to a frame; keepalive and close deadlines are counted by the loop's one
:class:`Tick`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeAlias

from .frames import ABNORMAL, INTERNAL_ERROR, NORMAL, FrameCodec, Message
from .strangers import Stranger
from .ticks import running_tick

_log = logging.getLogger(__name__)

OnFrame: TypeAlias = Callable[[Message], None]
OnClose: TypeAlias = Callable[[int, str], None]

_MAX_EARLY_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What a socket allows its peer. One object serves all sockets of a kind."""

    max_size_bytes: int
    """The largest message taken; a larger one closes with 1009."""
    close_timeout_s: float
    """How long a close handshake may take before the transport is aborted."""
    ping_after_s: int = 5
    """Seconds without a byte from the peer after which it is pinged; any byte counts as a sign of life."""
    dead_after_s: int = 8
    """Seconds without a byte after which it is given up."""
    stalled_after_s: int = 10
    """Seconds without progress of what waits for the kernel after which it is given up."""
    max_outbox_bytes: int = 1 << 20
    """How much may wait for the kernel; a frame on top of that aborts the socket."""


# A carrier's frames are some 300 bytes, fifty a second. 64 KiB also holds a `start` with every parameter
# allowed.
CARRIER_LIMITS: Final = Limits(max_size_bytes=64 * 1024, close_timeout_s=1.0, dead_after_s=10)
# A long `session.updated` or a big audio delta comes as one frame; `websockets`' own default (1 MiB) is too
# small.
UPSTREAM_LIMITS: Final = Limits(max_size_bytes=8 << 20, close_timeout_s=0.5)


def bound_kernel(sock: socket.socket, *, send_buffer_bytes: int = 65_536, timeout_ms: int = 10_000) -> None:
    """Bounds what the kernel keeps for a peer that stopped reading, and for how long it keeps it.

    Set on a listening socket, accepted ones inherit both. Without this a stalled peer takes minutes of audio
    before anybody notices, and is never freed. What a platform or kind of socket does not know is left out.
    """
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
    user_timeout: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux only
    if user_timeout is not None:
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, user_timeout, timeout_ms)


def write_at_once(sock: socket.socket | None) -> None:
    """Small writes do not wait for the answer to the one before (Nagle).

    asyncio sees to that only where a socket says that it is TCP, and those of `socket.create_server` and of
    uvicorn do not: there a `clear` behind a piece of sound left with the caller's next frame, 20 ms late.
    """
    if sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class StreamSocket(FrameCodec, asyncio.Protocol):
    """A :class:`bridge.sockets.Socket` that reads and writes a transport directly.

    It is its own codec: one object less to be fetched from memory for every frame.

    Whoever makes one puts it on the transport with ``set_protocol`` in the same step, and hands it bytes that
    came early by :meth:`data_received`. Frames and an end that come before :meth:`start` are kept for it.
    """

    __slots__ = (
        "__weakref__", "_cause", "_deaf", "_early", "_early_bytes", "_ended", "_limits", "_lost",
        "_on_close", "_on_frame", "_open", "_parted", "_paused", "_quiet_s", "_stalled_s", "_tick",
        "_transport", "_waiter", "_waiting_bytes", "started", "stranger",
    )  # fmt: skip

    def __init__(self, transport: asyncio.Transport, *, server: bool, limits: Limits) -> None:
        super().__init__(server=server, max_size_bytes=limits.max_size_bytes)
        self._transport = transport
        write_at_once(transport.get_extra_info("socket"))
        self._limits = limits
        self._open = True  # frames may be sent: no close frame has gone out and the peer is there
        self._deaf = False  # the owner closed, or is to hear no more: frames go to _unheard
        self._parted = False  # the codec's end has been dealt with
        self.started = False
        self.stranger: Stranger | None = None  # until its peer has proven who it is
        self._ended: tuple[int, str] | None = None  # what on_close was told, or will be
        self._cause: tuple[int, str] | None = None  # why we aborted, for when the transport is lost
        self._lost = False
        self._on_frame: OnFrame = self._keep
        self._on_close: OnClose | None = None
        self._early: list[Message] | None = None
        self._early_bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        # Keepalive and back-pressure, both counted in beats of the tick.
        self._quiet_s = 0
        self._paused = False
        self._stalled_s = 0
        self._waiting_bytes = 0
        self._tick = running_tick()
        self._tick.join(self)

    # The owner's side

    def start(self, on_frame: OnFrame, on_close: OnClose) -> None:
        """Delivers what came before, then every frame as it comes; at last, once, the end.

        A second call hands the socket on: from there the new owner hears what the first would have, and is
        told of an end that has been. It may come from within a callback.
        """
        self.started = True
        self._on_frame, self._on_close = _unheard if self._deaf else on_frame, on_close
        early, self._early = self._early, None
        if early is not None:
            self._deliver(early)
            if self._early_bytes > _MAX_EARLY_BYTES and not self._lost:
                self._transport.resume_reading()
        if self._ended is not None:
            self._tell()

    def send(self, frame: Message, *more: Message) -> None:
        """Writes one message, or several in one go; text for ``str``, binary for ``bytes``. Silently nothing
        once the socket closes.

        If more than ``max_outbox_bytes`` would wait, the peer is given up instead. The end is told later,
        never from within this call.
        """
        if self._open:
            raw = self.encode(frame)
            if more:
                raw += b"".join(map(self.encode, more))
            if self._paused:
                self._write(raw)
            else:
                self._transport.write(raw)  # may call pause_writing before it returns

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Starts the close handshake; no frame is delivered from here on. Calling it again changes nothing.

        ``on_close`` follows with the peer's code, or with 1006 after ``close_timeout_s``. Raises
        ``ValueError`` for a code that can't be sent.
        """
        farewell = self.encode_close(code, reason)
        self._deaf = True
        self._on_frame = _unheard
        if self._open:
            self._open = False
            self._transport.write(farewell)
            self._tick.close_by(self, self._limits.close_timeout_s)

    @property
    def outbox_bytes(self) -> int:
        """Bytes sent that the kernel has not taken yet; 0 once the connection is gone."""
        return 0 if self._lost else self._transport.get_write_buffer_size()

    async def released(self) -> None:
        """Returns when the connection is gone and nothing is left of it."""
        if not self._lost:
            if self._waiter is None:
                self._waiter = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._waiter)

    # The transport's side

    def data_received(self, data: bytes) -> None:
        self._quiet_s = 0
        if self._fresh:
            # Nearly every read of a call is one whole text frame: handed on without a list around it.
            start, end = self._whole_text(data, 0)
            if 0 < end == len(data):
                try:
                    text = self._text(data, start, end)
                except UnicodeDecodeError:
                    pass  # `receive` says what follows
                else:
                    try:
                        self._on_frame(text)
                    except Exception as error:  # noqa: BLE001 - the owner's code; nothing escapes into the loop
                        self._failed(error)
                    return
        self._receive(data)

    def _receive(self, data: bytes) -> None:
        messages = self.receive(data)
        if self.replies:
            replies = self.take_replies()
            if self._open:
                self._write(replies)
        if messages:
            self._deliver(messages)
        if self.ended:
            self._end_by_peer()

    def eof_received(self) -> None:
        """The peer's side is closed; the transport closes ours when this returns."""
        self._open = False
        self._cause = self._cause or (ABNORMAL, "the peer left without a close frame")
        # Closing waits for the outbox, and so perhaps for ever.
        self._tick.close_by(self, self._limits.close_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open = False
        self._lost = True
        self._tick.leave(self)
        if self.stranger is not None:
            self.stranger.leave()
        self._end(*(self._cause or (ABNORMAL, str(exc) if exc else "the connection was lost")))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._stalled_s = self._waiting_bytes = 0

    # The tick's side

    def on_second(self) -> None:
        limits = self._limits
        if self._early_bytes <= _MAX_EARLY_BYTES or self.started:  # else we ourselves have stopped reading
            self._quiet_s += 1
            if self._quiet_s == limits.ping_after_s and self._open:
                self._write(self.encode_ping())
            elif self._quiet_s >= limits.dead_after_s:
                self._abort(f"keepalive: not a byte for {self._quiet_s} s")
        if self._paused:
            waiting_bytes = self.outbox_bytes
            self._stalled_s = 0 if waiting_bytes < self._waiting_bytes else self._stalled_s + 1
            self._waiting_bytes = waiting_bytes
            if self._stalled_s >= limits.stalled_after_s:
                self._abort(f"the peer has not read for {self._stalled_s} s")

    def on_deadline(self) -> None:
        self._abort("the close handshake timed out")

    # Within

    def _write(self, data: bytes) -> None:
        if self._paused and self.outbox_bytes + len(data) > self._limits.max_outbox_bytes:
            self._abort("outbox full")
        else:
            # May call pause_writing before it returns.
            self._transport.write(data)

    def _deliver(self, messages: list[Message]) -> None:
        try:
            for message in messages:
                if self._deaf:
                    break
                self._on_frame(message)
        except Exception as error:  # noqa: BLE001 - the owner's code; nothing escapes into the loop
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        _log.error("the receiver of a frame failed; its socket closes with 1011", exc_info=error)
        self.close(INTERNAL_ERROR)
        self._end(INTERNAL_ERROR, "internal error")

    def _keep(self, message: Message) -> None:
        """Stands in for the owner before there is one."""
        if self._early is None:
            self._early = []
        self._early.append(message)
        self._early_bytes += len(message)
        if self._early_bytes > _MAX_EARLY_BYTES:
            self._transport.pause_reading()

    def _end_by_peer(self) -> None:
        """The peer closed, or broke the protocol: answers that, and closes the connection behind it."""
        if self._parted:
            return
        self._parted = True
        transport = self._transport
        if self._open:
            self._open = False
            transport.write(self.farewell)
        self._tick.close_by(self, self._limits.close_timeout_s)
        # RFC 6455, 7.1.1: "the underlying TCP connection, in most normal cases, SHOULD be closed first by
        # the server". So a client waits for that. A server that refuses frames only closes its half and lets
        # the rest come in: closing over unread bytes would reset the connection, and the close frame be lost
        # with it.
        if self._server and not transport.is_closing():
            if not self.failed:
                transport.close()
            elif transport.can_write_eof():
                transport.write_eof()
        self._end(self.close_code, self.close_reason)

    def _abort(self, reason: str) -> None:
        """Drops the connection now; the end is told when the transport reports it lost, not from here."""
        self._open = False
        self._deaf = True
        self._on_frame = _unheard
        self._cause = self._cause or (ABNORMAL, reason)
        self._transport.abort()

    def _end(self, code: int, reason: str) -> None:
        if self._ended is None:
            self._ended = (code, reason)
            if self.started:
                self._tell()

    def _tell(self) -> None:
        on_close, self._on_close = self._on_close, None
        self._on_frame = _unheard
        if on_close is not None and self._ended is not None:
            try:
                on_close(*self._ended)
            except Exception as error:  # noqa: BLE001 - the owner's code; nothing escapes into the loop
                _log.error("the receiver of a socket's end failed", exc_info=error)


def _unheard(_message: Message) -> None:
    """Takes the frames of a socket whose end has been told."""
