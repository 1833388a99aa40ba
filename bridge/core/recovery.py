"""Losing the model and having it back; and renewal, which is losing it on purpose in a quiet moment.

The carrier leg stays. What was heard is settled, the caller's sound is kept, a new session is dialled and
told the conversation again, as the caller heard it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import ending, hearing, patience, setup
from . import messages as m
from .faults import Verdict, in_words, names_prompt, verdict
from .messages import Event, Phase, Reason
from .upstream_leg import FATAL_CLOSES, REFUSED, Leg, UpstreamSession

if TYPE_CHECKING:
    from .call import Call

FORCED_AGAIN_MS = 1_000
"""A renewal that is due and has nothing to go to looks again."""
RESUME_MS = 1_000
"""After what the caller said meanwhile was handed to the new session: voice detection has that long to find a
turn in it, and answers it then. Else we ask for an answer."""
RESTORED = (
    "The line to you was interrupted for a moment and is restored. Go on where you were; do not greet again. "
    "If the caller's last words are missing, ask them to say it again."
)


def upstream_closed(call: Call, event: m.UpstreamClosed, now_ms: int) -> None:
    why = f"{event.code} {event.reason}".rstrip()
    if event.code in FATAL_CLOSES:
        call.out.append(m.Noted(REFUSED, why))
        ending.fail(call, Reason.UPSTREAM_REFUSED, now_ms, why)
    elif call.phase is Phase.SETUP:
        setup.dial_failed(call, m.DialFailed(call.up.epoch, code=why), now_ms)
    else:
        lose(call, why, now_ms)


def lose(call: Call, why: str, now_ms: int) -> None:
    """The session is gone, the carrier leg stays: settle what was heard, keep the caller's sound, dial
    anew.
    """
    if call.up.state is Leg.CLOSED:
        return
    recovering = call.up.state is not Leg.READY
    call.up.state = Leg.CLOSED
    call.ear.lose()
    for timer in ("renew", "probe"):
        call.timers.pop(timer, None)
    if recovering:
        setup.dial_failed(call, m.DialFailed(call.up.epoch, code=why), now_ms)
        return
    call.out.append(m.Noted("the model was lost", why))
    if call.phase is Phase.DRAINING:
        ending.cut_short(call, now_ms)
        return
    silent_ms = call.speaking.owed.silent_ms if call.speaking.owed.since_ms is not None else now_ms
    call.resume_owed |= call.speaking.lost(now_ms) or call.caller_speaking
    call.caller_speaking = False
    if not call.dialling.may_recover(now_ms):
        ending.fail(call, Reason.UPSTREAM_LOST, now_ms, why)
        return
    call.stats.recoveries += 1
    call.lost_ms = now_ms
    if call.resume_owed:
        call.speaking.owed.stop()
        patience.owe(call, now_ms, silent_ms=silent_ms)
    call.dialling.begin(now_ms)
    setup.dial(call, now_ms)


def restored(call: Call, now_ms: int) -> None:
    """A new session listens: it gets the conversation again, then what was kept, then a response if one
    was owed.
    """
    if call.lost_ms is not None:
        call.stats.gaps_ms.append(now_ms - call.lost_ms)
        call.lost_ms = None
    call.speaking.gate.lose()
    call.speaking.conversation.retire(call.up.epoch)
    tell_history(call, call.up.epoch)
    spoke = call.ear.keeps_a_voice and not call.closed_ears
    setup.upstream_ready(call, now_ms)
    call.speaking.next_response()
    if spoke:
        call.timers["resume"] = now_ms + RESUME_MS
    else:
        resume(call, now_ms)


def resume(call: Call, _now_ms: int) -> None:
    """A response is asked for if one is owed and nobody else does: no other one, no tool, no turn."""
    owed, call.resume_owed = call.resume_owed, False
    idle = call.speaking.gate.idle and not call.caller_speaking
    if owed and idle and not call.speaking.conversation.tools.running:
        call.speaking.ask("restored")


def tell_history(call: Call, epoch: int) -> None:
    """The conversation, and what became of the line; unless it has not even been greeted yet."""
    call.out += call.speaking.conversation.history(call.config.bytes_per_ms, epoch)
    if setup.GREETING in call.speaking.gate.waiting:
        return
    note = call.speaking.conversation.new_id()
    call.out.append(m.CreateItem(note, "system", RESTORED, epoch=epoch))


def renew(call: Call, now_ms: int) -> None:
    if call.phase is Phase.LIVE and call.spare is None and call.up.state is Leg.READY:
        call.spare = UpstreamSession(setup.next_epoch(call), Leg.DIALLING)
        call.timers["spare"] = now_ms + call.config.session_ms
        call.out.append(m.DialUpstream(call.spare.epoch))


def from_spare(call: Call, event: Event, spare: UpstreamSession, now_ms: int) -> None:
    match event:
        case m.SessionCreated():
            setup.session_created(call, spare)
        case m.SessionUpdated() if event.formats_ok:
            spare.state = Leg.READY
            spare.interrupts, spare.responds = event.interrupts, event.responds
            call.timers.pop("spare", None)
        case m.SessionUpdated():
            call.out.append(
                m.Noted("configuration refused", "the audio formats in force are not the phone's")
            )
            spare_failed(call, now_ms)
        case m.UpstreamFaulted() if spare.state is Leg.CONFIGURING and will_not_be(event):
            call.out.append(m.Noted("configuration refused", in_words(event)))
            spare_failed(call, now_ms, again=not names_prompt(event))
        case m.UpstreamClosed() | m.DialFailed():
            renewal_failed(call, now_ms)


def will_not_be(event: m.UpstreamFaulted) -> bool:
    """Whether a session that was answered with this error before it was configured never will be one."""
    fatal = verdict(event) is Verdict.FATAL or names_prompt(event)
    return fatal or event.about.partition(":")[0] == "configure"


def spare_failed(call: Call, now_ms: int, *, again: bool = True) -> None:
    """The session that was to take over has not become one in time, or is not going to."""
    if call.spare is not None:
        call.out.append(m.CloseUpstream(call.spare.epoch))
        renewal_failed(call, now_ms, again=again)


def renewal_failed(call: Call, now_ms: int, *, again: bool = True) -> None:
    """Tried again later, unless it would only be refused again: the session that there is goes on till its
    end.
    """
    call.spare = None
    for timer in ("spare", "renew") if again else ("spare", "renew", "renew_forced"):
        call.timers.pop(timer, None)
    if again:
        call.timers["renew"] = now_ms + call.config.renew_again_ms
    told = "will be tried again" if again else "will not be tried again"
    call.out.append(m.Noted("renewal failed", told))


def quiet(call: Call, now_ms: int) -> bool:
    """A moment in which nobody would notice: nobody speaks, presses keys or waits for anything."""
    busy = call.speaking.conversation.tools.running or call.digits or call.ear.speaks(now_ms)
    return hearing.idle(call) and not busy


def swap_if_quiet(call: Call, now_ms: int) -> None:
    """If the first session is lost, any moment is a good one."""
    if call.up.state is not Leg.READY or quiet(call, now_ms):
        swap(call, now_ms)


def renew_forced(call: Call, now_ms: int) -> None:
    """The hour is nearly over: now, whoever speaks."""
    if call.spare is not None and call.spare.state is Leg.READY:
        call.ear.lose()
        call.resume_owed |= call.speaking.lost(now_ms) or call.caller_speaking
        call.caller_speaking = False
        swap(call, now_ms)
    elif call.up.state is Leg.READY:
        renew(call, now_ms)
        call.timers["renew_forced"] = now_ms + FORCED_AGAIN_MS


def swap(call: Call, now_ms: int) -> None:
    """The caller's next frame goes to the new session; the old one is closed."""
    spare = call.spare
    if spare is None or spare.state is not Leg.READY or call.phase is not Phase.LIVE:
        return
    for timer in ("session", "dial", "spare"):  # of a session that was being dialled in place of a lost one
        call.timers.pop(timer, None)
    call.timers.pop("probe", None)  # asked of the other session, and not answered by this one
    old, call.spare = call.up, None
    call.up = call.speaking.session = spare
    call.out.append(m.Noted("session renewed", f"{old.epoch} -> {spare.epoch}"))
    restored(call, now_ms)
    call.out.append(m.CloseUpstream(old.epoch))
