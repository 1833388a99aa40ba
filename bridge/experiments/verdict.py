"""The verdict over two arms of an experiment: worse, better, the same, or cannot tell.

The unit is a call: repeats of a call are not independent, so they are averaged before anything is judged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from .significance import LEVEL, bootstrap, calls_needed, holm, mcnemar, sign_flip

Better = Literal["up", "down", "not judged"]
"""Which way a metric is better."""


class Word(StrEnum):
    """The verdict on one metric."""

    WORSE = "worse"
    BETTER = "better"
    SAME = "same"
    CANNOT_TELL = "cannot tell"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing that is compared. A difference within `tolerance` is no difference; with `relative` that is
    a share of the control's mean. `yes_no`: it is 0 or 1 in one run. `shown` is what a reader sees where the
    name itself would not do.
    """

    name: str
    better: Better
    tolerance: float = 0.0
    unit: str = ""
    relative: bool = False
    yes_no: bool = False
    shown: str = ""

    @property
    def label(self) -> str:
        """The metric in words, without its unit."""
        return self.shown or self.name.removesuffix("_ms").removesuffix("_usd").replace("_", " ")

    @property
    def judged(self) -> bool:
        """Whether one way is better than the other."""
        return self.better != "not judged"


FEWEST: Final = math.ceil(math.log2(2 / LEVEL))
"""Calls: a sign-flip test of fewer never tells, however they differ."""
SHARE: Final = 0.02
METRICS: Final = (
    Metric("expectations", "up", SHARE, yes_no=True, shown="expectations met"),
    Metric("tools_equal", "up", SHARE, yes_no=True),
    Metric("tools_as_control", "up", SHARE),
    Metric("tool_errors", "down", SHARE),
    Metric("tools_unanswered", "down", SHARE),
    Metric("figures_told", "up", SHARE, shown="figures repeated"),
    Metric("figures_as_control", "up", SHARE),
    Metric("felt_p50_ms", "down", 50, "ms"),
    Metric("felt_p95_ms", "down", 50, "ms"),
    Metric("heard_share", "up", SHARE),
    Metric("no_answer", "down", SHARE),
    Metric("silences", "down", SHARE),
    Metric("cost_usd", "down", 0.05, "USD", relative=True),
    Metric("completed", "up", SHARE, yes_no=True),
    Metric("barge_ins", "not judged", shown="barge-ins"),
    Metric("talk_over_ms", "not judged", unit="ms", shown="talk-over"),
    Metric("moot", "not judged", shown="barge-ins too late"),
    Metric("length_ms", "not judged", unit="ms"),
    Metric("similarity", "not judged"),
)
"""In the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One metric over all calls: the mean of each arm, and the mean difference (new minus control) with its
    interval. `p` is adjusted for the number of metrics. `calls_needed` is how many calls would tell, where
    these cannot.
    """

    metric: Metric
    word: Word
    calls: int
    control: float
    new: float
    difference: float
    low: float
    high: float
    p: float
    calls_needed: int | None = None


Values = Mapping[str, float | None]
"""A call's metrics by name, averaged over its repeats; None where the call has no such value."""


def judge(
    pairs: Sequence[tuple[Values, Values]],
    metrics: Sequence[Metric] = METRICS,
    *,
    whole: bool = True,
    repeats: int = 1,
    exact: bool = False,
) -> list[Verdict]:
    """A verdict for each metric that calls have in both arms. `pairs` are (control, new), one a call. With
    `whole` False (a run that was stopped) no metric is called better, worse or the same. `exact`: a call
    would be the same again, so calls that are equal are no luck, however few.
    """
    found = [(metric, _paired(pairs, metric.name)) for metric in metrics]
    found = [(metric, both) for metric, both in found if both]
    judged = [metric for metric, both in found if metric.judged and _testable(both)]
    raw = {metric.name: _p(metric, both, repeats) for metric, both in found}
    adjusted = dict(zip((one.name for one in judged), holm([raw[one.name] for one in judged]), strict=True))
    least = math.ceil(math.log2(2 * max(1, sum(metric.judged for metric, _ in found)) / LEVEL))
    return [
        _verdict(
            metric, both, adjusted.get(metric.name, raw[metric.name]), least if whole else None, exact=exact
        )
        for metric, both in found
    ]


def nothing_told(verdicts: Sequence[Verdict]) -> bool:
    """Whether nothing that is judged could be told."""
    return {one.word for one in verdicts if one.metric.judged} == {Word.CANNOT_TELL}


def red(verdicts: Sequence[Verdict]) -> bool:
    """Whether anything is worse."""
    return any(one.word is Word.WORSE for one in verdicts)


def _paired(pairs: Sequence[tuple[Values, Values]], name: str) -> list[tuple[float, float]]:
    both = ((control.get(name), new.get(name)) for control, new in pairs)
    return [(old, new) for old, new in both if old is not None and new is not None]


def _testable(both: Sequence[tuple[float, float]]) -> bool:
    """Whether so many differences could tell anything at all. What could not does not count among the tests
    that have to pay for each other (Tarone 1990).
    """
    return sum(old != new for old, new in both) >= FEWEST


def _p(metric: Metric, both: Sequence[tuple[float, float]], repeats: int) -> float:
    if metric.yes_no and repeats == 1:
        return mcnemar(sum(old > new for old, new in both), sum(old < new for old, new in both))
    return sign_flip([new - old for old, new in both])


def _verdict(
    metric: Metric, both: Sequence[tuple[float, float]], p: float, least: int | None, *, exact: bool
) -> Verdict:
    """`least`: with fewer calls nothing can be told about so many metrics; None: the run was stopped."""
    count = len(both)
    control, new = (math.fsum(values) / count for values in zip(*both, strict=True))
    differences = [after - before for before, after in both]
    mean = math.fsum(differences) / count
    low, high = bootstrap(differences)
    tolerance = metric.tolerance * abs(control) if metric.relative else metric.tolerance
    word, needed = Word.NOT_JUDGED, None
    if metric.judged:
        word = Word.CANNOT_TELL if least is None else _word(metric, mean, (low, high), p, tolerance)
        if word is Word.CANNOT_TELL and least is not None:
            needed = max(least, calls_needed(differences, max(tolerance, abs(mean))) or 0)
        elif word is Word.SAME and not exact and count < FEWEST:
            word, needed = Word.CANNOT_TELL, FEWEST
    return Verdict(metric, word, count, control, new, mean, low, high, p, needed)


def _word(metric: Metric, mean: float, interval: tuple[float, float], p: float, tolerance: float) -> Word:
    if p <= LEVEL and abs(mean) > tolerance:
        return Word.WORSE if (mean > 0) == (metric.better == "down") else Word.BETTER
    low, high = interval
    return Word.SAME if -tolerance <= low and high <= tolerance else Word.CANNOT_TELL
