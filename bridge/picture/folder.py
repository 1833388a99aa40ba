"""Many calls as one page: a row each, those that went worst on top."""

from __future__ import annotations

from dataclasses import dataclass, field
from string import Template

from .chart import clock
from .page import cell_table, read_text, shown


@dataclass(frozen=True, slots=True)
class CallRow:
    """One recording of a folder; `unreadable` says why it cannot be read, "" where it can."""

    name: str
    at: str = ""
    caller: str = ""
    agent: str = ""
    model: str = ""
    duration_ms: int = 0
    end: str = ""
    barge_ins: int = 0
    error_ms: int | None = None
    tools: int = 0
    tools_failed: int = 0
    faults: list[str] = field(default_factory=list)
    unreadable: str = ""


_HEADS = (
    "largest error",
    "began (UTC)",
    "length",
    "who",
    "ended",
    "barge-ins",
    "tools",
    "faults",
    "recording",
)


def folder_page(rows: list[CallRow], title: str) -> str:
    """One HTML file that loads nothing: rows by the size of their largest error, then faults, then newest."""
    by_error = sorted(rows, key=lambda row: row.name, reverse=True)
    by_error.sort(key=_trouble, reverse=True)
    fields = {
        "title": shown(title),
        "style": read_text("chart.css") + read_text("page.css"),
        "counts": shown(counts(rows)),
        "rows": cell_table("calls", _HEADS, [_row(row) for row in by_error]),
    }
    return Template(read_text("folder.html")).substitute(fields)


def counts(rows: list[CallRow]) -> str:
    """In a line, how many calls there are and how many went wrong."""
    wrong = sum(bool(row.error_ms) for row in rows)
    faulty = sum(bool(row.faults) for row in rows)
    unreadable = sum(bool(row.unreadable) for row in rows)
    parts = [f"{len(rows):,} calls", f"{wrong:,} with a truncation error", f"{faulty:,} with a fault"]
    return ", ".join([*parts, f"{unreadable:,} can't be read"] if unreadable else parts)


def _trouble(row: CallRow) -> tuple[int, bool, int, int]:
    return abs(row.error_ms or 0), bool(row.unreadable), len(row.faults), row.tools_failed


def _row(row: CallRow) -> tuple[str, list[str]]:
    name = f"<code>{shown(row.name)}</code>"
    if row.unreadable:
        return ' class="failed"', [
            "–",
            "",
            "",
            "",
            "",
            "",
            "",
            f'<b class="wrong">✕ {shown(row.unreadable)}</b>',
            name,
        ]
    error = "–" if row.error_ms is None else f"{row.error_ms:,} ms"
    failed = f', <b class="wrong">✕ {row.tools_failed} failed</b>' if row.tools_failed else ""
    who = " → ".join(part for part in (row.caller, row.agent) if part)
    return "", [
        f'<b class="wrong">{error}</b>' if row.error_ms else error,
        shown(row.at[:16].replace("T", " ")),
        clock(row.duration_ms).rpartition(".")[0],
        shown(" · ".join(part for part in (who, row.model) if part)),
        shown(row.end) or "–",
        str(row.barge_ins),
        f"<span>{row.tools or '–'}{failed}</span>",
        shown("; ".join(row.faults)) or "–",
        name,
    ]
