"""The carrier's side of a call: its socket, the adapter of its present stream, and what waits to be sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from bridge.carriers import Carrier
from bridge.core import messages as m
from bridge.core.messages import PlayAudio
from bridge.errors import BridgeError
from bridge.sockets.dial import CarrierSocket
from bridge.sockets.frames import NORMAL

from .recorder import Recorder

OUTBOX_BYTES: Final = 32_768
"""Bytes the carrier's outbox may hold before sound waits in the core: with what one step adds
(`core/pacer.py`) at most 64 KiB. And the upstream's, before caller audio waits here instead."""
LOOK_S: Final = 0.05
"""Interval at which a full outbox is checked again."""


class CarrierLeg:
    """`feed` is the gate, told when the outbox is full and when it has room again.

    `open` says that the socket is there and not closed by the peer; `stream` counts the streams of this call
    that a newer one replaced; `sound` is the frame that waits for its mark, or None.
    """

    __slots__ = (
        "_feed", "_loop", "_outbox_full", "_parting", "_recorder", "adapter", "close_code", "open", "socket",
        "sound", "stopped", "stream",
    )  # fmt: skip

    def __init__(
        self, adapter: Carrier, *, recorder: Recorder | None, feed: Callable[[m.Event], None]
    ) -> None:
        self.adapter = adapter
        self.socket: CarrierSocket | None = None
        self.open = False
        self.stream = 0
        self.close_code = NORMAL
        self._recorder = recorder
        self._feed = feed
        self.sound: str | bytes | None = None
        self._outbox_full = False
        self.stopped = False
        self._parting: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    # --- the socket --------------------------------------------------------------------------------------

    def attach(self, socket: CarrierSocket) -> None:
        """Take the socket of a stream. What still comes of an older one is ignored."""
        former, self.socket = self.socket, socket
        self.open = True
        if former is not None:
            _abandon(former)
            self.stream += 1
            self.adapter = type(self.adapter)()

    def abandon(self) -> None:
        """Close the socket, which is dead; a newer stream may come."""
        if self.socket is not None:
            _abandon(self.socket)
            self.open = False

    def leave(self) -> None:
        """Send what waits, then close the socket on purpose: the call goes on without one, and what still
        comes of this one is ignored.
        """
        self.flush()
        if self.socket is not None:
            _abandon(self.socket)
            self.open = False

    def close(self) -> None:
        """Send what waits, then start the close handshake. Idempotent."""
        self.flush()
        if self.socket is not None:
            self.socket.close(self.close_code)

    def close_after(self, parting: Awaitable[object] | None) -> None:
        """Close it once that is done, however it ends; at once for nothing."""
        if parting is None:
            self.close()
        else:
            self._parting = self._loop.create_task(self._close_after(parting), name="parting")

    async def _close_after(self, parting: Awaitable[object]) -> None:
        try:
            await parting
        finally:
            self.close()

    def stop(self) -> None:
        """The call is over: the outbox is not watched any more."""
        self.stopped = True

    # --- what goes out -----------------------------------------------------------------------------------

    def send(self, command: m.CarrierCommand, now_ms: int) -> None:
        """Write the frame of a command. Sound waits for `flush`, because its mark mostly follows: one write
        for both.
        """
        frame = self.adapter.write(command)
        if self._recorder is not None:
            self._recorder.went(now_ms, "carrier", frame)
        if self.sound is not None:
            self.flush(frame)
        elif type(command) is PlayAudio:
            self.sound = frame
        elif self.socket is not None:
            self.socket.send(frame)

    def flush(self, *behind: str | bytes) -> None:
        """Write the sound that waits, if any, and what comes behind it."""
        sound, self.sound = self.sound, None
        socket = self.socket
        if sound is not None and socket is not None:
            socket.send(sound, *behind)
            if socket.outbox_bytes > OUTBOX_BYTES and not self._outbox_full:
                self._outbox_full = True
                self._feed(m.OutboxFull(True))
                self._loop.call_later(LOOK_S, self._look_again)

    def discard(self) -> None:
        """Forget the sound that waits."""
        self.sound = None

    def check_outbox(self) -> bool:
        """Whether the outbox has room, as far as the call is told now."""
        socket = self.socket
        if self._outbox_full and socket is not None and socket.outbox_bytes <= OUTBOX_BYTES // 2:
            self._outbox_full = False
            self._feed(m.OutboxFull(False))
        return not self._outbox_full

    def _look_again(self) -> None:
        """Sockets do not say when their outbox has room again."""
        if self._outbox_full and not self.stopped and not self.check_outbox():
            self._loop.call_later(LOOK_S, self._look_again)

    def play_instead(self, sound: m.Sound) -> bool:
        """Play this in the place of everything else. False when no stream is there to play it."""
        if not self.open or self.socket is None:
            return False
        play = m.PlayAudio(sound.audio, sound.size_bytes)
        try:
            frames = [self.adapter.write(command) for command in (m.ClearPlayout(), play)]
        except BridgeError:  # before the stream's start
            return False
        for frame in frames:
            self.socket.send(frame)
        return True


def _abandon(socket: CarrierSocket) -> None:
    socket.start(_ignore, _ignore)
    socket.close()


def _ignore(*_what: object) -> None:
    """Takes the frames and the end of a stream that a newer one replaced."""
