"""The call leaves its stream on purpose and comes back to the same session: the rules of a detour.

The caller is told, then the carrier's stream closes; the call, its tools and its model live on, and nothing
is said. When a stream of the call begins again, the model is told what happened and speaks. `detours.py`
knows how far a detour has come.
"""

from __future__ import annotations

from . import (
    answers,
    caller_turns,
    caller_words,
    dialling,
    ending,
    parting,
    responses,
    silence,
    state,
    tool_calls,
)
from . import messages as m
from .debts import Kind
from .detours import SAY_MS, told
from .due import NEVER
from .keys import KeySeries
from .messages import DetourKind, DetourResult, DetourState, Phase, Reason, TransferOutcome
from .open_turn import OpenTurn
from .state import CallState
from .upstream_leg import Leg

LATER = (m.Say, m.Respond, m.Play, m.HangUp, m.HandlerFailed, m.Transfer, m.CommitTurn, m.ClearTurn)
"""Wishes that wait until the caller is back."""
RETURNED = answers.RETURNED
BEFORE = "detour"
OF_THE_STREAM = (
    m.Stopped, m.CarrierClosed, m.CarrierGivenUp, m.MarkReached, m.DigitPressed, m.CallerVoice, m.Interrupt,
)  # fmt: skip
"""What is still said of a stream that the call has left, and means nothing."""
ANSWERED_MS = 700
"""After the caller is back: user code that waited for the outcome has that long to say something itself."""
_LOST = DetourResult(TransferOutcome.LOST)
_ENDS = {
    TransferOutcome.CONNECTED: (Reason.TRANSFERRED, DetourState.OVER),
    TransferOutcome.CALLER_LEFT: (Reason.CALLER_HUNG_UP, DetourState.GONE),
    TransferOutcome.LOST: (Reason.CARRIER_LOST, DetourState.LOST),
}


def receive(call: CallState, event: m.Event, now_ms: int) -> None:
    """A wish for a detour, or the shell's word on one. Any other event is ignored."""
    match event:
        case m.Detour():
            detour(call, event, now_ms)
        case m.EndDetour():
            end(call, event, now_ms)
        case m.LegState():
            leg(call, event, now_ms)
        case m.WentAway():
            call.out += call.detours.went_away(event.detour_id, now_ms)
        case m.Returned():
            returns(call, event, now_ms)
        case m.DetourOver() if call.detours.about(event.detour_id) and call.phase is Phase.AWAY:
            over(call, event.result, now_ms)


# --- leaving


def detour(call: CallState, wish: m.Detour, now_ms: int) -> None:
    """Begin it, or say why not."""
    why = call.detours.why_not(wish)
    if call.phase is not Phase.LIVE or call.ending is not None:
        why = why or "the call is ending"
    if why:
        call.out += call.detours.refused(wish, why)
        return
    if wish.call_id:
        call.playout.conversation.tools.defer(wish.call_id)
        call.playout.debts.result(wish.call_id, wanted=False)
    call.out += call.detours.begin(wish, now_ms)
    if call.detours.draining:
        drain(call, now_ms)
    else:
        words = f"You are calling {wish.name} for the caller, who stays with you until somebody is there."
        ask(call, f"{words} Tell them so in one short sentence.", Kind.NUDGE, now_ms)


def drain(call: CallState, now_ms: int) -> None:
    """The caller leaves after the last word, which is said now if none was."""
    its = call.detours.under_way
    if its is None:
        return
    reason, wish = Reason.TRANSFERRED, its.wish
    if wish.kind is not DetourKind.KEYS and not wish.quiet and not has_spoken(call):
        words = f"put them through to {wish.name}, which may ring for a moment"
        words = words if wish.kind is DetourKind.TRANSFER else "ask them to wait for a moment"
        ask(call, f"Tell the caller in one short sentence that you {words}.", Kind.GOODBYE, now_ms)
    ending.drain(call, reason, wish.name, "", now_ms)


