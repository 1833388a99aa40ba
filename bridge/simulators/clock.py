"""The time of a simulated telephone network: milliseconds that can pass faster than real ones.

Sound, ringing and pauses all wait here, so that they keep their order at any pace. At a pace below 1 time
stands still while a document is fetched: the server's milliseconds are not stretched.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import Callable, Iterator
from typing import Final

FRAME_MS: Final = 20
_LEAST_SLEEP_S: Final = 0.001
_MOST_OWED_MS: Final = 1_000
"""At once: on a busy machine simulated time is slower, and does not jump."""
_HELD_S: Final = 10.0
"""Time is held for one fetch at most this long: its answer may wait for another leg."""
_TURNS: Final = 12
"""Turns of the loop that the woken tasks get before the next frame."""


class Clock:
    """`pace` is how long a simulated second takes: 0.01 is a hundred times as fast.

    `move` moves the sound of every line by 20 ms; it returns True if something came of it that others wait
    for. `busy` says whether there is any line.
    """

    def __init__(self, pace: float = 1.0) -> None:
        self.pace = pace
        self.move: Callable[[], bool] = lambda: False
        self.busy: Callable[[], bool] = lambda: False
        self._now_ms = 0
        self._idle_since_s: float | None = None
        self._due: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._held_since_s: list[float] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def now_ms(self) -> int:
        """Milliseconds since the first use."""
        if self._task is not None and not self._task.done():
            return self._now_ms
        now_s = asyncio.get_running_loop().time()
        if self._idle_since_s is not None:
            self._now_ms += int((now_s - self._idle_since_s) * 1000)
        self._idle_since_s = now_s
        return self._now_ms

    async def sleep(self, ms: float) -> None:
        """Return after `ms` milliseconds."""
        if ms <= 0:
            await asyncio.sleep(0)
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._due, (self.now_ms + int(ms), next(self._order), waiting))
        self.wake()
        await waiting

    def wake(self) -> None:
        """There is something to do again."""
        if self._task is None or self._task.done():
            _ = self.now_ms
            self._idle_since_s = None
            self._task = asyncio.create_task(self._run(), name="telephone network")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """A document is being fetched."""
        since_s = asyncio.get_running_loop().time()
        self._held_since_s.append(since_s)
        try:
            yield
        finally:
            self._held_since_s.remove(since_s)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        last_s, owed_ms, stood_still = loop.time(), 0.0, False
        while self._due or self.busy():
            await asyncio.sleep(max(_LEAST_SLEEP_S, FRAME_MS / 1000 * self.pace))
            now_s = loop.time()
            owed_ms = min(owed_ms + (now_s - last_s) * 1000 / self.pace, _MOST_OWED_MS)
            last_s = now_s
            if stood_still:
                # The tasks that got their answer go on first.
                await self._others()
                owed_ms = 0.0
            while owed_ms >= FRAME_MS and not self._stands_still(now_s):
                owed_ms -= FRAME_MS
                if self._frame():
                    await self._others()
            stood_still = self._stands_still(now_s)
        self._idle_since_s = loop.time()

    @staticmethod
    async def _others() -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    def _frame(self) -> bool:
        """Advance by 20 ms. Returns whether any task was woken."""
        self._now_ms += FRAME_MS
        woken = self.move()
        while self._due and self._due[0][0] <= self._now_ms:
            _, _, waiting = heapq.heappop(self._due)
            if not waiting.done():
                waiting.set_result(None)
                woken = True
        return woken

    def _stands_still(self, now_s: float) -> bool:
        return self.pace < 1 and any(now_s - since_s < _HELD_S for since_s in self._held_since_s)
