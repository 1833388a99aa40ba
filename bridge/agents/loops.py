"""The loops that user code runs on, and which call is on which.

A call goes to the loop with the fewest calls, and stays there: its resolver, handler and async tools, and
the clients they make, see one event loop from first to last. A loop that is blocked shows only by its
silence, so a call is offered to a loop, and to the next one when the first does not take it up in time.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from bridge.agents.loop import Job, OwnedLoop

OFFER_S: Final = 0.05
"""A loop that has not taken a call up by then is busy: the next one is asked too."""

Post = tuple[Callable[..., object], tuple[Any, ...]]


def cross(audio_loop: asyncio.AbstractEventLoop, function: Callable[..., None], *args: Any) -> None:
    """From a user loop to the audio loop, if it is still there."""
    try:
        audio_loop.call_soon_threadsafe(function, *args)
    except RuntimeError:
        if not audio_loop.is_closed():
            raise


class UserLoops:
    """All loops of user code. `calls` gives the calls that there are, those that are over left out. All of
    it belongs to the audio loop, but for `blocked` and `waiting`, which any thread may ask.
    """

    def __init__(self, loops: Sequence[OwnedLoop], calls: Callable[[], Iterable[CallLoop]]) -> None:
        self._loops = loops
        self._calls = calls
        self._silent: set[OwnedLoop] = set()

    def start(self) -> None:
        """Returns when all run."""
        for loop in self._loops:
            loop.start(lambda loop=loop: self._sids((loop,)))  # type: ignore[misc]  # it cannot see the default

    def close(self, timeout_s: float = 1.0) -> None:
        """End them all, and what still runs on them. Waits for `timeout_s` at most, all together."""
        for loop in self._loops:
            loop.stop()
        until_s = time.monotonic() + timeout_s
        for loop in self._loops:
            loop.close(max(0.0, until_s - time.monotonic()))

    def place(self, call_sid: str) -> CallLoop:
        """A loop for a new call."""
        return CallLoop(call_sid, self)

    def emptiest(self, beside: Sequence[OwnedLoop] = ()) -> OwnedLoop | None:
        """The one with the fewest calls of those that answer, else of all; None if all are `beside`."""
        load = Counter(call.at for call in self._calls())
        others = [loop for loop in self._loops if loop not in beside]
        return min(
            others, key=lambda loop: (loop.is_blocked or loop in self._silent, load[loop]), default=None
        )

    def answered(self, loop: OwnedLoop, in_time: bool) -> None:
        """Whether it has taken an offer up."""
        if in_time:
            self._silent.discard(loop)
        else:
            self._silent.add(loop)

    @property
    def is_single(self) -> bool:
        return len(self._loops) == 1

    @property
    def blocked(self) -> int:
        """How many do not answer now."""
        return len(self._stuck())

    @property
    def waiting(self) -> int:
        """How many calls are on those."""
        return len(self._sids(self._stuck()))

    def _stuck(self) -> list[OwnedLoop]:
        return [loop for loop in self._loops if loop.is_blocked]

    def _sids(self, loops: Sequence[OwnedLoop]) -> list[str]:
        return [call.call_sid for call in self._calls() if call.at in loops]


class CallLoop:
    """The loop of one call: of those that it is offered to, the one that takes it up first. What is posted
    before is run there then, in order. Made and posted to on the audio loop.
    """

    def __init__(self, call_sid: str, loops: UserLoops) -> None:
        self.call_sid = call_sid
        self.at: OwnedLoop | None = None
        """Where it is, or was offered last."""
        self._audio_loop = asyncio.get_running_loop()
        self._loops = loops
        self._asked: list[OwnedLoop] = []
        self._early: deque[Post] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._is_placed = loops.is_single
        if self._is_placed:
            self.at = loops.emptiest()
        else:
            self._offer()

    def post(self, function: Callable[..., object], *args: Any) -> None:
        if self._is_placed and self.at is not None:
            self.at.post(function, *args)
        else:
            self._early.append((function, args))

    def in_thread(self, job: Callable[[], Any]) -> Job:
        """Called on the loop that has the call."""
        if self.at is None:
            raise RuntimeError("a call that is on no loop runs nothing")
        return self.at.in_thread(job)

    def _offer(self) -> None:
        if self._asked:
            self._loops.answered(self._asked[-1], False)
        loop = self._loops.emptiest(self._asked)
        if loop is not None:
            self.at = loop
            self._asked.append(loop)
            loop.post(cross, self._audio_loop, self._taken, loop)
            self._timer = self._audio_loop.call_later(OFFER_S, self._offer)

    def _taken(self, loop: OwnedLoop) -> None:
        self._loops.answered(loop, True)
        if self._is_placed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self.at, self._is_placed = loop, True
        while self._early:
            function, args = self._early.popleft()
            loop.post(function, *args)