def has_spoken(call: CallState) -> bool:
    """Whether the caller hears us, is about to, or has since they last said something."""
    playout = call.playout
    waits = playout.gate.asked is not None or bool(playout.gate.waiting)
    return waits or not playout.line.quiet or playout.conversation.answered


def ask(call: CallState, wish: str, kind: Kind, now_ms: int) -> None:
    """Ask the model for words about a detour, if there is a model."""
    if call.playout.ready:
        call.playout.ask(BEFORE, wish, kind, now_ms)


def settle(call: CallState, now_ms: int) -> None:
    """The last word is heard: the call ends, or its caller leaves for a while, unless they spoke instead."""
    if call.ending is not None:
        ending.drained(call, call.ending, now_ms)
    its = call.detours.under_way
    if its is None or not call.detours.draining:
        return
    if its.drained:
        leave(call, now_ms)
    elif call.ending is None:
        interrupted(call, now_ms)


def move_if_calm(call: CallState, now_ms: int) -> None:
    """A target may wait for the caller."""
    if call.detours.waits_in_room and calm(call):
        call.out += call.detours.move()
        drain(call, now_ms)


def calm(call: CallState) -> bool:
    """Neither side is in the middle of something, so that the caller may be moved."""
    free = call.phase is Phase.LIVE and call.ending is None and not call.caller_speaking
    return free and not call.playout.debts.of(Kind.TURN)


def interrupted(call: CallState, now_ms: int) -> None:
    """The caller spoke while they were to leave, and stays."""
    its = call.detours.under_way
    if its is None or call.detours.stays(now_ms):
        return
    result = DetourResult(TransferOutcome.INTERRUPTED, accepted=its.leg is m.LegStep.IN_ROOM)
    about = its.about
    call.out += call.detours.cancelled("interrupted", result, DetourState.BACK)
    tell(call, told(about, result))


def leave(call: CallState, now_ms: int) -> None:
    """Close the stream, and keep everything else. The model is told to forget what it has not answered: with
    no sound appended its voice detection stands still.
    """
    its = call.detours.under_way
    if its is None:
        return
    playout = call.playout
    playout.line.outbox(full=True, now_ms=now_ms)
    call.out += playout.line.restart(now_ms)
    playout.interrupt(now_ms, ours=True)
    call.silence.over()
    call.carrier_due_ms = call.unheard_due_ms = call.up.resume_due_ms = NEVER
    playout.faint, playout.faint_due_ms, playout.debts.due_ms = False, NEVER, NEVER
    call.phase, call.ending, call.caller_speaking = Phase.AWAY, None, False
    call.uninterruptible.clear()
    call.open_turn, call.key_series = OpenTurn(), KeySeries(number=call.key_series.number)
    call.caller_audio.close()
    playout.owed.stop()
    playout.debts.cancel(*(kind for kind in Kind if kind is not Kind.TOOLS), reason="the caller is away")
    if call.up.state is Leg.READY:
        call.out.append(m.ForgetAudio(call.up.epoch))
    call.out += call.detours.leave(now_ms)
    call.out += (m.NoteIntent(f"detour:{its.wish.detour_id}"), m.LeaveStream(its.wish.detour_id, its.wish))


# --- away


def unheard(call: CallState, event: m.Event, now_ms: int) -> bool:
    """Whether the caller's being away makes this word of the model's meaningless: it begins to speak, and the
    caller does not hear it.
    """
    match event:
        case m.ResponseStarted(aside=False):
            call.playout.response_started(event, now_ms)
            call.playout.cancel(event.response_id, now_ms)
            return True
        case m.AudioDelta():
            call.stats.late_bytes += event.size_bytes
            return True
    return isinstance(event, m.SpeechStarted | m.SpeechStopped | m.CallerIdled)


def outbox(call: CallState, event: m.OutboxFull, now_ms: int) -> None:
    """The carrier takes nothing more, or something again; without a stream there is nothing to send."""
    if call.phase is not Phase.AWAY:
        call.out += call.playout.line.outbox(event.full, now_ms)


