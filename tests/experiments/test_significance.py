"""The statistics of a verdict, against figures that were computed elsewhere."""

from __future__ import annotations

import math
import random
from statistics import NormalDist
from typing import Any

import pytest

from bridge.experiments.significance import bootstrap, calls_needed, holm, mcnemar, sign_flip, wilson
from bridge.experiments.verdict import Word, judge, red


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(0, 50, 0, 0.0713), (48, 50, 0.8654, 0.989), (50, 50, 0.9287, 1), (147, 150, 0.9429, 0.9932)],
)
def test_an_interval_of_a_share(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize(
    ("lost", "won", "p"),
    [
        (0, 5, 0.0625),
        (0, 6, 0.03125),
        (1, 8, 0.03906),
        (2, 10, 0.03857),
        (5, 7, 0.77441),
        (0, 0, 1),
        (3, 3, 1),
    ],
)
def test_pairs_that_changed(lost: int, won: int, p: float) -> None:
    assert mcnemar(lost, won) == pytest.approx(p, abs=6e-6)
    assert mcnemar(won, lost) == mcnemar(lost, won)


def test_signs_are_flipped_exactly_where_there_are_few() -> None:
    # Of 2^6 patterns two are as far out: all up, all down.
    assert sign_flip([1, 2, 3, 4, 5, 6]) == pytest.approx(2 / 64)
    assert sign_flip([1, -1]) == 1
    assert sign_flip([0, 0, 0]) == 1
    assert sign_flip([]) == 1


def test_many_signs_are_drawn_with_a_fixed_seed() -> None:
    dice = random.Random(3)
    differences = [dice.gauss(0.2, 1) for _ in range(60)]
    # Under flipped signs the sum has the variance of the sum of squares, and is nearly normal.
    z = abs(sum(differences)) / math.sqrt(sum(one * one for one in differences))
    assert sign_flip(differences) == pytest.approx(2 * (1 - NormalDist().cdf(z)), abs=0.02)
    assert sign_flip(differences) == sign_flip(list(differences))


def test_a_bootstrap_holds_what_the_normal_interval_does() -> None:
    dice = random.Random(5)
    differences = [dice.gauss(10, 4) for _ in range(100)]
    mean = sum(differences) / 100
    low, high = bootstrap(differences)
    assert low == pytest.approx(mean - 1.96 * 0.4, abs=0.15)
    assert high == pytest.approx(mean + 1.96 * 0.4, abs=0.15)
    assert bootstrap([3, 3, 3]) == (3, 3)
    assert bootstrap([]) == (0, 0)


def test_several_tests_pay_for_each_other() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_how_many_calls_would_do() -> None:
    # n = (1.96 + 0.84)^2 sd^2 / d^2, with sd^2 100/99 and d 0.1.
    assert calls_needed([1, -1] * 50, 0.1) == pytest.approx(793, abs=2)
    assert calls_needed([1.0], 0.1) is None


def calls(control: float, new: float, count: int = 20, name: str = "felt_p50_ms") -> Any:
    return [({name: control + number % 5}, {name: new + number % 5}) for number in range(count)]


@pytest.mark.parametrize(
    ("name", "control", "new", "word"),
    [
        ("felt_p50_ms", 600, 900, Word.WORSE),
        ("felt_p50_ms", 900, 600, Word.BETTER),
        ("felt_p50_ms", 600, 640, Word.SAME),
        ("tools_equal", 1, 0, Word.WORSE),
        ("tools_equal", 0, 1, Word.BETTER),
        ("cost_usd", 100, 104, Word.SAME),
        ("cost_usd", 100, 140, Word.WORSE),
        ("barge_ins", 1, 9, Word.NOT_JUDGED),
    ],
)
def test_words(name: str, control: float, new: float, word: Word) -> None:
    [verdict] = judge(calls(control, new, name=name))
    assert verdict.word is word
    assert verdict.difference == pytest.approx(new - control)
    assert red([verdict]) is (word is Word.WORSE)


def test_too_few_calls_say_how_many_would_do() -> None:
    [verdict] = judge([({"felt_p50_ms": 500}, {"felt_p50_ms": new}) for new in (300, 800, 700)])
    assert verdict.word is Word.CANNOT_TELL
    assert verdict.calls_needed is not None
    assert verdict.calls_needed > 3


def test_few_calls_of_a_model_with_dice_are_not_the_same() -> None:
    one_call, six = calls(600, 600, count=1), calls(600, 600, count=6)
    assert [one.word for one in judge(one_call, exact=True)] == [Word.SAME]
    verdicts = judge(one_call)
    assert [one.word for one in verdicts] == [Word.CANNOT_TELL]
    assert verdicts[0].calls_needed == 6
    assert [one.word for one in judge(six)] == [Word.SAME]


def test_a_run_that_was_stopped_tells_nothing() -> None:
    verdicts = judge(calls(600, 900), whole=False)
    assert [one.word for one in verdicts] == [Word.CANNOT_TELL]


def test_calls_without_a_value_do_not_count() -> None:
    [verdict] = judge([*calls(600, 600), ({"felt_p50_ms": None}, {"felt_p50_ms": 9_000})])
    assert verdict.calls == 20
    assert verdict.word is Word.SAME


def test_two_equal_arms_are_red_as_seldom_as_promised() -> None:
    dice = random.Random(11)
    names = ["felt_p50_ms"]
    reds = 0
    for _ in range(2):
        arms: list[list[Any]] = [
            [{name: dice.lognormvariate(5, 0.3) for name in names} for _ in range(30)] for _ in "ab"
        ]
        reds += red(judge(list(zip(arms[0], arms[1], strict=True)), repeats=3))
    assert reds == 0
