"""Words that the caller should hear and cannot: the model is asked for them again.

What cannot be heard is deleted from the model's conversation, for the caller does not know of it.
"""

from __future__ import annotations

from . import ending, model_commands
from . import messages as m
from .due import NEVER
from .state import CallState

PLAYED_MS = 800
"""Of such words, before they are asked for again."""
MOST = 2
"""Responses of a session that may be so: then another one may do better (`recovery`)."""


def settle(call: CallState, now_ms: int) -> None:
    """Words that cannot be heard are not waited for to their end."""
    playout = call.playout
    response_id, played_ms = playing(call, now_ms)
    playout.faint = bool(playout.line.spans)
    playout.faint_due_ms = now_ms + PLAYED_MS - played_ms if response_id else NEVER
    if not response_id or played_ms < PLAYED_MS:
        return
    playout.faint_due_ms = NEVER
    if not delete(call, response_id):
        return
    if call.inaudible < MOST:
        playout.retry(response_id, inaudible=True)
    clear(call, response_id, now_ms)
    playout.cancel(response_id, now_ms)
    if ending.leaving(call):
        ending.not_generated(call, now_ms)


def playing(call: CallState, now_ms: int) -> tuple[str, int]:
    """The response being made whose words the caller should hear now, and cannot so far; with how much of it
    was played, in ms. ("", 0) without one.
    """
    playout, line = call.playout, call.playout.line
    span, active = next(iter(line.spans.values()), None), playout.gate.active
    if span is None or not active or span.response_id != active or active in playout.muted:
        return "", 0
    item = playout.conversation.item(span.item_id)
    if playout.can_be_heard(item) or item.cut or not item.worded or not line.spans.only(active):
        return "", 0
    return active, line.ledger.heard_bytes(span, now_ms) // call.config.bytes_per_ms


def delete(call: CallState, response_id: str) -> bool:
    """The model made words or sound of which nothing could be heard: its items are deleted. Returns whether
    there were any.
    """
    playout, found = call.playout, False
    if response_id in playout.gate.asides or playout.audible_in(response_id):
        return False
    for item in playout.conversation.of(response_id):
        if item.kind != "message" or item.cut:
            continue
        if item.received_bytes or item.worded:
            found = item.cut = item.gone = True
            call.out += model_commands.delete(playout.session, item.item_id)
            if item.received_bytes:
                call.out.append(m.Spoken(item.item_id, item.said(), "", 0, cut=True))
    if found:
        call.inaudible += 1
        call.out.append(m.Noted("inaudible", f"nothing of {response_id} could be heard"))
    return found


def clear(call: CallState, response_id: str, now_ms: int) -> None:
    """What the caller was to hear of that response is taken off the line, so that the answer need not wait
    for its end.
    """
    playout = call.playout
    if not playout.line.spans.only(response_id):
        return  # the caller hears something else
    commands, cut = playout.line.cut(now_ms)
    call.out += commands
    if playout.duplex is not None:
        playout.duplex.cut(cut)
    call.stats.heard_bytes += sum(span.heard_bytes for span in cut)
    playout.owed.taken_back(now_ms)
