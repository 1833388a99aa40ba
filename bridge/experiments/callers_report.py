"""What came of simulated callers: the table, JSON, JUnit, a page, and a summary in Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .callers_run import Failure, Run
from .report import Case, Cell, Fault, Suite, Table, Tone, Veil, junit, markdown, page
from .significance import wilson

OK, RED, HARNESS = 0, 1, 3
"""How the command exits; 2 is a mistake in its use."""
TITLE: Final = "Simulated callers"
_UNKNOWN: Final = "–"


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario over all its runs. `flaky`: some passed and some did not."""

    name: str
    runs: Sequence[Run]

    @property
    def passed(self) -> int:
        return sum(run.passed for run in self.runs)

    @property
    def judged(self) -> int:
        """Runs that say something about the agent."""
        return sum(not run.harness for run in self.runs)

    @property
    def flaky(self) -> bool:
        return 0 < self.passed < self.judged

    @property
    def interval(self) -> tuple[float, float]:
        """Of the share that passes, 95 %."""
        return wilson(self.passed, self.judged)

    def worst(self, measure: str) -> float | None:
        """The largest value over all runs; None where none has one."""
        found = [value for run in self.runs if (value := run.measures.get(measure)) is not None]
        return max(found, default=None)

    @property
    def kinds(self) -> list[str]:
        """Why runs are red, each once, in order."""
        return list(dict.fromkeys(one.kind.value for run in self.runs for one in run.failures))


def rows(runs: Sequence[Run]) -> list[Row]:
    """By scenario, in the order in which they came."""
    names = dict.fromkeys(run.scenario for run in runs)
    return [Row(name, [run for run in runs if run.scenario == name]) for name in names]


def exit_code(found: Sequence[Row], pass_rate: float = 1.0) -> int:
    """3 where a run itself failed, 1 where a scenario passes less often than that, else 0."""
    if any(run.harness for row in found for run in row.runs):
        return HARNESS
    return RED if any(row.passed < pass_rate * row.judged for row in found) else OK


def green(found: Sequence[Row]) -> bool:
    """Whether every run passed."""
    return all(run.passed for row in found for run in row.runs)


def verdict(found: Sequence[Row]) -> str:
    """In one line."""
    runs = sum(len(row.runs) for row in found)
    passed = sum(row.passed for row in found)
    flaky = sum(row.flaky for row in found)
    failed = sum(run.harness for row in found for run in row.runs)
    more = f", {flaky} scenario{'s' * (flaky > 1)} flaky" if flaky else ""
    more += f", {failed} not run to an end" if failed else ""
    return f"{passed} of {runs} runs passed{more}"


# --- tables -------------------------------------------------------------------------------------------------

_COLUMNS: Final = ("scenario", "passed", "95 %", "felt p95", "stop p95", "told off", "USD", "why")


def table(found: Sequence[Row]) -> Table:
    """One row a scenario, the worst value of its runs."""
    return Table("Scenarios", _COLUMNS, [_row(row) for row in found], "Times are ms, the worst of all runs.")


def _row(row: Row) -> list[Cell | str]:
    low, high = row.interval
    tone: Tone = "good" if row.passed == len(row.runs) else "bad"
    usd = sum(run.measures.get("usd") or 0 for run in row.runs)
    known = any(run.measures.get("usd") is not None for run in row.runs)
    return [
        row.name,
        Cell(f"{row.passed} of {len(row.runs)}{' flaky' if row.flaky else ''}", tone),
        f"{low:.0%}-{high:.0%}" if row.judged else _UNKNOWN,
        *(_ms(row.worst(name)) for name in ("felt_p95_ms", "stop_p95_ms", "told_error_ms")),
        f"{usd:.4f}" if known else _UNKNOWN,
        ", ".join(row.kinds),
    ]


def _ms(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:,.0f}"


def _failures(found: Sequence[Row]) -> Table:
    cells: list[list[Cell | str]] = [
        [row.name, str(run.run), Cell(one.kind.value, "bad"), one.want, one.got, _at(one)]
        for row in found
        for run in row.runs
        for one in run.failures
    ]
    return Table("Failures", ("scenario", "run", "kind", "want", "got", "at"), cells)


def _at(failure: Failure) -> str:
    return "" if failure.at_ms is None else f"{failure.at_ms / 1000:.2f} s"


def _runs(found: Sequence[Row]) -> Table:
    cells = [
        [
            row.name,
            str(run.run),
            Cell("passed", "good") if run.passed else Cell("red", "bad"),
            f"{run.seconds:.1f} s",
            run.ended,
            Cell("picture", href=run.files["html"]) if "html" in run.files else "",
            Cell("sound", href=run.files["wav"]) if "wav" in run.files else "",
            "\n".join(f"{line.who}: {line.words or '(not understood)'}" for line in run.conversation),
        ]
        for row in found
        for run in row.runs
    ]
    columns = ("scenario", "run", "verdict", "length", "end", "picture", "sound", "what was said and heard")
    return Table("Runs", columns, cells)


# --- files --------------------------------------------------------------------------------------------------


def as_json(found: Sequence[Row], facts: Mapping[str, Any], veil: Veil) -> str:
    """Everything, in a fixed order: two runs of the same seeds are equal to the byte in virtual time."""
    told = {
        **facts,
        "verdict": verdict(found),
        "scenarios": [
            {
                "name": row.name,
                "passed": row.passed,
                "runs": len(row.runs),
                "interval": [round(bound, 4) for bound in row.interval],
                "flaky": row.flaky,
                "calls": [_run_json(run) for run in row.runs],
            }
            for row in found
        ],
    }
    return json.dumps(veil.json(told), indent=1, ensure_ascii=False) + "\n"


def _run_json(run: Run) -> dict[str, Any]:
    called = None if run.tools is None else [one._asdict() for one in run.tools]
    return {
        "run": run.run,
        "seed": run.seed,
        "passed": run.passed,
        "failures": [{**one._asdict(), "kind": one.kind.value} for one in run.failures],
        "measures": run.measures,
        "ended": run.ended,
        "conversation": [line._asdict() for line in run.conversation],
        "tools": called,
        "notes": run.notes,
        "draws": run.draws,
        "files": run.files,
    }


def as_junit(found: Sequence[Row], veil: Veil) -> str:
    """A suite for each scenario, a case for each run."""
    return junit(TITLE, [Suite(row.name, [_case(run) for run in row.runs]) for row in found], veil)


def _case(run: Run) -> Case:
    faults = [Fault(one.kind.value, f"want {one.want}; got {one.got}", _at(one), error=run.harness)
              for one in run.failures]  # fmt: skip
    figures = {name: f"{value:g}" for name, value in run.measures.items() if value is not None}
    talk = [f"{line.at_ms / 1000:8.2f} {line.who}: {line.words}" for line in run.conversation]
    output = [*(f"{kind}: {path}" for kind, path in run.files.items()), *run.notes, *talk]
    return Case(f"run {run.run}", run.seconds, faults, figures, "\n".join(output))


def as_page(found: Sequence[Row], facts: Mapping[str, str], veil: Veil) -> str:
    """The index of a folder of pictures and sounds."""
    tone: Tone = "good" if green(found) else "bad"
    tables = [table(found), *([] if green(found) else [_failures(found)]), _runs(found)]
    return page(TITLE, Cell(verdict(found), tone), facts, tables, veil)


def as_markdown(found: Sequence[Row], veil: Veil) -> str:
    """For the summary of a job."""
    tables = [table(found), *([] if green(found) else [_failures(found)])]
    return markdown(TITLE, verdict(found), tables, veil)
