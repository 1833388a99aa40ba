"""The series of the store that machines share; a process without one has none of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

KINDS: Final = ("timeout", "connection", "auth", "readonly", "oom", "busy", "cluster", "other")
"""Why the store did not do something."""
OPS: Final = (
    "ping", "beat", "ring", "claim", "note", "turn", "end", "intend", "after", "look", "check", "pace",
    "record", "leave", "flush", "other",
)  # fmt: skip
"""What it is asked."""
MOVES: Final = ("handover", "crash", "adopted")
"""How a call came here from another machine."""
_ANSWER_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.25)


class StoreMetrics:
    """Registers the series. An observer of the store, and of what the fleet does by it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"phonebridge_{name}", what, labels, registry=registry)

        self._up = Gauge("phonebridge_store_up", "Whether the store is asked", registry=registry)
        self._seconds = Histogram(
            "phonebridge_store_seconds",
            "How long the store took to answer",
            ("op",),
            buckets=_ANSWER_S,
            registry=registry,
        )
        self._errors = counter("store_errors", "What the store did not do", "kind")
        self._ghosts = counter("store_ghosts", "Calls that another machine had taken over")
        self._restored = counter("store_restored", "Calls written back that the store had lost")
        self._second_dials = counter(
            "store_second_dials", "Streams that came here while their model was dialled elsewhere"
        )
        self._handed_over = counter("store_handed_over", "Calls that came from another machine", "how")
        self._unreadable = counter("store_unreadable", "Records that no key of this machine opens")
        self._machines = Gauge(
            "phonebridge_store_machines", "Machines that are alive, this one too", registry=registry
        )
        for kind in KINDS:
            self._errors.labels(kind)
        for how in MOVES:
            self._handed_over.labels(how)

    def watch_machines(self, alive: Callable[[], int]) -> None:
        """Where a scrape finds how many machines are alive."""
        self._machines.set_function(alive)

    def store_answered(self, op: str, seconds: float, /) -> None:
        """It answered after that long; an unknown `op` counts as other."""
        self._seconds.labels(op if op in OPS else "other").observe(seconds)

    def store_failed(self, kind: str, /) -> None:
        """It did not; `kind` is one of `KINDS`."""
        self._errors.labels(kind if kind in KINDS else "other").inc()

    def store_up(self, up: bool, /) -> None:
        """Whether it is asked from now on."""
        self._up.set(up)

    def store_ghost(self) -> None:
        """A call turned out to be another machine's."""
        self._ghosts.inc()

    def store_restored(self) -> None:
        """A write was done again that the store had lost."""
        self._restored.inc()

    def unreadable(self) -> None:
        """A record could not be read, and counts as absent."""
        self._unreadable.inc()

    def second_dial(self) -> None:
        """A stream came here, and another machine had dialled the model for it."""
        self._second_dials.inc()

    def handed_over(self, how: str) -> None:
        """A call came here from another machine; `how` is one of `MOVES`."""
        if how in MOVES:
            self._handed_over.labels(how).inc()
