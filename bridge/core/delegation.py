"""Work that a duplex model hands over: to us in words, or to the vendor's backend, which calls our tools.

Live API guide, "Delegation": the model delegates with metadata only. What it is about stands in what was
said. A client that does not answer is waited for without an end; a backend goes on only once every call of
the session has its output, and never says that it waits. Its input is bounded for the whole session.
"""

from __future__ import annotations

from typing import Final

import msgspec

from . import messages as m
from . import tool_calls
from .debts import Kind
from .delegated_work import Delegation
from .due import NEVER
from .messages import Phase
from .state import CallState
from .tool_results import COULD_NOT, LONG, MOST_INPUT_BYTES, of, wire_bytes
from .upstream_leg import Leg

REQUEST_MS: Final = 1_500
"""After a delegation, which may come before the caller's sentence is over: then its request is made."""
WORDS_MS: Final = 1_200
"""From the caller's last sound to its words."""
MOST_REQUEST_CHARACTERS: Final = 4_000
MOST_KNOWN: Final = 256
RENEW_BYTES: Final = 24_576
RENEW_ITEMS: Final = 100
"""The backend takes 128 items and 32 KiB a session: another session takes over before that."""
VOICED_MS: Final = 5_000
"""After the caller's voice its words have come, however uneven their delivery."""
FORGOTTEN_MS: Final = 8_000
"""Both sides are silent after words of the caller's: the model meant to hand something over, and did not."""
STUCK_MS: Final = 20_000
"""Without a word from a backend that is at work, and from the model: it will not answer any more."""
FAILED_MS: Final = 4_000
"""After a response of the backend's failed, for the model to say so: then it is made once more."""
AGAIN: Final = 2
"""Refusals of the backend's to go on, one after another: then another session takes over."""


# --- what the vendor says


def delegated(call: CallState, event: m.Delegated, now_ms: int) -> None:
    """The model has handed work over, once."""
    given = of(call)
    if event.id in given.known:
        return
    given.known[event.id] = None
    if len(given.known) > MOST_KNOWN:
        del given.known[next(iter(given.known))]
    if event.target == "responses":
        given.running, given.told_ms = True, now_ms
        given.words, given.voiced = "", False
    elif event.target == "client":
        given.requests[event.id] = now_ms + REQUEST_MS
    else:
        call.out.append(m.Noted("work for another", f"it was handed to {event.target}"))


def heard(call: CallState, event: m.Fragment, now_ms: int) -> None:
    """The caller's words, which say what work is about. The model also tells some that were never said."""
    given = of(call)
    given.voiced |= call.caller_audio.voice_ended_ms >= max(0, now_ms - VOICED_MS)
    given.words = (given.words + event.text)[-MOST_REQUEST_CHARACTERS:]


def called(call: CallState, event: m.ToolCalled, now_ms: int) -> None:
    """The backend calls a tool."""
    given = of(call)
    if event.complete and event.call_id not in call.playout.conversation.tools.calls:
        given.calls[event.call_id] = event.response_id
    given.told_ms = now_ms
    tool_calls.tool_called(call, event, now_ms)


def backend_done(call: CallState, event: m.BackendDone, now_ms: int) -> None:
    """A response of the backend's is over. The calls of one that failed are void."""
    given = of(call)
    given.running, given.refusals, given.told_ms = False, 0, now_ms
    given.failures = given.failures + 1 if event.failed else 0
    call.spending.backend(event.usage)
    call.stats.add_usage(event.usage)
    if event.failed:
        call.out.append(m.Noted("the backend failed", event.why))
        for call_id in [one for one, whose in given.calls.items() if whose == event.id]:
            del given.calls[call_id]


def refused(call: CallState, event: m.UpstreamFaulted) -> bool:
    """Whether the error is the backend's, and was seen to."""
    given = of(call)
    about, _, subject = event.about.partition(":")
    if event.code == "response_input_buffer_full":
        given.input_bytes = max(given.input_bytes, MOST_INPUT_BYTES)
        if about == "item":
            output = m.CreateItem(subject, call_id=subject, output=LONG, epoch=call.up.epoch)
            call.out += (m.Noted("the backend is full", subject), output)
            given.unread = True
    elif event.code == "function_call_outputs_required":
        given.running, given.unread = False, True
        given.refusals += about == "continue"
    else:
        return False
    return True


# --- what it is told


