"""Every way a call ends: at once, after the last word was heard, with an apology, or with a goodbye."""

from __future__ import annotations

from msgspec import UNSET

from . import caller_words, parting
from . import messages as m
from .debts import Kind
from .detours import became
from .due import NEVER
from .mailbox_message import MESSAGE
from .messages import DetourResult, Phase, Reason, TransferOutcome
from .state import CallState, Ending
from .upstream_leg import Leg

GOODBYE = "goodbye"
TAKEN_BACK = (Reason.WE_HUNG_UP, Reason.TRANSFERRED)
"""Ends that a caller who speaks takes back."""
GENERATING_MS = 15_000
"""How long a goodbye may take to be generated before the drain stops waiting for it."""
FAREWELL_MS = 2_500
"""After a hang-up in the middle of a backend's work, for the voice to begin its farewell."""


def fail(call: CallState, reason: Reason, now_ms: int, detail: str) -> None:
    """Nothing more is to be had from the model: tell the caller, then end (or send them to a person, if
    there is one).
    """
    if call.ending is not None and call.ending.reason is reason:
        return
    if call.ending is None and call.dialling.next is not None:
        call.dialling.out = detail  # another vendor takes over, at the end of this event
        return
    if call.up.state is not Leg.CLOSED:
        parting.close(call, call.up, now_ms)
    call.up.close()
    call.caller_audio.open = False
    call.out.append(m.Noted("the model is out", f"{reason.value}: {detail}"))
    call.dialling.due_ms = call.playout.gate.again_due_ms = NEVER
    if call.phase is Phase.AWAY:
        return  # dialled anew when the caller is back
    if call.ending is not None:
        cut_short(call, now_ms)
        return
    apology = call.playout.phrases.get("apology")
    if call.callee.unanswered:
        drain(call, reason, detail, "ended", now_ms)  # no person listens, or a message is played
        return
    if not call.admitted or apology is None:
        end(call, reason, now_ms, detail)
        return
    call.playout.lost(now_ms)
    call.playout.gate.waiting.clear()
    call.playout.owed.stop()
    call.playout.play("apology", apology, now_ms)
    fallback = call.config.fallback
    drain(call, reason, detail, f"transfer:{fallback}" if fallback else "ended", now_ms)


def cut_short(call: CallState, now_ms: int) -> None:
    """The model is lost while we say goodbye: what came of it is played, and a phrase says what did not."""
    unsaid = not call.playout.gate.idle or bool(call.early)
    call.early.clear()
    call.playout.say_what_is_left(now_ms)
    call.playout.owed.stop()
    if unsaid:
        say_goodbye(call, now_ms)


def say_goodbye(call: CallState, now_ms: int) -> None:
    """The phrase, once, and to its end: the caller is not listened to any more. Nothing where the caller is
    to be sent on, or where they have just been told that something went wrong.
    """
    goodbye = call.playout.phrases.get("goodbye")
    ending = leaving(call)
    if goodbye is not None and ending is not None and GOODBYE not in call.uninterruptible:
        ending.said_goodbye = True
        call.uninterruptible.add(GOODBYE)
        call.caller_audio.close()
        call.playout.play(GOODBYE, goodbye, now_ms, protected=True)


def leaving(call: CallState) -> Ending | None:
    """The ending, if we have something to say before it, and that is a goodbye."""
    ending = call.ending
    return ending if ending is not None and ending.reason in (Reason.WE_HUNG_UP, Reason.LIMIT) else None


def drain(
    call: CallState, reason: Reason, detail: str, intent: str, now_ms: int, words_ms: int = GENERATING_MS
) -> None:
    """End when the last word was heard, which may take `words_ms` to be generated. `intent` is "" for a
    detour, which notes its own when it leaves.
    """
    if call.ending is not None:
        return
    call.ending = Ending(reason, detail, now_ms + words_ms)
    if reason is Reason.WE_HUNG_UP and call.up.can.duplex and call.delegation.busy:
        call.ending.farewell_ms, call.ending.before = now_ms + FAREWELL_MS, call.playout.gate.active
    call.phase = Phase.DRAINING
    if intent:
        call.out.append(m.NoteIntent(intent))


def take_back(call: CallState) -> None:
    """The caller speaks while the last word is said: the call goes on."""
    call.phase, call.ending = Phase.LIVE, None
    if not call.detours.draining:
        call.out += (m.NoteIntent(""), m.HangUpCancelled())


def transfer(call: CallState, name: str, now_ms: int) -> None:
    """Send the caller on after the last word; where to, only floor 5 knows."""
    drain(call, Reason.TRANSFERRED, name, f"transfer:{name}", now_ms)


