"""What `Session.input` gives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any

from bridge.agents.inputs import Happening, Turn
from bridge.agents.queues import Feed


class Input(AsyncIterator[Happening], Awaitable[Turn]):
    """What the caller does, either way: `async for happening in session.input()` gives turns, digits and
    silences in order until the call is over; `turn = await session.input()` the next turn.

    Awaited it leaves digits where they are, for `Session.digits` or a later iteration, and raises CallEnded
    when the call is over and no turn is left.
    """

    def __init__(self, feed: Feed[Happening], check: Callable[[], None]) -> None:
        self._check = check
        self._feed = feed

    async def __anext__(self) -> Happening:
        return await anext(self._feed)

    def __await__(self) -> Generator[Any, None, Turn]:
        return self._turn().__await__()

    async def _turn(self) -> Turn:
        while (turn := self._feed.take_one(Turn)) is None:
            self._check()
            await self._feed.changed()
        return turn
