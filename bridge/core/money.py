"""What the call has cost, and its end when that is as much as it may."""

from __future__ import annotations

from . import ending
from . import messages as m
from .state import CallState
from .upstream_leg import Leg


def seen(call: CallState, event: m.UsageSeen) -> None:
    """The vendor says what its session has cost, beside any response."""
    if event.tokens is not None:
        call.stats.add_usage(event.tokens)
        call.spending.response(event.tokens)
    if event.seconds_total is not None:
        more_s = call.spending.seconds(event.epoch, event.seconds_total, final=event.final)
        if more_s > 0:
            call.out.append(m.SecondsBilled(more_s))


def settle(call: CallState, now_ms: int) -> None:
    """The rule at the end of every event after which something was spent."""
    spending = call.spending
    if spending.by_the_minute:
        spending.opened(
            {one.epoch: one.ready_ms for one in (call.up, call.spare) if one and one.state is Leg.READY},
            now_ms,
        )
    spending.unsettled = spending.by_the_minute
    cost = call.stats.cost_micro_usd = spending.micro_usd(now_ms)
    spending.watch(cost, now_ms)
    before = call.config.carried or m.CallSnapshot()
    exceeded = spending.exceeded(cost, before.cost_micro_usd)
    if exceeded is not None:
        ending.goodbye(call, exceeded, now_ms)
