"""Fifty recorded callers, ten planted changes, ten unchanged agents: each change is found, nothing else is.

The figures of a run stand in docs/guides/shadow.md. tests/experiments/test_shadow.py is the quick form.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from bridge.experiments.shadow import Experiment, Gathered, Outcome, Recorded, compare, estimate
from bridge.experiments.shadow_facts import Run
from bridge.experiments.shadow_report import written_json
from bridge.experiments.shadow_run import Arm, Embedded, run_embedded
from bridge.experiments.verdict import Word
from bridge.recording.script_reader import caller_script
from tests.experiments.kit import AGENT, Restaurant, recorded_call
from tests.experiments.shadow_variants import VARIANTS, Variant

pytestmark = pytest.mark.virtual

CALLS = 50
ARMS = 5
"""Of the same agent with dice of its own; ten pairs of them are compared."""
PAIRS = list(itertools.combinations(range(ARMS), 2))


@functools.cache
def fifty() -> Gathered:
    scripts = (caller_script(recorded_call(seed, turns=2)) for seed in range(CALLS))
    return Gathered([Recorded(f"call-{number}", script) for number, script in enumerate(scripts)])


def run(call: Recorded, arm: Arm, mind: Callable[[int], Any], seed: int) -> Run:
    return run_embedded(call.name, call.script, arm, Embedded(mind), seed)


@functools.cache
def as_it_was() -> dict[str, Run]:
    """The agent without a change, and a model without dice."""
    arm = Arm("control", AGENT)
    return {call.name: run(call, arm, lambda _seed: Restaurant(), 0) for call in fifty().calls}


@functools.cache
def thinking(number: int) -> dict[str, Run]:
    """The agent without a change; its model thinks for some 250 ms, and forgets 3 % of bookings."""
    arm, found = Arm(f"arm {number}", AGENT), {}
    for place, call in enumerate(fifty().calls):
        found[call.name] = run(
            call, arm, lambda seed: Restaurant(seed=seed, forgets=0.03), number * 1000 + place
        )
    return found


def compared(control: dict[str, Run], new: dict[str, Run], *, exact: bool = True) -> Outcome:
    arms = Arm("control", AGENT), Arm("new", AGENT)
    experiment = Experiment(fifty(), arms, exact=exact)
    return compare(experiment, lambda job: (control if job.arm is arms[0] else new)[job.call.name])


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda one: one.name)
def test_a_planted_change_is_found(variant: Variant) -> None:
    arm = Arm("new", variant.agent)
    new = {call.name: run(call, arm, variant.mind, at) for at, call in enumerate(fifty().calls)}
    outcome = compared(as_it_was(), new)
    worse = [one.metric.name for one in outcome.verdicts if one.word is Word.WORSE]
    assert variant.worse in worse
    assert outcome.exit_code == 1


@pytest.mark.parametrize(("one", "another"), PAIRS, ids=str)
def test_an_unchanged_agent_is_green(one: int, another: int) -> None:
    outcome = compared(thinking(one), thinking(another), exact=False)
    assert [found.metric.name for found in outcome.verdicts if found.word is Word.WORSE] == []
    assert outcome.exit_code == 0


def test_a_rerun_is_equal_to_the_byte() -> None:
    expected = estimate(fifty().calls, 1, 1)
    arm = Arm("new", AGENT)
    again = {call.name: run(call, arm, lambda _seed: Restaurant(), 0) for call in fifty().calls}
    first = written_json(compared(as_it_was(), as_it_was()), expected)
    assert written_json(compared(as_it_was(), again), expected) == first
    outcome = compared(as_it_was(), again)
    assert {one.word for one in outcome.verdicts} == {Word.SAME, Word.NOT_JUDGED}
    assert all(one.difference == 0 for one in outcome.verdicts)
