"""Some thousands of frames that nobody should send; `python -m scripts.fuzz` sends fifty thousand a leg."""

from __future__ import annotations

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.fuzz.machine import Calls

CALM = settings(max_examples=40, stateful_step_count=60, deadline=None, derandomize=True, database=None)


def test_nothing_escapes_the_gate() -> None:
    """Whatever comes on either leg: no exception, no broken rule, nothing sent that is not documented, and
    every call comes to its end.
    """
    run_state_machine_as_test(Calls, settings=CALM)  # type: ignore[no-untyped-call]
    assert min(Calls.frames.values()) > 300, Calls.frames
