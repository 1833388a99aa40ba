"""Reading keys: patience for the first key, less for a further one, none after the last."""

from __future__ import annotations

from typing import Any

import pytest

from bridge import Agent, Session
from bridge.core import messages as m
from bridge.testing.call import begin


def read(*pressed: tuple[int, str], until_ms: int = 20_000, **how: Any) -> tuple[str, int]:
    """What `digits(max=4)` returned for keys pressed at these times, and when (ms)."""
    got: list[str] = []

    async def handler(session: Session) -> None:
        got.append(await session.digits(max=4, **how))

    call = begin(Agent(handler=handler))
    for at_ms, key in pressed:
        call.at(at_ms)
        call.caller.presses(key)
    call.at(until_ms)
    done = [at_ms for at_ms, action in call.rehearsal.said if isinstance(action, m.NoteIntent)]
    call.close()
    return got[0], done[0]


def test_the_first_key_may_come_late_and_a_further_one_within_three_seconds() -> None:
    keys, at_ms = read((4_000, "1"), (6_500, "2"))
    assert keys == "12"
    assert 9_400 <= at_ms <= 9_700


def test_no_time_passes_after_the_terminator_or_the_last_key() -> None:
    assert read((1_000, "1"), (2_000, "#")) == ("1", pytest.approx(2_000, abs=200))
    assert read((1_000, "1"), (1_300, "2"), (1_600, "3"), (1_900, "4")) == (
        "1234",
        pytest.approx(1_900, abs=200),
    )


def test_the_gap_is_an_argument() -> None:
    keys, at_ms = read((1_000, "1"), (3_000, "2"), gap_ms=1_000)
    assert keys == "1"
    assert 2_000 <= at_ms <= 2_300


def test_no_key_at_all_is_waited_for_as_long_as_was_asked() -> None:
    keys, at_ms = read(timeout_ms=7_000)
    assert keys == ""
    assert 7_000 <= at_ms <= 7_300
