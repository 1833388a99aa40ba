"""`phonebridge fork CALL --at 41.2`: a recorded call goes on otherwise from there."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.markup import escape

from ..errors import ConfigError
from ..ops.ctrl_c import EXIT
from .interrupt import hanging_up
from .money import USUAL_USD, MostUsd, Yes, agreed
from .options import A_MODEL, RecordedCall, RecordingsFolder, ResultAsJson, configured, finite
from .recorded import one_call
from .recordings import read_recording, reading, write_recording
from .wav import check_writable
from .words import printable

if TYPE_CHECKING:
    from ..doubles.agents import Agent as Mind
    from ..experiments.exact_fork import ExactForking
    from ..experiments.fork import Fork, Forking, ForkRun, Turn
    from ..experiments.live_fork import LiveForking
    from ..experiments.shadow_run import Arm

NOT_CARRIED = (
    "the model's memory of sound: what was said before is text to it",
    "a handler's place in its code: an agent with one is refused",
    "what tools do: they answer from the recording",
    "the session of the recorded call, with its cache and its dice",
)
"""What a fork never has."""

_At = Annotated[float, typer.Option(callback=finite, help="The moment, in seconds of the call.")]
_Agent = Annotated[
    str | None,
    typer.Option(help="Who answers from there; default: as recorded.", metavar="module:agent"),
]
_Upstream = Annotated[str, typer.Option(help=f"The model: {A_MODEL}")]
_Caller = Annotated[
    Path | None,
    typer.Option(help="Another caller: a .wav file, or the lines of a scenario (.toml).", metavar="FILE"),
]
_Exact = Annotated[
    bool,
    typer.Option(help="Go on from that very moment, as the call stood: for questions about the bridge."),
]
_Repeat = Annotated[
    int, typer.Option(min=1, max=100, help="Go on so many times, and tell how often it agrees.")
]
_Sound = Annotated[bool, typer.Option(help="Keep the sound in the new recordings.")]
_Out = Annotated[
    Path | None, typer.Option(help="Where the new recordings go; default: beside the old.", metavar="DIR")
]


def fork(  # noqa: PLR0913, PLR0917  its options
    call: RecordedCall,
    at: _At,
    agent: _Agent = None,
    upstream: _Upstream = "embedded",
    caller: _Caller = None,
    exact: _Exact = False,
    repeat: _Repeat = 1,
    with_sound: _Sound = False,
    folder: RecordingsFolder = None,
    out: _Out = None,
    max_usd: MostUsd = None,
    yes: Yes = False,
    as_json: ResultAsJson = False,
) -> None:
    """Let a recorded call go on otherwise from a moment.

    Another agent, or another model: the call goes on from the last quiet moment before. The model knows what
    was said until then, and the recorded caller, or that of --caller, speaks by what they hear now. Tools
    answer from the recording. Each run is written as a recording, `CALL.fork-1.call.jsonl`. With --exact the
    call itself goes on from the moment, and only the model's session is another one. Exit 1 if today's code
    decides otherwise before the moment: then nothing is run; 3 if not all runs could be made.
    """
    path = one_call(call, folder).path
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    if exact and (agent or caller):
        raise ConfigError("--exact goes on with the recorded agent and caller: it is about the bridge")
    kept = _Kept(path, out or path.parent)
    check_writable(_new_file(path, kept.out))
    forking = _forking(path, at, caller, exact=exact)
    if forking.differs:
        _tell_difference(forking.differs, console, as_json=as_json)
        raise typer.Exit(1)
    how = _How(repeat, with_sound, max_usd, yes)
    _run(path, forking, _Who(agent, upstream), how, kept, console)
    code = _left_out(repeat, kept, console)
    if kept.runs:
        _tell(forking, kept, console, as_json=as_json)
    raise typer.Exit(code)


def _left_out(repeat: int, kept: _Kept, console: Console) -> int:
    """The exit code: why not all runs could be made, if they were not."""
    whole = sum(run.whole for run in kept.runs)
    if kept.interrupted:
        console.print(f"[red]interrupted[/]  {whole} of {repeat} runs were made")
        return EXIT
    if not kept.runs:
        console.print("[red]not run[/]  one run is expected to cost more than --max-usd allows")
    elif whole < repeat:
        unpaid = f"{repeat - whole} of {repeat} runs were not paid for"
        console.print(f"[red]{unpaid}[/]: --max-usd allows no more")
    return 3 if whole < repeat else 0


def _tell_difference(differs: str, console: Console, *, as_json: bool) -> None:
    why = escape(printable(differs))
    console.print(f"[red]today's code decides otherwise before that moment[/]: {why}")
    if as_json:
        print(json.dumps({"before": {"same": False}, "difference": differs}))


def _tell(forking: Forking | ExactForking, kept: _Kept, console: Console, *, as_json: bool) -> None:
    found = forking.compared([run for run in kept.runs if run.whole] or kept.runs)
    _told(found, kept.written, console)
    if as_json:
        print(json.dumps(_facts(found, kept.written)))


class _Who(NamedTuple):
    agent: str | None
    upstream: str


@dataclass(slots=True)
class _Kept:
    """The runs, each written down as soon as it is over."""

    path: Path
    out: Path
    runs: list[ForkRun] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)
    interrupted: bool = False

    def __call__(self, run: ForkRun) -> None:
        self.runs.append(run)
        self.written.append(_written(self.path, self.out, run))


class _How(NamedTuple):
    repeat: int
    sound: bool
    max_usd: float | None
    yes: bool


def _arm(agent: str | None) -> Arm:
    from ..agents.agent import load_agent
    from ..experiments.shadow_run import Arm

    if agent is None:
        return Arm("as recorded")
    return Arm(agent, load_agent(agent), configured("BRIDGE_INSTRUCTIONS") or "")


def _forking(path: Path, at: float, caller: Path | None, *, exact: bool) -> Forking | ExactForking:
    from ..experiments.exact_fork import ExactForking
    from ..experiments.fork import Forking

    lines = read_recording(path)
    with reading(path):
        if exact:
            return ExactForking.of(lines, round(at * 1000))
        forking = Forking.of(lines, round(at * 1000))
    if caller is None:
        return forking
    from ..experiments.other_caller import acts_of

    return replace(forking, caller=acts_of(caller))


def _run(
    path: Path, forking: Forking | ExactForking, who: _Who, how: _How, kept: _Kept, console: Console
) -> None:
    from ..experiments.exact_fork import ExactForking
    from ..experiments.shadow_models import model_of
    from ..experiments.shadow_run import Embedded

    model, name = model_of(who.upstream), who.upstream
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    kwargs: dict[str, Any] = {"sound": how.sound, "recording": sha256, "model": name}
    if isinstance(forking, ExactForking):
        if not isinstance(model, Embedded):
            raise ConfigError("--exact goes on in virtual time: with embedded or module:mind")
        go_on: Callable[[Mind], ForkRun] = partial(forking.run, **kwargs)
    else:
        arm = _arm(who.agent)
        if not isinstance(model, Embedded):
            from ..experiments.live_fork import LiveForking

            _run_live(LiveForking(forking, arm, model, sha256, name, how.sound), how, kept, console)
            return
        go_on = partial(forking.run, arm, **kwargs)
    with hanging_up() as interrupt:
        for seed in range(how.repeat):
            if not interrupt.came:
                kept(go_on(model.mind(seed)))
    kept.interrupted = interrupt.came


def _run_live(fork: LiveForking, how: _How, kept: _Kept, console: Console) -> None:
    """In real time; what it will cost is said before."""
    from ..experiments.live_fork import run_forks
    from ..experiments.shadow_live import NotRun
    from ..experiments.shadow_models import costs, priced

    most_usd, usd, minutes = how.max_usd, fork.forking.left_usd * how.repeat, fork.seconds(how.repeat) / 60
    console.print(
        f"{how.repeat} runs, {minutes:,.1f} min, about {usd:,.2f} USD by the recorded call's own prices"
    )
    if costs(fork.upstream):
        most_usd = USUAL_USD if most_usd is None else most_usd
        known = priced(fork.upstream, fork.script, fork.arm)
        agreed(most_usd, yes=how.yes, priced=known)
    with hanging_up() as interrupt, console.status("calling"):
        try:
            asyncio.run(run_forks(fork, how.repeat, most_usd, kept, lambda: interrupt.came))
        except NotRun as error:
            console.print(f"[red]not run[/]  {escape(printable(str(error)))}")
            raise typer.Exit(3) from error
    kept.interrupted = interrupt.came


def _new_file(path: Path, out: Path) -> Path:
    """The next file that is not there: none is ever overwritten."""
    from ..recording import SUFFIX

    name, number = path.name.removesuffix(SUFFIX), 1
    while (file := out / f"{name}.fork-{number}{SUFFIX}").exists():
        number += 1
    return file


def _written(path: Path, out: Path, run: ForkRun) -> Path:
    file = _new_file(path, out)
    write_recording(file, run.lines)
    return file


def _told(found: Fork, written: list[Path], console: Console) -> None:
    asked, at = found.asked_ms / 1000, found.at_ms / 1000
    snapped = "exactly" if found.asked_ms == found.at_ms else f"→ {at:.2f} s, a quiet moment"
    console.print(f"{asked:.2f} {snapped}; before it today's code does the same")
    owed = ", an answer owed" if found.owed else ""
    turns = "turn" if found.missing_turns == 1 else "turns"
    missing = f", {found.missing_turns} {turns} without words" if found.missing_turns else ""
    console.print(f"{found.items} items carried{owed}{missing}")
    for number, one in enumerate(found.after, 1):
        console.print(f"[bold]{number:>3}[/]  caller  {_quoted(one.caller)}")
        for name, turn in (("then", one.then), ("now", one.now)):
            console.print(f"     {name:<6}  {_turn(turn)}")
    agree = "one run: another may differ"
    if len(found.runs) > 1:
        agree = f"{found.agree} runs called the same tools as each other"
    console.print(f"{agree}; {found.cost_micro_usd / 1e6:.4f} USD")
    for file in written:
        console.print(escape(printable(str(file))))


def _quoted(text: str) -> str:
    return f"“{escape(printable(text))}”" if text else "(no words)"


def _turn(turn: Turn | None) -> str:
    if turn is None:
        return "–"
    tools = "".join(f"{escape(printable(tool))}; " for tool in turn.tools)
    felt = "no answer heard" if turn.felt_ms is None else f"{turn.felt_ms:,} ms"
    return f"{tools}{_quoted(turn.heard)} after {felt}" if turn.heard else f"{tools}{felt}"


def _facts(found: Fork, written: list[Path]) -> dict[str, Any]:
    return {
        "asked_ms": found.asked_ms,
        "at_ms": found.at_ms,
        "before": {"same": True, "steps": found.steps},
        "carried": {"items": found.items, "owed": found.owed, "missing_turns": found.missing_turns},
        "not_carried": list(NOT_CARRIED),
        "after": [
            {"turn": n, "caller": one.caller, "then": _turn_facts(one.then), "now": _turn_facts(one.now)}
            for n, one in enumerate(found.after, 1)
        ],
        "agree": found.agree,
        "cost_usd": found.cost_micro_usd / 1e6,
        "recordings": [str(file) for file in written],
    }


def _turn_facts(turn: Turn | None) -> dict[str, Any] | None:
    if turn is None:
        return None
    return {"heard": turn.heard, "tools": list(turn.tools), "felt_ms": turn.felt_ms}
