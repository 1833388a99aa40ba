"""Sockets in memory, in pairs."""

from __future__ import annotations

import asyncio

from bridge.sockets.dial import OnClose, OnFrame
from bridge.sockets.frames import Message


class MemorySocket:
    """One end of a pair. Frames arrive in the loop's next round, in order."""

    def __init__(self) -> None:
        self.outbox_bytes = 0
        self.gave_up = False
        self.other: MemorySocket = self
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Message] = []
        self._on_frame: OnFrame | None = None
        self._on_close: OnClose | None = None
        self._closed = False

    def start(self, on_frame: OnFrame, on_close: OnClose) -> None:
        self._on_frame, self._on_close = on_frame, on_close
        for frame in self._waiting:
            self._loop.call_soon(self.deliver, frame)
        self._waiting.clear()

    def send(self, frame: Message, *more: Message) -> None:
        if not self._closed:
            for one in (frame, *more):
                self._loop.call_soon(self.other.deliver, one)

    def close(self, code: int = 1000, reason: str = "") -> None:
        for end in (self, self.other):
            self._loop.call_soon(end.over, code, reason)

    def deliver(self, frame: Message) -> None:
        """The other end has sent this."""
        if self._closed:
            return
        if self._on_frame is None:
            self._waiting.append(frame)
        else:
            self._on_frame(frame)

    def over(self, code: int, reason: str) -> None:
        """Either end has closed."""
        if not self._closed:
            self._closed = True
            if self._on_close is not None:
                self._on_close(code, reason)


def pair() -> tuple[MemorySocket, MemorySocket]:
    """Both ends."""
    one, other = MemorySocket(), MemorySocket()
    one.other, other.other = other, one
    return one, other
