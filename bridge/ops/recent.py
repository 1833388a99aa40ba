"""An answer that is costly to make and that anybody may ask for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

FRESH_S: Final = 1.0
IN_A_ROW: Final = 5
"""Answers made one after the other for a client that looks twice; beyond, one a second is made."""


class Recent(Generic[T]):
    """What `make` last returned, at most a second ago. It is called once a second, up to five times in a row
    after a time without calls.
    """

    def __init__(self, make: Callable[[], T], now: Callable[[], float] = time.monotonic) -> None:
        self._make = make
        self._now = now
        self._spent_s = now()  # when all that is spent will be there again
        self._made: T | None = None

    def get(self) -> T:
        """Raises what `make` raises."""
        now_s = self._now()
        after_s = max(now_s, self._spent_s) + FRESH_S
        if self._made is None or after_s <= now_s + IN_A_ROW * FRESH_S:
            self._spent_s = after_s
            self._made = self._make()
        return self._made