def drained(call: CallState, ending: Ending, now_ms: int) -> None:
    """End if nothing is asked for, generating or unheard; a model that hangs up without a word has the phrase
    `goodbye` said for it. The watchdog runs from the expected end of
    playout, not from the end of generation; it is set once, so that marks that never come cannot put it
    off.
    """
    if call.phase is Phase.ENDED or awaits_farewell(call, ending, now_ms):
        return
    if to_be_generated(call) and ending.words_due_ms != NEVER:
        return
    line, goodbye = call.playout.line, call.playout.phrases.get(GOODBYE)
    spoke = ending.said_goodbye or call.playout.conversation.answered
    wordless = ending.reason is Reason.WE_HUNG_UP and not spoke
    if line.quiet and wordless and goodbye is not None and call.admitted:
        ending.said_goodbye = True
        call.playout.play(GOODBYE, goodbye, now_ms)
        set_drain(call, ending, now_ms)
    elif line.quiet:
        last_word_heard(call, ending, now_ms)
    elif ending.due_ms == NEVER:
        ending.words_due_ms = NEVER
        set_drain(call, ending, now_ms)


def awaits_farewell(call: CallState, ending: Ending, now_ms: int) -> bool:
    """Whether the voice of a duplex model may still begin its farewell: its backend has asked to hang up, and
    what that has done is told by the voice 1.7 s later, if at all.
    """
    if ending.farewell_ms == NEVER:
        return False
    begun = call.playout.gate.active not in (None, ending.before)
    if begun or ending.said_goodbye or now_ms >= ending.farewell_ms or call.up.state is not Leg.READY:
        ending.farewell_ms = NEVER
        return False
    return True


def to_be_generated(call: CallState) -> bool:
    """The last word is still to come: from the model, or from the one that is being dialled in its place."""
    if call.up.state is Leg.READY:
        return not call.playout.gate.idle
    asked = not call.playout.gate.idle or any(isinstance(wish, m.Say | m.Respond) for wish in call.early)
    return asked and (call.up.state is not Leg.CLOSED or call.dialling.due_ms != NEVER)


def not_generated(call: CallState, now_ms: int) -> None:
    """The goodbye we waited for was not said: a phrase says it."""
    ending = leaving(call)
    if ending is not None and "goodbye" in call.playout.phrases:
        ending.words_due_ms = NEVER
        call.early.clear()
        call.playout.interrupt(now_ms, ours=True)
        call.playout.gate.waiting.clear()
        say_goodbye(call, now_ms)


def drain_due(call: CallState, now_ms: int) -> None:
    """The last word should have been heard. Where some of it waits here all the same, the carrier plays more
    slowly than time passes (or paused): it has longer, as long as it goes on.
    """
    line, ending = call.playout.line, call.ending
    if ending is None:
        return
    if line.waiting and call.playout.gate.idle and line.ledger.sent > ending.sent_bytes:
        set_drain(call, ending, now_ms)
    else:
        last_word_heard(call, ending, now_ms)


def words_late(call: CallState, now_ms: int) -> None:
    """The last word was not generated in time."""
    if call.ending is not None:
        call.ending.words_due_ms = NEVER
        not_generated(call, now_ms)


def set_drain(call: CallState, ending: Ending, now_ms: int) -> None:
    line = call.playout.line
    ending.sent_bytes = line.ledger.sent
    ending.due_ms = now_ms + line.remaining_ms(now_ms) + call.config.drain_slack_ms


def last_word_heard(call: CallState, ending: Ending, now_ms: int) -> None:
    """The call ends, or only leaves its stream for a while."""
    if call.detours.under_way is not None and call.detours.draining:
        call.detours.under_way.drained = True
    else:
        end(call, ending.reason, now_ms, ending.detail)


def close_detour(call: CallState, reason: Reason) -> None:
    """What comes of the detour under way when the call ends. One that the caller is on goes on elsewhere."""
    if reason is Reason.TAKEN_OVER or (reason is Reason.HANDED_OVER and call.phase is Phase.AWAY):
        return
    outcome = TransferOutcome.CANCELED
    if reason is Reason.CALLER_HUNG_UP:
        outcome = TransferOutcome.CALLER_LEFT
    elif reason in (Reason.CARRIER_LOST, Reason.CARRIER_GIVEN_UP, Reason.NO_MEDIA):
        outcome = TransferOutcome.LOST
    its = call.detours.under_way
    if its is not None and outcome is TransferOutcome.LOST:  # the call may go on elsewhere
        call.playout.conversation.created("system", became(its.about, DetourResult(outcome)))
    call.out += call.detours.close(outcome)


def shut_down(call: CallState, now_ms: int) -> None:
    call.out.append(m.NoteIntent("ended"))
    end(call, Reason.SHUTDOWN, now_ms)


