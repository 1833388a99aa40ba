"""A WebSocket on a transport: bytes arrive, the owner's callback runs, bytes leave, in one call stack.

:class:`StreamSocket` takes the place of the protocol that did the opening handshake
(``transport.set_protocol``), on either side: ``uvicorn.py`` takes over from uvicorn, ``dial`` from
``websockets``. No task, queue, timer or log line belongs to a frame; keepalive and close deadlines are
counted by the loop's one :class:`Tick`.

A peer that sends much at once (a network that stalled, a model that bursts, an attack) keeps no other
waiting: one turn of the loop reads a few frames, the rest waits as bytes, and so does what the kernel has.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic
from typing import Final, TypeAlias

from bridge.sockets.frames import ABNORMAL, INTERNAL_ERROR, NORMAL, POLICY_VIOLATION, FrameCodec, Message
from bridge.sockets.keepalive import running_tick
from bridge.sockets.limits import Limits, Quota, write_at_once
from bridge.sockets.strangers import Stranger

_log = logging.getLogger(__name__)

OnFrame: TypeAlias = Callable[[Message], None]
OnClose: TypeAlias = Callable[[int, str], None]

TURN_FRAMES: Final = 64
TURN_S: Final = 0.002
"""What one turn of the loop reads of one socket."""
_MOST_A_TURN_BYTES: Final = 64 * 1024
"""libuv reads on within a turn as long as each read fills its buffer: after one this large it has to wait."""
_MAX_EARLY_BYTES: Final = 1 << 20
_MAX_IGNORED_BYTES: Final = 4 << 20


class StreamSocket(FrameCodec, asyncio.Protocol):
    """A :class:`bridge.sockets.Socket` that reads and writes a transport directly.

    It is its own codec: one object less to be fetched from memory for every frame.

    Its maker puts it on the transport with ``set_protocol`` in the same step, and hands it bytes that
    came early by :meth:`data_received`. What comes before :meth:`start` is kept for it, unread.
    """

    __slots__ = (
        "__weakref__", "_cause", "_deaf", "_due", "_ended", "_flooded_s", "_held", "_ignored_bytes",
        "_limits", "_lost", "_on_close", "_on_frame", "_open", "_parted", "_paused", "_quick", "_quiet_s",
        "_quota", "_reading", "_stalled_s", "_tick", "_transport", "_turning", "_waiter", "_waiting_bytes",
        "gave_up", "started", "stranger",
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
        self.gave_up = False
        self.stranger: Stranger | None = None  # until its peer has proven who it is
        self._ended: tuple[int, str] | None = None  # what on_close was told, or will be
        self._cause: tuple[int, str] | None = None  # why we aborted, for when the transport is lost
        self._lost = False
        self._on_frame: OnFrame = _unheard
        self._on_close: OnClose | None = None
        self._waiter: asyncio.Future[None] | None = None
        # Turns. While more waits to be read, `_due`, nothing comes from the transport.
        self._quota: Quota | None = None
        self._held = True
        self._due = self._turning = False
        self._reading = True
        self._ignored_bytes = 0  # what came behind the end
        self._quick = False  # the next read may be one whole text frame, to be taken as it comes
        # Keepalive, floods and back-pressure, all counted in beats of the tick.
        self._quiet_s = 0
        self._flooded_s = 0
        self._paused = False
        self._stalled_s = 0
        self._waiting_bytes = 0
        self._tick = running_tick()
        self._tick.join(self)

    # The owner's side

    def start(self, on_frame: OnFrame, on_close: OnClose, quota: Quota | None = None) -> None:
        """Delivers what came before, then every frame as it comes; at last, once, the end. With a ``quota``
        the peer is refused (1008) when it sends more than that.

        A second call hands the socket on: from there the new owner hears what the first would have, under
        its own quota or none, and is told of an end that has been. It may come from within a callback.
        """
        self.started = True
        self._on_frame, self._on_close = _unheard if self._deaf else on_frame, on_close
        self._quota = quota
        self._held = False
        if not (self._turning or self._due):
            self._turn()
        if self._ended is not None:
            self._tell()

    def hold(self) -> None:
        """No frame behind the present one is read until the next :meth:`start`: what comes meanwhile waits as
        bytes, most of them in the kernel.
        """
        self._held = True
        self._quick = False

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
        if self._held and self.unread_bytes:
            self._next_turn()  # the peer's close frame is behind it

    @property
    def outbox_bytes(self) -> int:
        """Bytes sent that the kernel has not taken yet; 0 once the connection is gone."""
        return 0 if self._lost else self._transport.get_write_buffer_size()

    async def released(self) -> None:
        """Returns when the connection is gone and nothing is left of it."""
        if not self._lost or self._due:
            if self._waiter is None:
                self._waiter = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._waiter)

    # The transport's side

    def data_received(self, data: bytes) -> None:
        self._quiet_s = 0
        if self._quick:
            # Nearly every read of a call is one whole text frame: handed on without a list around it.
            try:
                text = self.only_text(data)
            except UnicodeDecodeError:
                text = None  # `read` says what follows
            if text is not None:
                try:
                    self._on_frame(text)
                except Exception as error:  # noqa: BLE001 - the owner's code; nothing escapes into the loop
                    self._failed(error)
                return
        self._receive(data)

    def _receive(self, data: bytes) -> None:
        if self.ended:
            self._ignored_bytes += len(data)
            if (
                self._ignored_bytes > _MAX_IGNORED_BYTES
                and self._reading
                and not self._transport.is_closing()
            ):
                # It does not listen to our close frame: the rest waits in the kernel until the deadline.
                self._reading = False
                self._transport.pause_reading()
            return
        self.feed(data)
        if self._quota is not None:
            self._quota.begin_read()
        if not self._due:
            self._turn(len(data) >= _MOST_A_TURN_BYTES)
        if self.stranger is not None and not self.stranger.hold(self.kept_bytes) and not self.ended:
            self.stranger.hold(0)
            self._fail(POLICY_VIOLATION, "too much of all that waits before it is let in")
            self._end_by_peer()

    def _turn(self, pause: bool = False) -> None:
        """Reads and delivers what one turn of the loop may take, and sees to it that the rest gets another.
        With ``pause`` nothing more is read from the transport in this one.
        """
        self._due, self._turning = False, True
        messages: list[Message] = []
        left, until_s = TURN_FRAMES, monotonic() + TURN_S
        while self._deaf or not self._held:
            if not left or (left < TURN_FRAMES and monotonic() > until_s):
                pause = pause or self.unread_bytes > 0
                break
            size_bytes = self.read(messages)
            quota = self._quota
            if quota is not None and not self.ended:
                why = quota.spend(size_bytes) if size_bytes else quota.over(self.unread_bytes)
                if why:
                    self._fail(POLICY_VIOLATION, why)
                    break
            if not size_bytes:
                break
            left -= 1
            if messages:
                if self.replies:
                    self._reply()
                self._deliver(messages.pop())
        self._turning = False
        if self.replies:
            self._reply()
        if self.ended:
            self._end_by_peer()
        if pause and (self._deaf or not self._held):
            self._next_turn()
        self._settle()

    def _next_turn(self) -> None:
        if not (self._due or self._turning):
            self._due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _settle(self) -> None:
        """Behind every turn: whether more is to come from the transport, and in which way; and the end of a
        connection that was lost before all of it was read.
        """
        self._quick = (
            self.between_messages and self._quota is None and not (self._held or self._due or self._turning)
        )
        reading = not (self._due or (self._held and self.unread_bytes > _MAX_EARLY_BYTES))
        if reading is not self._reading and not (self._lost or self._transport.is_closing()):
            self._reading = reading
            if reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()
        if self._lost and not self._due:
            if self._deaf or not self._held or not self.unread_bytes:
                self._end(*(self._cause or (ABNORMAL, "the connection was lost")))
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)

    def _reply(self) -> None:
        replies = self.take_replies()
        if self._open:
            self._write(replies)

    def eof_received(self) -> None:
        """The peer's side is closed; the transport closes ours when this returns."""
        self._open = False
        self._cause = self._cause or (ABNORMAL, "the peer left without a close frame")
        # Closing waits for the outbox, and so perhaps for ever.
        self._tick.close_by(self, self._limits.close_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open = False
        self._lost = True
        self._cause = self._cause or (ABNORMAL, str(exc) if exc else "the connection was lost")
        self._tick.leave(self)
        if self.stranger is not None:
            self.stranger.leave()
        self._settle()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._stalled_s = self._waiting_bytes = 0

    # The tick's side

    def on_second(self) -> None:
        limits = self._limits
        if self.controls:
            self._flooded_s = self._flooded_s + 1 if self.controls > limits.max_controls else 0
            self.controls = 0
            if self._flooded_s >= limits.flood_s and self._open:
                why = f"over {limits.max_controls} control frames a second for {limits.flood_s} s"
                self._fail(POLICY_VIOLATION, why)
                self._end_by_peer()
        if self._reading:  # else we ourselves have stopped
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
                self._give_up(f"the peer has not read for {self._stalled_s} s")

    def on_deadline(self) -> None:
        self._abort("the close handshake timed out")

    # Within

    def _write(self, data: bytes) -> None:
        if self._paused and self.outbox_bytes + len(data) > self._limits.max_outbox_bytes:
            self._give_up("outbox full")
        else:
            # May call pause_writing before it returns.
            self._transport.write(data)

    def _deliver(self, message: Message) -> None:
        try:
            self._on_frame(message)
        except Exception as error:  # noqa: BLE001 - the owner's code; nothing escapes into the loop
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        _log.error("the receiver of a frame failed; its socket closes with 1011", exc_info=error)
        self.close(INTERNAL_ERROR)
        self._end(INTERNAL_ERROR, "internal error")

    def _end_by_peer(self) -> None:
        """The peer closed, or broke the protocol: answers that, and closes the connection behind it."""
        if self._parted:
            return
        self._parted = True
        self.gave_up = self.gave_up or self.failed
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

    def _give_up(self, reason: str) -> None:
        self.gave_up = True
        self._abort(reason)

    def _abort(self, reason: str) -> None:
        """Drops the connection now; the end is told when the transport reports it lost, not from here."""
        self._open = False
        self._deaf = True
        self._on_frame = _unheard
        self._cause = self._cause or (ABNORMAL, reason)
        self.discard()
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
