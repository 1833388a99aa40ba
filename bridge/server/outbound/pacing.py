"""When calls are placed: a few a second, some at a time, and none while they all fail. Pure; `now_s` is any
clock that never goes back.

Twilio, "CPS": calls beyond an account's calls a second are queued and not refused, so a queued call may ring
an hour later. This side keeps below that rate.
"""

from __future__ import annotations

from collections import deque
from typing import Final

SHARE: Final = 0.9
"""Of the account's calls a second: single seconds vary."""
WINDOW: Final = 20
PAUSE_S: Final = 60.0


class Bucket:
    """A token bucket: `rate` calls a second on average, one at once."""

    def __init__(self, rate: float) -> None:
        self._every_s = 1 / rate
        self._next_s = float("-inf")

    def take(self, now_s: float) -> float:
        """Takes the next place; returns how long to wait for it."""
        at_s = max(now_s, self._next_s)
        self._next_s = at_s + self._every_s
        return at_s - now_s


class Breaker:
    """Pauses calls when more than half of the last 20 failed, or the carrier says that none can be placed.
    After a minute one more is tried.
    """

    def __init__(self) -> None:
        self._last: deque[bool] = deque(maxlen=WINDOW)
        self._until_s = float("-inf")
        self.reason = ""

    def ended(self, now_s: float, *, failed: bool) -> None:
        """A call is done; `failed` is a fault of the carrier's or the network's, and no person's doing."""
        self._last.append(failed)
        if not failed:
            return
        failures = sum(self._last)
        if len(self._last) == WINDOW and failures > WINDOW // 2:
            self.stop(now_s, f"{failures} of the last {WINDOW} calls failed")

    def stop(self, now_s: float, reason: str) -> None:
        """No call can be placed, says the carrier."""
        self._last.clear()
        self._until_s, self.reason = now_s + PAUSE_S, reason

    def wait_s(self, now_s: float) -> float:
        """How long calls are paused yet, 0 if they are not."""
        return max(0.0, self._until_s - now_s)
