"""Dialling a session, and again where that failed."""

from __future__ import annotations

import re

import msgspec
from msgspec import UNSET

from . import ending, history, state
from . import messages as m
from .due import NEVER
from .messages import Phase, Reason, VendorPlan
from .state import CallState
from .upstream_leg import FATAL_CODES, LATE, REFUSED, Leg, UpstreamSession, is_fatal

VOICE = re.compile(r"\bvoice\b", re.IGNORECASE)
"""In the path of the field that an error is about, or in its words."""


def first_dial(call: CallState, now_ms: int) -> None:
    if call.up.state is Leg.NONE:
        call.dialling.begin(now_ms)
        dial(call, now_ms)


def dial(call: CallState, now_ms: int) -> None:
    call.dialling.due_ms = NEVER
    waits = call.phase is not Phase.SETUP or call.config.carried is not None  # no phone rings
    hurried = waits and call.dialling.next is not None
    due_ms = now_ms + call.dialling.attempt_ms(now_ms, hurried=hurried)
    call.up = call.playout.session = begin(call, call.dialling.plan, due_ms)


def begin(call: CallState, plan: VendorPlan, due_ms: int) -> UpstreamSession:
    """Dial a session with that vendor, which has until `due_ms` to become one."""
    session = UpstreamSession(next_epoch(call), Leg.DIALLING, plan, due_ms=due_ms)
    call.out.append(m.DialUpstream(session.epoch, session.plan.name or UNSET))
    return session


def next_epoch(call: CallState) -> int:
    """Numbers are never used twice: the end of a session that failed may be told when the next one is under
    way.
    """
    call.epochs += 1
    return call.epochs


def dial_failed(call: CallState, event: m.DialFailed, now_ms: int) -> None:
    """No socket, or none that became a session in time: again, a few times, or never where it would be no
    use.
    """
    call.up.close()
    if is_fatal(event.status, event.code, call.up.can):
        call.out.append(m.Noted(REFUSED, f"{event.status} {event.code}"))
    delay_ms = call.dialling.again_in_ms(event, now_ms)
    if delay_ms is None:
        lost = call.phase is not Phase.SETUP
        reason = Reason.UPSTREAM_LOST if lost else Reason.UPSTREAM_UNREACHABLE
        ending.fail(call, reason, now_ms, f"{event.status} {event.code}")
    else:
        call.dialling.due_ms = now_ms + delay_ms


def session_stalled(call: CallState, now_ms: int) -> None:
    call.out.append(m.CloseUpstream(call.up.epoch))
    dial_failed(call, m.DialFailed(call.up.epoch, code=LATE), now_ms)


def session_created(call: CallState, session: UpstreamSession, event: m.SessionCreated, now_ms: int) -> None:
    """The server has begun: before we have configured it, or after where we begin."""
    if session.state is Leg.DIALLING or not session.can.server_first:
        session.created(event.expires_at_s, call.config, now_ms)
    opened(call, session)


def opened(call: CallState, session: UpstreamSession) -> None:
    """The session takes its configuration, once."""
    if session.state is not Leg.DIALLING:
        return
    session.state = Leg.CONFIGURING
    told = history.with_configuration(call, session)
    asked = session.plan.dress(state.asked_of(call, call.playout.config))
    call.out.append(m.ConfigureSession(asked, epoch=session.epoch, history=told))


def voice_refused(call: CallState, session: UpstreamSession, event: m.UpstreamFaulted) -> bool:
    """A vendor that the call goes on with does not take the voice that it is asked for: it is asked again,
    for the one that it has by itself. Whether it is. Where the client begins, the next session is.
    """
    plan = session.plan
    words = event.message if event.code not in FATAL_CODES else ""
    named = session.state is Leg.CONFIGURING and VOICE.search(event.param or words)
    if not named or not plan.name or plan.voice is None:
        return False
    call.out.append(m.Noted("voice refused", f"{plan.name} goes on with its own: {event.message}"))
    session.plan = msgspec.structs.replace(plan, voice=None, voices={})
    call.dialling.replace(plan, session.plan)
    if session.can.server_first:
        session.state = Leg.DIALLING
        opened(call, session)
    return True
