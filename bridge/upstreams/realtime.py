"""The Realtime dialect: OpenAI coined it, most vendors imitate it.

https://developers.openai.com/api/docs/guides/realtime-conversations and the API reference's "Realtime client
events" and "Realtime server events". GA names are spoken; the older spellings of six events are understood.

A delta of the model's sound is decoded once, into typed fields: its base64 stays text. Rare events keep their
inner objects undecoded, and are read a second time when we want them. Both directions are one module, over
400 lines, because what was asked decides how an answer is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeAlias, assert_never

from bridge.codecs import clean_size_bytes
from bridge.core import messages as m
from bridge.core.messages import AppendAudio
from bridge.errors import UpstreamError

from . import client_events, mcp_notes
from . import server_events as wire
from .asked_responses import AskedResponses
from .client_events import client_event
from .configuration import differences, formats_ok, in_force, turn_detection_does
from .mcp_notes import McpNotes
from .remembered import remember
from .retry_after import RetryAfter
from .values import MAX_ID_CHARACTERS, counted, id_of, reason, required, says, text_of

MAX_FRAME_CHARACTERS: Final = 8 * 1024 * 1024
"""Of a frame we accept; the socket has the same limit. Long deltas and sessions with many tools are large."""

_MOST_SECONDS: Final = 86_400.0
"""Of one transcription."""

SessionTree: TypeAlias = Callable[[m.SessionConfig, bool], dict[str, Any]]
"""How a vendor spells a configuration; the second argument says that it is not the session's first."""

_COMMENTARY: Final = "commentary"
_AUDIO_DELTA: Final = "response.output_audio.delta"
_BUSY: Final = "conversation_already_has_active_response"
_SENTENCES: Final = {
    _BUSY: re.compile(r"\balready has an active response\b", re.IGNORECASE),
    "response_cancel_not_active": re.compile(r"\bno active response\b", re.IGNORECASE),
}
"""Errors that older and other servers send without their code, by what they say."""


