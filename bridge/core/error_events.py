"""The model's mistakes: what an `error` event means for the responses and the session it is about."""

from __future__ import annotations

import msgspec

from . import delegation, dialling, duplex_turns, ending, history, recovery, responses, state
from . import messages as m
from .debts import Kind
from .messages import Reason
from .responses import FAILURES
from .state import CallState
from .stats import count
from .upstream_leg import REFUSED, Leg
from .vendor_errors import COMMIT_EMPTY, Verdict, in_words, moderates, names_prompt, verdict

NEEDED = ("audio", "prompt")
"""Fields of `extra` without which the call would be another one."""


def faulted(call: CallState, event: m.UpstreamFaulted, now_ms: int) -> None:
    """Most vendor errors leave the session open: an error's code decides, not its arrival."""
    code = event.code or "unknown"
    count(call.stats.faults, code)
    about, _, subject = event.about.partition(":")
    what, detail = verdict(event, call.up.can.fatal_codes), f"{event.code} {event.param} {event.message}"
    prompt = names_prompt(event)
    if about == "commit" or code == COMMIT_EMPTY:
        call.open_turn.acknowledged()
    delegated = call.up.can.tools == "backend" and delegation.refused(call, event)
    if delegated or left_out(call, event, now_ms) or filtered(call, event, now_ms):
        return
    if what is Verdict.FATAL:
        call.out.append(m.Noted(REFUSED, event.code or event.kind))
    if (about == "configure" or prompt) and call.up.state is Leg.CONFIGURING:
        ending.fail(call, Reason.UPSTREAM_REFUSED, now_ms, in_words(event))
    elif what is Verdict.FATAL:
        ending.fail(call, Reason.UPSTREAM_REFUSED, now_ms, f"{event.code}: {event.message}")
    elif call.up.state is Leg.CONFIGURING and not call.up.can.server_first:
        recovery.refused(call, event, now_ms)
    elif what is Verdict.EXPIRED:
        recovery.give_up(call, event.code, now_ms)
    elif what is Verdict.BUSY:
        gate = call.playout.gate
        gate.busy = gate.active is None and gate.asked is not None
        call.playout.refused(subject if about == "create" else None, again=True)
    elif about == "configure" or (prompt and call.playout.gate.held):
        call.out.append(m.Noted("configuration refused", in_words(event) if prompt else detail))
        responses.in_force(call)
    elif prompt:
        ending.fail(call, Reason.UPSTREAM_REFUSED, now_ms, in_words(event))
    elif about in ("create", "say"):
        call.out.append(m.Noted("upstream error", detail))
        create_refused(call, subject, event, now_ms)
    elif what is not Verdict.BENIGN and about not in ("truncate", "delete", "cancel"):
        call.out.append(m.Noted("upstream error", detail))
        if not about and event.retry_ms and call.playout.gate.idle:
            responses.wait(call, event.retry_ms, now_ms)  # the vendor was to answer the turn by itself


def filtered(call: CallState, event: m.UpstreamFaulted, now_ms: int) -> bool:
    """Whether the vendor's filter has cut off a model whose responses tell nothing of that."""
    if not call.up.can.duplex or not moderates(event):
        return False
    duplex_turns.moderated(call, event, now_ms)
    return True


def left_out(call: CallState, event: m.UpstreamFaulted, now_ms: int) -> bool:
    """The vendor does not take the voice, or a field of `extra`, as an older deployment does not take
    `reasoning`, and has refused all of the configuration with it: that is sent again without it. Whether it
    is.
    """
    if dialling.voice_refused(call, call.up, event):
        if not call.up.can.server_first:
            recovery.refused(call, event, now_ms)
        return True
    name, config = event.param.removeprefix("session.").partition(".")[0], call.playout.config
    ours = event.about.startswith("configure:") and verdict(event) in (Verdict.OURS, None)
    if not ours or name not in config.extra or name in NEEDED:
        return False
    extra = {field: value for field, value in config.extra.items() if field != name}
    config = msgspec.structs.replace(config, extra=extra)
    call.playout.configure(config)
    up, first = call.up, call.up.state is Leg.CONFIGURING
    told = history.with_configuration(call, up) if first else ()
    asked = up.plan.dress(state.asked_of(call, config))
    call.out.append(m.Noted("configuration refused", f"{event.param} is left out: {event.message}"))
    call.out.append(m.ConfigureSession(asked, not first, up.epoch, history=told))
    return True


def create_refused(call: CallState, tag: str, event: m.UpstreamFaulted, now_ms: int) -> None:
    """Our request for a response got an error, and no response will follow. What a handler wanted said is
    answered with `Heard`; what the call itself owes is asked for once more.
    """
    playout, gate = call.playout, call.playout.gate
    waits = gate.asked is not None and gate.asked.tag == tag and not gate.stale
    retryable = verdict(event) is Verdict.RETRYABLE
    if waits and responses.wait(call, event.retry_ms, now_ms):
        playout.refused(tag, again=True)
        return
    owed = waits and (retryable or tag not in playout.utterances)
    call.failures += owed
    if owed and call.failures >= FAILURES:
        ending.fail(call, Reason.UPSTREAM_LOST, now_ms, f"responses are refused: {event.code}")
        return
    if retryable:
        responses.pause(call, event.code or event.kind, now_ms)
    playout.refused(tag, again=retryable)
    if not retryable and owed and gate.idle:
        playout.ask("retry", "", Kind.RESUMED, now_ms)


def frame_refused(call: CallState, event: m.FrameRefused) -> None:
    """By kind, without how each frame looked: else a peer's nonsense would fill log and memory."""
    if count(call.stats.frames_refused, f"{event.leg}: {event.why.partition(':')[0]}") == 1:
        call.out.append(m.Noted("frame refused", f"{event.leg}: {event.why}"))
