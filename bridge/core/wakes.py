"""What is due when: the timers of a call by name, and those that belong to a part of it."""

from __future__ import annotations

from collections.abc import Callable

from . import (
    answers,
    away,
    caller_turns,
    dialling,
    ending,
    handover,
    liveness,
    renewal,
    responses,
    silence,
    tool_calls,
)
from .messages import Phase, Reason
from .state import CallState


def wake(call: CallState, now_ms: int) -> None:
    """`deadline_ms` has come: do what is due."""
    line, owed, detours = call.playout.line, call.playout.owed, call.detours
    if line.deadline_ms is not None and now_ms >= line.deadline_ms:
        call.playout.settle(now_ms)
    if detours.deadline_ms is not None and now_ms >= detours.deadline_ms:
        away.due(call, now_ms)
    if owed.since_ms is not None and owed.due_ms <= now_ms:
        liveness.owed_due(call, now_ms)
    for timer in [name for name, due_ms in call.timers.items() if due_ms <= now_ms]:
        if call.timers.pop(timer, None) is not None:  # else the timer before it put an end to it
            TIMERS[timer](call, now_ms)


def next_ms(call: CallState) -> int | None:
    """When the first of all of them is due, None for never."""
    if call.phase is Phase.ENDED:
        return None
    owed, line, detours = call.playout.owed, call.playout.line, call.detours
    due_ms = [*call.timers.values()]
    if owed.since_ms is not None:
        due_ms.append(owed.due_ms)
    if line.deadline_ms is not None:
        due_ms.append(line.deadline_ms)
    if call.callee.due_ms is not None:
        due_ms.append(call.callee.due_ms)
    if detours.under_way is not None and (detour_ms := detours.deadline_ms) is not None:
        due_ms.append(detour_ms)
    return min(due_ms, default=None)


TIMERS: dict[str, Callable[[CallState, int], None]] = {
    "unclaimed": lambda call, now_ms: ending.end(call, Reason.UNCLAIMED, now_ms),
    "media": ending.media_gap,
    "dial": dialling.dial,
    "session": dialling.session_stalled,
    "probe": liveness.no_sign_of_life,
    "unheard": liveness.unheard,
    "echo": liveness.echoes_late,
    "tool": tool_calls.tools_late,
    "silence": silence.still_silent,
    "nudge": silence.nudge,
    "padding": caller_turns.pad,
    "confirm": caller_turns.confirmed,
    "digits": caller_turns.digits_done,
    "transcript": caller_turns.transcripts_late,
    "handover": handover.leave,
    "limit": away.limit,
    "again": responses.again,
    "inaudible": answers.look_again,
    "resume": answers.look_again,
    "turn": answers.look_again,
    "unanswered": liveness.unanswered,
    "spare": renewal.spare_failed,
    "renew": renewal.renew,
    "renew_forced": renewal.renew_forced,
    "generated": ending.not_generated,
    "drain": ending.drain_due,
}
"""What each timer does when it is due."""
