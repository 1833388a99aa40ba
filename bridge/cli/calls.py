"""`phonebridge calls run LIST.csv`: the numbers of a list, one after the other."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from .calling import AgentOption, ConsentOption, KeyOption, PortOption, ServerOption, source
from .interrupt import until_interrupted
from .options import finite
from .words import printable

if TYPE_CHECKING:
    from bridge.server.outbound.handles import Source
    from bridge.server.outbound.lists import Row

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Lists of numbers to call.")


@app.callback()
def calls() -> None:
    """Lists of numbers to call."""


List = Annotated[
    Path,
    typer.Argument(help="CSV with a column `to`; `consent`, `from`, `agent` and any others are allowed."),
]
Cps = Annotated[float, typer.Option(min=0.01, max=30, callback=finite, help="Calls asked for a second.")]
AtOnce = Annotated[int, typer.Option(min=1, max=1000, help="Calls under way at once.")]
Once = Annotated[
    bool, typer.Option("--once", help="Do not wait for numbers that are due later (busy, hours): end.")
]
AsJson = Annotated[bool, typer.Option("--json", help="The report as JSON; lines go to stderr.")]


@app.command()
def run(  # noqa: PLR0913, PLR0917  options
    file: List,
    agent: AgentOption = None,
    consent: ConsentOption = "",
    cps: Cps = 0.9,
    at_once: AtOnce = 20,
    once: Once = False,
    server: ServerOption = None,
    key: KeyOption = "",
    port: PortOption = None,
    as_json: AsJson = False,
) -> None:
    """Call the numbers of a CSV file, each as often as it takes and not once more.

    [bold]phonebridge calls run numbers.csv --agent agent:agent --consent "newsletter, 2026"[/]

    Other columns are the call's context, which the agent reads. What became
    of each number is written to FILE.state.jsonl, before and after its
    call: after Ctrl-C or a crash the command goes on where it was.

    Busy is tried again after 10 minutes, no answer and a machine without a
    message after an hour, three times in all; never after a person or a
    refusal. When most calls fail, or an operator has to do something, it
    pauses: it says why and exits with 1.
    """
    lines = Console(stderr=True, highlight=False, soft_wrap=True)
    rows = _rows(file, consent, agent if server is not None else None, lines)
    paced = {"calls_a_second": min(30.0, cps / 0.9), "calls_out": at_once} if server is None else {}

    async def called() -> int:
        async with source(server, key, agent if server is None else None, port, **paced) as place:
            report = await _called(file, rows, place, lines, cps=cps, at_once=at_once, once=once)
        _report(report, as_json)
        return 1 if report["paused"] else 0

    sys.exit(until_interrupted(called))


def _rows(file: Path, consent: str, agent: str | None, lines: Console) -> list[Row]:
    """The list's rows; `agent` is for those that name none."""
    from bridge.server.outbound.lists import read_rows

    rows, remarks = read_rows(file, consent)
    for remark in remarks:
        lines.print(escape(printable(remark)), style="yellow")
    for row in rows:
        row.agent = row.agent or agent or ""
    return rows


async def _called(file: Path, rows: list[Row], place: Source, lines: Console, **how: Any) -> dict[str, Any]:
    """The report of one run."""
    from bridge.server.outbound.list_run import ListRun
    from bridge.server.outbound.lists import SUFFIX, ListState

    state = ListState(file.with_name(file.name + SUFFIX))
    try:
        running = ListRun(rows, state, place, **how)
        running.told = lambda row: _tell(lines, row)
        await running.run()
        return running.report()
    finally:
        state.close()


def _tell(lines: Console, row: Row) -> None:
    facts = [f"{row.outcome or row.state}"]
    facts += [str(row.told[name]) for name in ("answered_by", "reason") if row.told.get(name)]
    if row.state == "again":
        facts.append("again later")
    if row.state != "placed":
        lines.print(f"[cyan]{escape(printable(row.to)):>18}[/]  {escape(printable(' · '.join(facts)))}")


def _report(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(report))
        return
    console = Console(highlight=False, soft_wrap=True)
    counted = ", ".join(f"{name} {count}" for name, count in report["outcomes"].items())
    console.print(f"{report['numbers']} numbers, {report['attempts']} calls: {counted}")
    ring = report["ring_p50_ms"]
    rang = "" if ring is None else f", rang {ring / 1000:.0f} s (median)"
    console.print(f"{report['left']} are left, cost ${report['cost_usd']:.2f}{rang}")
    if report["paused"]:
        console.print(f"[bold red]paused:[/] {escape(printable(report['paused']))}")
