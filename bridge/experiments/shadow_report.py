"""What a shadow experiment found, as a table, JSON, JUnit and a page. No words of a call, no argument of a
tool and no phone number are in any of them: only names of recordings, of metrics and of tools.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from rich import box
from rich.table import Table as Shown
from rich.text import Text

from .report import Case, Cell, Fault, Suite, Table, Tone, Veil, junit, page
from .shadow import Estimate, Outcome, Pair
from .verdict import Verdict, Word, nothing_told

TITLE: Final = "phonebridge shadow"
_TONES: Final[dict[Word, Tone]] = {
    Word.WORSE: "bad",
    Word.BETTER: "good",
    Word.CANNOT_TELL: "dim",
    Word.NOT_JUDGED: "dim",
}
_STYLES: Final = {
    Word.WORSE: "red",
    Word.BETTER: "green",
    Word.CANNOT_TELL: "yellow",
    Word.NOT_JUDGED: "dim",
}
_COLUMNS: Final = ("metric", "verdict", "control", "new", "difference (95 %)", "p")
_ON_A_TERMINAL: Final = 5
"""Columns of it that have room there."""
_MOST_CALLS: Final = 500
_LEAST_P: Final = 0.001


def headline(outcome: Outcome) -> str:
    """The verdict in one sentence."""
    calls = f"{len(outcome.pairs)} call{'s' if len(outcome.pairs) != 1 else ''}"
    if not outcome.pairs:
        return "no call was run in both arms"
    if not outcome.whole:
        return f"stopped after {len(outcome.pairs)} of {outcome.planned} calls: that tells nothing"
    worse = [one.metric.label for one in outcome.verdicts if one.word is Word.WORSE]
    broken = [f"{kind} in {count}" for kind, count in sorted(outcome.broken.items())]
    if worse or broken:
        found = [f"expectations not met ({', '.join(broken)})"] if broken else []
        return f"worse in {calls}: {', '.join([*found, *worse])}"
    if nothing_told(outcome.verdicts):
        least = min(one.calls_needed or 0 for one in outcome.verdicts if one.metric.judged)
        return f"cannot tell from {calls}: {least} or more would"
    better = [one.metric.label for one in outcome.verdicts if one.word is Word.BETTER]
    unsure = [_unsure(one) for one in outcome.verdicts if one.word is Word.CANNOT_TELL]
    told = f"cannot tell in {calls}: {', '.join(unsure)}" if unsure else f"not worse in {calls}"
    return told + (f"; better: {', '.join(better)}" if better else "")


def tone(outcome: Outcome) -> Tone:
    """How good that is; a doubt is neither."""
    if outcome.exit_code:
        return "bad"
    return "" if any(one.word is Word.CANNOT_TELL for one in outcome.verdicts) else "good"


def _unsure(one: Verdict) -> str:
    return one.metric.label + (f" ({one.calls_needed:,} calls would)" if one.calls_needed else "")


def told(estimate: Estimate, *, real_time: bool) -> str:
    """The estimate in words, before anything is spent."""
    times = f", {estimate.seconds / 60:,.1f} min" if real_time else ""
    if not estimate.usd:
        return f"{estimate.runs:,} runs{times}; the recordings do not say what such calls cost"
    spread = f"({estimate.low_usd:,.2f} to {estimate.high_usd:,.2f})"
    prices = "by the recorded calls' own prices"
    return f"{estimate.runs:,} runs{times}, about {estimate.usd:,.2f} USD {spread} {prices}"


def rows(verdicts: Sequence[Verdict]) -> list[tuple[str, ...]]:
    """The table's cells, by `_COLUMNS`."""
    return [
        (
            _column(one), one.word.value, _number(one, one.control), _number(one, one.new), _difference(one),
            _chance(one),
        )
        for one in verdicts
    ]  # fmt: skip