def settle(call: CallState, now_ms: int) -> None:
    """The rule at the end of every event of a duplex call."""
    given = of(call)
    given.due_ms = NEVER
    if call.up.state is not Leg.READY or call.phase not in (Phase.LIVE, Phase.DRAINING):
        return
    for delegation_id, latest_ms in list(given.requests.items()):
        due_ms = latest_ms if call.caller_audio.loud else call.caller_audio.voice_ended_ms + WORDS_MS
        if now_ms >= min(due_ms, latest_ms):
            request(call, given, delegation_id, now_ms)
        else:
            given.due_ms = min(given.due_ms, due_ms, latest_ms)
    if given.unread and not given.running and not given.calls:
        go_on(call, given, now_ms)
    unanswered(call, given, now_ms)
    if not given.leaves and (given.input_bytes >= RENEW_BYTES or given.items >= RENEW_ITEMS):
        leave(call, given, now_ms)
    remind(call, given, now_ms)


def go_on(call: CallState, given: Delegation, now_ms: int) -> None:
    """All calls have their outputs: the backend goes on, once. One that says again and again that it lacks
    some is left behind.
    """
    given.unread = False
    if given.refusals > AGAIN:
        call.out.append(m.Noted("the backend does not go on", f"{given.refusals} refusals"))
        given.stuck = "its backend does not go on"
        return
    given.running, given.told_ms = True, now_ms
    call.out.append(m.ContinueBackend(call.up.epoch))


def unanswered(call: CallState, given: Delegation, now_ms: int) -> None:
    """The caller waits, and nothing says that the backend has done its work: one that failed is asked once
    more, one that says nothing never will.
    """
    failed = given.failures and not given.busy
    silent = given.running and not given.calls
    if not (failed or silent) or call.playout.owed.since_ms is None or call.playout.gate.active is not None:
        return
    due_ms = max(given.told_ms, call.playout.owed.since_ms) + (FAILED_MS if failed else STUCK_MS)
    if now_ms < due_ms:
        given.due_ms = min(given.due_ms, due_ms)
    elif silent or given.failures > 1:
        given.stuck = "its backend does not answer"
    else:
        go_on(call, given, now_ms)


def leave(call: CallState, given: Delegation, now_ms: int) -> None:
    """Another session is to take over, with a backend of its own."""
    given.leaves = True
    call.up.renew_due_ms = min(call.up.renew_due_ms, now_ms)


def request(call: CallState, given: Delegation, delegation_id: str, now_ms: int) -> None:
    """The caller's words since the last one are what the work is about. Without a tool for it the answer is
    that it cannot be done: no answer at all would be waited for.
    """
    del given.requests[delegation_id]
    words, given.words, given.voiced = given.words.strip(), "", False
    name = call.playout.config.delegate
    if not name:
        about = f"result:{delegation_id}"
        call.out.append(m.TellModel("say", COULD_NOT, about, delegation_id, call.up.epoch))
        return
    given.tasks[delegation_id] = None
    arguments = msgspec.json.encode({"request": words}).decode()
    task = m.ToolCalled(delegation_id, delegation_id, delegation_id, name, arguments, epoch=call.up.epoch)
    tool_calls.tool_called(call, task, now_ms)


def remind(call: CallState, given: Delegation, now_ms: int) -> None:
    """The model said that it will do something, or nothing at all, and has handed nothing over: what the
    caller said, by our ear too, is put to the backend by us, once.
    """
    since_ms = call.silence.since_ms
    if call.playout.owed.since_ms is not None and call.playout.debts.of(Kind.TURN):
        since_ms = call.playout.owed.since_ms
    hands_over = bool(call.playout.config.tools) and not call.playout.config.delegate
    if since_ms is None or given.busy or not given.voiced or not hands_over or call.caller_speaking:
        return
    if not given.words.strip() or asks(call):
        return
    if now_ms < since_ms + FORGOTTEN_MS:
        given.due_ms = min(given.due_ms, since_ms + FORGOTTEN_MS)
        return
    text, given.words, given.voiced = given.words.strip(), "", False
    given.items, given.input_bytes = given.items + 1, given.input_bytes + wire_bytes(text)
    item = m.CreateItem(call.playout.conversation.new_id(), "user", text, epoch=call.up.epoch)
    call.out += (m.Noted("nothing was handed over", "what the caller said is put to the backend"), item)
    given.unread = True
    go_on(call, given, now_ms)


def asks(call: CallState) -> bool:
    """Whether the model has asked the caller something last, and may wait for them."""
    for item in reversed(call.playout.conversation.items.values()):
        if item.role == "user":
            return False
        if item.kind == "message" and item.role == "assistant":
            return item.said().rstrip().endswith("?")
    return False
