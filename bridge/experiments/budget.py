"""Money: what an experiment may spend, and what one of its calls may."""

from __future__ import annotations

import math
from typing import Final

from .spending import Spending

MICRO: Final = 1_000_000


class Budget:
    """Money that may be spent, in USD; None: any. What a run needs is set aside while it lasts."""

    def __init__(self, most_usd: float | None = None) -> None:
        self.most_usd = most_usd
        self._over_usd = 0.0
        self._running: list[Purse] = []
        self.votes: Spending | None = None

    @property
    def spent_usd(self) -> float:
        """By runs that are over, and by those that last."""
        return self._over_usd + sum(one.spent_usd for one in self._running)

    def for_votes(self) -> Spending:
        """The purse of a judge by URL: what is left for it is what calls leave."""
        self.votes = Spending(math.inf if self.most_usd is None else self.most_usd, self.has)
        return self.votes

    def has(self, more_usd: float = 0.0) -> bool:
        """Whether there is so much besides what runs need."""
        needed_usd = self._over_usd + sum(one.needed_usd for one in self._running)
        needed_usd += 0.0 if self.votes is None else self.votes.usd
        return self.most_usd is None or needed_usd + more_usd <= self.most_usd

    def begin(self, expected_usd: float) -> Purse | None:
        """The purse of a run that is expected to cost this; None where there is not so much left."""
        if not self.has(expected_usd):
            return None
        purse = Purse(self, expected_usd)
        self._running.append(purse)
        return purse

    def end(self, purse: Purse, cost_usd: float) -> None:
        """The run with this purse is over and cost that much."""
        self._running.remove(purse)
        self._over_usd += cost_usd


class Purse:
    """What one call spends, in USD. A response is paid when it is over, so a call that costs more than was
    expected ends when one more response like its dearest might be too much for the budget.
    """

    def __init__(self, budget: Budget | None = None, expected_usd: float = 0.0) -> None:
        self._budget, self._expected_usd = budget or Budget(), expected_usd
        self._dearest_usd = 0.0
        self.spent_usd = 0.0
        self.is_empty = False

    @property
    def needed_usd(self) -> float:
        """What the call may come to."""
        return (
            self.spent_usd if self.is_empty else max(self._expected_usd, self.spent_usd + self._dearest_usd)
        )

    def paid(self, cost_micro_usd: int) -> bool:
        """The call has cost that much by now. Returns whether it may go on."""
        cost_usd = cost_micro_usd / MICRO
        self._dearest_usd = max(self._dearest_usd, cost_usd - self.spent_usd)
        self.spent_usd = cost_usd
        self.is_empty = self.is_empty or (self.needed_usd > self._expected_usd and not self._budget.has())
        return not self.is_empty