class Realtime:
    """Both directions of one upstream session. It remembers what it asked for and has no answer to yet."""

    __slots__ = (
        "_asked",
        "_awaited",
        "_configured",
        "_count",
        "_epoch",
        "_formats_ok",
        "_mcp",
        "_retry_after",
        "_tree",
        "_whose",
        "_worded",
    )
    tags: ClassVar[bool] = True
    """Whether a response says what it was asked by."""

    def __init__(self, session_tree: SessionTree, epoch: int = 1) -> None:
        self._tree = session_tree
        self._epoch = epoch
        self._count = 0
        self._configured: dict[str, Any] | None = None  # the tree whose answer came last
        self._awaited: dict[str, dict[str, Any]] = {}  # trees whose answer has not come, by event id
        self._asked = AskedResponses(tags=self.tags)
        self._whose: dict[str, str] = {}  # items being made, and the response that makes them
        self._mcp = McpNotes(epoch)
        self._formats_ok = False
        self._worded: dict[str, None] = {}  # items whose words came
        self._retry_after = RetryAfter()

    # --- what comes in -----------------------------------------------------------------------------------

    def parse(self, frame: str | bytes) -> m.UpstreamEvent | None:
        if not isinstance(frame, str):
            raise UpstreamError("a binary frame", frame=frame)
        if len(frame) > MAX_FRAME_CHARACTERS:
            raise UpstreamError(f"a frame of more than {MAX_FRAME_CHARACTERS} characters", frame=frame)
        try:
            event = wire.decode_event(frame)
        except wire.UNREADABLE as unreadable:
            wire.refuse_if_known(frame, self.readers, unreadable)
            return None
        if event.type == _AUDIO_DELTA:  # as _audio_delta reads it, without the ways to fail
            delta, item_id, response_id = event.delta, event.item_id, event.response_id
            if (
                delta
                and item_id
                and response_id
                and len(item_id) + len(response_id) <= MAX_ID_CHARACTERS
                and (size := clean_size_bytes(delta)) >= 0
            ):
                return m.AudioDelta(response_id, item_id, event.content_index or 0, delta, size, self._epoch)
        reader = self.readers.get(event.type)
        if reader is None:
            return None
        try:
            return reader(self, event)
        except wire.UNREADABLE as unreadable:
            raise UpstreamError(f"{event.type} {unreadable}", frame=frame) from unreadable

    def _session_created(self, event: wire.Event) -> m.SessionCreated:
        session = wire.decode_session(event.session)
        expires_at_s = wire.if_readable(wire.decode_number, session.expires_at) or 0
        return m.SessionCreated(self._epoch, id_of(session.id, "session.id"), int(expires_at_s))

    def _session_updated(self, event: wire.Event) -> m.SessionUpdated | m.ProbeAnswered:
        session = self._in_force(wire.decode_tree(event.session))
        # It does not echo our event id, but updates are answered in order.
        if self._awaited:
            event_id = next(iter(self._awaited))
            tree = self._awaited.pop(event_id)
            if event_id.startswith("probe:"):
                return m.ProbeAnswered(self._epoch)
            self._configured = tree
        asked = self._configured
        self._formats_ok = formats_ok(session, self._formats_ok)
        return m.SessionUpdated(
            self._epoch,
            self._formats_ok,
            turn_detection_does("interrupt_response", session, asked),
            turn_detection_does("create_response", session, asked),
            () if asked is None else self._differences(asked, session),
        )

    def _in_force(self, session: dict[str, Any]) -> dict[str, Any]:
        """The session as a server told it, in the shape of `SessionTree`."""
        return in_force(session)

    def _differences(self, asked: dict[str, Any], told: dict[str, Any]) -> tuple[str, ...]:
        """What is not in force as it was asked, each in a sentence."""
        return tuple(differences(asked, told))

    def _spelled(self, tree: dict[str, Any]) -> dict[str, Any]:
        """A session, or part of one, as this vendor wants it."""
        return tree

    def _speech_started(self, event: wire.Event) -> m.SpeechStarted:
        return m.SpeechStarted(id_of(event.item_id, "item_id"), int(event.audio_start_ms or 0), self._epoch)

    def _speech_stopped(self, event: wire.Event) -> m.SpeechStopped:
        return m.SpeechStopped(id_of(event.item_id, "item_id"), int(event.audio_end_ms or 0), self._epoch)

    def _committed(self, event: wire.Event) -> m.TurnCommitted:
        self._asked.turn_taken()
        return m.TurnCommitted(required(event.item_id, "item_id"), self._epoch)

    def _idled(self, event: wire.Event) -> m.CallerIdled:
        return m.CallerIdled(id_of(event.item_id, "item_id"), self._epoch)

    def _item_added(self, event: wire.Event) -> m.ItemAdded:
        item = wire.decode_item(event.item)
        item_id = required(item.id, "item.id")
        content = wire.if_readable(wire.decode_content, item.content) or ()
        self._mcp.item_added(item_id, item)
        return m.ItemAdded(
            item_id,
            text_of(item.type) or "message",
            text_of(item.role),
            "".join(part.text or part.transcript or "" for part in content),
            id_of(event.previous_item_id, "previous_item_id") or None,
            self._whose.pop(item_id, ""),
            self._epoch,
            item.phase == _COMMENTARY,
        )

    def _output_item_added(self, event: wire.Event) -> m.ItemAdded | None:
        # conversation.item.added, which comes next, does not say which response makes the item.
        item = wire.decode_item(event.item)
        item_id, response_id = id_of(item.id, "item.id"), id_of(event.response_id, "response_id")
        if item_id and response_id:
            remember(self._whose, item_id, response_id)
            if item.phase == _COMMENTARY:  # and the next one may not say it
                kind, role = text_of(item.type), text_of(item.role)
                return m.ItemAdded(item_id, kind, role, "", None, response_id, self._epoch, True)
        return None

    def _output_item_done(self, event: wire.Event) -> m.ToolCalled | m.VendorNote | m.TextDelta | None:
        # A function call is also told by response.function_call_arguments.done, and again in response.done.
        # This one knows whether it is whole: "incomplete" was cut off in the middle of its arguments.
        item = wire.decode_item(event.item)
        if item.type == "message":
            content = wire.if_readable(wire.decode_content, item.content) or ()
            words = "".join(part.transcript or part.text or "" for part in content)
            spoken = any(part.transcript for part in content)
            return self._all_words(required(item.id, "item.id"), event.response_id, words, spoken=spoken)
        if item.type != "function_call":
            return self._mcp.item_done(event.item)
        return m.ToolCalled(
            required(event.response_id, "response_id"),
            required(item.id, "item.id"),
            required(item.call_id, "item.call_id"),
            required(item.name, "item.name"),
            item.arguments or "",
            item.status in (None, "completed"),
            self._epoch,
        )

    def _item_done(self, event: wire.Event) -> m.VendorNote | None:
        return self._mcp.item_done(event.item)

    def _item_deleted(self, event: wire.Event) -> m.ItemGone:
        return m.ItemGone(required(event.item_id, "item_id"), self._epoch)

    def _transcribed(self, event: wire.Event) -> m.CallerTranscribed | None:
        # xAI tells `completed` again and again while the caller speaks, with status in_progress.
        if event.status == "in_progress":
            return None
        item_id = required(event.item_id, "item_id")
        usage = wire.if_readable(wire.decode_usage, event.usage)
        seconds = min(max(0.0, usage.seconds or 0.0), _MOST_SECONDS) if usage else 0.0
        tokens = None
        if usage and usage.input_tokens is not None:
            # What a transcription puts out is text, and it does not say so.
            usage.output_token_details = wire.Tokens(text_tokens=usage.output_tokens)
            tokens = counted(usage)
        return m.CallerTranscribed(item_id, event.transcript or "", False, seconds, tokens, self._epoch)

    def _transcribing(self, event: wire.Event) -> m.CallerWords:
        words = event.delta or event.transcript or ""  # xAI tells all words so far, as `.updated`
        return m.CallerWords(id_of(event.item_id, "item_id"), words, self._epoch)

    def _untranscribed(self, event: wire.Event) -> m.CallerTranscribed:
        item_id = required(event.item_id, "item_id")
        return m.CallerTranscribed(item_id, "", failed=True, why=reason(event.error), epoch=self._epoch)

    def _response_started(self, event: wire.Event) -> m.ResponseStarted:
        response = wire.decode_response(event.response)
        response_id = required(response.id, "response.id")
        tag, aside = self._asked.begun(response)
        return m.ResponseStarted(response_id, tag, aside, self._epoch)

    def _response_done(self, event: wire.Event) -> m.ResponseDone:
        # The last word on a response, and the next one waits for it: only the id can make it worthless.
        response = wire.decode_response(event.response)
        response_id = required(response.id, "response.id")
        self._whose = {item_id: whose for item_id, whose in self._whose.items() if whose != response_id}
        details = wire.if_readable(wire.decode_details, response.status_details) or wire.StatusDetails()
        error = details.error or wire.Fault()
        why = text_of(details.reason) or text_of(error.code) or text_of(error.type)
        # xAI tells usage beside the response, and `{}` in it. An empty one is unknown, not zero.
        told = (wire.if_readable(wire.decode_usage, raw) for raw in (response.usage, event.usage))
        tokens = next((counted(usage) for usage in told if usage is not None and says(usage)), None)
        status = text_of(response.status) or "completed"
        return m.ResponseDone(response_id, status, why, tokens, self._epoch, self._retry_after.of(error))

    def _audio_delta(self, event: wire.Event) -> m.AudioDelta | None:
        response_id = required(event.response_id, "response_id")
        item_id = required(event.item_id, "item_id")
        audio = event.delta
        if audio is None:
            raise ValueError("without delta")
        # It goes on as it came, inside of the carrier's JSON: only base64 can say nothing there.
        size = clean_size_bytes(audio)
        if size < 0:
            raise ValueError("whose delta is not base64")
        if not audio:
            return None
        return m.AudioDelta(response_id, item_id, event.content_index or 0, audio, size, self._epoch)

    def _audio_done(self, event: wire.Event) -> m.AudioDone:
        response_id = required(event.response_id, "response_id")
        item_id = required(event.item_id, "item_id")
        return m.AudioDone(response_id, item_id, event.content_index or 0, self._epoch)

    def _spoken(self, event: wire.Event) -> m.TextDelta | None:
        return self._words(event, spoken=True)

    def _written(self, event: wire.Event) -> m.TextDelta | None:
        return self._words(event, spoken=False)

    def _words(self, event: wire.Event, *, spoken: bool) -> m.TextDelta | None:
        response_id = required(event.response_id, "response_id")
        item_id = required(event.item_id, "item_id")
        if event.delta is None:
            raise ValueError("without delta")
        if not event.delta:
            return None
        remember(self._worded, item_id, None)
        return m.TextDelta(response_id, item_id, event.content_index or 0, event.delta, spoken, self._epoch)

    def _all_spoken(self, event: wire.Event) -> m.TextDelta | None:
        words = event.transcript or ""
        return self._all_words(required(event.item_id, "item_id"), event.response_id, words, spoken=True)

    def _all_words(
        self, item_id: str, response_id: str | None, words: str, *, spoken: bool
    ) -> m.TextDelta | None:
        """The words of an item as a whole: of use where no delta had them."""
        if not words or item_id in self._worded:
            return None
        remember(self._worded, item_id, None)
        return m.TextDelta(required(response_id, "response_id"), item_id, 0, words, spoken, self._epoch)

    def _fault(self, event: wire.Event) -> m.UpstreamFaulted | m.ProbeAnswered:
        fault = wire.decode_fault(event.error)
        code, about = text_of(fault.code), text_of(fault.event_id)
        message, param, kind = text_of(fault.message), text_of(fault.param), text_of(fault.type)
        code = next(
            (known for known, says in _SENTENCES.items() if kind == known or says.search(message)), code
        )
        # Older servers do not echo the event id here. Only one create at a time can have met a response.
        if not about and code == _BUSY:
            about = f"create:{first}" if (first := self._asked.first()) else ""
        self._awaited.pop(about, None)
        if about.startswith("create:"):
            self._asked.refused(about.removeprefix("create:"))
        if about.startswith("probe:"):
            return m.ProbeAnswered(self._epoch)
        return m.UpstreamFaulted(code, message, about, param, kind, self._epoch, self._retry_after.of(fault))

    def _rate_limits(self, event: wire.Event) -> None:
        self._retry_after.limits(event.rate_limits)

    def _mcp_note(self, event: wire.Event) -> m.VendorNote:
        return self._mcp.note(event)

    def _conversation_created(self, _event: wire.Event) -> None:
        self._asked.conversation_named()

    readers: ClassVar[dict[str, Callable[[Realtime, wire.Event], m.UpstreamEvent | None]]] = {
        _AUDIO_DELTA: _audio_delta,
        "response.output_audio.done": _audio_done,
        "response.output_audio_transcript.delta": _spoken,
        "response.output_audio_transcript.done": _all_spoken,
        "response.output_text.delta": _written,
        "session.created": _session_created,
        "session.updated": _session_updated,
        "input_audio_buffer.speech_started": _speech_started,
        "input_audio_buffer.speech_stopped": _speech_stopped,
        "input_audio_buffer.committed": _committed,
        "input_audio_buffer.timeout_triggered": _idled,
        "conversation.created": _conversation_created,
        "conversation.item.added": _item_added,
        "conversation.item.done": _item_done,
        "conversation.item.deleted": _item_deleted,
        "conversation.item.input_audio_transcription.delta": _transcribing,
        "conversation.item.input_audio_transcription.updated": _transcribing,
        "conversation.item.input_audio_transcription.completed": _transcribed,
        "conversation.item.input_audio_transcription.failed": _untranscribed,
        "response.created": _response_started,
        "response.output_item.added": _output_item_added,
        "response.output_item.done": _output_item_done,
        "response.done": _response_done,
        "error": _fault,
        "rate_limits.updated": _rate_limits,
        **dict.fromkeys(mcp_notes.EVENTS, _mcp_note),
        # As they were spelled before GA.
        "response.audio.delta": _audio_delta,
        "response.audio.done": _audio_done,
        "response.audio_transcript.delta": _spoken,
        "response.audio_transcript.done": _all_spoken,
        "response.text.delta": _written,
        "conversation.item.created": _item_added,
    }

    # --- what goes out -----------------------------------------------------------------------------------

    @staticmethod
    def append(audio: str) -> str:
        return f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}'

    def write(self, command: m.UpstreamCommand) -> str:
        if type(command) is AppendAudio:
            return self.append(command.audio)
        match command:
            case m.TruncateItem(item_id, part, heard_ms):
                cut = {"item_id": item_id, "content_index": part, "audio_end_ms": heard_ms}
                return client_event("conversation.item.truncate", f"truncate:{item_id}", **cut)
            case m.DeleteItem(item_id):
                return client_event("conversation.item.delete", f"delete:{item_id}", item_id=item_id)
            case m.CancelResponse(response_id):
                which = {"response_id": response_id} if response_id else {}
                return client_event("response.cancel", f"cancel:{response_id}", **which)
            case m.CreateResponse():
                return self._create(command)
            case m.CreateItem(item_id):
                return client_event(
                    "conversation.item.create", f"item:{item_id}", item=client_events.item(command)
                )
            case m.ConfigureSession():
                return self._configure(command)
            case m.CommitAudio():
                return client_event("input_audio_buffer.commit", "commit")
            case m.ForgetAudio():
                return client_event("input_audio_buffer.clear", "forget")
            case m.Probe():
                # API reference, session.update: "Only the fields that are present are updated", so this one
                # changes nothing. Every server has answered one already, else there would be no session; not
                # every server that speaks this protocol answers for an item that it does not know.
                return self._update("probe", {"type": "realtime"})
            case m.SendVendorEvent(body):
                return body
            case m.TellModel() | m.ContinueBackend() | m.MuteInput() | m.CloseSession():
                raise UpstreamError(f"{type(command).__name__} is for sessions without responses")
            case _:
                assert_never(command)

    def _configure(self, command: m.ConfigureSession) -> str:
        return self._update("configure", self._tree(command.config, command.again))

    def _update(self, why: str, tree: dict[str, Any]) -> str:
        self._count += 1
        event_id = f"{why}:{self._count}"
        self._awaited[event_id] = tree
        return client_event("session.update", event_id, session=self._spelled(tree))

    def _create(self, command: m.CreateResponse) -> str:
        self._asked.ask(command.tag, aside=command.aside)
        return client_event("response.create", f"create:{command.tag}", response=self._asked_for(command))

    def _asked_for(self, command: m.CreateResponse) -> dict[str, Any]:
        """The response of a response.create, as this vendor wants it."""
        return client_events.response(command)
