"""Recorded callers meet a new agent and, under the same conditions, the old one; what differs is judged.

The recording is not one of the arms: it had another network, another day, other dice.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bridge.errors import ConfigError
from bridge.ops.recorded import lines_of
from bridge.recording import SUFFIX
from bridge.recording.caller_script import CallerScript, Kind
from bridge.recording.script_reader import caller_script

from .budget import MICRO, Budget, Purse
from .shadow_facts import Run, agreement, mean_values, values
from .shadow_run import Arm, in_words
from .verdict import METRICS, Metric, Values, Verdict, judge, red
from .workers import never, side_by_side

CONSENT: Final = "reuse"
"""The parameter of a call by which its caller says whether the recording may be used again."""
_NO: Final = frozenset({"no", "false", "0"})
_YES: Final = frozenset({"yes", "true", "1"})


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording that takes part."""

    name: str
    script: CallerScript

    @property
    def usd(self) -> float:
        """What the call cost; recordings price themselves."""
        return self.script.stats.cost_micro_usd / MICRO


@dataclass(frozen=True, slots=True)
class Gathered:
    """The recordings that take part, and why others do not: names by reason."""

    calls: Sequence[Recorded]
    skipped: dict[str, list[str]] = field(default_factory=dict)


def gather(
    paths: Iterable[Path], *, consent: bool = False, text: bool = False, listens: bool = True
) -> Gathered:
    """The recordings of these files and folders. With `consent` only calls whose parameter `reuse` is yes
    take part; without it those whose parameter is not no. With `text` callers write their words instead of
    speaking: recordings need no sound. Where the model does not listen (`listens`), it wants their words.

    Raises ConfigError for a path that is not there.
    """
    calls: list[Recorded] = []
    skipped: dict[str, list[str]] = {}
    met: Counter[str] = Counter()
    for file in _files(paths):
        name = file.name.removesuffix(SUFFIX)
        met[name] += 1
        if met[name] > 1:  # of another folder
            name = f"{name} ({met[name]})"
        try:
            script = caller_script(lines_of(file))
        except ConfigError:
            skipped.setdefault("not to be read", []).append(name)
            continue
        why = _why_not(script, consent=consent, text=text, listens=listens)
        if why:
            skipped.setdefault(why, []).append(name)
        else:
            calls.append(Recorded(name, in_words(script) if text else script))
    return Gathered(calls, skipped)


