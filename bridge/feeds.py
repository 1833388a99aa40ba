"""Queues with an end: what user code iterates over while a call goes on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


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
        """Nothing happens once it is closed."""
        if self.closed:
            return
        if len(self._waiting) >= self._most:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(thing)
        self._wake()

    def close(self) -> None:
        """No more will come. What waits can still be taken."""
        self.closed = True
        self._wake()

    def take(self, kind: type[Thing] | None = None) -> Thing | None:
        """The oldest thing (of that kind) that waits, None if there is none; others stay in their order."""
        for index, thing in enumerate(self._waiting):
            if kind is None or isinstance(thing, kind):
                del self._waiting[index]
                return thing
        return None

    async def changed(self) -> None:
        """Returns when something was put, or the feed closed, since this was called."""
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
