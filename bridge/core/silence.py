"""When neither side speaks, for how long, and what is said then."""

from __future__ import annotations

from . import ending
from . import messages as m
from .debts import Kind
from .messages import Phase
from .state import CallState


def settle(call: CallState, now_ms: int) -> None:
    """Silence begins when neither side speaks or is about to, and is over as soon as one does."""
    limits = call.limits
    if not idle(call):
        if limits.silent_from_ms is not None:
            over(call)
    elif limits.silent_from_ms is None:
        limits.silent_from_ms = now_ms
        set_timers(call, now_ms)


def over(call: CallState) -> None:
    """If neither side goes on, it begins anew."""
    call.limits.silent_from_ms = None
    call.timers.pop("nudge", None)
    call.timers.pop("silence", None)


def set_timers(call: CallState, now_ms: int) -> None:
    """By the rules of the agent in force."""
    since_ms, nudge_ms, silence_ms = call.limits.silent_from_ms, call.agent.nudge_ms, call.agent.silence_ms
    if since_ms is None:
        return
    call.set_timer("nudge", max(now_ms, since_ms + nudge_ms) if nudge_ms else None)
    call.set_timer("silence", None if silence_ms is None else max(now_ms, since_ms + silence_ms))


def sounding(call: CallState, say_id: str) -> bool:
    return (say_id, 0) in call.playout.line.spans or say_id in call.playout.utterances


def still_silent(call: CallState, now_ms: int) -> None:
    since_ms, each_ms = call.limits.silent_from_ms, call.agent.silence_ms
    if since_ms is None or each_ms is None:
        return
    call.out.append(m.CallerSilent(now_ms - since_ms))
    call.timers["silence"] = now_ms + each_ms


def idle(call: CallState) -> bool:
    """Neither side speaks or is about to."""
    playout = call.playout
    if not playout.line.quiet or not playout.gate.idle or call.caller_speaking or call.callee.unanswered:
        return False
    if call.open_turn.since_ms is not None or call.open_turn.hold_ms is not None:
        return False  # the line makes a sound
    return playout.owed.since_ms is None and call.ending is None and call.phase is Phase.LIVE


def nudge(call: CallState, now_ms: int) -> None:
    """The caller has been silent for long: asked once or twice whether they are there, then goodbye."""
    playout = call.playout
    if not idle(call) or call.detours.under_way is not None:
        return
    call.limits.nudges += 1
    if call.limits.nudges > call.agent.nudges:
        ending.goodbye(call, "the caller has been silent", now_ms)
    elif (phrase := call.playout.phrases.get("still_there")) is not None:
        playout.play(f"nudge:{call.limits.nudges}", phrase, now_ms)
    else:
        wish = "Ask the caller whether they are still there."
        playout.ask(f"nudge:{call.limits.nudges}", wish, Kind.NUDGE, now_ms)
