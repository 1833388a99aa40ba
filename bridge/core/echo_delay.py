"""How late the echoes of marks are: the round trip to the carrier, estimated from its changes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .config import EchoSeen

WINDOW = 8
"""Echoes that the lateness of a busy period is averaged over."""

OPENING = 4
"""Echoes at the head of a busy period that tell how late echoes usually are."""

ONE_ECHO = 0.5
"""What one echo weighs, of which both ways are unknown."""

UNKNOWN_MS = 100.0
"""How late echoes are taken to be while the only one came much too late to tell."""

STOOD = 25.0
"""Variance of a period's shift once the line seemed to stand still: some 90 ms, where a way varies by 17."""

MOST_WEIGHT = 6.0
"""What all before may weigh against one more look."""


@dataclass(slots=True)
class EchoDelay:
    """How late echoes come: of this busy period, and usually. `stood_ms` is how long the line stood still in
    this period, as far as is known; `stood` whether it ever seemed to.

    A message takes one way, and an echo comes late by two: the sound's way out, which all echoes of a period
    share with its first delta, and its own way back. Everything here is weighed in looks, one over the
    variance, where one way has the variance 1.
    """

    usual_ms: float | None = None
    weight: float = 0.0
    """Looks that `usual_ms` rests on."""
    stood_ms: float = 0.0
    stood: bool = False
    recent_ms: list[float] = field(default_factory=list)
    opening_ms: list[float] = field(default_factory=list)
    shift_ms: float = 0.0
    """By how much this period's playout began later than its sending suggests."""
    expected_ms: float | None = None
    """How late the next echo should be, before any shift; None before the first echo of all."""
    known_ms: float | None = None
    """How late echoes usually are, once there were enough to tell."""

    def _weigh(self) -> None:
        """What was learnt changes the last three: here, once an echo, for they are asked far more often.

        The way out of its first delta was longer or shorter than usual by so much, or those back of its
        echoes were, or what we take for usual is off: of what is seen the first one's share is believed. In
        a period before which nothing was known, nothing is, unless the line seemed to stand still in it:
        then the echoes before that tell what is usual, and how long it stood is known badly.
        """
        count, opened = len(self.recent_ms), len(self.opening_ms)
        self.expected_ms = self.known_ms = usual_ms = self.usual_ms
        weight = self.weight
        if usual_ms is None and opened:
            self.expected_ms = sum(self.opening_ms) / opened
            self.known_ms = self.expected_ms if opened == OPENING else None
            if self.stood:
                usual_ms, weight = self.expected_ms, opened
        if usual_ms is None or not count:
            self.shift_ms = 0.0
            return
        prior = STOOD if self.stood else 1.0
        seen_ms = sum(self.recent_ms) / count
        self.shift_ms = (seen_ms - usual_ms) * prior / (prior + 1 / count + 1 / weight)

    def look(self, late_ms: float, weight: float) -> None:
        """What echoes usually are, seen once more; what was seen long ago weighs less and less."""
        known = min(self.weight, MOST_WEIGHT)
        usual_ms = 0.0 if self.usual_ms is None else self.usual_ms
        self.usual_ms = usual_ms + (late_ms - usual_ms) * weight / (known + weight)
        self.weight = known + weight
        self._weigh()

    def stand(self, stood_ms: float) -> None:
        """The line stood still for this long; or had not, where this is negative."""
        self.stood_ms += stood_ms
        self.stood = True
        self.recent_ms.clear()
        self._weigh()

    def relearn(self, late_ms: float) -> None:
        """Echoes were taken to be late because the line had stood still: they are not."""
        self.usual_ms, self.weight = late_ms, ONE_ECHO
        self.recent_ms.clear()
        self.opening_ms.clear()
        self.observe(late_ms)

    def observe(self, late_ms: float) -> None:
        self.recent_ms.append(late_ms)
        del self.recent_ms[:-WINDOW]
        if len(self.opening_ms) < OPENING:
            self.opening_ms.append(late_ms)
        self._weigh()

    @classmethod
    def of(cls, seen: EchoSeen | None) -> EchoDelay:
        """As it was seen before; as at the beginning where nothing was."""
        if seen is None:
            return cls()
        delay = cls(seen.late_ms, seen.looks)
        delay._weigh()
        return delay

    @property
    def seen(self) -> EchoSeen | None:
        """What all periods until now have taught; None where there was no echo. Asked while the line is
        quiet.
        """
        whole = replace(self, recent_ms=[], opening_ms=[*self.opening_ms])
        whole.close_period()
        return None if whole.usual_ms is None else EchoSeen(whole.usual_ms, whole.weight)

    def close_period(self) -> None:
        if self.opening_ms:
            count = len(self.opening_ms)
            self.look(sum(self.opening_ms) / count, 1 / (1 + 1 / count))
        self.recent_ms.clear()
        self.opening_ms.clear()
        self.stood_ms, self.stood = 0.0, False
        self._weigh()
