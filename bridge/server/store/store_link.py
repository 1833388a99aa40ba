"""Whether the store answers. An absent store costs three requests their budget, and no later one anything.

After three failures in a row it is `away`: nothing is asked and nothing waits. A ping each second finds out
when it answers; after two good ones, and a write that is taken, it is `back`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol, TypeVar

from bridge.server.store.claims import StoreError

logger = logging.getLogger(__name__)

T = TypeVar("T")

MOST_FAILURES: Final = 3
"""In a row, before the store is away. Those that were asked at the same time count as one: a machine that is
busy for a moment is late with all of them."""
PING_EVERY_S: Final = 1.0
GOOD_PINGS: Final = 2
ANSWER_MS: Final = 250
"""For what no caller waits for: a store that takes longer is an absent store."""
OPEN_MS: Final = 1_000
"""For the first answer at start, when no call is here."""
SAID_AGAIN_S: Final = 60.0
_WRONG: Final = ("auth", "cluster")
"""No weather, at start, but settings."""
_SERIOUS: Final = {"auth": "it refuses the password", "oom": "it is full", "readonly": "it takes no writes"}


class StoreWatch(Protocol):
    """An observer of the store: metrics."""

    def store_answered(self, op: str, seconds: float, /) -> None: ...
    def store_failed(self, kind: str, /) -> None: ...
    def store_up(self, up: bool, /) -> None: ...
    def store_ghost(self) -> None: ...
    def store_restored(self) -> None: ...


class Unwatched:
    """Is told, and counts nothing."""

    def store_answered(self, op: str, seconds: float, /) -> None:
        """Nothing is counted."""

    def store_failed(self, kind: str, /) -> None:
        """Nothing is counted."""

    def store_up(self, up: bool, /) -> None:
        """Nothing is counted."""

    def store_ghost(self) -> None:
        """Nothing is counted."""

    def store_restored(self) -> None:
        """Nothing is counted."""


class StoreLink:
    """`ping` asks whether the store answers; `returned` writes something when it does again, and raises
    StoreError where that is not taken; `back` is called after that. `clock` is monotonic seconds. Lives on
    one event loop.
    """

    def __init__(
        self,
        ping: Callable[[], Coroutine[Any, Any, None]],
        returned: Callable[[], Coroutine[Any, Any, object]],
        back: Callable[[], None],
        watch: StoreWatch | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.up = True
        self.answered_s = clock()
        """When the store last answered."""
        self._ping = ping
        self._returned = returned
        self._back = back
        self._watch: StoreWatch = Unwatched() if watch is None else watch
        self._clock = clock
        self._failures = 0
        self._failed_s = -math.inf
        self._away_since_s = 0.0
        self._said_s: dict[str, float] = {}
        self._probe: asyncio.Task[None] | None = None
        self._late: set[asyncio.Future[Any]] = set()
        self._watch.store_up(True)

    async def open(self) -> None:
        """Ask once, at start. Raises StoreError where the answer is that the settings are wrong; a store that
        does not answer is away.
        """
        try:
            await self._timed("ping", OPEN_MS, self._ping)
        except StoreError as error:
            self._failed(error)
            if error.kind in _WRONG:
                raise
            self._go_away(error)

    async def ask(self, op: str, budget_ms: int, step: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        """The step's answer; None where the store is away, fails, or takes longer. A step without an answer
        may have been taken, or may be later.
        """
        if not self.up:
            return None
        began_s = self._clock()
        try:
            answer = await self._timed(op, budget_ms, step)
        except StoreError as error:
            self._failed(error)
            if began_s < self._failed_s:  # of a burst: what failed before has said it already
                return None
            self._failed_s = self._clock()
            self._failures += 1
            if self._failures == MOST_FAILURES:  # more may come of what was asked before that
                self._go_away(error)
            return None
        self._failures = 0
        return answer

    def silent_s(self) -> float:
        """For how long the store has not answered."""
        return self._clock() - self.answered_s

    async def close(self) -> None:
        """Ask nothing more."""
        self.up = False
        ending = [*self._late, *([] if self._probe is None else [self._probe])]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    async def _timed(self, op: str, budget_ms: int, step: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The step goes on when nothing waits for it any more, as it would on the server: a client that is
        stopped in the middle of a command has to throw its connection away.
        """
        began_s = self._clock()
        task = asyncio.ensure_future(step())
        self._late.add(task)
        task.add_done_callback(self._was_late)
        done, _ = await asyncio.wait({task}, timeout=budget_ms / 1000)
        if not done:
            raise StoreError("timeout", f"no answer within {budget_ms} ms")
        try:
            answer = task.result()
        except StoreError:
            raise
        except Exception as error:
            # Nothing that is wrong with one call may end what serves all: the writer, the heartbeat.
            logger.exception("the store's answer to %s cannot be used", op)
            raise StoreError("other", type(error).__name__) from error
        self.answered_s = self._clock()
        self._watch.store_answered(op, self.answered_s - began_s)
        return answer

    def _was_late(self, task: asyncio.Future[Any]) -> None:
        self._late.discard(task)
        if not task.cancelled():
            task.exception()  # known, or too late to matter

    def _failed(self, error: StoreError) -> None:
        self._watch.store_failed(error.kind)
        said_s = self._said_s.get(error.kind, -SAID_AGAIN_S)
        if error.kind in _SERIOUS and self._clock() - said_s >= SAID_AGAIN_S:
            self._said_s[error.kind] = self._clock()
            logger.error("the store of the machines: %s (%s)", _SERIOUS[error.kind], error)

    def _go_away(self, error: StoreError) -> None:
        self.up = False
        self._away_since_s = self._clock()
        self._watch.store_up(False)
        what = "store away: %s (%s). Calls go on; this machine decides alone"
        logger.warning(what, error.kind, error)
        self._probe = asyncio.get_running_loop().create_task(self._come_back(), name="store away")

    async def _come_back(self) -> None:
        good = 0
        while good < GOOD_PINGS:
            await asyncio.sleep(PING_EVERY_S)
            try:
                await self._timed("ping", ANSWER_MS, self._ping)
                if good == GOOD_PINGS - 1:
                    await self._timed("beat", ANSWER_MS, self._returned)
            except StoreError as error:
                self._failed(error)
                good = 0
            else:
                good += 1
        self.up, self._failures = True, 0
        self._watch.store_up(True)
        logger.warning("store back, after %.0f s", self._clock() - self._away_since_s)
        self._back()
