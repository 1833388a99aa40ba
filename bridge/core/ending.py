"""Every way a call ends: at once, after the last word was heard, with an apology, or with a goodbye."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import messages as m
from .messages import Phase, Reason
from .upstream_leg import Leg

if TYPE_CHECKING:
    from .call import Call

GENERATING_MS = 15_000
"""How long a goodbye may take to be generated before the drain stops waiting for it."""


def fail(call: Call, reason: Reason, now_ms: int, detail: str) -> None:
    """Nothing more is to be had from the model: tell the caller, then end (or send them to a person, if
    there is one).
    """
    if call.ending is not None and call.ending[0] is reason:
        return
    if call.up.state is not Leg.CLOSED:
        call.out.append(m.CloseUpstream(call.up.epoch))
    call.up.state = Leg.CLOSED
    call.ear.open = False
    call.out.append(m.Noted("the model is out", f"{reason.value}: {detail}"))
    apology = call.config.phrases.get("apology")
    if not call.admitted or apology is None:
        end(call, reason, now_ms, detail)
        return
    call.speaking.lost(now_ms)
    call.speaking.gate.waiting.clear()
    call.speaking.owed.stop()
    call.speaking.play("apology", apology, now_ms)
    fallback = call.config.fallback
    drain(call, reason, detail, f"transfer:{fallback}" if fallback else "ended", now_ms)


def drain(call: Call, reason: Reason, detail: str, intent: str, now_ms: int) -> None:
    """End when the last word was heard."""
    if call.ending is not None:
        return
    call.ending = (reason, detail)
    call.phase = Phase.DRAINING
    call.timers["generated"] = now_ms + GENERATING_MS
    call.out.append(m.NoteIntent(intent))


def transfer(call: Call, name: str, now_ms: int) -> None:
    """Send the caller on after the last word; where to, only floor 5 knows."""
    drain(call, Reason.TRANSFERRED, name, f"transfer:{name}", now_ms)


def drained(call: Call, reason: Reason, detail: str, now_ms: int) -> None:
    """End if nothing is asked for, generating or unheard. The watchdog runs from the expected end of
    playout, not from the end of generation; it is set once, so that marks that never come cannot put it
    off.
    """
    if call.phase is Phase.ENDED:
        return
    generating = call.up.state is Leg.READY and not call.speaking.gate.idle
    if generating and "generated" in call.timers:
        return
    line = call.speaking.line
    if line.quiet:
        end(call, reason, now_ms, detail)
    elif "drain" not in call.timers:
        call.timers.pop("generated", None)
        call.timers["drain"] = now_ms + line.remaining_ms(now_ms) + call.config.drain_slack_ms


def not_generated(call: Call, now_ms: int) -> None:
    """The goodbye we waited for was not said: a phrase says it."""
    goodbye = call.config.phrases.get("goodbye")
    if call.ending is not None and call.ending[0] is Reason.LIMIT and goodbye is not None:
        call.speaking.interrupt(now_ms, ours=True)
        call.speaking.gate.waiting.clear()
        call.speaking.play("goodbye", goodbye, now_ms)


def drain_over(call: Call, now_ms: int) -> None:
    if call.ending is not None:
        end(call, call.ending[0], now_ms, call.ending[1])


def shut_down(call: Call, now_ms: int) -> None:
    call.out.append(m.NoteIntent("ended"))
    end(call, Reason.SHUTDOWN, now_ms)


def end(call: Call, reason: Reason, now_ms: int, detail: str = "") -> None:
    if call.phase is Phase.ENDED:
        return
    call.phase = Phase.ENDED
    call.timers.clear()
    call.speaking.line.deadline_ms = None
    call.stats.ended_ms = now_ms
    call.stats.frames_dropped += call.ear.dropped
    for session in (call.up, call.spare):
        if session is not None and session.state not in (Leg.NONE, Leg.CLOSED):
            call.out.append(m.CloseUpstream(session.epoch))
    call.out += (m.CloseCarrier(), m.Ended(reason, detail))


def goodbye(call: Call, why: str, now_ms: int) -> None:
    """The model is told to say goodbye, and the call ends when that was heard; a phrase stands in if it
    does not.
    """
    if call.ending is not None or call.phase is not Phase.LIVE:
        return
    call.out.append(m.Noted("a limit was reached", why))
    call.speaking.ask(
        "goodbye", f"The call has to end now, because {why}. Say goodbye in one short sentence."
    )
    drain(call, Reason.LIMIT, why, "ended", now_ms)
    call.timers["generated"] = now_ms + call.config.limits.goodbye_ms // 2


def handler_failed(call: Call, event: m.HandlerFailed, now_ms: int) -> None:
    call.speaking.interrupt(now_ms, ours=True)
    if (apology := call.config.phrases.get("apology")) is not None:
        call.speaking.play("apology", apology, now_ms)
    drain(call, Reason.HANDLER_FAILED, event.detail, "ended", now_ms)


def media_gap(call: Call, now_ms: int) -> None:
    due_ms = call.ear.last_ms + call.config.media_gap_ms
    if due_ms <= now_ms:
        end(call, Reason.NO_MEDIA, now_ms)
    else:
        call.timers["media"] = due_ms
