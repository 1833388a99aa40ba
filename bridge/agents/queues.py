"""Queues with an end: what user code iterates over while a call goes on; and the sound of a turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

Thing = TypeVar("Thing")
Kind = TypeVar("Kind")


class Feed(AsyncIterator[Thing], Generic[Thing]):
    """What happens, in order, until it is over. Iterating ends at the end of the call.

    At most `most` things wait; then the oldest is dropped and counted in `dropped`. Lives on one event loop.
    """

    def __init__(self, most: int = 1_000) -> None:
        self._waiting: deque[Thing] = deque()
        self._most = most
        self._wakers: list[asyncio.Future[None]] = []
        self.dropped = 0
        self.closed = False

    def put(self, thing: Thing) -> None:
        """Add a thing, unless the feed is closed; only the bridge calls this."""
        if self.closed:
            return
        if len(self._waiting) >= self._most:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(thing)
        self._wake()

    def close(self) -> None:
        """End the feed; what waits can still be taken. Only the bridge calls this."""
        self.closed = True
        self._wake()

    def take(self) -> Thing | None:
        """The oldest thing that waits; None if nothing does."""
        return self._waiting.popleft() if self._waiting else None

    def take_one(self, kind: type[Kind]) -> Kind | None:
        """The oldest thing of that type, or None; others stay in their order."""
        for index, thing in enumerate(self._waiting):
            if isinstance(thing, kind):
                del self._waiting[index]
                return thing
        return None

    async def changed(self) -> None:
        """Wait until something is added or the feed is closed."""
        waker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wakers.append(waker)
        await waker

    async def __anext__(self) -> Thing:
        while (thing := self.take()) is None:
            if self.closed:
                raise StopAsyncIteration
            await self.changed()
        return thing

    def _wake(self) -> None:
        wakers, self._wakers = self._wakers, []
        for waker in wakers:
            if not waker.done():
                waker.set_result(None)


class TurnAudio:
    """The sound of each turn, kept until its transcript comes: from a little before the caller was heard to
    speak until they were heard to stop, at most a minute of it.
    """

    BEFORE_FRAMES = 40
    """Voice detection needs a moment, and keeps 300 ms from before it."""
    MOST_FRAMES = 3_000
    MOST_TURNS = 8

    def __init__(self) -> None:
        self._recent: deque[bytes] = deque(maxlen=self.BEFORE_FRAMES)
        self._speech: deque[bytes] | None = None
        self._turns: deque[tuple[str, bytes]] = deque(maxlen=self.MOST_TURNS)

    def hear(self, frame: bytes) -> None:
        (self._recent if self._speech is None else self._speech).append(frame)

    def spoke(self, speaking: bool, item_id: str) -> None:
        if speaking and self._speech is None:
            self._speech = deque(self._recent, maxlen=self.MOST_FRAMES)
        elif not speaking and self._speech is not None:
            self._turns.append((item_id, b"".join(self._speech)))
            self._recent.clear()
            self._speech = None

    def of(self, item_id: str) -> bytes:
        """That turn's sound, once; nothing if it is not known. Where the vendor does not name the turns, the
        oldest that was not taken yet.
        """
        for index, (named, sound) in enumerate(self._turns):
            if named in ("", item_id):
                del self._turns[index]
                return sound
        return b""
