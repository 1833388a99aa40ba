"""Short calls leave nothing behind. `python -m scripts.soak` places ten thousand."""

from __future__ import annotations

import pytest
import uvloop

from scripts.soak import soak


@pytest.mark.parametrize("calls", [20, pytest.param(100, marks=pytest.mark.hostile)])
def test_short_calls_leave_nothing_behind(calls: int) -> None:
    result = uvloop.run(soak(calls, at_once=20, warm_up=2 * calls // 5))
    # Memory is a matter of more calls than these: the allocator is still warming up.
    assert [fault for fault in result.faults if not fault.startswith("memory")] == [], result.table()
