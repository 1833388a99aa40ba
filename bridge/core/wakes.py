"""What is due when: each time belongs to the object whose rule it is, here they meet."""

from __future__ import annotations

from collections.abc import Callable

from . import (
    answers,
    away,
    caller_turns,
    dialling,
    ending,
    handover,
    input_clock,
    liveness,
    renewal,
    responses,
    silence,
    speech,
    tool_calls,
)
from .due import NEVER
from .messages import Phase
from .state import CallState


def wake(call: CallState, now_ms: int) -> None:
    """`deadline_ms` has come: do what is due."""
    line = call.playout.line
    if line.deadline_ms is not None and now_ms >= line.deadline_ms:
        call.playout.settle(now_ms)
    for due_ms, act in DUE:
        if due_ms(call) <= now_ms and call.phase is not Phase.ENDED:
            act(call, now_ms)


def resumed(call: CallState, _now_ms: int) -> None:
    """No turn was found in what the caller said before the session was there: an answer is asked for, at the
    end of this event.
    """
    call.up.resume_due_ms = NEVER


def look_again(call: CallState, _now_ms: int) -> None:
    """Who has answered is looked at at the end of this event, if that is still a question."""
    call.callee.look()


def settled(_call: CallState, _now_ms: int) -> None:
    """A rule at the end of the event does what is due."""


# fmt: off
DUE: tuple[tuple[Callable[[CallState], int], Callable[[CallState, int], None]], ...] = (
    (lambda call: call.detours.due_ms, away.due),
    (lambda call: call.callee.due_ms, look_again),
    (lambda call: call.playout.owed.due_ms, liveness.owed_due),
    (lambda call: call.carrier_due_ms, ending.carrier_late),
    (lambda call: call.limits.due_ms, away.limit),
    (lambda call: call.dialling.due_ms, dialling.dial),
    (lambda call: call.up.due_ms, dialling.session_stalled),
    (lambda call: call.up.stream_due_ms, liveness.stream_late),
    (lambda call: call.up.probe_due_ms, liveness.no_sign_of_life),
    (lambda call: call.unheard_due_ms, liveness.unheard),
    (lambda call: call.playout.line.ledger.check_due_ms, liveness.echoes_late),
    (lambda call: call.playout.conversation.tools.due_ms, tool_calls.tools_late),
    (lambda call: call.silence.nudge_due_ms, silence.nudge),
    (lambda call: call.silence.due_ms, silence.still_silent),
    (lambda call: call.open_turn.confirm_due_ms, speech.confirmed),
    (lambda call: call.open_turn.pad_due_ms, speech.pad),
    (lambda call: call.key_series.due_ms, caller_turns.digits_done),
    (lambda call: call.transcripts.due_ms, caller_turns.transcripts_late),
    (lambda call: call.handover_due_ms, handover.leave),
    (lambda call: call.caller_audio.due_ms, input_clock.flow),
    (lambda call: call.delegation.due_ms, settled),
    (lambda call: call.playout.gate.again_due_ms, responses.again),
    (lambda call: call.playout.gate.untold_due_ms, answers.untold),
    (lambda call: call.playout.faint_due_ms, settled),
    (lambda call: call.spending.due_ms, settled),
    (lambda call: call.up.resume_due_ms, resumed),
    (lambda call: call.open_turn.due_ms, settled),
    (lambda call: call.playout.debts.due_ms, liveness.unanswered),
    (lambda call: NEVER if call.spare is None else call.spare.due_ms, renewal.spare_failed),
    (lambda call: call.up.renew_due_ms, renewal.renew),
    (lambda call: call.up.forced_due_ms, renewal.renew_forced),
    (lambda call: NEVER if call.ending is None else call.ending.words_due_ms, ending.words_late),
    (lambda call: NEVER if call.ending is None else call.ending.due_ms, ending.drain_due),
)
# fmt: on
"""When something is due, and what is done then, in this order. Each rule puts its own time off or ends it."""
