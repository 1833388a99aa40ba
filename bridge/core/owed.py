"""Never dead air: how long the caller has been owed an answer, and when silence has lasted long enough."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Owed:
    """The answer we owe. `since_ms` None: nobody waits for us. `silent_ms` is since when the caller has heard
    nothing.
    """

    first_ms: int
    """Silence after which the first filler is due; fillers of one wait stay that far apart."""
    since_ms: int | None = None
    silent_ms: int = 0
    fillers: int = 0

    def start(self, now_ms: int, patience_ms: int | None = None) -> None:
        """From now on an answer is owed (if it was not before). `patience_ms` shortens the wait for the first
        filler.
        """
        if self.since_ms is None:
            self.since_ms, self.fillers = now_ms, 0
            self.silent_ms = now_ms - (self.first_ms - patience_ms if patience_ms is not None else 0)

    def stop(self) -> None:
        self.since_ms = None

    def sounding_until(self, at_ms: int) -> None:
        """The caller hears something until then."""
        self.silent_ms = max(self.silent_ms, at_ms)

    @property
    def deadline_ms(self) -> int | None:
        """When the next filler is due."""
        return None if self.since_ms is None else self.silent_ms + self.first_ms
