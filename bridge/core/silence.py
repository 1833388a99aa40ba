"""When neither side speaks, for how long, and what is said then."""

from __future__ import annotations

from . import ending
from . import messages as m
from .debts import Kind
from .due import NEVER
from .messages import Phase
from .state import CallState


def settle(call: CallState, now_ms: int) -> None:
    """Silence begins when neither side speaks or is about to, and is over as soon as one does."""
    if not idle(call):
        call.silence.over()
    elif call.silence.since_ms is None:
        call.silence.since_ms = now_ms
        set_times(call, now_ms)


def set_times(call: CallState, now_ms: int) -> None:
    """By the rules of the agent in force."""
    silence, agent = call.silence, call.playout.agent
    nudge_ms, silence_ms = agent.nudge_ms, agent.silence_ms
    if silence.since_ms is None:
        return
    silence.nudge_due_ms = max(now_ms, silence.since_ms + nudge_ms) if nudge_ms else NEVER
    silence.due_ms = NEVER if silence_ms is None else max(now_ms, silence.since_ms + silence_ms)


def sounding(call: CallState, say_id: str) -> bool:
    return (say_id, 0) in call.playout.line.spans or say_id in call.playout.utterances


def still_silent(call: CallState, now_ms: int) -> None:
    silence, each_ms = call.silence, call.playout.agent.silence_ms
    silence.due_ms = NEVER
    if silence.since_ms is None or each_ms is None:
        return
    call.out.append(m.CallerSilent(now_ms - silence.since_ms))
    silence.due_ms = now_ms + each_ms


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
    playout, silence = call.playout, call.silence
    silence.nudge_due_ms = NEVER
    if not idle(call) or call.detours.under_way is not None:
        return
    silence.nudges += 1
    if silence.nudges > playout.agent.nudges:
        ending.goodbye(call, "the caller has been silent", now_ms)
    elif (phrase := call.playout.phrases.get("still_there")) is not None:
        playout.play(f"nudge:{silence.nudges}", phrase, now_ms)
    else:
        wish = "Ask the caller whether they are still there."
        playout.ask(f"nudge:{silence.nudges}", wish, Kind.NUDGE, now_ms)