def leg(call: CallState, event: m.LegState, now_ms: int) -> None:
    """Leg B has come so far. Before the caller has left, its end is the outcome, and they stay."""
    detours = call.detours
    moved = detours.leg(event, now_ms)
    call.out += moved
    if not moved or event.step is not m.LegStep.ENDED:
        return
    stays = detours.is_in(DetourState.CALLING) or (detours.draining and not event.cold_instead)
    if detours.is_in(DetourState.CALLING) and event.cold_instead:
        call.out += detours.cold_instead()
        drain(call, now_ms)
    elif stays:
        if detours.draining:
            call.phase, call.ending = Phase.LIVE, None
        over_while_live(call, event.result or DetourResult(TransferOutcome.FAILED), now_ms)


def over_while_live(call: CallState, result: DetourResult, now_ms: int) -> None:
    """It came to nothing, and the caller is with the model all the time."""
    its = call.detours.under_way
    if its is not None:
        about, ring_s = its.about, its.wish.ring_s
        call.out += call.detours.ended(result, DetourState.BACK)
        tell(call, told(about, result, ring_s))
        owe(call, now_ms, waits=bool(its.wish.call_id))


def end(call: CallState, event: m.EndDetour, now_ms: int) -> None:
    """User code wants no more of it."""
    its = call.detours.under_way
    if its is None or event.detour_id not in ("", its.wish.detour_id):
        return
    if its.state is not DetourState.CALLING:
        call.out += call.detours.end(now_ms)
        return
    result, about = DetourResult(TransferOutcome.CANCELED), its.about
    call.out += call.detours.cancelled("canceled", result, DetourState.BACK)
    tell(call, told(about, result))
    owe(call, now_ms, waits=bool(its.wish.call_id))


def park(call: CallState, why: str, now_ms: int) -> None:
    """Close the model's session: the conversation is what stays. It is dialled anew when the caller comes
    back.
    """
    for session in (call.up, call.spare):
        if session is not None and session.state not in (Leg.NONE, Leg.CLOSED):
            parting.close(call, session, now_ms)
    call.up.close()
    call.spare = None
    parked(call, now_ms)
    call.out.append(m.Noted("session parked", why))


def parked(call: CallState, now_ms: int) -> None:
    """There is no session while the caller is away."""
    caller_words.close(call, now_ms)
    call.dialling.due_ms = call.playout.gate.again_due_ms = NEVER
    call.playout.lost(now_ms)
    call.playout.owed.stop()
    call.detours.parked = True


def due(call: CallState, now_ms: int) -> None:
    """One of the detour's times has come."""
    its = call.detours.under_way
    if its is None:
        return
    if its.park_ms is not None and its.park_ms <= now_ms:
        its.park_ms = None
        if call.phase is Phase.AWAY and call.up.state is not Leg.CLOSED:
            park(call, "the caller is away for long", now_ms)
    if its.say_ms is not None and its.say_ms <= now_ms:
        its.say_ms = now_ms + SAY_MS
        if silence.idle(call):
            wish = f"{its.wish.name} has not answered yet. Tell the caller so in a few words."
            ask(call, wish, Kind.NUDGE, now_ms)
    if its.due_ms is not None and its.due_ms <= now_ms:
        late(call, now_ms)


def late(call: CallState, now_ms: int) -> None:
    """What the detour waits for has not come."""
    detours = call.detours
    asked = detours.late(now_ms)
    if asked is not None:
        call.out += asked
    elif detours.is_in(DetourState.CALLING):
        its = detours.under_way
        met = its is not None and its.leg is m.LegStep.IN_ROOM
        why = TransferOutcome.INTERRUPTED if met else TransferOutcome.NO_ANSWER
        if its is not None and its.leg is not m.LegStep.ENDED:
            call.out.append(m.CancelLeg(its.wish.detour_id, why.value))
        over_while_live(call, DetourResult(why, accepted=met), now_ms)
    elif call.phase is Phase.AWAY:
        over(call, _LOST, now_ms)


