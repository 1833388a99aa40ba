"""The shapes of what a GPT-Live server sends, as far as we read them.

API reference, "Live server events". Lenient, as `server_events`: unknown fields are let pass, and null is the
same as missing.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from .server_events import Number

Moment = Annotated[int, msgspec.Meta(ge=0, le=2**40)]


class Event(msgspec.Struct, gc=False):
    """Any server event. Inner objects are decoded only when they are needed."""

    type: str
    delta: str | None = None
    start_ms: Moment | None = None
    end_ms: Moment | None = None
    offset_ms: Moment | None = None
    client_event_id: str | None = None
    reason: str | None = None
    session: msgspec.Raw = msgspec.Raw()
    delegation: msgspec.Raw = msgspec.Raw()
    delegation_id: str | None = None
    event: msgspec.Raw = msgspec.Raw()
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class Session(msgspec.Struct, gc=False):
    """The session in force."""

    id: str | None = None
    expires_at: msgspec.Raw = msgspec.Raw()
    audio: dict[str, Any] | None = None
    delegation: dict[str, Any] | None = None


class Delegation(msgspec.Struct, gc=False):
    """Work that is handed over. It has no words."""

    id: str | None = None
    target: str | None = None
    response_id: str | None = None


class Seconds(msgspec.Struct, gc=False):
    """What a session has cost so far: replaces what was told before."""

    seconds: Number | None = None


class Fault(msgspec.Struct, gc=False):
    """The inside of an `error`. The code may be null."""

    type: Any = None
    code: Any = None
    message: Any = None
    param: Any = None
    client_event_id: str | None = None


class Nested(msgspec.Struct, gc=False):
    """An event of the backend's response stream."""

    type: str
    item: msgspec.Raw = msgspec.Raw()
    response: msgspec.Raw = msgspec.Raw()


class CachedTokens(msgspec.Struct, gc=False):
    """Of the input, those that are billed at less."""

    cached_tokens: int | None = None


class BackendUsage(msgspec.Struct, gc=False):
    """Tokens of one backend response: text only."""

    input_tokens: int | None = None
    input_tokens_details: CachedTokens | None = None
    output_tokens: int | None = None


class BackendResponse(msgspec.Struct, gc=False):
    """A backend response at its beginning or end. Its `output` is always empty."""

    id: str | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


decode_event = msgspec.json.Decoder(Event).decode
decode_session = msgspec.json.Decoder(Session).decode
decode_delegation = msgspec.json.Decoder(Delegation).decode
decode_seconds = msgspec.json.Decoder(Seconds).decode
decode_fault = msgspec.json.Decoder(Fault).decode
decode_nested = msgspec.json.Decoder(Nested).decode
decode_response = msgspec.json.Decoder(BackendResponse).decode
decode_backend_usage = msgspec.json.Decoder(BackendUsage).decode
