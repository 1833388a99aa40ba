"""What comes from a model's server, and what is made of it: one function a kind of news, as in the calls."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from bridge.client.config import audio_format
from bridge.client.events import Audio, Failed, Idled, ItemUpdated, RawEvent, ResponseTraced, SessionInForce
from bridge.client.items import normalised
from bridge.core import messages as m
from bridge.core.conversation import MOST_CHARACTERS
from bridge.core.debts import Kind
from bridge.core.vendor_errors import Verdict, verdict
from bridge.errors import ConfigError, UpstreamError
from bridge.upstreams.configuration import in_force, part, turn_detection_does

if TYPE_CHECKING:
    from bridge.client.core import ModelCore

MOST_TRACES = 256
"""Responses whose end has not come."""


def receive(core: ModelCore, frame: str, now_ms: int) -> None:
    """One frame of the server's. Whatever is wrong with it becomes a `Failed`, and costs nothing else."""
    event: Any = None
    problem: Exception | None = None
    try:
        event = msgspec.json.decode(frame)
    except (ValueError, RecursionError) as error:
        problem = error
    readable = isinstance(event, dict)
    core.out.append(RawEvent(frame, event if readable else None))
    if not readable:
        core.out.append(Failed(problem or ValueError("no JSON object"), "reading a frame"))
        return
    steps: tuple[Callable[[], None], ...] = (
        lambda: _beside(core, event),
        lambda: _upstream(core, core.adapter.parse(frame), now_ms),
    )
    for step in steps:
        try:
            step()
        except (UpstreamError, ConfigError, ValueError) as error:
            core.out.append(Failed(error, f"reading {event.get('type')}"))
    core.act()


def _upstream(core: ModelCore, message: m.UpstreamEvent | None, now_ms: int) -> None:
    playout = core.playout
    match message:
        case None | m.SessionCreated() | m.CallerIdled() | m.CallerWords() | m.ProbeAnswered():
            pass  # told elsewhere with more in it, or not asked for here
        case m.UsageSeen() | m.SessionEnding() | m.StreamAudio() | m.Fragment():
            pass  # of vendors that this client does not know
        case m.Delegated() | m.BackendDone() | m.Accepted():
            pass
        case m.AudioDelta():
            _delta(core, message, now_ms)
        case m.ResponseDone():
            _done(core, message, now_ms)
        case m.SessionUpdated():
            core.settled()
        case m.UpstreamFaulted():
            _faulted(core, message)
        case m.ToolCalled():
            playout.conversation.item(message.item_id, message.response_id).kind = "function_call"
            if playout.conversation.tools.called(message) is not None:
                playout.debts.called(message.response_id, message.call_id, now_ms)
                core.out.append(message)
        case m.ItemAdded():
            playout.conversation.added(message)
        case _:
            core.out.append(message)
            _told(core, message, now_ms)


def _told(core: ModelCore, message: m.UpstreamEvent, now_ms: int) -> None:
    """What the bookkeeping makes of events that the listeners get as they are."""
    playout = core.playout
    match message:
        case m.SpeechStarted():
            core.listening = True
            core.turn += 1
            playout.debts.superseded()
            playout.debts.owe(f"turn:{core.turn}", Kind.TURN, now_ms)
            core.interrupt(now_ms, force=False)
        case m.SpeechStopped():
            core.listening = False
        case m.AudioDone():
            playout.item_finished(message.item_id, message.part, now_ms)
        case m.TextDelta():
            playout.conversation.words(message)
        case m.ItemGone():
            playout.conversation.item(message.item_id).gone = True
        case m.ResponseStarted():
            core.traces[message.response_id] = core.asked_ms.pop(message.tag, None), now_ms, None
            if len(core.traces) > MOST_TRACES:
                del core.traces[next(iter(core.traces))]
            playout.response_started(message, now_ms)
        case m.CallerTranscribed():
            item = playout.conversation.item(message.item_id)
            item.role, item.text = "user", message.text[:MOST_CHARACTERS]
            core.retrieve(message.item_id)


