"""Money: what an experiment may spend, and what one of its calls may."""

from __future__ import annotations

import dataclasses
from typing import Final

from bridge.core import messages as m

from .shadow_facts import Run

MICRO: Final = 1_000_000


class Budget:
    """Money that may be spent, in USD; None: any. While a run lasts, its expected cost is set aside."""

    def __init__(self, most_usd: float | None) -> None:
        self.most_usd = most_usd
        self.spent_usd = 0.0
        self._aside_usd = 0.0

    def begin(self, expected_usd: float) -> bool:
        """Whether a run may begin that is expected to cost this; it is set aside then."""
        if self.most_usd is not None and self.spent_usd + self._aside_usd + expected_usd > self.most_usd:
            return False
        self._aside_usd += expected_usd
        return True

    def end(self, expected_usd: float, cost_usd: float) -> None:
        """The run is over and cost that much."""
        self._aside_usd -= expected_usd
        self.spent_usd += cost_usd

    def left_usd(self, expected_usd: float = 0.0) -> float | None:
        """What a run with this set aside may cost at most; None for any amount."""
        if self.most_usd is None:
            return None
        return max(0.0, self.most_usd - self.spent_usd - self._aside_usd + expected_usd)


class Purse:
    """What one call may cost, in USD; None: any amount. A response is paid when it is over, so the call ends
    when one more like the dearest so far might cost too much.
    """

    def __init__(self, most_usd: float | None) -> None:
        self._most = None if most_usd is None else most_usd * MICRO
        self._spent = self._dearest = 0

    def empty(self, cost_micro_usd: int) -> bool:
        """Whether the call, which has cost that much by now, has to end."""
        self._dearest = max(self._dearest, cost_micro_usd - self._spent)
        self._spent = cost_micro_usd
        return self._most is not None and cost_micro_usd + self._dearest > self._most

    def told(self, run: Run) -> Run:
        """The run as it ended: cut short by this limit, if it was."""
        short = self.empty(run.cost_micro_usd) and not run.completed
        return dataclasses.replace(run, ended=m.Reason.LIMIT.value) if short else run
