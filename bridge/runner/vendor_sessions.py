"""How many sessions this process has open with each of the vendors that calls go on with.

An outage of the first vendor moves all its calls at once. The next one may not be ready for as many, or paid.
Machines and workers that know of each other share the limit evenly: at such a moment none of them can wait
for a store, and no count of a moment ago is true.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Final


class VendorSessions:
    """`most` is the limit for each vendor, None for none, of all processes together. `among` tells the name
    of this one and those of all that are alive.
    """

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self.among: Callable[[], tuple[str, Collection[str]]] = lambda: ("", ())
        self._open: Counter[str] = Counter()

    @property
    def share(self) -> int | None:
        """What this process may have of it: the first ones by name have one more, where it is not even."""
        if self.most is None:
            return None
        name, alive = self.among()
        names = sorted({name, *alive})
        return (self.most + len(names) - 1 - names.index(name)) // len(names)

    def enter(self, vendor: str) -> bool:
        """One more is dialled. False, and it does not count, where there are as many as may be."""
        share = self.share
        if share is not None and self._open[vendor] >= share:
            return False
        self._open[vendor] += 1
        return True

    def leave(self, vendor: str) -> None:
        """One of those is over."""
        self._open[vendor] -= 1


VENDOR_SESSIONS: Final = VendorSessions()
"""Of this process."""
