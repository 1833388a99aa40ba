"""Never dead air: how long the caller has been owed an answer, and when silence has lasted long enough."""

from __future__ import annotations

from dataclasses import dataclass

from .due import NEVER

MOST_SILENT_MS = 1_850
"""Of silence before a filler, whatever it is for: two seconds are promised, and the way to the caller's ear
takes its part of them."""

NEAR_MS = 100
"""Of way that MOST_SILENT_MS allows for."""


@dataclass(slots=True)
class PendingAnswer:
    """The answer we owe. `since_ms` None: no answer is awaited. `silent_ms` is since when the caller has
    heard nothing, `due_ms` when they shall hear something.
    """

    filler_ms: int
    """Silence after which a filler is due, where nothing else is said; fillers of one wait stay that far
    apart."""
    since_ms: int | None = None
    silent_ms: int = 0
    due_ms: int = NEVER
    fillers: int = 0
    """With words, in this wait."""
    worded_ms: int = 0
    """When the last of them began, or the wait."""
    repeats: int = 0
    """Of the quiet sound, in the call."""
    waits: int = 0
    """In which there were words, in the call."""
    way_ms: int = 0
    """To the caller and back, as far as it is known: what we send is heard later, and what we hear was said
    sooner."""
    doubtful: bool = False
    """Whether an answer is owed at all depends on a model of which we do not know whether it lives."""

    def start(
        self,
        now_ms: int,
        patience_ms: int | None = None,
        silent_ms: int | None = None,
        *,
        doubtful: bool = False,
    ) -> None:
        """From now on an answer is owed (if it was not before). The first filler is due after `patience_ms`,
        and sooner where the caller has heard nothing since `silent_ms`.
        """
        self.doubtful = doubtful and (self.since_ms is None or self.doubtful)
        if self.since_ms is None:
            self.since_ms, self.fillers, self.worded_ms = now_ms, 0, now_ms
            self.silent_ms = now_ms if silent_ms is None else min(now_ms, silent_ms)
            self._due(now_ms + (self.filler_ms if patience_ms is None else patience_ms))

    def go_on(self, now_ms: int) -> None:
        """The same silence, but what is owed now is something else, and has been asked for only now."""
        if self.since_ms is None:
            self.start(now_ms)
        else:
            self.since_ms = now_ms
            self._due(now_ms + self.filler_ms)

    def stop(self) -> None:
        self.since_ms, self.due_ms, self.doubtful = None, NEVER, False

    def sounding_until(self, at_ms: int) -> None:
        """The caller hears something until then."""
        self.silent_ms = max(self.silent_ms, at_ms)
        self._due(self.silent_ms + self.filler_ms)

    def taken_back(self, now_ms: int) -> None:
        """What they were to hear cannot be heard: if their silence was to begin after it, something is due
        now.
        """
        if self.silent_ms > now_ms:
            self.silent_ms = self.due_ms = now_ms

    def _due(self, due_ms: int) -> None:
        most_ms = MOST_SILENT_MS - max(0, self.way_ms - NEAR_MS)
        self.due_ms = min(due_ms, self.silent_ms + max(self.filler_ms, most_ms))