# --- coming back, or not


def returns(call: CallState, event: m.Returned, now_ms: int) -> None:
    """The caller is on their way back: a model that was let go is dialled meanwhile."""
    moved = call.detours.returns(event.detour_id, event.result, now_ms)
    call.out += moved
    if moved:
        dial_again(call, now_ms)


def dial_again(call: CallState, now_ms: int) -> None:
    """Dial a session if the last one is closed."""
    if call.up.state is Leg.CLOSED and call.dialling.due_ms == NEVER:
        call.dialling.begin(now_ms)
        dialling.dial(call, now_ms)


def over(call: CallState, result: DetourResult, now_ms: int) -> None:
    """There is no way back: the call is over. One that has left no trace may still be asked for elsewhere."""
    reason, last = _ENDS.get(result.outcome, (Reason.CARRIER_LOST, DetourState.OVER))
    its = call.detours.under_way
    detail = its.wish.name if its is not None and reason is Reason.TRANSFERRED else result.outcome.value
    call.out += call.detours.ended(result, last)
    if result.outcome is not TransferOutcome.LOST:
        call.out.append(m.NoteIntent("ended"))
    ending.end(call, reason, now_ms, "" if reason is Reason.CALLER_HUNG_UP else detail)


def back(call: CallState, event: m.Started, now_ms: int) -> None:
    """A stream of the call has begun: the caller hears us again. The model is told what happened, and says
    so; what was wished meanwhile is done now.
    """
    its, playout = call.detours.under_way, call.playout
    if its is None:
        return
    about, wish = its.about, its.wish
    result = call.detours.back(event.parameters)
    call.phase = Phase.LIVE
    call.caller_audio.restart(now_ms)
    call.carrier_due_ms = now_ms + call.config.media_gap_ms
    call.limits.watch()
    call.out += playout.line.outbox(full=False, now_ms=now_ms)
    call.out += call.detours.ended(result, DetourState.BACK)
    tell(call, told(about, result, wish.ring_s))
    if result.outcome is not TransferOutcome.SENT:
        owe(call, now_ms, waits=bool(wish.call_id))
    if any(isinstance(one, m.HangUp | m.HandlerFailed) for one in call.early):
        playout.request(RETURNED, "", Kind.RESUMED)  # for the rules ask nothing more of a call that ends
    dial_again(call, now_ms)
    if playout.ready:
        caller_turns.open_caller_audio(call)
        early, call.early = call.early, []
        for one in early:
            call.other_event(one, now_ms)


def tell(call: CallState, words: str) -> None:
    """One item says what happened; a session that is not there yet is told it with the conversation."""
    if call.playout.ready:
        responses.add_text(call, "system", words)
    else:
        call.playout.conversation.created("system", words)


def owe(call: CallState, now_ms: int, *, waits: bool) -> None:
    """The caller is to hear of it. User code that waited for the outcome may say it itself."""
    debt = call.playout.debts.owe(RETURNED, Kind.RESUMED, now_ms)
    debt.not_before_ms = now_ms + ANSWERED_MS if waits or call.playout.agent.handler else now_ms
    state.owe(call, now_ms)


def tool_finished(call: CallState, event: m.ToolFinished, now_ms: int) -> None:
    """The model has the outcome as its tool's result: it need not wait longer for it."""
    debt = call.playout.debts.open.get(RETURNED)
    if debt is not None and event.call_id in call.playout.conversation.tools.deferred:
        debt.not_before_ms = now_ms
    tool_calls.tool_finished(call, event, now_ms)


def limit(call: CallState, now_ms: int) -> None:
    """The call has lasted as long as it may. A caller who is away is fetched back, if that can be, and hears
    the goodbye then.
    """
    call.limits.due_ms = NEVER
    if call.phase is Phase.AWAY:
        call.out += call.detours.end(now_ms)
    else:
        ending.goodbye(call, "it has lasted as long as it may", now_ms)
