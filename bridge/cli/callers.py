"""`phonebridge callers run`: simulated callers against an agent in virtual time, or against any server."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..errors import ConfigError
from ..ops.ctrl_c import EXIT
from .interrupt import hanging_up
from .options import Token, finite
from .wav import check_writable
from .words import printable

if TYPE_CHECKING:
    from ..experiments.callers import Job, Plan
    from ..experiments.callers_report import Row
    from ..experiments.callers_run import CallFacts, Run
    from ..experiments.scenario import Scenario
    from ..experiments.spending import Spending

app = typer.Typer(no_args_is_help=True, help="Simulated callers, judged by what was heard.")


@app.callback()
def callers() -> None:
    """Simulated callers, judged by what was heard."""


Agent = Annotated[
    str | None, typer.Option(help="Call this agent, as module:attribute, in virtual time and without a key.")
]
Called = Annotated[
    str | None, typer.Option(help="Call this webhook (http, https) or stream (ws, wss), in real time.")
]
Parallel = Annotated[
    int | None,
    typer.Option(min=1, help="At once; default: a process for each core, or 20 calls of a server."),
]
PassRate = Annotated[
    float,
    typer.Option(min=0, max=1, callback=finite, help="The share of a scenario's runs that has to pass."),
]
Model = Annotated[str, typer.Option(help="The rehearsal's model: embedded, parrot, or module:attribute.")]
OwnPort = Annotated[
    int | None,
    typer.Option(help="With --server: be its model, at this port. Tools and `told` are known then."),
]
Votes = Annotated[
    str, typer.Option(help="Who votes on rubrics: https://…/v1?model=…&key_env=NAME, or module:function.")
]
EndpointsUsd = Annotated[
    float | None,
    typer.Option(
        "--max-usd",
        min=0,
        callback=finite,
        help="Spend no more than this on minds and judges; they need a price, `usd`.",
    ),
]
Ears = Annotated[
    str, typer.Option(help="With --server: a transcriber of what was heard, module:function or https://….")
]


class Files(NamedTuple):
    """What is written."""

    junit: Path | None
    html: Path | None
    json: Path | None


@app.command("run")
def run(  # noqa: PLR0913, PLR0917  the options of a command
    scenarios: Annotated[Path, typer.Argument(help="A folder of scenarios (*.toml, *.py), or one of them.")],
    agent: Agent = None,
    server: Called = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each scenario.")] = 3,
    parallel: Parallel = None,
    seed: Annotated[int, typer.Option(help="Seed of all chance.")] = 1,
    pass_rate: PassRate = 1.0,
    model: Model = "embedded",
    upstream_port: OwnPort = None,
    judge: Votes = "",
    ears: Ears = "",
    token: Token = None,
    max_usd: EndpointsUsd = None,
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit report.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write index.html, pictures, sound here.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything as JSON.")] = None,
) -> None:
    """Run scenarios. Judge each call by what the caller heard, by its tools, by what the model was told.

    In a GitHub job the summary gets a table. Exits with 0, with 1 where a scenario failed, 2 for a mistake in
    scenarios or options, 3 where a run itself failed. Ctrl-C tells what was run so far; 130.
    """
    from ..experiments.callers import Plan, jobs

    files = Files(junit, html, json)
    _check(agent, server, upstream_port, ears, judge, files)
    found, secrets = _scenarios(scenarios, judge, ears, token, server or "")
    wanted = jobs(found, runs, seed)
    spending = _spending([job.scenario for job in wanted], judge, ears, max_usd)
    plan = Plan(agent=agent or "", model=model, judge=judge, out=html, secrets=secrets, spending=spending)
    called = _Server(server, token, upstream_port, ears, parallel or 20) if server else None
    results, interrupted = _called(plan, called, wanted, parallel)
    target = {"server": _without_query(server)} if server else {"agent": agent}
    left_out = {"interrupted": f"{len(results)} of {len(wanted)} calls were run"} if interrupted else {}
    if spending is not None and spending.usd:
        Console(stderr=True, highlight=False).print(f"{spending.usd:.4f} USD spent on minds and judges")
    _tell(results, {**target, "seed": seed, "runs": runs, **left_out}, pass_rate, secrets, files)


def _check(
    agent: str | None, server: str | None, upstream_port: int | None, ears: str, judge: str, files: Files
) -> None:
    """Raises ConfigError for options that do not go together, or cannot be: before any call, not after it."""
    from ..experiments.rubric import voter

    if (agent is None) == (server is None):
        raise ConfigError("callers call an agent (--agent module:attribute) or a server (--server URL)")
    if agent is not None and (upstream_port is not None or ears):
        raise ConfigError("--upstream-port and --ears are for a --server")
    if judge:
        voter(judge)
    for path in (files.junit, files.json, files.html and files.html / "index.html"):
        if path is not None:
            _make_folder(path)
            check_writable(path)


def _spending(wanted: list[Scenario], judge: str, ears: str, most_usd: float | None) -> Spending | None:
    """What minds and judges cost is estimated, and counted; None where none costs. Raises ConfigError where
    a limit would not hold.
    """
    from ..experiments.callers_mind import CHAT
    from ..experiments.endpoint import Endpoint
    from ..experiments.spending import Spending, estimate, told_requests

    votes = judge.startswith(("http://", "https://"))
    rate = Endpoint.of(judge, CHAT)[0].rate if votes else None
    expected = estimate(wanted, rate, judged=votes)
    if most_usd is not None and expected.usd is None:
        raise ConfigError("--max-usd would not hold: a mind or the judge has no price, usd = [0.25, 2.0]")
    if most_usd is not None and any(one.startswith("http") for one in (ears, *_voices(wanted))):
        raise ConfigError("--max-usd would not hold: the price of ears and voices by URL is not known")
    if not expected.requests:
        return None
    Console(stderr=True, highlight=False).print(told_requests(expected))
    return Spending(math.inf if most_usd is None else most_usd)


def _voices(wanted: list[Scenario]) -> list[str]:
    return [one.caller.voice.removeprefix("url:") for one in wanted]


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror}") from error


def _scenarios(
    path: Path, judge: str, ears: str, token: str | None, server: str
) -> tuple[list[Scenario], tuple[str, ...]]:
    """What is to be run, and what is in no file."""
    from ..experiments.callers import secrets_of
    from ..experiments.scenario import load

    found = load(path)
    addresses = (judge, ears, *(one.caller.voice for one in found))
    keys = [address.partition("key_env=")[2].partition("&")[0] for address in addresses]
    return found, secrets_of(found, *keys, others=[token or "", *_proofs(server)])


class _Server(NamedTuple):
    """A server and how it is called."""

    url: str
    token: str | None
    upstream_port: int | None
    ears: str
    parallel: int


def _called(
    plan: Plan, server: _Server | None, wanted: Sequence[Job], parallel: int | None
) -> tuple[list[Run], bool]:
    """The runs, in the order of the jobs, and whether Ctrl-C has left some out."""
    from ..experiments.callers import in_virtual_time

    console = Console(stderr=True, highlight=False)
    with hanging_up() as interrupt, console.status(f"{len(wanted)} calls"):
        if server is None:
            return in_virtual_time(plan, wanted, parallel, lambda: interrupt.came), interrupt.came
        runs = asyncio.run(_live(plan, server, wanted, console, lambda: interrupt.came))
        return runs, interrupt.came


async def _live(
    plan: Plan, server: _Server, wanted: Sequence[Job], console: Console, stopped: Callable[[], bool]
) -> list[Run]:
    """The runs against a server, without those that were not over when it was `stopped`."""
    from bridge.agents.agent import Agent as AnyAgent

    from ..experiments.callers import judged_run, model_mind
    from ..experiments.callers_live import Target, in_real_time, serving
    from ..experiments.callers_virtual import Stage
    from ..experiments.spending import SPENDING
    from ..experiments.transcriber import transcriber

    SPENDING.set(plan.spending)
    stage = Stage.of(AnyAgent(), model_mind(plan.model))
    results: dict[tuple[str, int], Run] = {}

    def done(job: Job, facts: CallFacts) -> None:
        results[job.scenario.name, job.run] = judged_run(plan, job, facts)

    async with contextlib.AsyncExitStack() as stack:
        target = Target(server.url, server.token)
        target.transcriber = transcriber(server.ears) if server.ears else None
        if server.upstream_port is not None:
            target.upstream = await stack.enter_async_context(serving(stage, server.upstream_port))
            console.print(f"the model of these calls is at {target.upstream.url}")
        await in_real_time(target, stage, wanted, server.parallel, done, stopped)
    runs = (results.get((job.scenario.name, job.run)) for job in wanted)
    return [run for run in runs if run is not None]


def _proofs(url: str) -> tuple[str, str]:
    """What of an address may hold a secret, and is in no report: its query, and a name before the host."""
    address, _, query = url.partition("?")
    return query, address.partition("://")[2].rpartition("@")[0]


def _without_query(url: str) -> str:
    """The address as a report has it."""
    scheme, _, rest = url.partition("?")[0].partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _tell(
    results: Sequence[Run], facts: dict[str, Any], pass_rate: float, secrets: Sequence[str], files: Files
) -> None:
    """The table, the files, and the exit code."""
    from ..experiments import callers_report as told
    from ..experiments.report import Veil, add_to_step_summary, write_text

    found, veil = told.rows(results), Veil(secrets)
    code = EXIT if "interrupted" in facts else told.exit_code(found, pass_rate)
    if files.junit is not None:
        write_text(files.junit, told.as_junit(found, veil))
    if files.json is not None:
        write_text(files.json, told.as_json(found, {**facts, "exit_code": code}, veil))
    if files.html is not None:
        shown = {name: str(value) for name, value in facts.items()}
        write_text(files.html / "index.html", told.as_page(found, shown, veil))
    add_to_step_summary(told.as_markdown(found, veil))
    _print(found, told.table(found), told.verdict(found), veil)
    if "interrupted" in facts:
        print(f"interrupted: {facts['interrupted']}")
    if code:
        raise typer.Exit(code)


_COLOURS = {"good": "green", "bad": "red", "dim": "dim"}


def _print(found: Sequence[Row], given: Any, verdict: str, hide: Callable[[str], str]) -> None:
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for name in given.columns:
        table.add_column(name, justify="left" if name in ("scenario", "passed", "why") else "right")
    for row in given.rows:
        cells = []
        for cell in row:
            text = escape(printable(hide(cell if isinstance(cell, str) else cell.text)))
            colour = "" if isinstance(cell, str) else _COLOURS.get(cell.tone, "")
            cells.append(f"[{colour}]{text}[/]" if colour else text)
        table.add_row(*cells)
    if found:
        console.print(table)
    for scenario in found:
        for one in scenario.runs:
            for failure in one.failures:
                at = "" if failure.at_ms is None else f" at {failure.at_ms / 1000:.2f} s"
                what = f"{failure.kind.value}{at}: want {failure.want}, got {failure.got}"
                line = f"{scenario.name}, run {one.run}: {what}"
                console.print(f"[red]{escape(printable(hide(line)))}[/]", soft_wrap=True)
    console.print(escape(hide(verdict)))
