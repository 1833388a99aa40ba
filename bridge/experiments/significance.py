"""How sure a difference is: intervals and tests, all with a fixed seed, so that the same numbers give the
same answer on every machine.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final

SEED: Final = 20_260
ROUNDS: Final = 10_000
"""Resamplings of a bootstrap, and sign patterns of a permutation test that is too large to be exact."""
EXACT_MOST: Final = 13
"""Differences of which all sign patterns are counted: 8,192 of them."""
LEVEL: Final = 0.05
POWER: Final = 0.8
_EQUAL: Final = 1e-12
"""Relative; sums in another order differ by less."""


def percentile(values: Sequence[int], percent: int) -> float | None:
    """The least value that so many per cent do not exceed; None for none."""
    return float(sorted(values)[-(-percent * len(values) // 100) - 1]) if values else None


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The interval of a share (Wilson's score); (0, 1) without trials."""
    if not trials:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(1 - LEVEL / 2)
    share = successes / trials
    scale = 1 + z * z / trials
    middle = (share + z * z / (2 * trials)) / scale
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / scale
    return max(0.0, middle - half), min(1.0, middle + half)


def mcnemar(lost: int, won: int) -> float:
    """The two-sided exact p of so many pairs that changed one way and the other; 1.0 where none changed."""
    changed = lost + won
    if not changed:
        return 1.0
    tail = sum(math.comb(changed, k) for k in range(min(lost, won) + 1))
    return min(1.0, tail / (1 << (changed - 1)))


def bootstrap(differences: Sequence[float]) -> tuple[float, float]:
    """The interval of their mean, by percentiles of resampled means. (0, 0) without differences."""
    count = len(differences)
    if not count or max(differences) == min(differences):
        mean = differences[0] if count else 0.0
        return mean, mean
    dice = random.Random(SEED)  # noqa: S311  statistics
    means = sorted(math.fsum(dice.choices(differences, k=count)) / count for _ in range(ROUNDS))
    low = int(ROUNDS * LEVEL / 2)
    return means[low], means[ROUNDS - 1 - low]


def sign_flip(differences: Sequence[float]) -> float:
    """The two-sided p of their mean under "the sign of each is chance". Exact up to `EXACT_MOST` differences
    that are not 0; 1.0 without any.
    """
    moved = [one for one in differences if one]
    if not moved:
        return 1.0
    reached = abs(math.fsum(moved)) * (1 - _EQUAL)
    if len(moved) <= EXACT_MOST:
        patterns = [
            math.fsum(itertools.starmap(_times, zip(signs, moved, strict=True)))
            for signs in itertools.product((1, -1), repeat=len(moved))
        ]
        return sum(abs(one) >= reached for one in patterns) / len(patterns)
    dice = random.Random(SEED)  # noqa: S311  statistics
    as_far = 0
    for _ in range(ROUNDS):
        bits = dice.getrandbits(len(moved))
        total = math.fsum(one if bits >> at & 1 else -one for at, one in enumerate(moved))
        as_far += abs(total) >= reached
    # The pattern that was seen is one of them.
    return (as_far + 1) / (ROUNDS + 1)


def _times(sign: int, value: float) -> float:
    return sign * value


def holm(p_values: Sequence[float]) -> list[float]:
    """The p of each, adjusted for there being several (Holm), in their order."""
    adjusted = [1.0] * len(p_values)
    most = 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        most = max(most, min(1.0, p_values[at] * (len(p_values) - rank)))
        adjusted[at] = most
    return adjusted


def calls_needed(differences: Sequence[float], least: float) -> int | None:
    """How many calls would tell a mean difference of `least` (> 0) from none, four times of five, if calls
    differ as these do. None for fewer than two differences.
    """
    count = len(differences)
    if count < 2 or least <= 0:
        return None
    mean = math.fsum(differences) / count
    variance = math.fsum((one - mean) ** 2 for one in differences) / (count - 1)
    z = NormalDist().inv_cdf(1 - LEVEL / 2) + NormalDist().inv_cdf(POWER)
    return max(count + 1, math.ceil(variance * (z / least) ** 2))
