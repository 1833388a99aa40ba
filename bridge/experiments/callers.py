"""Runs scenarios, each several times, and judges them: in virtual time over processes."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from bridge.agents.agent import load_agent

from ..codecs.wav import stereo_of
from ..doubles.agents import Agent as ModelMind
from ..doubles.agents import Parrot
from ..errors import BridgeError, ConfigError
from ..recording.json_text import one_line
from .callers_run import CallFacts, Failure, Kind, Run, Tool
from .callers_virtual import Stage, play
from .callers_voice import import_function
from .judge import judge
from .report import Veil, write_text
from .rubric import Vote, judged, voter
from .scenario import Mind, Scenario
from .spending import SPENDING, Spending
from .workers import Died, never, red_exit, spread

EMBEDDED: Final = "embedded"
PARROT: Final = "parrot"
_LEAST_KEYS: Final = 4
"""Fewer are a choice in a menu."""
_KEYED: Final = re.compile(r'(?<="digit":")\d|(?<=The caller pressed )[0-9A-D*# ]+(?= on the keypad)')
_WORDS: Final = re.compile(r'"words":\[|"type":"[a-z_.]*(?<!audio)\.delta"')
MOST_PER_CORE: Final = 4
_SECONDS_IN_ONE: Final = 600
"""Of calls: fewer are played in this process, a second one takes as long to begin."""


class Job(NamedTuple):
    """One run that is to be."""

    scenario: Scenario
    run: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What all runs share. `agent` and `model` are import strings, `judge` says who votes on a rubric, `out`
    is the folder for files, `secrets` are in none of them, `spending` counts what endpoints cost.
    """

    agent: str
    model: str = EMBEDDED
    judge: str = ""
    out: Path | None = None
    secrets: tuple[str, ...] = ()
    spending: Spending | None = None


def jobs(scenarios: Iterable[Scenario], runs: int, seed: int = 1) -> list[Job]:
    """Each scenario so often; the seed of a run depends on its scenario's name and its number alone."""
    return [
        Job(scenario, run, _seed(seed, scenario.name, run))
        for scenario in scenarios
        for run in range(1, runs + 1)
    ]


def _seed(seed: int, name: str, run: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}/{run}".encode()).digest()[:4])


def in_virtual_time(
    plan: Plan, wanted: Sequence[Job], parallel: int | None = None, stopped: Callable[[], bool] = never
) -> list[Run]:
    """These against the agent, in their order; what was not run when it was `stopped` is left out. Raises
    ConfigError.
    """
    stage = _stage(plan.agent, plan.model)
    for job in wanted:
        stage.check(job.scenario)
    cores = os.cpu_count() or 1
    # More processes than cores make nothing faster, and each takes the memory of one.
    processes = min(parallel or cores, len(wanted), MOST_PER_CORE * cores)
    if processes <= 1 or sum(job.scenario.limits.seconds for job in wanted) < _SECONDS_IN_ONE:
        with red_exit():
            return [one(plan, job) for job in wanted if not stopped()]
    # Each process has its jobs from the beginning: espeak-ng says the same words a little differently each
    # time, so the order of what a process says belongs to what makes two runs equal.
    parts = [list(enumerate(wanted))[at::processes] for at in range(processes)]
    found = {
        at: died_run(job, result) if isinstance(result, Died) else result
        for (at, job), result in spread(partial(_numbered, plan), parts, stopped)
    }
    return [found[at] for at in sorted(found)]


def _numbered(plan: Plan, job: tuple[int, Job]) -> Run:
    return one(plan, job[1])


def died_run(job: Job, died: Died) -> Run:
    """A run that took its process with it."""
    failure = Failure(Kind.HARNESS, "a call to its end", str(died))
    return Run(scenario=job.scenario.name, run=job.run, seed=job.seed, failures=[failure])


def one(plan: Plan, job: Job) -> Run:
    """One run in virtual time."""
    SPENDING.set(plan.spending)
    facts = play(_stage(plan.agent, plan.model), job.scenario, job.seed)
    return judged_run(plan, job, facts)


@cache
def _stage(agent: str, model: str) -> Stage:
    return Stage.of(load_agent(agent), model_mind(model))


def model_mind(name: str) -> ModelMind | None:
    """The embedded model's mind: None for the front desk. Raises ConfigError."""
    if name == EMBEDDED:
        return None
    if name == PARROT:
        return Parrot()
    found = import_function(name)
    made: Any = found() if isinstance(found, type) or not hasattr(found, "answer") else found
    if not hasattr(made, "answer"):
        raise ConfigError(f"{name} is no model's mind: it has no method answer(asked)")
    mind: ModelMind = made
    return mind


@cache
def _voter(where: str) -> Vote:
    return voter(where)


# --- from a call to a run ------------------------------------------------------------------------------