def _files(paths: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(path.glob(f"*{SUFFIX}"))
        elif path.is_file():
            found.append(path)
        else:
            raise ConfigError(f"there is no recording {path}")
    return list(dict.fromkeys(found))


def _why_not(script: CallerScript, *, consent: bool, text: bool, listens: bool) -> str:
    """Why this recording takes no part; "" if it does."""
    said = script.parameters.get(CONSENT, "").strip().lower()
    if said in _NO or (consent and said not in _YES):
        return "without consent"
    if script.masked:
        return "masked"
    if not script.has_sound and not text:
        return "without sound"
    says = [act for act in script.acts if act.kind is Kind.SAYS]
    if (text or (says and not listens)) and not any(act.words for act in says):
        return "without words"
    return "" if script.acts else "nothing was said"


OF_WORDS: Final = (
    "expectations", "tools_equal", "tools_as_control", "tool_errors", "tools_unanswered", "figures_told",
    "figures_as_control",
    "cost_usd", "completed", "similarity",
)  # fmt: skip
"""The metrics that calls in words have: nothing is spoken, so there is no waiting and no interruption."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the experiment will take: seconds of wall time where calls run in real time, and money."""

    runs: int
    seconds: float
    usd: float
    low_usd: float
    high_usd: float


def estimate(calls: Sequence[Recorded], repeats: int, parallel: int) -> Estimate:
    """Of both arms, by the lengths and costs of the recorded calls. The spread is that of their costs, for
    two standard errors of the sum.
    """
    times = repeats * 2
    costs = [call.usd for call in calls]
    usd = math.fsum(costs) * times
    mean = math.fsum(costs) / max(1, len(costs))
    variance = math.fsum((cost - mean) ** 2 for cost in costs) / max(1, len(costs) - 1)
    spread = 2 * math.sqrt(variance * len(costs)) * times
    seconds = sum(call.script.end_ms for call in calls) / 1000 * times / max(1, parallel)
    return Estimate(len(calls) * times, seconds, usd, max(0.0, usd - spread), usd + spread)


@dataclass(frozen=True, slots=True)
class Pair:
    """One call in both arms: its metrics, averaged over the repeats, and its runs."""

    call: Recorded
    control: Values
    new: Values
    runs: tuple[tuple[Run, ...], tuple[Run, ...]]

    @property
    def broken(self) -> list[str]:
        """The kinds of rules that the new agent's runs broke."""
        return sorted({kind for run in self.runs[1] for kind in run.broken or ()})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the experiment found. `whole` is False where it was stopped before all calls had run."""

    arms: tuple[Arm, Arm]
    pairs: Sequence[Pair]
    verdicts: Sequence[Verdict]
    planned: int
    repeats: int
    spent_usd: float
    skipped: dict[str, list[str]]

    @property
    def whole(self) -> bool:
        return len(self.pairs) == self.planned

    @property
    def broken(self) -> Counter[str]:
        """What the new agent's calls broke of the user's rules: in how many calls, by kind."""
        return Counter(kind for pair in self.pairs for kind in pair.broken)

    @property
    def red(self) -> bool:
        """Whether something is worse than in the control, or a rule is broken."""
        return red(self.verdicts) or bool(self.broken)

    @property
    def exit_code(self) -> int:
        """0; 1 if something is worse or a rule broken; 3 if nothing or not everything was run."""
        if not self.pairs or not self.whole:
            return 3
        return 1 if self.red else 0


@dataclass(frozen=True, slots=True)
class Job:
    """One run that is to be made."""

    call: Recorded
    arm: Arm
    repeat: int
    purse: Purse

    @property
    def seed(self) -> int:
        """Its dice: the same for the same recording, arm and repeat."""
        key = f"{self.call.name}\0{self.arm.name}\0{self.repeat}"
        return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4])


RunOne = Callable[[Job], Run]
RunLive = Callable[[Job], Awaitable[Run]]
"""In real time."""


@dataclass(slots=True)
class Experiment:
    """What is compared and how: `arms` are (control, new). `exact`: a model without dice, two runs of which
    are equal. `progress` is told how many runs are over; no call begins once it is `interrupted`.
    """

    gathered: Gathered
    arms: tuple[Arm, Arm]
    repeats: int = 1
    exact: bool = False
    budget: Budget = field(default_factory=Budget)
    metrics: Sequence[Metric] = METRICS
    progress: Callable[[int], None] = lambda _done: None
    interrupted: Callable[[], bool] = never
    runs: dict[tuple[str, str], dict[int, Run]] = field(default_factory=dict)
    stopped: bool = False

    def jobs(self) -> Iterator[Job]:
        """All runs, those of one call together, until the experiment is stopped. What each is expected to
        cost is set aside.
        """
        for call in self.gathered.calls:
            for repeat in range(self.repeats):
                for arm in self.arms:
                    stopped = self.stopped or self.interrupted()
                    purse = None if stopped else self.budget.begin(call.usd)
                    if purse is None:
                        self.stopped = True
                        return
                    yield Job(call, arm, repeat, purse)

    def done(self, job: Job, run: Run) -> None:
        """A run is over. One that was cut short by the money that is left does not count."""
        self.budget.end(job.purse, run.cost_micro_usd / MICRO)
        if job.purse.is_empty and not run.completed:
            self.stopped = True
            return
        self.runs.setdefault((job.call.name, job.arm.name), {})[job.repeat] = run
        self.progress(sum(map(len, self.runs.values())))

    def outcome(self) -> Outcome:
        """The verdict over the calls of which all runs are done."""
        pairs = [pair for call in self.gathered.calls if (pair := self._pair(call)) is not None]
        whole = len(pairs) == len(self.gathered.calls)
        values_of = [(pair.control, pair.new) for pair in pairs]
        judged = judge(values_of, self.metrics, whole=whole, repeats=self.repeats, exact=self.exact)
        planned, spent = len(self.gathered.calls), self.budget.spent_usd
        return Outcome(self.arms, pairs, judged, planned, self.repeats, spent, self.gathered.skipped)

    def _pair(self, call: Recorded) -> Pair | None:
        by_arm = [self.runs.get((call.name, arm.name), {}) for arm in self.arms]
        if any(len(runs) < self.repeats for runs in by_arm):
            return None
        runs = tuple(by_arm[0][n] for n in sorted(by_arm[0])), tuple(by_arm[1][n] for n in sorted(by_arm[1]))
        control, new = (mean_values([values(one, call.script) for one in of_arm]) for of_arm in runs)
        usual, agreed = agreement(*runs, exact=self.exact)
        return Pair(call, control | usual, new | agreed, runs)


def compare(experiment: Experiment, run: RunOne) -> Outcome:
    """Let every caller meet both arms, one run after the other, and judge."""
    for job in experiment.jobs():
        experiment.done(job, run(job))
    return experiment.outcome()


async def compare_live(experiment: Experiment, run: RunLive, parallel: int) -> Outcome:
    """The same with so many calls at once."""
    jobs = experiment.jobs()

    async def worker() -> None:
        for job in jobs:
            experiment.done(job, await run(job))

    await side_by_side([worker() for _ in range(parallel)], experiment.interrupted)
    return experiment.outcome()
