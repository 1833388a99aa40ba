"""The call goes on with another vendor: at once where nothing more is to be had from the one it has, and in a
quiet moment where that one limps.

It is a loss like any other: what was heard is settled, the caller's sound is kept, and the next session is
told the conversation as the caller heard it. `ending.fail` says that a vendor is out; the rule here runs at
the end of that event. There is no way back within a call.
"""

from __future__ import annotations

from . import dialling, parting, recovery
from . import messages as m
from .due import NEVER
from .messages import Phase, VendorPlan
from .state import CallState
from .upstream_leg import Leg

FAILED_OVER = "failed over"
"""What a `Noted` of it is called; its detail is `from -> to: why`."""


LIMPS = "its answers are late"
SLOW_MS = 2_500
"""From the caller's last word to the first sound of an answer that is late, if that is also more than twice
what is usual in this call."""
SLOW_TURNS = 3
"""So many in a row: the vendor limps."""
SEARCHED = 64
"""Turns that are looked at for what is usual."""


def settle(call: CallState, now_ms: int) -> None:
    """Where another vendor is named: the one that there is may be out, or limp."""
    if call.dialling.out is not None:
        replace(call, call.dialling.out, now_ms)
    elif call.spare is None and call.up.state is Leg.READY and call.phase is Phase.LIVE and limps(call):
        prepare(call, now_ms)


def replace(call: CallState, why: str, now_ms: int) -> None:
    """The vendor is out: the next one is dialled now."""
    plan = call.dialling.next
    if plan is None or call.phase is Phase.ENDED:
        return
    if call.up.state is Leg.READY:
        parting.close(call, call.up, now_ms)
        recovery.lose(call, why, now_ms)
    elif call.up.state not in (Leg.NONE, Leg.CLOSED):
        call.out.append(m.CloseUpstream(call.up.epoch))
        call.up.close()
    if call.spare is not None:  # a renewal in flight
        parting.close(call, call.spare, now_ms)
        call.spare = None
    go_to(call, plan, why, now_ms)
    if not call.detours.parked:
        call.dialling.begin(now_ms)
        dialling.dial(call, now_ms)


def prepare(call: CallState, now_ms: int) -> None:
    """The next vendor is dialled; its session takes over in a quiet moment, as one that renews does."""
    plan = call.dialling.next
    if plan is not None and now_ms >= call.dialling.retried_ms:
        call.dialling.retried_ms = now_ms + call.config.renew_again_ms
        call.up.renew_due_ms = NEVER
        call.spare = dialling.begin(call, plan, now_ms + call.config.session_ms)


def limps(call: CallState) -> bool:
    """Whether the last turns with this vendor were all answered late, by what was usual before them. Turns
    with tools say nothing about the vendor.
    """
    answered = [
        (turn.last_word_ms, turn.delta_ms - turn.last_word_ms)
        for turn in call.stats.turn_times[-SEARCHED:]
        if turn.delta_ms is not None and turn.last_word_ms is not None and not turn.tools
    ]
    before, last = answered[:-SLOW_TURNS], answered[-SLOW_TURNS:]
    if not before or last[0][0] < call.dialling.since_ms:
        return False
    usual_ms = sorted(late_ms for _, late_ms in before)[(len(before) - 1) // 2]
    return min(late_ms for _, late_ms in last) > max(SLOW_MS, 2 * usual_ms)


def go_to(call: CallState, plan: VendorPlan, why: str, now_ms: int) -> None:
    """From now on that vendor is dialled, and what it does costs what it charges."""
    before = call.dialling.plan.name or "the first"
    call.dialling.go_to(plan, now_ms)
    call.spending.use(plan.prices, now_ms)
    call.stats.failovers.append(f"{before} -> {plan.name}")
    call.out.append(m.Noted(FAILED_OVER, f"{before} -> {plan.name}: {why}"))