def judged_run(plan: Plan, job: Job, facts: CallFacts) -> Run:
    """The call, judged, with its files written. What was pressed is in none of them, nor are secrets."""
    failures, measures = judge(job.scenario, facts)
    if not failures and plan.judge and job.scenario.rubric:
        try:
            failures = judged(job.scenario.rubric, facts.story, _voter(plan.judge))
        except BridgeError as error:
            failures = [Failure(Kind.HARNESS, "a verdict on the rubric", str(error))]
    veil = Veil((*plan.secrets, *_private(job.scenario), facts.pressed))
    run = Run(
        scenario=job.scenario.name,
        run=job.run,
        seed=job.seed,
        failures=[one._replace(want=veil(one.want), got=veil(one.got)) for one in failures],
        measures=measures,
        seconds=measures.get("seconds") or 0.0,
        conversation=[line._replace(words=veil(line.words)) for line in facts.story],
        tools=None if facts.tools is None else [_veiled(tool, veil) for tool in facts.tools],
        ended=veil(facts.ended),
        notes=_notes(facts),
        draws=[round(draw, 6) for draw in facts.draws],
    )
    if plan.out is not None and not facts.harness:
        run.files = _written(plan.out, job, facts, veil)
    return run


def _private(scenario: Scenario) -> list[str]:
    """Numbers and names that callers have, and keys that they press."""
    return [*scenario.call.parameters.values(), *(one.digits for one in scenario.caller.habits.keys)]


def _veiled(tool: Tool, veil: Veil) -> Tool:
    output = None if tool.output is None else veil(tool.output)
    return tool._replace(arguments=_texts(tool.arguments, veil), output=output)


def _texts(arguments: Mapping[str, Any], veil: Veil) -> dict[str, Any]:
    """The arguments; a number that is hidden becomes a text."""
    texts = {name: str(value) if isinstance(value, int) else value for name, value in arguments.items()}
    hidden = {name: veil.json(value) for name, value in texts.items()}
    return {name: value if hidden[name] == texts[name] else hidden[name] for name, value in arguments.items()}


def _notes(facts: CallFacts) -> list[str]:
    notes = ["words were counted as 400 ms each: none could be made out"] if facts.guessed_words else []
    if facts.lost_frames:
        notes.append(f"{facts.lost_frames} frames of the caller were lost on the way")
    return notes


def _written(folder: Path, job: Job, facts: CallFacts, veil: Veil) -> dict[str, str]:
    """The files of a run: its sound, and where there is a recording that and its picture."""
    from bridge.picture import page, tell  # noqa: PLC0415  only where there are pictures

    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{slug(job.scenario.name)}-{job.run}"
    size = max(len(facts.heard), len(facts.caller_sound))
    sound = stereo_of(*(one.ljust(size, b"\xff") for one in (facts.caller_sound, facts.heard)))
    (folder / f"{stem}.wav").write_bytes(sound)
    files = {"wav": f"{stem}.wav"}
    if facts.recording:
        lines = list(veiled_recording(facts.recording, veil, keys=len(facts.pressed) >= _LEAST_KEYS))
        write_text(folder / f"{stem}.call.jsonl", "\n".join(lines) + "\n")
        write_text(folder / f"{stem}.html", page(tell(lines), stem, sound))
        files |= {"recording": f"{stem}.call.jsonl", "html": f"{stem}.html"}
    return files


def veiled_recording(lines: Iterable[str], veil: Veil, *, keys: bool) -> Iterator[str]:
    """A recording that replays, without what is hidden; with `keys` every digit that was pressed is a 0."""
    for line in _without_spread(lines, veil):
        text = veil(line)
        if text == line and not (keys and _KEYED.search(line)):
            yield line
            continue
        text = _line(veil.json(json.loads(line)))
        yield _KEYED.sub(lambda found: re.sub(r"\d", "0", found[0]), text) if keys else text


def _without_spread(lines: Iterable[str], veil: Veil) -> list[str]:
    """The lines, without values of which each delta of a model's words has a part."""
    found = list(lines)
    pieces: list[tuple[int, Any, Any]] = []
    told = {at: json.loads(line) for at, line in enumerate(found) if _WORDS.search(line)}
    for at, line in told.items():
        words, frame = line.get("words"), line.get("frame")
        if isinstance(words, list):
            pieces += [(at, words, place) for place, word in enumerate(words) if isinstance(word, str)]
        elif isinstance(frame, dict) and isinstance(frame.get("delta"), str):
            pieces.append((at, frame, "delta"))
    changed = set()
    made = veil.spread([owner[place] for _, owner, place in pieces])
    for (at, owner, place), text in zip(pieces, made, strict=True):
        if owner[place] != text:
            owner[place] = text
            changed.add(at)
    for at in changed:
        found[at] = _line(told[at])
    return found


def _line(told: Any) -> str:
    return one_line(json.dumps(told, ensure_ascii=False, separators=(",", ":")))


def slug(name: str) -> str:
    """A name as that of a file: letters, digits and dashes."""
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    plain = "-".join(part for part in kept.split("-") if part)[:60]
    return plain if plain and plain == kept.strip("-") else f"{plain or 'scenario'}-{digest}"


def secrets_of(scenarios: Iterable[Scenario], *names: str, others: Iterable[str] = ()) -> tuple[str, ...]:
    """The values of keys that scenarios and options name, so that no file has them."""
    minds = [one.caller.mind.key_env for one in scenarios if isinstance(one.caller.mind, Mind)]
    found = [os.environ.get(name, "") for name in {*minds, *names} if name]
    return tuple(sorted({*found, *others} - {""}))
