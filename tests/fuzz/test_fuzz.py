"""A few thousand frames that nobody should send; `python -m scripts.fuzz` sends fifty thousand a leg."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from bridge.core import caller_turns
from tests.fuzz.machine import Calls

CALM = settings(max_examples=75, stateful_step_count=70, deadline=None, derandomize=True, database=None)


@pytest.mark.parametrize("calls", [10, pytest.param(75, marks=pytest.mark.hostile)])
def test_nothing_escapes_the_gate(calls: int) -> None:
    """Whatever comes on either leg: no exception, no broken rule, nothing sent that is not documented, and
    every call comes to its end.
    """
    Calls.frames.clear()
    run_state_machine_as_test(Calls, settings=settings(CALM, max_examples=calls))  # type: ignore[no-untyped-call]
    assert min(Calls.frames["carrier"], Calls.frames["upstream"]) > 7 * calls, Calls.frames


def test_the_check_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule broken where only a key that is pressed finds it."""
    monkeypatch.setattr(caller_turns, "digit", lambda *_: {}["no such key"])  # type: ignore[index]
    as_found = settings(CALM, phases=[Phase.generate], report_multiple_bugs=False)
    with pytest.raises(AssertionError, match="an internal invariant was broken"):
        run_state_machine_as_test(Calls, settings=as_found)  # type: ignore[no-untyped-call]