def end(call: CallState, reason: Reason, now_ms: int, detail: str = "") -> None:
    if call.phase is Phase.ENDED:
        return
    if reason not in (Reason.HANDED_OVER, Reason.TAKEN_OVER):
        # else another process goes on with the call, and with what it was saying
        caller_words.close(call, now_ms)
        release(call, MESSAGE)
        call.playout.over(now_ms)
        call.out += call.callee.ended(call.out)
        call.stats.message = call.callee.outcome
    close_detour(call, reason)
    call.stats.detours = [*call.detours.over]
    call.phase = Phase.ENDED
    call.stats.ended_ms = now_ms
    call.stats.frames_in = call.caller_audio.frames
    call.stats.frames_dropped += call.caller_audio.dropped()
    for session in (call.up, call.spare):
        if session is not None and session.state not in (Leg.NONE, Leg.CLOSED):
            parting.close(call, session, now_ms)
    parting.leave(call, parting.SHUT_DOWN_MS if reason is Reason.SHUTDOWN else parting.ENDING_MS, now_ms)
    call.out += (m.CloseCarrier(), m.Ended(reason, detail, unbilled=True if call.parting else UNSET))


def release(call: CallState, say_id: str) -> None:
    """A protected sound may be cut now."""
    span = call.playout.line.spans.get((say_id, 0))
    if span is not None:
        span.protected = False


def left(call: CallState, event: m.Stopped | m.CarrierClosed | m.CarrierGivenUp, now_ms: int) -> None:
    """The carrier's stream is over: the caller hung up, or it was lost, or we gave it up."""
    match event:
        case m.Stopped():
            end(call, Reason.CALLER_HUNG_UP, now_ms)
        case m.CarrierClosed() if call.stream_id is None:
            end(call, Reason.UNCLAIMED, now_ms, event.reason)
        case m.CarrierClosed():
            end(call, Reason.CARRIER_LOST, now_ms, f"{event.code}, no stop")
        case m.CarrierGivenUp():
            given_up(call, event, now_ms)


def given_up(call: CallState, event: m.CarrierGivenUp, now_ms: int) -> None:
    """No word reaches the caller any more. They may still be there: the carrier asks what comes next."""
    call.out.append(m.Noted("the carrier was given up", event.reason))
    end(call, Reason.CARRIER_GIVEN_UP, now_ms, event.reason)


def goodbye(call: CallState, why: str, now_ms: int) -> None:
    """The model is told to say goodbye, and the call ends when that was heard; a phrase stands in if it
    does not.
    """
    if call.ending is not None or call.phase is not Phase.LIVE:
        return
    call.out.append(m.Noted("a limit was reached", why))
    if call.callee.unanswered:
        drain(call, Reason.LIMIT, why, "ended", now_ms)
        return
    wish = f"The call has to end now, because {why}. Say goodbye in one short sentence."
    call.playout.ask("goodbye", wish, Kind.GOODBYE, now_ms)
    if not call.caller_speaking:
        call.playout.next_response()  # before the intent is noted, as calls were recorded
    drain(call, Reason.LIMIT, why, "ended", now_ms, call.config.limits.goodbye_ms // 2)


def waited_out(call: CallState, now_ms: int) -> None:
    """The caller has waited for one answer as long as anybody shall: they are sent to a person, if there is
    one, or the call ends, in words of the model's.
    """
    waited, fallback = f"they have waited for {call.playout.agent.wait_ms // 1000} s", call.config.fallback
    if not fallback:
        goodbye(call, waited, now_ms)
        return
    call.out.append(m.Noted("a limit was reached", waited))
    wish = "It takes too long. Tell the caller in one short sentence that you put them through to a person."
    call.playout.ask(GOODBYE, wish, Kind.GOODBYE, now_ms)
    words_ms = call.config.limits.goodbye_ms // 2
    drain(call, Reason.TRANSFERRED, fallback, f"transfer:{fallback}", now_ms, words_ms)


def handler_failed(call: CallState, event: m.HandlerFailed, now_ms: int) -> None:
    call.playout.interrupt(now_ms, ours=True)
    call.playout.gate.waiting.clear()
    if (apology := call.playout.phrases.get("apology")) is not None:
        call.playout.play("apology", apology, now_ms)
    drain(call, Reason.HANDLER_FAILED, event.detail, "ended", now_ms)


def carrier_late(call: CallState, now_ms: int) -> None:
    """There is no stream, or no frame has come of it for long."""
    call.carrier_due_ms = call.caller_audio.last_ms + call.config.media_gap_ms
    if call.stream_id is None:
        end(call, Reason.UNCLAIMED, now_ms)
    elif call.carrier_due_ms <= now_ms:
        end(call, Reason.NO_MEDIA, now_ms)
