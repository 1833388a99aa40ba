"""A hundred short calls leave nothing behind. `python -m scripts.soak` places ten thousand."""

from __future__ import annotations

import uvloop

from scripts.soak import soak


def test_a_hundred_calls_leave_nothing_behind() -> None:
    result = uvloop.run(soak(100, at_once=20, warm_up=40))
    # Memory is a matter of more calls than these: the allocator is still warming up.
    assert [fault for fault in result.faults if not fault.startswith("memory")] == [], result.table()
