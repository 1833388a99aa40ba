"""What one end of the bench counts while a step is measured."""

from __future__ import annotations

from typing import Any, Final

BUCKET_NS: Final = 10_000
MOST_BUCKETS: Final = 500_000
"""Five seconds; all that is later counts as that."""


class Times:
    """Many durations, kept as how many there were of each hundredth of a millisecond."""

    __slots__ = ("_buckets", "count", "max_ns")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count = 0
        self.max_ns = 0

    def add(self, ns: int) -> None:
        self.count += 1
        self.max_ns = max(self.max_ns, ns)
        bucket = min(ns // BUCKET_NS, MOST_BUCKETS)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1

    def percentile_ms(self, percent: int) -> float | None:
        """Nearest rank, to a hundredth of a millisecond; None of nothing."""
        rank = -(-self.count * percent // 100)
        for bucket in sorted(self._buckets):
            rank -= self._buckets[bucket]
            if rank <= 0:
                return bucket * BUCKET_NS / 1e6
        return None

    def figures(self) -> dict[str, float | None]:
        """Median, 99th percentile and maximum, in ms."""
        return {
            "p50_ms": self.percentile_ms(50),
            "p99_ms": self.percentile_ms(99),
            "max_ms": round(self.max_ns / 1e6, 2) if self.count else None,
        }


class Window:
    """Counts what leaves between two moments, and what comes that left between them. Both ends have the same
    moments, so what is missing is what was sent less what came.
    """

    __slots__ = ("came", "delays", "disordered", "foreign", "from_ns", "late", "sent", "to_ns")

    def __init__(self, from_ns: int = 0, to_ns: int = 0) -> None:
        self.from_ns = from_ns
        self.to_ns = to_ns
        self.sent = 0
        self.came = 0
        self.disordered = 0
        self.foreign = 0
        self.delays = Times()
        self.late = Times()

    def leaves(self, now_ns: int) -> None:
        """A slice leaves."""
        if self.from_ns <= now_ns < self.to_ns:
            self.sent += 1

    def arrives(self, left_ns: int, now_ns: int) -> None:
        """A slice comes that left then."""
        if self.from_ns <= left_ns < self.to_ns:
            self.came += 1
            self.delays.add(now_ns - left_ns)

    def was_due(self, due_ns: int, now_ns: int) -> None:
        """Something that should have been done then is done now."""
        if self.from_ns <= now_ns < self.to_ns:
            self.late.add(max(0, now_ns - due_ns))

    def figures(self) -> dict[str, Any]:
        """All of it, for the other side of a pipe."""
        return {
            "sent": self.sent,
            "came": self.came,
            "disordered": self.disordered,
            "foreign": self.foreign,
            "delay": self.delays.figures(),
            "late": self.late.figures(),
        }
