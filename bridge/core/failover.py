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
from .turn_times import ResponseTimes
from .upstream_leg import Leg

FAILED_OVER = "failed over"
"""What a `Noted` of it is called; its detail is `from -> to: why`."""


LATE = "its answers are late"
SLOW_MS = 2_500
"""From the caller's last word to the first sound of an answer that is late, if that is also more than twice
what is usual in this call."""
SLOW_TURNS = 3
"""So many in a row: the vendor limps."""
SEARCHED = 64
"""Turns that are looked at for what is usual."""
EMPTY = "its responses come to nothing"
EMPTY_RESPONSES, EMPTY_WITHIN_MS = 2, 60_000
"""So many within that time failed, or were whole without a sound or the call of a tool."""
UNHEARD = "it could not be heard"
LAGS = "its sound lags"
LAG_MS, LAGS_MS = 1_000, 20_000
"""So much of a stream that comes at the pace of the clock waits on the line, for so long."""


def settle(call: CallState, now_ms: int) -> None:
    """Where another vendor is named: the one that there is may be out, or limp."""
    if call.dialling.out is not None:
        replace(call, call.dialling.out, now_ms)
    elif call.spare is None and call.up.state is Leg.READY and call.phase is Phase.LIVE:
        call.dialling.limps = limps(call, now_ms)
        if call.dialling.limps:
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


def limps(call: CallState, now_ms: int) -> str:
    """Why the call would fare better elsewhere, though this vendor is there; "" for no reason."""
    lags_now = lags(call, now_ms)
    if call.inaudible:
        return UNHEARD
    if lags_now:
        return LAGS
    return LATE if late(call) else EMPTY if empty(call, now_ms) else ""


def late(call: CallState) -> bool:
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


def empty(call: CallState, now_ms: int) -> bool:
    """Whether this session's responses came to nothing, more than once within a minute."""
    since_ms, found = max(now_ms - EMPTY_WITHIN_MS, call.up.ready_ms), 0
    for turn in (call.stats.opening, *call.stats.turn_times[-SEARCHED:]):
        for one in turn.responses:
            if one.done_ms is not None and one.done_ms >= since_ms and one.created_ms >= call.up.ready_ms:
                found += one.status == "failed" or (one.status == "completed" and nothing_in(call, one))
    return found >= EMPTY_RESPONSES


def nothing_in(call: CallState, response: ResponseTimes) -> bool:
    """Whether the model has ended it without a sound or the call of a tool."""
    items = call.playout.conversation.of(response.response_id)
    return response.first_ms is None and not any(item.received_bytes or item.call_id for item in items)


def lags(call: CallState, now_ms: int) -> bool:
    """Whether the caller has heard the model late for long. A sound of our own is no lag of the vendor's."""
    its, line = call.dialling, call.playout.line
    waits = call.up.can.clock == "realtime" and line.remaining_ms(now_ms) >= LAG_MS
    if not waits or any(not span.response_id for span in line.spans.values()):
        its.lags_since_ms = None
    elif its.lags_since_ms is None:
        its.lags_since_ms = now_ms
    return its.lags_since_ms is not None and now_ms - its.lags_since_ms >= LAGS_MS


def go_to(call: CallState, plan: VendorPlan, why: str, now_ms: int) -> None:
    """From now on that vendor is dialled, and what it does costs what it charges."""
    before = call.dialling.plan.name or "the first"
    call.dialling.go_to(plan, now_ms)
    call.inaudible, call.dialling.lags_since_ms = 0, None
    call.spending.use(plan.prices, now_ms)
    call.stats.failovers.append(f"{before} -> {plan.name}")
    call.out.append(m.Noted(FAILED_OVER, f"{before} -> {plan.name}: {why}"))
