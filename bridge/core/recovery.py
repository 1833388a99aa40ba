"""Losing the model and having it back; and renewal, which is losing it on purpose in a quiet moment.

The carrier leg stays. What was heard is settled, the caller's sound is kept, a new session is dialled and
told the conversation again, as the caller heard it.
"""

from __future__ import annotations

from . import answers, caller_turns, caller_words, dialling, ending, history, inaudible, parting, state
from . import messages as m
from .debts import Kind
from .messages import Phase, Reason
from .state import CallState
from .upstream_leg import REFUSED, Leg

CONTENT = "content"
"""Why a session ended that no other one may go on with."""
ENDS_MS = 1_000
"""Before the vendor ends a session, the next one takes over."""
RESUME_MS = 1_000
"""After what the caller said meanwhile was handed to the new session: voice detection has that long to find a
turn in it, and answers it then. Else we ask for an answer."""


def upstream_closed(call: CallState, event: m.UpstreamClosed, now_ms: int) -> None:
    why = f"{event.code} {event.reason}".rstrip()
    if event.code in call.up.can.fatal_closes:
        call.out.append(m.Noted(REFUSED, why))
        ending.fail(call, Reason.UPSTREAM_REFUSED, now_ms, why)
    elif call.phase is Phase.SETUP:
        dialling.dial_failed(call, m.DialFailed(call.up.epoch, code=why), now_ms)
    else:
        lose(call, why, now_ms)


def refused(call: CallState, event: m.UpstreamFaulted, now_ms: int) -> None:
    """An error in place of the session: it ends this attempt at once. Its socket may take its time to end."""
    over(call, " ".join(filter(None, (event.code or event.kind, event.message))), now_ms)


def over(call: CallState, why: str, now_ms: int) -> None:
    """The vendor has ended the session, or refused it, and its socket is still open."""
    call.out.append(m.CloseUpstream(call.up.epoch))
    upstream_closed(call, m.UpstreamClosed(1011, why, call.up.epoch), now_ms)


def ending_soon(call: CallState, event: m.SessionEnding, now_ms: int) -> None:
    """The vendor ends the session: another one takes over before that, in a quiet moment. Where it has ended
    it, the session is lost, whatever becomes of its socket.
    """
    call.out.append(m.Noted("the session ends", f"{event.why} in {event.in_ms} ms"))
    up = call.up
    if event.in_ms:
        up.renew_due_ms = min(up.renew_due_ms, now_ms)
        up.forced_due_ms = min(up.forced_due_ms, now_ms + max(0, event.in_ms - ENDS_MS))
    elif event.why == CONTENT and up.state is Leg.READY:
        ending.fail(call, Reason.UPSTREAM_REFUSED, now_ms, "the vendor's filter has ended the session")
    else:
        over(call, f"the session is over: {event.why}", now_ms)


def lose(call: CallState, why: str, now_ms: int) -> None:
    """The session is gone, the carrier leg stays: settle what was heard, keep the caller's sound, dial
    anew.
    """
    if call.up.state is Leg.CLOSED:
        return
    recovering = call.up.state is not Leg.READY
    call.up.close()
    call.caller_audio.lose()
    if recovering:
        dialling.dial_failed(call, m.DialFailed(call.up.epoch, code=why), now_ms)
        return
    call.out.append(m.Noted("the model was lost", why))
    if call.phase is Phase.DRAINING:
        ending.cut_short(call, now_ms)
        return
    silent_ms = call.playout.owed.silent_ms if call.playout.owed.since_ms is not None else now_ms
    if call.phase is Phase.AWAY:
        caller_words.close(call, now_ms)
        call.detours.parked = True
        call.playout.lost(now_ms)
        return
    let_go(call, now_ms)
    again = call.dialling.recovered(now_ms) > 0 and call.dialling.next is not None
    if not call.dialling.may_recover(now_ms) or again:
        ending.fail(call, Reason.UPSTREAM_LOST, now_ms, why)
    if call.phase in (Phase.DRAINING, Phase.ENDED):
        return
    call.stats.recoveries += 1
    call.lost_ms = now_ms
    if call.playout.debts.of(Kind.RESUMED):
        call.playout.owed.stop()
        state.owe(call, now_ms, silent_ms=silent_ms)
    if call.dialling.out is None:
        call.dialling.begin(now_ms)
        dialling.dial(call, now_ms)


def let_go(call: CallState, now_ms: int) -> None:
    """The session ends in the middle of something: what the caller is owed of it, the next one owes them. No
    more words come of what they were saying.
    """
    caller_words.close(call, now_ms)
    if call.playout.lost(now_ms) or call.caller_speaking:
        answers.owe_resumed(call, now_ms)
    call.caller_speaking = False


def restored(call: CallState, now_ms: int) -> None:
    """A new session listens: it gets the conversation again, then what was kept, then a response if one
    was owed.
    """
    if call.lost_ms is not None:
        call.stats.gaps_ms.append(now_ms - call.lost_ms)
        call.stats.restored_ms.append(now_ms)
        call.lost_ms = None
    call.playout.lose_responses()
    call.playout.conversation.retire(call.up.epoch)
    silent, call.detours.parked = call.detours.parked or call.phase is Phase.AWAY, False
    history.tell(call, call.up.epoch, "" if silent else history.RESTORED)
    spoke = call.caller_audio.loud or call.caller_audio.keeps_a_voice
    if spoke and not call.uninterruptible:
        call.up.resume_due_ms = now_ms + RESUME_MS
    upstream_ready(call, now_ms)


def upstream_ready(call: CallState, now_ms: int) -> None:
    """The session takes what it is sent: kept audio, then the wishes that waited."""
    call.playout.ready = True
    call.up.renew_due_ms, call.up.forced_due_ms = call.up.renewals_ms(call.config, now_ms)
    if call.phase is Phase.AWAY:
        return
    caller_turns.open_caller_audio(call)
    early, call.early = call.early, []
    for wish in early:
        call.other_event(wish, now_ms)


def settle(call: CallState, now_ms: int) -> None:
    """The model cannot be heard, is asked again, and cannot be heard: another session may do better."""
    inaudible.settle(call, now_ms)
    if call.inaudible < inaudible.MOST:
        return
    call.inaudible = 1
    if call.up.state is Leg.READY and call.ending is None:
        answers.owe_resumed(call, now_ms)
        give_up(call, "it could not be heard", now_ms)
        if (phrase := call.playout.phrases.get("restored")) is not None and call.phase is Phase.LIVE:
            call.playout.play(f"inaudible:{call.epochs}", phrase, now_ms)


def give_up(call: CallState, why: str, now_ms: int) -> None:
    """Take the session for lost, whatever its socket says."""
    parting.close(call, call.up, now_ms)
    lose(call, why, now_ms)
