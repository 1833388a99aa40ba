"""What is costly and asked for without end: done a few times in a row, and once a second from then on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

EVERY_S: Final = 1.0
IN_A_ROW: Final = 5
"""So that a client that looks twice sees what has changed."""


class Pace:
    """When something may be done: once a second, up to five times in a row after a time without it."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._spent_s = now()  # when all that was done is forgotten

    def due_s(self) -> float:
        """How long until it may be done; 0 for now."""
        return max(0.0, self._spent_s - self._now() - (IN_A_ROW - 1) * EVERY_S)

    def done(self) -> None:
        """It is done."""
        self._spent_s = max(self._now(), self._spent_s) + EVERY_S


class Recent(Generic[T]):
    """What `make` last returned, at most a second ago; it is called at a `Pace`."""

    def __init__(self, make: Callable[[], T], now: Callable[[], float] = time.monotonic) -> None:
        self._make = make
        self._pace = Pace(now)
        self._made: T | None = None

    def get(self) -> T:
        """Raises what `make` raises."""
        if self._made is None or not self._pace.due_s():
            self._pace.done()
            self._made = self._make()
        return self._made
