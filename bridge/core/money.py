"""What the call has cost, and its end when that is as much as it may."""

from __future__ import annotations

from . import ending
from . import messages as m
from .messages import Event, Phase
from .state import CallState
from .upstream_leg import Leg, UpstreamSession


def seen(call: CallState, event: m.UsageSeen) -> None:
    """The vendor says what its session has cost, beside any response."""
    if event.tokens is not None:
        call.stats.add_usage(event.tokens)
        call.spending.response(event.tokens)
    if event.seconds_total is not None:
        more_s = call.spending.seconds(event.epoch, event.seconds_total, final=event.final)
        if more_s > 0 and call.phase is not Phase.ENDED:
            call.out.append(m.SecondsBilled(more_s))


def last_word(call: CallState, event: Event, epoch: int, now_ms: int) -> None:
    """Of a session that was asked to close."""
    if isinstance(event, m.UsageSeen):
        seen(call, event)
    elif isinstance(event, m.BackendDone):
        call.spending.backend(event.usage)
        call.stats.add_usage(event.usage)
    elif isinstance(event, m.SessionEnding | m.UpstreamClosed):
        call.parting[epoch] = now_ms


def is_open(call: CallState, session: UpstreamSession) -> bool:
    """Whether it costs money now, by the prices of now."""
    there = session.state is Leg.READY and session.epoch not in call.parting and call.phase is not Phase.ENDED
    return there and session.plan is call.dialling.plan


def settle(call: CallState, now_ms: int) -> None:
    """The rule at the end of every event after which something was spent."""
    spending = call.spending
    by_time = call.up.can.priced_by == "session_seconds"
    if by_time:
        open_now = {one.epoch: one.ready_ms for one in (call.up, call.spare) if one and is_open(call, one)}
        spending.opened(open_now, now_ms)
    spending.unsettled = by_time
    cost = call.stats.cost_micro_usd = spending.micro_usd(now_ms)
    call.stats.unconfirmed = spending.unconfirmed
    spending.watch(cost, now_ms)
    before = call.config.carried or m.CallSnapshot()
    exceeded = spending.exceeded(cost, before.cost_micro_usd)
    if exceeded is not None:
        ending.goodbye(call, exceeded, now_ms)
