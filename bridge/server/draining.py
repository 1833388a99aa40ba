"""A process that goes: its calls end by themselves, or go on in another one."""

from __future__ import annotations

import asyncio
from typing import Final

from bridge.core import messages as m
from bridge.server.calls import CallRegistry

HAND_OVER_S: Final = 12.0
STOP_S: Final = 3.0
HANDED_OVER_MS: Final = 500
"""Between the last moment for a turn boundary and the stop: for the close handshakes."""
AT_ONCE: Final = 4
"""Calls that are told to leave together."""
LOOK_S: Final = 0.1
"""Between two looks for a machine that stays, where there was none."""


async def drain(registry: CallRegistry, seconds: float) -> None:
    """Let calls end by themselves; hand over those that are left 12 s before the deadline. Returns 3 s before
    it, or when no call is left.
    """
    registry.draining = True
    stop_s = max(seconds - STOP_S, seconds / 2)
    hand_over_s = max(0.0, seconds - HAND_OVER_S)
    if await registry.drained(hand_over_s):
        return
    left_s = stop_s - hand_over_s
    within_ms = max(0, int(left_s * 1000) - HANDED_OVER_MS)
    await asyncio.gather(hand_over(registry, within_ms), registry.drained(left_s))


async def hand_over(registry: CallRegistry, within_ms: int) -> None:
    """The calls that are left go to another process, each at its next turn boundary and at the latest in
    `within_ms`: its stream is closed, the intent says why, and `/after-stream` opens it again where calls
    are taken.

    Those that can leave at once do so a few at a time, while the others talk on. If all left together, this
    process would be busy with them for longer than a hand-over waits for the store. While every other machine
    goes too, or is gone, all talk on.
    """
    loop, fleet = asyncio.get_running_loop(), registry.services.fleet
    due_s, left = loop.time() + within_ms / 1000, registry.call_sids()
    while left:
        if not fleet.has_successor and loop.time() < due_s:
            await asyncio.sleep(LOOK_S)
            left = registry.call_sids()
            continue
        few, left = left[:AT_ONCE], left[AT_ONCE:]
        for call_sid in few:
            registry.feed(call_sid, m.HandOver(max(0, round((due_s - loop.time()) * 1000))))
        await fleet.written(few)
