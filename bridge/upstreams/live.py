"""GPT-Live: a model that listens and speaks at once, on one timeline. OpenAI's host and Azure's.

https://developers.openai.com/api/docs/guides/live and the API reference's "Live client events" and "Live
server events".

There are no turns, no items and no responses here, so most of what the core may ask of a Realtime session has
no word: nothing is cancelled, truncated, deleted or committed. The session's time goes on with the sound that
is sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from bridge.codecs.audible import is_audible
from bridge.codecs.blocks import runs
from bridge.core import messages as m
from bridge.core.messages import AppendAudio, Capabilities, SessionConfig
from bridge.errors import ConfigError, UpstreamError

from . import live_events as wire
from .azure import KEY as AZURE_KEY
from .azure import NO_ADDRESS, realtime_url
from .client_events import check_session, client_event
from .dial import Auth, Dial
from .live_session import BACKEND, delegation, pieces, start_tree
from .realtime import MAX_FRAME_CHARACTERS
from .remembered import remember
from .server_events import UNREADABLE, decode_item, decode_number, if_readable, refuse_if_known
from .values import id_of, reason, required, text_of, tokens_of

KEY: Final = "OPENAI_API_KEY"
MODEL: Final = "gpt-live-1.1"
URL: Final = "wss://api.openai.com/v1/live/sessions"
AZURE_PATH: Final = "/openai/v1/live/sessions"

ALPHA: Final = "alpha_dialect"
"""Our code for a host that speaks the preview's dialect."""

LIVE: Final = Capabilities(
    turns="duplex",
    clock="realtime",
    input_must_flow=True,
    cancels=False,
    truncates=False,
    deletes=False,
    speaks="append",
    tags=False,
    probes=False,
    reconfigures="backend",
    session_s=7_200,
    server_first=False,
    history="configure",
    tools="backend",
    priced_by="session_seconds",
    fatal_codes=(
        "invalid_api_key", "account_deactivated", "insufficient_quota", "credit_balance_exhausted",
        "billing_hard_limit_reached", "forbidden", "model_not_found", ALPHA,
    ),
    fatal_closes=(1002, 1003, 1007, 1008),
)  # fmt: skip

_APPENDS: Final = {"rule": "instructions", "fact": "thinking", "say": "commentary"}
"""What we tell the model, and the event that says it: to be obeyed, to be known, to be said."""
_OLD_NAMES: Final = frozenset({"session.created", "output_audio.delta", "turn.started", "turn.ended"})
_OF_THE_SERVER: Final = frozenset({"server_error", "overloaded", "rate_limit_exceeded", "rate_limit_error"})
"""Codes and types of errors that say nothing of what was asked for."""
_BENIGN: Final = "missing_scope"
"""A key that may not read responses is told so, and its session is started nevertheless."""

Parsed: TypeAlias = m.UpstreamEvent | tuple[m.UpstreamEvent, ...] | None
Written: TypeAlias = str | tuple[str, ...] | None


