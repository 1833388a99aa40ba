"""The event loop of user code in virtual time: its clock is the call's."""

from __future__ import annotations

import asyncio
import contextlib
import math
import selectors
import time
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from bridge.agents.blocking import Blocked, bounded

ROUNDS: Final = 1_000
"""Of the loop, in one moment: code that takes more polls."""
POLLING_ROUNDS: Final = 20
"""In each further moment."""
POLL_MS: Final = 20
"""How far apart those are."""
_Result = TypeVar("_Result")


class UserCodeBlocked(RuntimeError):
    """User code did not return; the message names it, and says what to do."""


class _Selector(selectors.SelectSelector):
    """Never waits: when there is nothing to do but wait, it says so."""

    loop: CallLoop

    def comes(self, within_s: float) -> bool:
        """Whether something from outside is there by then, such as what a thread has found."""
        return bool(super().select(within_s))

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or timeout == 0:
            self.loop.works()
        else:
            self.loop.waits(timeout)
        return ready


class CallLoop(asyncio.SelectorEventLoop):
    """An event loop by the clock of a call. `deadline_ms` is when a task on it wants to go on.

    A task that polls (`while not done: await asyncio.sleep(0)`) takes time as it does elsewhere, so that the
    call goes on and its deadlines hold. The clock stands while a task waits for what is really outside:
    `outside` has an entry for each, by how many seconds `time.monotonic()` was ahead of `time()` then.
    """

    def __init__(self) -> None:
        self._peeking = _Selector()
        self._peeking.loop = self
        self.now_ms = 0
        self.deadline_ms: int | None = None
        self._rounds = ROUNDS
        self.polls = False
        """Whether a task has not waited for anything in the last moment."""
        self.blocked: Blocked | None = None
        """What has not returned; nothing of this call is to be believed then."""
        self.outside: list[float] = []
        super().__init__(self._peeking)

    def time(self) -> float:
        return self.now_ms / 1000

    def waits(self, timeout_s: float | None) -> None:
        """No task can go on before this."""
        self.deadline_ms = None if timeout_s is None else self.now_ms + math.ceil(timeout_s * 1000 - 1e-6)
        self.stop()

    def soon(self) -> None:
        """Something was put on it that can run at this moment."""
        self.deadline_ms = self.now_ms

    def works(self) -> None:
        """Tasks go on in this moment, as long as it lasts."""
        self._rounds -= 1
        if self._rounds <= 0:
            self.polls = True
            self.deadline_ms = self.now_ms + POLL_MS
            self.stop()

    def wake(self, now_ms: int) -> None:
        """Run what can run at this moment. Raises UserCodeBlocked."""
        self.now_ms = max(self.now_ms, now_ms)
        while self._is_due or self._peeking.comes(self._outside_s()):
            self._rounds, self.polls = POLLING_ROUNDS if self.polls else ROUNDS, False
            before = self.blocked
            with bounded(self._interrupted), contextlib.suppress(Blocked):
                self.run_forever()
            if self.blocked is not before:
                raise UserCodeBlocked(str(self.blocked))
            if not self.outside:
                return

    @property
    def _is_due(self) -> bool:
        return self.deadline_ms is not None and self.deadline_ms <= self.now_ms

    def _outside_s(self) -> float:
        """How long to wait for what is outside: until the time of day has caught up with the deadline."""
        if not self.outside or self.deadline_ms is None:
            return 0
        return max(0.0, self.deadline_ms / 1000 + min(self.outside) - time.monotonic())

    def _interrupted(self, blocked: Blocked) -> None:
        """A task keeps what is raised in it: the loop stops, too."""
        self.blocked = blocked
        self.stop()

    def complete(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run this to its end, in no time at all. Raises RuntimeError if it waits for something that is not
        here.
        """
        task = self.create_task(work)
        self.soon()
        self.wake(self.now_ms)
        while not task.done():
            if self.deadline_ms is None:
                raise RuntimeError("the agent's resolver waits for something that never comes")
            self.wake(self.deadline_ms)
        return task.result()
