"""`pytest --felt-p95 MS`: a bound on how long callers wait for an answer, over all calls of a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import pytest

from ..core.turn_times import TurnTimes

NAME: Final = "phonebridge_felt"
_KEPT: Final = 3
"""Slow turns that are named."""


class Wait(NamedTuple):
    """One turn's: how long, in which test, and what it is made of."""

    felt_ms: int
    test: str
    parts: str


def percentile_95(values: Iterable[int]) -> int:
    """The least value that 95 % of them do not exceed."""
    ordered = sorted(values)
    return ordered[-(-95 * len(ordered) // 100) - 1]


class FeltBudget:
    """Collects the waits of a run; under pytest-xdist those of its workers."""

    def __init__(self, most_ms: int) -> None:
        self.most_ms = most_ms
        self.waits: list[Wait] = []

    def add(self, test: str, turns: Iterable[TurnTimes]) -> None:
        """The turns of one call."""
        for turn in turns:
            if turn.felt_ms is not None:
                parts = ", ".join(f"{name} {ms:,}" for name, ms in turn.parts().items() if ms)
                self.waits.append(Wait(turn.felt_ms, test, parts))

    @property
    def exceeded(self) -> bool:
        """Whether the bound does not hold. Without a turn it does."""
        return bool(self.waits) and percentile_95(wait.felt_ms for wait in self.waits) > self.most_ms

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A worker hands its waits to the controller, which judges."""
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[NAME] = [list(wait) for wait in self.waits]
        elif self.exceeded and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker of pytest-xdist is done."""
        output: dict[str, Any] = getattr(node, "workeroutput", {})
        self.waits += [Wait(*wait) for wait in output.get(NAME, [])]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The figure, and the slowest turns where it is over the bound."""
        terminalreporter.section("how long callers wait", sep="-")
        if not self.waits:
            terminalreporter.line("no call of this run had a turn that was answered")
            return
        p95_ms = percentile_95(wait.felt_ms for wait in self.waits)
        verdict = "more than" if self.exceeded else "within"
        count = len(self.waits)
        terminalreporter.line(
            f"p95 {p95_ms:,} ms over {count} turn{'s' if count > 1 else ''}: {verdict} {self.most_ms:,} ms",
            red=self.exceeded,
        )
        for wait in sorted(self.waits, reverse=True)[:_KEPT] if self.exceeded else []:
            terminalreporter.line(f"  {wait.felt_ms:,} ms in {wait.test}: {wait.parts}")
