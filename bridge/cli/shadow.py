"""`phonebridge shadow RECORDINGS…`: recorded callers meet a new agent before real ones do."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ..errors import ConfigError
from ..ops.ctrl_c import EXIT
from .callers import Votes
from .interrupt import hanging_up
from .money import USUAL_USD, MostUsd, Yes, agreed, wanted
from .options import A_MODEL, ResultAsJson, configured
from .wav import check_writable
from .words import printable

if TYPE_CHECKING:
    from rich.status import Status

    from ..experiments.budget import Budget
    from ..experiments.shadow import Estimate, Gathered, Outcome
    from ..experiments.shadow_live import LiveModel
    from ..experiments.shadow_rules import ShadowRules
    from ..experiments.shadow_run import Arm, Embedded
    from ..experiments.verdict import Metric

_Recordings = Annotated[
    list[Path], typer.Argument(help="Recordings with sound (*.call.jsonl), or folders of them.")
]
_New = Annotated[str, typer.Option("--agent", help="The new agent.", metavar="module:agent")]
_Control = Annotated[
    str | None,
    typer.Option(help="The old agent; default: the configuration of each recording.", metavar="module:agent"),
]
_Against = Annotated[str, typer.Option(help=f"The model of both arms: {A_MODEL}")]
_Parallel = Annotated[int, typer.Option(help="Calls at once, in real time.", min=1, max=100)]
_Repeats = Annotated[
    int | None,
    typer.Option(help="Runs of each call and arm; default: 3, or 1 of a model without dice.", min=1),
]
_Tolerances = Annotated[
    list[str],
    typer.Option(
        "--tolerance", help="How large a difference still counts as the same.", metavar="METRIC=NUMBER"
    ),
]
_Consent = Annotated[bool, typer.Option("--consent", help="Use only calls whose parameter `reuse` is yes.")]
_Tools = Annotated[
    str,
    typer.Option(
        help="What answers tools: recorded; stub:module for functions of yours in their place; or live: the "
        "agent's own functions run, for real."
    ),
]
_Expect = Annotated[
    Path | None,
    typer.Option(
        "--expect",
        help="What every call must show: a TOML file of expect and rubric, as scenarios have them.",
    ),
]
_Text = Annotated[
    bool, typer.Option("--text", help="Callers write their words: for recordings without sound.")
]


RECORDED, LIVE = "recorded", "live"
EACH_S = 30
"""Between two lines about how far it is, where there is no terminal."""


def shadow(  # noqa: PLR0913, PLR0917  its options
    recordings: _Recordings,
    agent: _New,
    control: _Control = None,
    against: _Against = "embedded",
    repeats: _Repeats = None,
    parallel: _Parallel = 8,
    max_usd: MostUsd = None,
    yes: Yes = False,
    tools: _Tools = "recorded",
    tolerance: _Tolerances = [],  # noqa: B006  typer copies it
    consent: _Consent = False,
    text: _Text = False,
    expect: _Expect = None,
    judge: Votes = "",
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit report here.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page here.")] = None,
    as_json: ResultAsJson = False,
) -> None:
    """Let recorded callers meet a new agent, and tell what differs.

    Their own sound is played to it, at the moments that its answers give; its tools answer from recordings.
    The old agent has the same calls again, and both are compared. Exit 0; 1 if something is worse, or a call
    does not show what --expect says; 2 for wrong use; 3 if not all calls were run, for want of a model or of
    money; 130 after Ctrl-C. Then the table has the calls that were run, and tells nothing.
    """
    from ..experiments.shadow_models import model_of

    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    for path in filter(None, (junit, html)):
        check_writable(path)
    how = _How(repeats, parallel, max_usd, yes, _tolerant(tolerance, text=text), _rules(expect, judge))
    arms = _arms(agent, control, tools)
    model = model_of(against)
    gathered = _gathered(recordings, model, console, consent=consent, text=text)
    outcome, expected, interrupted = _compared(gathered, arms, model, how, console)
    _tell(outcome, {"junit": junit, "html": html}, console)
    if as_json:
        _print_json(outcome, expected)
    raise typer.Exit(EXIT if interrupted else outcome.exit_code)


@dataclass(frozen=True, slots=True)
class _How:
    repeats: int | None
    parallel: int
    max_usd: float | None
    yes: bool
    metrics: list[Metric]
    rules: ShadowRules | None


def _rules(expect: Path | None, judge: str) -> ShadowRules | None:
    from ..experiments.shadow_rules import rules_of

    if expect is None and judge:
        raise ConfigError("--judge votes on the [[rubric]] of --expect FILE")
    return None if expect is None else rules_of(expect, judge)


def _arms(agent: str, control: str | None, tools: str) -> tuple[Arm, Arm]:
    from dataclasses import replace

    from ..agents.agent import load_agent
    from ..experiments.shadow_run import Arm
    from ..experiments.stubs import stub_of

    instructions = configured("BRIDGE_INSTRUCTIONS") or ""
    new = Arm(f"new: {agent}", load_agent(agent), instructions)
    old = Arm("control: as recorded")
    if control is not None:
        old = Arm(f"control: {control}", load_agent(control), instructions)
    if tools == RECORDED:
        return old, new
    if tools == LIVE:
        return replace(old, live=True), replace(new, live=True)
    stub = stub_of(tools)
    return replace(old, stub=stub), replace(new, stub=stub)


def _compared(
    gathered: Gathered,
    arms: tuple[Arm, Arm],
    model: Embedded | LiveModel,
    how: _How,
    console: Console,
) -> tuple[Outcome, Estimate, bool]:
    """What came of it, what was expected, and whether Ctrl-C ended it."""
    from ..experiments.budget import Budget
    from ..experiments.shadow import Experiment, estimate
    from ..experiments.shadow_live import NotRun
    from ..experiments.shadow_models import carried_out, has_dice
    from ..experiments.shadow_report import told
    from ..experiments.shadow_run import Embedded

    dice = has_dice(model)
    repeats = how.repeats or (3 if dice else 1)
    expected = estimate(gathered.calls, repeats, how.parallel)
    console.print(told(expected, real_time=not isinstance(model, Embedded)))
    budget = Budget(_most_usd(gathered, arms, model, how))
    _judge_by_url(how, expected.runs, budget, console)
    _ask_for_tools(arms, expected.runs // 2, console, yes=how.yes)
    with hanging_up() as interrupt, console.status("calling") as status:
        done = _Progress(expected.runs, budget, status, console)
        experiment = Experiment(
            gathered, arms, repeats, not dice, budget, how.metrics, done, lambda: interrupt.came
        )
        try:
            carried_out(experiment, model, how.parallel, how.rules)
        except NotRun as error:
            console.print(f"[red]not run[/]  {escape(printable(str(error)))}")
    if interrupt.came:
        console.print("[yellow]stopped by Ctrl-C[/]")
    if not isinstance(model, Embedded):
        console.print(f"{budget.spent_usd:,.4f} USD spent, by the recorded calls' own prices")
    if budget.votes is not None:
        console.print(f"{budget.votes.usd:,.4f} USD spent on votes of the judge")
    return experiment.outcome(), expected, interrupt.came


def _most_usd(
    gathered: Gathered, arms: tuple[Arm, Arm], model: Embedded | LiveModel, how: _How
) -> float | None:
    """What may be spent; it is asked for where a vendor is paid."""
    from ..experiments.shadow_models import costs, priced
    from ..experiments.shadow_run import Embedded

    if isinstance(model, Embedded) or not costs(model):
        return how.max_usd
    most_usd = USUAL_USD if how.max_usd is None else how.max_usd
    known = all(priced(model, call.script, arm) for call in gathered.calls for arm in arms)
    agreed(most_usd, yes=how.yes, priced=known)
    return most_usd


def _judge_by_url(how: _How, runs: int, budget: Budget, console: Console) -> None:
    """Says what its votes may cost, which is paid from the budget. Raises ConfigError where that would not
    hold.
    """
    from ..experiments.spending import SPENDING, told_requests

    expected = how.rules.expected_votes(runs) if how.rules else None
    SPENDING.set(budget.for_votes() if expected else None)
    if expected is None:
        return
    console.print(told_requests(expected))
    if how.max_usd is not None and expected.usd is None:
        raise ConfigError("--max-usd would not hold: the judge has no price, &usd=0.25,2")


class _Progress:
    """Says how many runs are over: on a terminal all the time, elsewhere now and then."""

    def __init__(self, runs: int, budget: Budget, status: Status, console: Console) -> None:
        self._runs, self._budget, self._status, self._console = runs, budget, status, console
        self._said_s = time.monotonic()

    def __call__(self, done: int) -> None:
        text = f"{done:,} of {self._runs:,} runs, {self._budget.spent_usd:,.2f} USD"
        self._status.update(text)
        if not self._console.is_terminal and time.monotonic() - self._said_s > EACH_S:
            self._said_s = time.monotonic()
            self._console.print(text)


def _ask_for_tools(arms: tuple[Arm, Arm], runs: int, console: Console, *, yes: bool) -> None:
    """Names the functions that will run for real, and those that will not, and asks."""
    from ..testing.answered_from import run_for_real, tools_of

    found = False
    for arm in (one for one in arms if one.live):
        tools = {} if arm.agent is None else {one.name: one for one in tools_of(arm.agent)}
        real = [name for name, one in tools.items() if run_for_real(one)]
        kept = [
            f"{name}{' (needs approval)' * one.needs_approval}"
            for name, one in tools.items()
            if name not in real
        ]
        found = found or bool(real)
        if real:
            console.print(
                escape(printable(f"{arm.name}: run for real, in {runs} calls: {', '.join(real)}")),
                style="yellow",
            )
        if kept or not real:
            console.print(
                escape(
                    printable(f"{arm.name}: answered from the recordings: {', '.join(kept) or 'all tools'}")
                )
            )
    if found:
        wanted("Run them?", "--tools live runs these functions for real: --yes agrees to it", yes=yes)


def _tell(outcome: Outcome, files: dict[str, Path | None], console: Console) -> None:
    """The table and the verdict, and the files that were asked for."""
    from ..experiments.report import write_text
    from ..experiments.shadow_report import headline, table, tone, written_junit, written_page

    if outcome.pairs:
        console.print(table(outcome))
    colour = {"bad": "red", "good": "green"}.get(tone(outcome), "yellow")
    console.print(f"[{colour}]{escape(printable(headline(outcome)))}[/]")
    writers = {"junit": written_junit, "html": written_page}
    for name, path in files.items():
        if path is not None:
            write_text(path, writers[name](outcome))
            console.print(escape(printable(str(path))))


def _print_json(outcome: Outcome, expected: Estimate) -> None:
    from ..experiments.shadow_report import written_json

    sys.stdout.write(written_json(outcome, expected) + "\n")


def _gathered(
    recordings: list[Path], model: Embedded | LiveModel, console: Console, *, consent: bool, text: bool
) -> Gathered:
    """The recordings that take part. Says why others do not. Raises ConfigError where there is none."""
    from ..experiments.shadow import gather
    from ..experiments.shadow_run import Embedded

    listens = not isinstance(model, Embedded)
    gathered = gather(recordings, consent=consent, text=text, listens=listens)
    for why, names in gathered.skipped.items():
        console.print(
            f"[yellow]skipped[/]  {len(names)} {escape(why)}: {escape(printable(', '.join(names[:5])))}"
        )
    if not gathered.calls:
        raise ConfigError("no recording takes part; calls are recorded with sound by BRIDGE_RECORD_AUDIO=1")
    return gathered


def _number(text: str) -> float:
    number = float(text)
    if not 0 <= number < math.inf:
        raise ValueError(text)
    return number


def _tolerant(given: list[str], *, text: bool) -> list[Metric]:
    """The metrics, with other tolerances. Raises ConfigError for an unknown name, and for no number."""
    from dataclasses import replace

    from ..experiments.shadow import OF_WORDS
    from ..experiments.verdict import METRICS

    wanted: dict[str, float] = {}
    for one in given:
        name, _, number = one.partition("=")
        try:
            wanted[name] = _number(number)
        except ValueError:
            raise ConfigError(
                f"--tolerance wants METRIC=NUMBER, such as felt_p50_ms=30, not {one!r}"
            ) from None
    judged = {one.name for one in METRICS if one.judged}
    for name in wanted.keys() - judged:
        raise ConfigError(f"--tolerance: there is no metric {name!r}; there is {', '.join(sorted(judged))}")
    return [
        replace(one, tolerance=wanted.get(one.name, one.tolerance))
        for one in METRICS
        if not text or one.name in OF_WORDS
    ]
