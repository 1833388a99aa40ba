"""How many sessions this process has open with each of the vendors that calls go on with.

An outage of the first vendor moves all its calls at once. The next one may not be ready for as many, or paid.
"""

from __future__ import annotations

from collections import Counter
from typing import Final


class VendorSessions:
    """`most` is the limit for each vendor, None for none."""

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self._open: Counter[str] = Counter()

    def enter(self, vendor: str) -> bool:
        """One more is dialled. False, and it does not count, where there are as many as may be."""
        if self.most is not None and self._open[vendor] >= self.most:
            return False
        self._open[vendor] += 1
        return True

    def leave(self, vendor: str) -> None:
        """One of those is over."""
        self._open[vendor] -= 1


VENDOR_SESSIONS: Final = VendorSessions()
"""Of this process."""
