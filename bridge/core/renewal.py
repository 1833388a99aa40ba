"""Renewal: another session takes over in a quiet moment, before the vendor ends the one in use."""

from __future__ import annotations

from . import dialling, failover, parting, recovery, silence, tool_calls
from . import messages as m
from .due import NEVER
from .messages import Event, Phase
from .state import CallState
from .upstream_leg import Leg, UpstreamSession
from .vendor_errors import Verdict, in_words, names_prompt, verdict

FORCED_AGAIN_MS = 1_000
"""A renewal that is due and has nothing to go to looks again."""


def renew(call: CallState, now_ms: int) -> None:
    call.up.renew_due_ms = NEVER
    if call.phase in (Phase.LIVE, Phase.AWAY) and call.spare is None and call.up.state is Leg.READY:
        due_ms = now_ms + call.config.session_ms
        call.spare = dialling.begin(call, call.dialling.plan, due_ms)


def from_spare(call: CallState, event: Event, spare: UpstreamSession, now_ms: int) -> None:
    match event:
        case m.UpstreamOpened():
            dialling.opened(call, spare)
        case m.SessionCreated():
            dialling.session_created(call, spare, event, now_ms)
        case m.SessionUpdated() if event.formats_ok:
            spare.state, spare.ready_ms = Leg.READY, now_ms
            spare.interrupts, spare.responds = event.interrupts, event.responds
            spare.due_ms = NEVER
        case m.SessionUpdated():
            call.out.append(
                m.Noted("configuration refused", "the audio formats in force are not the phone's")
            )
            spare_failed(call, now_ms)
        case m.VendorNote():
            tool_calls.note_failed_list(call, event)
        case m.UpstreamFaulted() if dialling.voice_refused(call, spare, event):
            if not spare.can.server_first:
                spare_failed(call, now_ms)
        case m.UpstreamFaulted() if spare.state is Leg.CONFIGURING and will_not_be(spare, event):
            call.out.append(m.Noted("configuration refused", in_words(event)))
            spare_failed(call, now_ms, again=not names_prompt(event))
        case m.UpstreamClosed() | m.DialFailed():
            renewal_failed(call, now_ms)


def will_not_be(spare: UpstreamSession, event: m.UpstreamFaulted) -> bool:
    """Whether a session that was answered with this error before it was configured never will be one."""
    fatal = verdict(event, spare.can.fatal_codes) is Verdict.FATAL or names_prompt(event)
    return fatal or event.about.partition(":")[0] == "configure"


def spare_failed(call: CallState, now_ms: int, *, again: bool = True) -> None:
    """The session that was to take over has not become one in time, or is not going to."""
    if call.spare is not None:
        parting.close(call, call.spare, now_ms)
        renewal_failed(call, now_ms, again=again)


def renewal_failed(call: CallState, now_ms: int, *, again: bool = True) -> None:
    """Tried again later, unless it would only be refused again: the session that there is goes on till its
    end.
    """
    if call.spare is not None and call.spare.plan is not call.dialling.plan:
        again = True  # another vendor's refusal says nothing about this one
    call.spare = None
    call.up.renew_due_ms = now_ms + call.config.renew_again_ms if again else NEVER
    if not again:
        call.up.forced_due_ms = NEVER
    told = "will be tried again" if again else "will not be tried again"
    call.out.append(m.Noted("renewal failed", told))


def quiet(call: CallState, now_ms: int) -> bool:
    """A moment without speech, keys or anything awaited, in which a swap is not noticed."""
    if call.phase is Phase.AWAY:
        return True
    busy = call.playout.conversation.tools.running or call.key_series.keys or call.caller_audio.speaks(now_ms)
    duplex = call.playout.duplex
    # Without its words another session is not told of a turn at all.
    awaited = call.transcripts.awaited or (duplex is not None and duplex.caller_text.due_ms != NEVER)
    return silence.idle(call) and not busy and not awaited


def settle(call: CallState, now_ms: int) -> None:
    """The rule at the end of every event: where another session stands ready, or another vendor is named."""
    if call.dialling.left:
        failover.settle(call, now_ms)
    if call.spare is not None:
        swap_if_quiet(call, now_ms)


def swap_if_quiet(call: CallState, now_ms: int) -> None:
    """If the first session is lost, any moment is a good one."""
    if call.up.state is not Leg.READY or quiet(call, now_ms):
        swap(call, now_ms)


def renew_forced(call: CallState, now_ms: int) -> None:
    """The hour is nearly over: now, even if one side speaks."""
    call.up.forced_due_ms = NEVER
    if call.spare is not None and call.spare.state is Leg.READY:
        call.caller_audio.lose()
        recovery.let_go(call, now_ms)
        swap(call, now_ms)
    elif call.up.state is Leg.READY:
        renew(call, now_ms)
        call.up.forced_due_ms = now_ms + FORCED_AGAIN_MS


def swap(call: CallState, now_ms: int) -> None:
    """The caller's next frame goes to the new session; the old one is closed."""
    spare = call.spare
    if spare is None or spare.state is not Leg.READY or call.phase not in (Phase.LIVE, Phase.AWAY):
        return
    call.dialling.due_ms = NEVER  # of a session in place of a lost one
    old, call.spare = call.up, None
    call.up = call.playout.session = spare
    if spare.plan is not call.dialling.plan:
        failover.go_to(call, spare.plan, call.dialling.limps, now_ms)
    call.out.append(m.Noted("session renewed", f"{old.epoch} -> {spare.epoch}"))
    recovery.restored(call, now_ms)
    parting.close(call, old, now_ms)
