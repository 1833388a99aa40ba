"""The steps of a load as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from .steps import Step, Verdict


def table(steps: Sequence[tuple[Step, Verdict]], title: str) -> Table:
    """A row each."""
    made = Table(
        title=f"{title} (ms)",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for name in ("\ncalls", "\nserver", "up\np50", "\np99", "down\np50", "\np99", "\nlost", "\nbench"):
        made.add_column(name, justify="right", no_wrap=True)
    made.add_column("", min_width=9, overflow="fold")
    for step, verdict in steps:
        colour = "green" if verdict.held else "red"
        made.add_row(
            f"{step.calls:,}",
            "–" if step.server_cpu is None else f"{step.server_cpu:.0%}",
            *(_ms(ms) for way in (step.up, step.down) for ms in (way.p50_ms, way.p99_ms)),
            f"{step.lost:,}",
            f"{max(step.callers.cpu, step.models.cpu):.0%}",
            f"[{colour}]{verdict.words}[/]",
        )
    return made


def _ms(ms: float | None) -> str:
    return "–" if ms is None else f"{ms:,.1f}"
