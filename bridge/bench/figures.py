"""What was measured, as figures and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from .barge_in import Measured
from .cases import Case

TOLD = "told"


def figures(case: Case, measured: Sequence[Measured]) -> dict[str, Any]:
    """Of one case: calls, of how many the model was told, errors and times in ms (None of nothing), and what
    went otherwise, in words with how often.
    """
    errors_ms = [one.error_ms for one in measured if one.error_ms is not None]
    stops_ms = [one.stop_ms for one in measured if one.stop_ms is not None]
    otherwise: dict[str, int] = {}
    for one in measured:
        if one.outcome != TOLD:
            otherwise[one.outcome] = otherwise.get(one.outcome, 0) + 1
    return {
        "case": case.name,
        "about": case.about,
        "calls": len(measured),
        "told": sum(one.outcome == TOLD for one in measured),
        "error_ms": spread([abs(ms) for ms in errors_ms]),
        "claimed_too_much_ms": max([0, *errors_ms]) if errors_ms else None,
        "stop_ms": spread(stops_ms),
        "otherwise": otherwise,
        "each": [asdict(one) for one in measured],
    }


def spread(values: Sequence[int]) -> dict[str, int] | None:
    """Median, 95th and 99th percentile (nearest rank) and maximum."""
    if not values:
        return None
    ordered = sorted(values)
    return {
        "p50": ordered[(len(ordered) - 1) // 2],
        "p95": ordered[-(-len(ordered) * 95 // 100) - 1],
        "p99": ordered[-(-len(ordered) * 99 // 100) - 1],
        "max": ordered[-1],
    }


def table(found: Sequence[dict[str, Any]], title: str) -> Table:
    """All cases, a row each; what went otherwise stands below."""
    otherwise: list[str] = []
    made = Table(
        title=f"{title} (ms)",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        caption_justify="left",
    )
    made.add_column("\ncase", min_width=9, overflow="fold")
    # 80 columns are enough: the unit is in the title, and the name of a spread stands above its first figure.
    for name in (
        "\ncalls",
        "\ntold",
        "error\np50",
        "\np95",
        "\nmax",
        "too\nmuch",
        "stop\np50",
        "\np99",
        "\nmax",
    ):
        made.add_column(name, justify="right", no_wrap=True)
    for row in found:
        error, stop = row["error_ms"] or {}, row["stop_ms"] or {}
        told = f"{row['told']}" if row["told"] == row["calls"] else f"[red]{row['told']}[/]"
        cells = [error.get("p50"), error.get("p95"), error.get("max"), row["claimed_too_much_ms"]]
        cells += [stop.get("p50"), stop.get("p99"), stop.get("max")]
        made.add_row(row["case"], str(row["calls"]), told, *map(_ms, cells))
        otherwise += [f"{row['case']}, {times} ×: {what}" for what, times in row["otherwise"].items()]
    made.caption = escape("\n".join(otherwise))
    return made


def _ms(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"