class Live:
    """Both directions of one session."""

    __slots__ = (
        "_auth", "_behind", "_count", "_done", "_epoch", "_instructions", "_key", "_responses", "_started",
        "_url",
    )  # fmt: skip

    def __init__(
        self,
        epoch: int = 1,
        url: str | None = None,
        *,
        auth: Auth = Auth.BEARER,
        key: str = KEY,
        backend: str = BACKEND,
    ) -> None:
        self._epoch = epoch
        self._url = url or URL
        self._auth = auth
        self._key = key
        self._behind = backend
        self._count = 0
        self._started = False
        self._instructions = ""
        self._responses: dict[str, str] = {}  # the response that a delegation's events are of
        self._done: dict[str, None] = {}  # responses whose end was told

    def dial(self, config: SessionConfig) -> Dial:
        check_session(start_tree(config, (), self._behind))
        return Dial(_checked(self._url), auth=self._auth, key=self._key)

    # --- what comes in -----------------------------------------------------------------------------------

    def parse(self, frame: str | bytes) -> Parsed:
        if not isinstance(frame, str):
            raise UpstreamError("a binary frame", frame=frame)
        if len(frame) > MAX_FRAME_CHARACTERS:
            raise UpstreamError(f"a frame of more than {MAX_FRAME_CHARACTERS} characters", frame=frame)
        try:
            event = wire.decode_event(frame)
        except UNREADABLE as unreadable:
            refuse_if_known(frame, self._readers, unreadable)
            return None
        if event.type in _OLD_NAMES and not self._started:
            return self._old_dialect()
        reader = self._readers.get(event.type)
        if reader is None:
            return None
        try:
            return reader(self, event)
        except UNREADABLE as unreadable:
            raise UpstreamError(f"{event.type} {unreadable}", frame=frame) from unreadable

    def _old_dialect(self) -> m.UpstreamFaulted:
        told = "this host speaks the preview's dialect of GPT-Live, whose events have other names"
        return m.UpstreamFaulted(ALPHA, told, "configure", kind="invalid_request_error", epoch=self._epoch)

    def _sound(self, event: wire.Event) -> Parsed:
        if event.delta is None:
            raise ValueError("without delta")
        try:
            blocks = runs(event.delta)
        except ValueError:
            raise ValueError("whose delta is not base64") from None
        pieces = (
            m.StreamAudio(audio, size, loud, self._epoch, faint=loud and not is_audible(audio))
            for audio, size, loud in blocks
        )
        return tuple(pieces) or None

    def _session_started(self, event: wire.Event) -> Parsed:
        session = wire.decode_session(event.session)
        self._started = True
        session_id = id_of(session.id, "session.id")
        expires_at_s = if_readable(decode_number, session.expires_at) or 0
        created = m.SessionCreated(self._epoch, session_id, int(expires_at_s))
        return created, m.SessionUpdated(self._epoch, _is_phone_sound(session.audio))

    def _session_updated(self, event: wire.Event) -> Parsed:
        session = wire.decode_session(event.session)
        return m.SessionUpdated(self._epoch, _is_phone_sound(session.audio))

    def _said(self, event: wire.Event) -> Parsed:
        return self._fragment("assistant", event)

    def _heard(self, event: wire.Event) -> Parsed:
        return self._fragment("user", event)

    def _fragment(self, role: str, event: wire.Event) -> Parsed:
        if not event.delta:
            return None
        if event.start_ms is None:
            raise ValueError("without start_ms")
        end_ms = event.start_ms if event.end_ms is None else event.end_ms
        return m.Fragment(role, event.delta, event.start_ms, max(event.start_ms, end_ms), self._epoch)

    def _accepted(self, event: wire.Event) -> Parsed:
        about = id_of(event.client_event_id, "client_event_id")
        return m.Accepted(about, self._epoch) if about and "#" not in about else None

    def _delegated(self, event: wire.Event) -> Parsed:
        given = wire.decode_delegation(event.delegation)
        delegation_id = required(given.id, "delegation.id")
        if given.response_id:
            remember(self._responses, delegation_id, id_of(given.response_id, "delegation.response_id"))
        target = required(given.target, "delegation.target")
        return m.Delegated(delegation_id, target, event.offset_ms or 0, self._epoch)

    def _backend(self, event: wire.Event) -> Parsed:
        nested = wire.decode_nested(event.event)
        whose = id_of(event.delegation_id, "delegation_id")
        match nested.type:
            case "response.created":
                response_id = required(wire.decode_response(nested.response).id, "response.id")
                remember(self._responses, whose, response_id)
            case "response.output_item.done":
                return self._called(nested, self._responses.get(whose, ""))
            case "response.completed" | "response.failed" | "response.incomplete":
                return self._backend_done(nested)
        return None

    def _called(self, nested: wire.Nested, response_id: str) -> Parsed:
        """A call comes three times, and only here with its id and its arguments."""
        item = decode_item(nested.item)
        if item.type != "function_call":
            return None
        call_id = required(item.call_id, "item.call_id")
        name = required(item.name, "item.name")
        item_id = id_of(item.id, "item.id") or call_id
        complete = item.status in (None, "completed")
        return m.ToolCalled(response_id, item_id, call_id, name, item.arguments or "", complete, self._epoch)

    def _backend_done(self, nested: wire.Nested) -> Parsed:
        response = wire.decode_response(nested.response)
        response_id = required(response.id, "response.id")
        if response_id in self._done:
            return None  # the vendor tells some ends twice, and bills them once
        remember(self._done, response_id, None)
        usage, tokens = if_readable(wire.decode_backend_usage, response.usage), None
        if usage is not None and usage.input_tokens is not None:
            cached = usage.input_tokens_details.cached_tokens if usage.input_tokens_details else 0
            tokens = m.Usage(
                text_in=tokens_of(usage.input_tokens),
                cached_text=tokens_of(cached),
                text_out=tokens_of(usage.output_tokens),
            )
        failed = nested.type != "response.completed"
        why = reason(response.error) or (nested.type.removeprefix("response.") if failed else "")
        return m.BackendDone(response_id, failed, tokens, why, self._epoch)

    def _usage(self, event: wire.Event) -> Parsed:
        told = wire.decode_seconds(event.usage).seconds
        return None if told is None else m.UsageSeen(self._epoch, max(0.0, told))

    def _closed(self, event: wire.Event) -> Parsed:
        told = if_readable(wire.decode_seconds, event.usage)
        ending = m.SessionEnding(0, text_of(event.reason), self._epoch)
        if told is None or told.seconds is None:
            return ending
        return m.UsageSeen(self._epoch, max(0.0, told.seconds), final=True), ending

    def _fault(self, event: wire.Event) -> Parsed:
        fault = wire.decode_fault(event.error)
        code, message = text_of(fault.code), text_of(fault.message)
        if code == _BENIGN and not self._started:
            return m.VendorNote(code, message, epoch=self._epoch)
        about = id_of(fault.client_event_id, "error.client_event_id").partition("#")[0]
        if not self._started and _OF_THE_SERVER.isdisjoint((code, text_of(fault.type))):
            about = about or "configure"  # what is refused in place of session.started is the session
        return m.UpstreamFaulted(code, message, about, text_of(fault.param), text_of(fault.type), self._epoch)

    _readers: ClassVar[dict[str, Callable[[Live, wire.Event], Parsed]]] = {
        "session.output_audio.delta": _sound,
        "session.output_transcript.delta": _said,
        "session.input_transcript.delta": _heard,
        "session.started": _session_started,
        "session.updated": _session_updated,
        "session.instructions.appended": _accepted,
        "session.thinking.appended": _accepted,
        "session.commentary.appended": _accepted,
        "session.delegation.created": _delegated,
        "response.event": _backend,
        "session.usage.updated": _usage,
        "session.closed": _closed,
        "error": _fault,
    }

    # --- what goes out -----------------------------------------------------------------------------------

    @staticmethod
    def append(audio: str) -> str:
        return f'{{"type":"session.input_audio.append","audio":"{audio}"}}'

    def write(self, command: m.UpstreamCommand) -> Written:
        if type(command) is AppendAudio:
            return self.append(command.audio)
        match command:
            case m.ConfigureSession():
                return self._configure(command)
            case m.TellModel():
                return self._tell(command)
            case m.CreateItem(item_id):
                return self._item(item_id, command)
            case m.ContinueBackend():
                return client_event("response.create", self._numbered("continue"))
            case m.MuteInput(on):
                kind = "session.input_audio.mute" if on else "session.input_audio.unmute"
                return client_event(kind, self._numbered("mute"))
            case m.CloseSession():
                return client_event("session.close", self._numbered("close"))
            case m.SendVendorEvent(body):
                return body
            case _:  # there is no such thing here: never a cancel, a truncation or a response
                return None

    def _configure(self, command: m.ConfigureSession) -> Written:
        config, event_id = command.config, self._numbered("start" if not command.again else "configure")
        if not command.again:
            self._instructions = config.instructions
            tree = start_tree(config, command.history, self._behind)
            return client_event("session.start", event_id, session=tree)
        rules: tuple[str, ...] = ()
        if config.instructions != self._instructions:
            # API reference, session.update: instructions are immutable. A rule is obeyed as well, and stays
            # when the context is compacted.
            self._instructions = config.instructions
            text = f"From now on these instructions hold in place of all before: {config.instructions}"
            rules = self._appends("rule", text, f"rule:{self._count}", "")
        changed = delegation(config, self._behind)
        update = client_event("session.update", event_id, session={"delegation": changed})
        return *rules, update

    def _tell(self, command: m.TellModel) -> Written:
        about = command.about or self._numbered(command.kind)
        return self._appends(command.kind, command.text, about, command.delegation)

    def _appends(self, kind: str, text: str, about: str, delegation_id: str) -> tuple[str, ...]:
        """API reference, appends: at most 500 tokens each. The last one has the plain event id, and its
        answer says that all of it is there.
        """
        parts = pieces(text)
        return tuple(
            client_event(
                f"session.{_APPENDS[kind]}.append",
                about if number == len(parts) else f"{about}#{number}",
                delegation_id=delegation_id or None,
                content=part,
            )
            for number, part in enumerate(parts, 1)
        )

    def _item(self, item_id: str, command: m.CreateItem) -> Written:
        """For the backend: a tool's result, or words of the caller's."""
        if command.output is not None:
            made = {"type": "function_call_output", "call_id": command.call_id, "output": command.output}
            return client_event("response.item.create", f"item:{command.call_id}", item=made)
        if command.role != "user" or not command.text:
            return None
        content = [{"type": "input_text", "text": command.text}]
        item: dict[str, Any] = {"type": "message", "role": "user", "content": content}
        return client_event("response.item.create", f"item:{item_id}", item=item)

    def _numbered(self, what: str) -> str:
        self._count += 1
        return f"{what}:{self._count}"


def azure(epoch: int = 1, url: str | None = None) -> Live:
    """A session with Azure OpenAI. It has no address but its resource's."""
    if url is None:
        raise ConfigError(NO_ADDRESS)
    return Live(epoch, realtime_url(url, AZURE_PATH), auth=Auth.API_KEY, key=AZURE_KEY, backend="")


def _checked(url: str) -> str:
    """Raises ConfigError when it is not a websocket URL, or has a query: the model stands in the session."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigError(f"an upstream's URL that cannot be read ({error}): {url}") from error
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ConfigError(f"an upstream's URL begins with wss:// and has a host: {url}")
    if parts.query:
        raise ConfigError(f"a GPT-Live URL has no query: the session names its model. It is {url}")
    return urlunsplit(parts._replace(fragment=""))


def _is_phone_sound(audio: dict[str, Any] | None) -> bool:
    """Whether µ-law is in force. A host that does not say does as it is told."""
    told = (audio or {}).get("format")
    return told is None or (isinstance(told, dict) and told.get("type") == "audio/pcmu")
