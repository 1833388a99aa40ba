"""Setting up: dial while the phone rings, configure once, and begin when both legs are proven."""

from __future__ import annotations

from . import away, dialling, ending, handover, recovery, responses, state
from . import messages as m
from .due import NEVER
from .messages import Phase, Reason
from .state import CallState
from .upstream_leg import Leg

FOR_THE_MODEL = (m.Say, m.Respond, m.AddText, m.SendRaw, m.CommitTurn, m.ClearTurn)
"""Wishes that need a model which listens: before there is one (or while a new one is dialled), they wait."""
BEFORE_ADMISSION = frozenset({
    m.UpstreamOpened, m.SessionCreated, m.SessionUpdated, m.UpstreamFaulted, m.UpstreamClosed, m.DialFailed,
    m.VendorNote,
})  # fmt: skip
"""What a session has to say while it is not proven whose call it is: how it comes about, or does not."""
MOST_DIFFERENCES = 100
"""Between what was asked and what is in force that are noted."""


def waits(call: CallState, event: m.Event) -> bool:
    """Whether it is a wish that needs a model which listens, or a caller who hears it, and there is none."""
    if isinstance(event, FOR_THE_MODEL) and not call.playout.ready:
        return True
    return call.phase is Phase.AWAY and isinstance(event, away.LATER)


def ringing(call: CallState, now_ms: int) -> None:
    call.carrier_due_ms = now_ms + call.config.unclaimed_ms
    dialling.first_dial(call, now_ms)


def started(call: CallState, event: m.Started, now_ms: int) -> None:
    before, call.stream_id = call.stream_id, event.stream_id
    if before is not None:
        if before != event.stream_id and call.phase is Phase.AWAY:
            away.back(call, event, now_ms)
        elif before != event.stream_id:
            handover.newer_stream(call, now_ms)
        return
    call.carrier_due_ms = now_ms + call.config.media_gap_ms
    call.stats.started_ms = now_ms
    call.caller_audio.restart(now_ms)
    probe(call, now_ms)
    dialling.first_dial(call, now_ms)


def session_updated(call: CallState, event: m.SessionUpdated, now_ms: int) -> None:
    up = call.up
    up.interrupts, up.responds = event.interrupts, event.responds
    differs = [difference for difference in event.differences if difference not in call.differs]
    if differs and len(call.differs) < MOST_DIFFERENCES:
        call.differs.update(differs)
        call.out.append(m.Noted("configuration differs", "; ".join(differs)))
    if not event.formats_ok:
        ending.fail(call, Reason.UPSTREAM_REFUSED, now_ms, "the audio formats in force are not the phone's")
    elif up.state is Leg.READY:
        responses.in_force(call)
    elif up.state is Leg.CONFIGURING:
        up.state, up.ready_ms = Leg.READY, now_ms
        up.due_ms = NEVER
        if call.phase is Phase.SETUP:
            call.stats.ready_ms = now_ms
            begin(call, now_ms)
        else:
            recovery.restored(call, now_ms)


def admit(call: CallState, now_ms: int) -> None:
    """Only the carrier gets here."""
    if call.admitted:
        return
    call.admitted = True
    probe(call, now_ms)
    if not call.callee.unanswered:
        state.owe(call, now_ms, call.config.filler_dial_ms)
        responses.disclose(call, now_ms)
    handover.welcome_back(call, now_ms)
    begin(call, now_ms)


def probe(call: CallState, now_ms: int) -> None:
    """The carrier is proven and its stream open: time to learn how long the ways to it are."""
    if call.admitted and call.stream_id is not None:
        call.out += call.playout.line.probe(now_ms)


def begin(call: CallState, now_ms: int) -> None:
    """Both legs are proven: what the caller said and the handler wished meanwhile goes up, then the
    greeting is asked for, once.
    """
    if not call.admitted or call.up.state is not Leg.READY or call.phase is not Phase.SETUP:
        return
    call.phase = Phase.LIVE
    call.stats.began_ms = now_ms
    before = call.config.carried
    call.limits.begin(now_ms, before.lasted_ms if before else 0)
    call.out.append(m.CallBegan(before.session if before else None))
    if call.config.resumed or call.config.returned or (before and before.items):
        handover.go_on(call, now_ms)
        return
    greets = bool(call.config.greeting) and not call.callee.unanswered
    if greets:
        responses.protect_greeting(call)
        if call.callee.open and not call.callee.speech.sounding:
            call.caller_audio.forget()  # the greeting answers the word with which they picked up
    recovery.upstream_ready(call, now_ms)
    if greets:
        responses.greet(call, now_ms)
        call.playout.owed.go_on(now_ms)
