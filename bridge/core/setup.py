"""Setting up: dial while the phone rings, configure once, and begin when both legs are proven."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import ending, handover, hearing, patience, recovery
from . import messages as m
from .messages import Phase, Reason
from .upstream_leg import REFUSED, Leg, UpstreamSession, is_fatal

if TYPE_CHECKING:
    from .call import Call

GREETING = "greeting"
MOST_DIFFERENCES = 100
"""Between what was asked and what is in force that are noted."""


def ringing(call: Call, now_ms: int) -> None:
    call.timers["unclaimed"] = now_ms + call.config.unclaimed_ms
    first_dial(call, now_ms)


def started(call: Call, event: m.Started, now_ms: int) -> None:
    before, call.stream_id = call.stream_id, event.stream_id
    if before is not None:
        if before != event.stream_id:
            handover.newer_stream(call, now_ms)
        return
    call.timers.pop("unclaimed", None)
    call.timers["media"] = now_ms + call.config.media_gap_ms
    call.stats.started_ms = call.ear.last_ms = now_ms
    probe(call, now_ms)
    first_dial(call, now_ms)


def first_dial(call: Call, now_ms: int) -> None:
    if call.up.state is Leg.NONE:
        call.dialling.begin(now_ms)
        dial(call, now_ms)


def dial(call: Call, now_ms: int) -> None:
    call.up = call.speaking.session = UpstreamSession(next_epoch(call), Leg.DIALLING)
    call.timers["session"] = now_ms + call.dialling.attempt_ms(now_ms)
    call.out.append(m.DialUpstream(call.up.epoch))


def next_epoch(call: Call) -> int:
    """Numbers are never used twice: the end of a session that failed may be told when the next one is under
    way.
    """
    call.epochs += 1
    return call.epochs


def dial_failed(call: Call, event: m.DialFailed, now_ms: int) -> None:
    """No socket, or none that became a session in time: again, a few times, or never where it would be no
    use.
    """
    call.timers.pop("session", None)
    call.up.state = Leg.CLOSED
    if is_fatal(event):
        call.out.append(m.Noted(REFUSED, f"{event.status} {event.code}"))
    delay_ms = call.dialling.again_in_ms(event, now_ms)
    if delay_ms is None:
        lost = call.phase is not Phase.SETUP
        reason = Reason.UPSTREAM_LOST if lost else Reason.UPSTREAM_UNREACHABLE
        ending.fail(call, reason, now_ms, f"{event.status} {event.code}")
    else:
        call.timers["dial"] = now_ms + delay_ms


def session_stalled(call: Call, now_ms: int) -> None:
    call.out.append(m.CloseUpstream(call.up.epoch))
    dial_failed(call, m.DialFailed(call.up.epoch, code="no session in time"), now_ms)


def session_created(call: Call, session: UpstreamSession) -> None:
    if session.state is Leg.DIALLING:
        session.state = Leg.CONFIGURING
        call.out.append(m.ConfigureSession(call.speaking.config, epoch=session.epoch))


def session_updated(call: Call, event: m.SessionUpdated, now_ms: int) -> None:
    up = call.up
    up.interrupts, up.responds = event.interrupts, event.responds
    differs = [difference for difference in event.differences if difference not in call.differs]
    if differs and len(call.differs) < MOST_DIFFERENCES:
        call.differs.update(differs)
        call.out.append(m.Noted("configuration differs", "; ".join(differs)))
    if not event.formats_ok:
        ending.fail(call, Reason.UPSTREAM_REFUSED, now_ms, "the audio formats in force are not the phone's")
    elif up.state is Leg.READY:
        in_force(call)
    elif up.state is Leg.CONFIGURING:
        up.state, up.ready_ms = Leg.READY, now_ms
        call.timers.pop("session", None)
        if call.phase is Phase.SETUP:
            call.stats.ready_ms = now_ms
            begin(call, now_ms)
        else:
            recovery.restored(call, now_ms)


def in_force(call: Call) -> None:
    """A change of configuration is settled, one way or the other: responses may be asked for again."""
    call.speaking.gate.held = False
    call.speaking.next_response()


def admit(call: Call, now_ms: int) -> None:
    """Nobody but the carrier gets here. The disclosure needs no model, so it does not wait for one."""
    if call.admitted:
        return
    call.admitted = True
    probe(call, now_ms)
    patience.owe(call, now_ms, call.config.filler_dial_ms)
    disclosure = call.config.phrases.get(call.config.disclosure)
    if disclosure is not None and not (call.config.carried and call.config.carried.disclosed):
        call.closed_ears.add(call.config.disclosure)
        call.speaking.play(call.config.disclosure, disclosure, now_ms, protected=True)
        hearing.line_moved(call, now_ms)
    handover.welcome_back(call, now_ms)
    begin(call, now_ms)


def probe(call: Call, now_ms: int) -> None:
    """The carrier is proven and its stream open: time to learn how long the ways to it are."""
    if call.admitted and call.stream_id is not None:
        call.out += call.speaking.line.probe(now_ms)


def begin(call: Call, now_ms: int) -> None:
    """Both legs are proven: what the caller said and the handler wished meanwhile goes up, then the
    greeting is asked for, once.
    """
    if not call.admitted or call.up.state is not Leg.READY or call.phase is not Phase.SETUP:
        return
    call.phase = Phase.LIVE
    call.stats.began_ms = now_ms
    before = call.config.carried
    call.limits.begin(now_ms, before.lasted_ms if before else 0)
    call.set_timer("limit", call.limits.goodbye_ms)
    call.out.append(m.CallBegan())
    if call.config.resumed or (before and before.items):
        handover.go_on(call, now_ms)
        return
    upstream_ready(call, now_ms)
    if call.config.greeting:
        call.speaking.ask(GREETING, f'Begin the call now. Say: "{call.config.greeting}"')
        call.speaking.owed.go_on(now_ms)
    else:
        call.speaking.owed.stop()


def upstream_ready(call: Call, now_ms: int) -> None:
    """The session takes what it is sent: kept audio, then the wishes that waited."""
    call.speaking.ready = True
    call.set_timer("renew", now_ms + call.config.renew_ms)
    call.set_timer("renew_forced", now_ms + call.config.renew_forced_ms)
    hearing.open_ear(call)
    early, call.early = call.early, []
    for wish in early:
        call.other_event(wish, now_ms)
