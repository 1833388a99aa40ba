"""What chat endpoints cost: estimated before, counted by the tokens that they tell, and bounded."""

from __future__ import annotations

import contextlib
import json
import math
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from ..recording.json_text import UNREADABLE
from .scenario import Mind, Scenario

VOTES: Final = 3
"""Of a judge, on each question."""
MANY_TOKENS: Final = 2_000
"""Of one answer, until a longer one was seen: models that think are billed for their thoughts."""
_BYTES: Final = 3
"""Of a request, for a token: there are more in most languages."""
_MILLION: Final = 1_000_000
_RULES_TOKENS: Final = 300
_TURN_TOKENS: Final = 60
_ANSWER_TOKENS: Final = 300
_USUAL_TURNS: Final = 12


class Rate(NamedTuple):
    """USD for a million tokens."""

    into: float
    out: float

    def usd(self, into: float, out: float) -> float:
        """What so many tokens cost."""
        return (self.into * into + self.out * out) / _MILLION


class Spending:
    """Money that the endpoints of a command cost, in all of its processes together."""

    def __init__(self, most_usd: float = math.inf, has: Callable[[float], bool] = lambda _usd: True) -> None:
        self.most_usd, self._has = most_usd, has
        context = multiprocessing.get_context("spawn")
        self._spent, self._longest = context.Value("d", 0.0), context.Value("d", MANY_TOKENS)

    @property
    def usd(self) -> float:
        """What was spent."""
        return float(self._spent.value)

    def set_aside(self, rate: Rate, request: bytes) -> float | None:
        """What this request may cost, which counts as spent now; None where that is more than is left."""
        usd = rate.usd(len(request) / _BYTES, self._longest.value)
        with self._spent.get_lock():
            if self._spent.value + usd > self.most_usd or not self._has(usd):
                return None
            self._spent.value += usd
        return usd

    def paid(self, aside_usd: float, rate: Rate, answer: bytes) -> None:
        """It was answered. What was set aside is spent where the answer tells no tokens."""
        with contextlib.suppress(*UNREADABLE, LookupError, TypeError, OverflowError):
            usage: dict[str, Any] = json.loads(answer)["usage"]
            into, out = float(usage["prompt_tokens"]), float(usage["completion_tokens"])
            if not (0 <= into < math.inf and 0 <= out < math.inf):
                return  # NaN would end the limit, and a negative number raise it
            with self._spent.get_lock():
                self._spent.value += rate.usd(into, out) - aside_usd
                self._longest.value = max(self._longest.value, out)

    def refused(self, aside_usd: float) -> None:
        """The request was refused, or never sent: nothing is billed."""
        with self._spent.get_lock():
            self._spent.value -= aside_usd


SPENDING: Final[ContextVar[Spending | None]] = ContextVar("spending", default=None)
"""Of the run that asks."""


class Estimate(NamedTuple):
    """At most so many requests, and about so much; None where a price is missing."""

    requests: int
    usd: float | None


def told_requests(expected: Estimate) -> str:
    """In words."""
    about = "at an unknown price" if expected.usd is None else f"about {expected.usd:,.2f} USD"
    return f"up to {expected.requests} requests to minds and judges, {about}"


def estimate(wanted: Iterable[Scenario], judge: Rate | None, *, judged: bool) -> Estimate:
    """For a run of each of these; `judged` where an endpoint votes on rubrics."""
    requests, costs = 0, [0.0]
    for scenario in wanted:
        for count, rate in _asked(scenario, judge, judged=judged):
            requests += count
            into = count * (_RULES_TOKENS + _TURN_TOKENS * scenario.limits.turns // 2)
            costs.append(math.nan if rate is None else rate.usd(into, count * _ANSWER_TOKENS))
    usd = math.fsum(costs)
    return Estimate(requests, None if math.isnan(usd) else usd)


def votes(questions: int, judge: Rate | None, turns: int = _USUAL_TURNS) -> Estimate:
    """On so many questions, each about a call of so many turns."""
    requests = VOTES * questions
    into = requests * (_RULES_TOKENS + _TURN_TOKENS * turns // 2)
    return Estimate(requests, None if judge is None else judge.usd(into, requests * _ANSWER_TOKENS))


def _asked(scenario: Scenario, judge: Rate | None, *, judged: bool) -> Iterator[tuple[int, Rate | None]]:
    """How often each endpoint is asked, and its price."""
    mind = scenario.caller.mind
    if isinstance(mind, Mind) and scenario.caller.lines is None:
        yield scenario.limits.turns, None if mind.usd is None else Rate(*mind.usd)
    if judged and scenario.rubric:
        yield VOTES * len(scenario.rubric), judge