def _delta(core: ModelCore, delta: m.AudioDelta, now_ms: int) -> None:
    core.playout.delta(delta, now_ms)
    if not any(isinstance(action, m.PlayAudio) for action in core.actions):
        return  # it is late: its response was cut
    if core.last_audio is None or core.last_audio[:2] != (delta.item_id, delta.part):
        core.last_audio = delta.item_id, delta.part, now_ms
    trace = core.traces.get(delta.response_id)
    if trace is not None and trace[2] is None:
        core.traces[delta.response_id] = (*trace[:2], now_ms)
    core.out.append(Audio(delta.response_id, delta.item_id, delta.part, b64decode(delta.audio)))


def _done(core: ModelCore, done: m.ResponseDone, now_ms: int) -> None:
    trace = core.traces.pop(done.response_id, None)
    if trace is None:
        return  # of a response that is over, or never was: it ends no other
    core.out.append(done)
    core.playout.response_done(done, now_ms)
    core.out.append(ResponseTraced(done.response_id, *trace, now_ms, done.status, done.usage))


def _faulted(core: ModelCore, fault: m.UpstreamFaulted) -> None:
    about, _, subject = fault.about.partition(":")
    what = verdict(fault)
    if about in ("configure", ""):
        core.settled()
    if what is Verdict.BENIGN or about in ("truncate", "delete", "cancel", "retrieve"):
        core.out.append(m.Noted("a race was lost", f"{fault.code}: {fault.message}"))
        return
    core.out.append(fault)
    if what is Verdict.BUSY or about == "create":
        busy = what is Verdict.BUSY
        core.playout.refused(subject if about == "create" else None, again=busy)


def _beside(core: ModelCore, event: dict[str, Any]) -> None:
    """Events that calls have no use for, or less."""
    kind = event.get("type")
    match kind:
        case "session.created" | "session.updated":
            _in_force(core, event.get("session"), created=kind == "session.created")
        case "conversation.item.truncated":
            core.retrieve(str(event.get("item_id")))
        case "input_audio_buffer.timeout_triggered":
            start_ms, end_ms = (int(event.get(name) or 0) for name in ("audio_start_ms", "audio_end_ms"))
            core.out.append(Idled(str(event.get("item_id")), start_ms, end_ms))
        case "conversation.item.added" | "conversation.item.created":
            _item(core, event, previous_id=event.get("previous_item_id"))
        case "conversation.item.retrieved" | "response.output_item.added":
            _item(core, event)
        case "response.output_item.done":
            _item(core, event, calls=True)


def _item(core: ModelCore, event: dict[str, Any], *, previous_id: Any = None, calls: bool = False) -> None:
    """A message is told whenever there is more of it; a call of a function when it is whole, and to be
    answered.
    """
    item = normalised(event.get("item"), previous_id=previous_id)
    if item.kind == "message":
        core.out.append(ItemUpdated(item))
    elif calls and item.kind == "function_call" and item.status == "completed":
        core.out.append(ItemUpdated(msgspec.structs.replace(item, status="in_progress")))


def _in_force(core: ModelCore, given: Any, *, created: bool) -> None:
    if not isinstance(given, dict) or given.get("type", "realtime") != "realtime":
        return  # a session that only transcribes
    core.session = session = in_force(given)
    core.out.append(SessionInForce(given, created))
    leg = core.playout.session
    leg.interrupts = turn_detection_does("interrupt_response", session, None)
    leg.responds = turn_detection_does("create_response", session, None)
    if created:
        core.trace(core.tracing, given.get("tracing"))
    audio = audio_format(part(session, "audio", "output", "format"))
    if audio is not None and audio != core.audio and core.playout.line.quiet:
        before = core.playout
        core.playout = playout = core.mouth(audio)
        playout.gate, playout.conversation = before.gate, before.conversation
        playout.session, playout.ready = before.session, before.ready
