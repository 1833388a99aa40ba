"""From dialling a number to its answer, or to what came instead."""

from __future__ import annotations

import asyncio
from typing import Final

from .leg import Leg
from .phones import SecondPhone

RING_EXTRA_MS: Final = 5_000
"""Twilio, "<Dial>", `timeout`: "adds a 5-second buffer"."""


async def ring(leg: Leg, phone: SecondPhone, timeout_s: float, *, initiated_ms: int = 0) -> bool:
    """Ring a phone for this leg; True when it was answered. Its status has changed on the way, and REST may
    have ended it.
    """
    ringing = asyncio.ensure_future(_rung(leg, phone, timeout_s, initiated_ms))
    ordered = asyncio.ensure_future(leg.next_order())
    try:
        await asyncio.wait({ringing, ordered}, return_when=asyncio.FIRST_COMPLETED)
        if ringing.done():
            if ordered.done():
                leg.order(ordered.result())
            return ringing.result()
        leg.note(ordered.result().kind)
        leg.finish("canceled", 487)
        return False
    finally:
        ringing.cancel()
        ordered.cancel()


async def _rung(leg: Leg, phone: SecondPhone, timeout_s: float, initiated_ms: int) -> bool:
    clock = leg.network.clock
    phone.legs.append(leg)
    await clock.sleep(initiated_ms)
    leg.become("initiated")
    await clock.sleep(phone.rings_after_ms)
    refusal = phone.refusal
    if refusal is None or refusal.rings:
        leg.become("ringing")
        wait_ms = int(timeout_s * 1000) + RING_EXTRA_MS
        if phone.as_ == "no_answer" or phone.answers_after_ms > wait_ms:
            await clock.sleep(wait_ms)
            leg.finish("no-answer", 487)
            return False
        await clock.sleep(phone.answers_after_ms)
    if refusal is not None:
        leg.finish(refusal.status, refusal.sip_code)
        return False
    leg.give(phone.person())
    leg.become("in-progress")
    return True