def table(outcome: Outcome) -> Shown:
    """For the terminal."""
    shown = Shown(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in _COLUMNS[:_ON_A_TERMINAL]:
        words = name in ("metric", "verdict")
        shown.add_column(name, justify="left" if words else "right", no_wrap=name != "verdict")
    for one, cells in zip(outcome.verdicts, rows(outcome.verdicts), strict=True):
        shown.add_row(*(Text(cell, style=_STYLES.get(one.word, "")) for cell in cells[:_ON_A_TERMINAL]))
    return shown


def as_json(outcome: Outcome, estimate: Estimate) -> dict[str, Any]:
    """The whole result. Nothing in it depends on the machine or the hour."""
    return {
        "verdict": headline(outcome),
        "exit": outcome.exit_code,
        "arms": [arm.name for arm in outcome.arms],
        "calls": {"run": len(outcome.pairs), "planned": outcome.planned, "repeats": outcome.repeats},
        "skipped": outcome.skipped,
        "usd": {"estimated": round(estimate.usd, 6), "spent": round(outcome.spent_usd, 6)},
        "metrics": [
            {
                "name": one.metric.name, "better": one.metric.better, "verdict": one.word.value,
                "control": one.control, "new": one.new, "difference": one.difference,
                "interval": [one.low, one.high], "p": one.p, "calls": one.calls,
                "calls_needed": one.calls_needed,
            }
            for one in outcome.verdicts
        ],
        "expectations_not_met": dict(outcome.broken),
        "by_call": [_call(pair) for pair in outcome.pairs],
    }  # fmt: skip


def written_json(outcome: Outcome, estimate: Estimate) -> str:
    """The same as text: equal to the byte for an equal experiment."""
    return json.dumps(as_json(outcome, estimate), indent=1, sort_keys=True)


def written_junit(outcome: Outcome) -> str:
    """A case for each metric that is judged; worse is a failure, an experiment that was stopped an error."""
    cases = [Case(one.metric.label, 0.0, _faults(one, outcome), _figures(one)) for one in outcome.verdicts]
    if outcome.broken:
        faults = [
            Fault(kind, f"in {count} of {len(outcome.pairs)} calls", ", ".join(_where(outcome, kind)))
            for kind, count in sorted(outcome.broken.items())
        ]
        cases.append(Case("expectations met in every call", faults=faults))
    if not outcome.pairs or not outcome.whole:
        fault = Fault("harness", headline(outcome), error=True)
        cases.append(Case("all calls were run", faults=[fault]))
    return junit(TITLE, [Suite("shadow", cases)])


def written_page(outcome: Outcome) -> str:
    """One HTML file: the verdict, and the calls with the largest differences first."""
    facts = {
        "control": outcome.arms[0].name.removeprefix("control: "),
        "new": outcome.arms[1].name.removeprefix("new: "),
        "calls": f"{len(outcome.pairs)} of {outcome.planned}, {outcome.repeats} each and arm",
        "cost": f"{outcome.spent_usd:,.4f} USD by recorded prices",
        **{f"skipped, {why}": str(len(names)) for why, names in outcome.skipped.items()},
    }
    judged = [
        [Cell(cell, _TONES.get(one.word, "")) for cell in cells]
        for one, cells in zip(outcome.verdicts, rows(outcome.verdicts), strict=True)
    ]
    by_call = sorted(outcome.pairs, key=_moved, reverse=True)[:_MOST_CALLS]
    calls = Table(
        "Calls",
        ("recording", "tools: control", "tools: new", "felt p50 (ms)", "USD", "not met"),
        [_row(p) for p in by_call],
    )
    return page(
        TITLE,
        Cell(headline(outcome), tone(outcome)),
        facts,
        [Table("Verdict", _COLUMNS, judged), calls],
        Veil(),
    )


# --- inside ---------------------------------------------------------------------------------------------


def _column(one: Verdict) -> str:
    return f"{one.metric.label} ({one.metric.unit})" if one.metric.unit else one.metric.label


def _number(one: Verdict, value: float, *, signed: bool = False) -> str:
    form = {"ms": ",.0f", "USD": ",.4f"}.get(one.metric.unit, ".2f")
    return f"{value:{'+' if signed else ''}z{form}}"


def _chance(one: Verdict) -> str:
    if one.word is Word.NOT_JUDGED:
        return "–"
    return f"{one.p:.3f}" if one.p >= _LEAST_P else f"< {_LEAST_P}"


def _difference(one: Verdict) -> str:
    low, high = (_number(one, value, signed=True) for value in (one.low, one.high))
    return f"{_number(one, one.difference, signed=True)} ({low}…{high})"


def _faults(one: Verdict, outcome: Outcome) -> list[Fault]:
    if one.word is not Word.WORSE:
        return []
    moved = [
        pair.call.name for pair in sorted(outcome.pairs, key=lambda p: -abs(_by(p, one.metric.name)))[:5]
    ]
    message = f"{_number(one, one.control)} -> {_number(one, one.new)}, {_difference(one)}, p {one.p:.4f}"
    return [Fault("worse", message, f"most in: {', '.join(moved)}")]


def _where(outcome: Outcome, kind: str) -> list[str]:
    """The first calls of the new agent that have this fault."""
    return [pair.call.name for pair in outcome.pairs if kind in pair.broken][:5]


def _figures(one: Verdict) -> dict[str, str]:
    return {
        "verdict": one.word.value, "control": repr(one.control), "new": repr(one.new),
        "low": repr(one.low), "high": repr(one.high), "p": repr(one.p),
    }  # fmt: skip


def _by(pair: Pair, name: str) -> float:
    control, new = pair.control.get(name), pair.new.get(name)
    return 0.0 if control is None or new is None else new - control


def _moved(pair: Pair) -> float:
    return abs(_by(pair, "tools_equal")) * 1e6 + abs(_by(pair, "felt_p50_ms"))


def _call(pair: Pair) -> dict[str, Any]:
    found = {"name": pair.call.name, "control": dict(pair.control), "new": dict(pair.new)}
    return found | {"expectations_not_met": pair.broken}


def _row(pair: Pair) -> list[Cell | str]:
    tools = [" ".join(name for name, _ in runs[0].tools) or "–" for runs in pair.runs]
    shade: Tone = "bad" if _by(pair, "tools_equal") < 0 else ""
    felt = f"{_by(pair, 'felt_p50_ms'):+,.0f}" if pair.new.get("felt_p50_ms") is not None else "–"
    usd, broken = f"{_by(pair, 'cost_usd'):+.4f}", ", ".join(pair.broken)
    return [pair.call.name, tools[0], Cell(tools[1], shade), felt, usd, Cell(broken, "bad")]
