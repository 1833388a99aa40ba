"""`phonebridge fork CALL --at 41.2`: a recorded call goes on otherwise from there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.markup import escape

from ..errors import ConfigError
from .options import configured
from .recorded import one_call
from .recordings import read_recording, reading, write_recording
from .words import printable

if TYPE_CHECKING:
    from ..experiments.exact_fork import ExactForking
    from ..experiments.fork import Fork, Forking, ForkRun, Turn
    from ..experiments.shadow_run import Arm

NOT_CARRIED = (
    "the model's memory of sound: what was said before is text to it",
    "a handler's place in its code: an agent with one is refused",
    "what tools do: they answer from the recording",
    "the session of the recorded call, with its cache and its dice",
)
"""What a fork never has."""

_Call = Annotated[
    str, typer.Argument(help="A recording, its name, or the call's id (its last eight characters do).")
]
_At = Annotated[float, typer.Option(help="The moment, in seconds of the call.")]
_Agent = Annotated[
    str | None,
    typer.Option(help="Who answers from there; default: as recorded.", metavar="module:agent"),
]
_Upstream = Annotated[
    str, typer.Option(help="The model: embedded, or module:mind for one of yours, in virtual time.")
]
_Exact = Annotated[
    bool,
    typer.Option(help="Go on from that very moment, as the call stood: for questions about the bridge."),
]
_Repeat = Annotated[
    int, typer.Option(min=1, max=100, help="Go on so many times, and tell how often it agrees.")
]
_Sound = Annotated[bool, typer.Option(help="Keep the sound in the new recordings.")]
_Folder = Annotated[
    Path | None, typer.Option("--dir", help="The folder; default: BRIDGE_RECORDINGS.", metavar="DIR")
]
_Out = Annotated[
    Path | None, typer.Option(help="Where the new recordings go; default: beside the old.", metavar="DIR")
]
_Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def fork(  # noqa: PLR0913, PLR0917  its options
    call: _Call,
    at: _At,
    agent: _Agent = None,
    upstream: _Upstream = "embedded",
    exact: _Exact = False,
    repeat: _Repeat = 1,
    with_sound: _Sound = False,
    folder: _Folder = None,
    out: _Out = None,
    as_json: _Json = False,
) -> None:
    """Let a recorded call go on otherwise from a moment.

    Another agent, or another model: the call goes on from the last quiet moment before. The model knows what
    was said until then, and the recorded caller says again what they said, by what they hear now. Tools
    answer from the recording. Each run is written as a recording, `CALL.fork-1.call.jsonl`. With --exact the
    call itself goes on from the moment, and only the model's session is another one. Exit 1 if today's code
    decides otherwise before the moment: then nothing is run.
    """
    path = one_call(call, folder).path
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    if exact and agent is not None:
        raise ConfigError("--exact goes on with the recorded agent: it is about the bridge, not the prompt")
    forking = _forking(path, at, exact=exact)
    if forking.differs:
        why = escape(printable(forking.differs))
        console.print(f"[red]today's code decides otherwise before that moment[/]: {why}")
        if as_json:
            print(json.dumps({"before": {"same": False}, "difference": forking.differs}))
        raise typer.Exit(1)
    runs = _runs(path, forking, agent, upstream, _How(repeat, with_sound))
    found = forking.compared(runs)
    written = [_written(path, out or path.parent, run) for run in runs]
    _told(found, written, console)
    if as_json:
        print(json.dumps(_facts(found, written)))


class _How(NamedTuple):
    repeat: int
    sound: bool


def _arm(agent: str | None) -> Arm:
    from ..agents.agent import load_agent
    from ..experiments.shadow_run import Arm

    if agent is None:
        return Arm("as recorded")
    return Arm(agent, load_agent(agent), configured("BRIDGE_INSTRUCTIONS") or "")


def _forking(path: Path, at: float, *, exact: bool) -> Forking | ExactForking:
    from ..experiments.exact_fork import ExactForking
    from ..experiments.fork import Forking

    lines = read_recording(path)
    with reading(path):
        return (ExactForking if exact else Forking).of(lines, round(at * 1000))


def _runs(
    path: Path, forking: Forking | ExactForking, agent: str | None, upstream: str, how: _How
) -> list[ForkRun]:
    from ..experiments.exact_fork import ExactForking
    from ..experiments.shadow_models import model_of
    from ..experiments.shadow_run import Embedded

    model = model_of(upstream)
    if not isinstance(model, Embedded):
        raise ConfigError(f"a fork has a model of this machine, embedded or module:mind, and not {upstream}")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    minds = [model.mind(seed) for seed in range(how.repeat)]
    if isinstance(forking, ExactForking):
        return [forking.run(mind, sound=how.sound, recording=sha256, model=upstream) for mind in minds]
    arm = _arm(agent)
    return [forking.run(arm, mind, sound=how.sound, recording=sha256, model=upstream) for mind in minds]


def _written(path: Path, out: Path, run: ForkRun) -> Path:
    """A new file; none is ever overwritten."""
    from ..recording import SUFFIX

    name, number = path.name.removesuffix(SUFFIX), 1
    while (file := out / f"{name}.fork-{number}{SUFFIX}").exists():
        number += 1
    if not out.is_dir():
        raise ConfigError(f"{out} is no folder")
    write_recording(file, run.lines)
    return file


def _told(found: Fork, written: list[Path], console: Console) -> None:
    asked, at = found.asked_ms / 1000, found.at_ms / 1000
    snapped = "exactly" if found.asked_ms == found.at_ms else f"→ {at:.2f} s, a quiet moment"
    console.print(f"{asked:.2f} {snapped}; before it today's code does the same")
    owed = ", an answer owed" if found.owed else ""
    missing = f", {found.missing_turns} turns without words" if found.missing_turns else ""
    console.print(f"{found.items} items carried{owed}{missing}")
    for number, one in enumerate(found.after, 1):
        console.print(f"[bold]{number:>3}[/]  caller  {_quoted(one.caller)}")
        for name, turn in (("then", one.then), ("now", one.now)):
            console.print(f"     {name:<6}  {_turn(turn)}")
    console.print(f"the same tools in {found.agree} runs; {found.cost_micro_usd / 1e6:.4f} USD")
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
