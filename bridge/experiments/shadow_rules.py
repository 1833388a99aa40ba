"""Rules of the user's for each call of a shadow experiment, judged as those of simulated callers are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from .callers_run import CallFacts
from .judge import checked, measured
from .rubric import ChatVoter, Vote, judged, voter
from .scenario import Expect, Rubric, read_rules
from .spending import Estimate, votes


@dataclass(frozen=True, slots=True)
class ShadowRules:
    """What has to come of every call. `vote` answers the rubric; None without one."""

    expect: Sequence[Expect]
    rubric: Sequence[Rubric] = ()
    vote: Vote | None = None

    def broken(self, facts: CallFacts) -> tuple[str, ...]:
        """The kinds of failures of a call. The rubric is asked where there are none: it can only turn green
        to red. Raises BridgeError where it cannot be asked.
        """
        found = checked(self.expect, facts, measured(facts))
        if not found and self.vote is not None:
            found = judged(self.rubric, facts.story, self.vote)
        return tuple(one.kind.value for one in found)

    def expected_votes(self, runs: int) -> Estimate | None:
        """What a judge by URL may be asked in so many runs; None without one."""
        if not isinstance(self.vote, ChatVoter):
            return None
        return votes(runs * len(self.rubric), self.vote.rate)


def rules_of(file: Path, judge: str) -> ShadowRules:
    """The rules of this file; `judge` says who votes on its rubric. Raises ConfigError."""
    rules = read_rules(file)
    if not rules.expect and not rules.rubric:
        raise ConfigError(f"{file} has no [[expect]] and no [[rubric]]")
    if bool(rules.rubric) != bool(judge):
        raise ConfigError("a [[rubric]] wants a --judge, and a --judge a [[rubric]]")
    for one in rules.expect:
        if one.keys or one.reached_goal is not None or one.told_within_ms is not None:
            raise ConfigError(f"{file}: keys, reached_goal and told_within_ms are for simulated callers only")
    return ShadowRules(rules.expect, rules.rubric, voter(judge) if judge else None)
