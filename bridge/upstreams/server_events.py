"""The shapes of what a Realtime server sends, as far as we read them.

API reference, "Realtime server events". Lenient on purpose: unknown fields are let pass, null is the same as
missing, and what only informs is never a reason to lose what matters. What is indispensable is asked for
where it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Annotated, Any, TypeVar

import msgspec

from bridge.errors import UpstreamError

Decoded = TypeVar("Decoded")

UNREADABLE = (ValueError, RecursionError)
"""What bad input raises: DecodeError and UnicodeError are ValueErrors, and arrays may be nested too deep."""


Number = Annotated[float, msgspec.Meta(le=2**40)]


class Event(msgspec.Struct, gc=False):
    """Any server event. Inner objects are decoded only when they are needed."""

    type: str
    response_id: str | None = None
    item_id: str | None = None
    content_index: Annotated[int, msgspec.Meta(ge=0, le=2**31)] | None = None
    delta: str | None = None
    audio_start_ms: float | None = None
    audio_end_ms: float | None = None
    previous_item_id: str | None = None
    transcript: str | None = None
    start_time: float | None = None
    status: str | None = None
    item: msgspec.Raw = msgspec.Raw()
    response: msgspec.Raw = msgspec.Raw()
    session: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    usage: msgspec.Raw = msgspec.Raw()
    rate_limits: msgspec.Raw = msgspec.Raw()


class Kind(msgspec.Struct, gc=False):
    """What an event is, of one that cannot be read otherwise."""

    type: str


class Part(msgspec.Struct, gc=False):
    """A content part of an item: written words, or the transcript of spoken ones."""

    text: str | None = None
    transcript: str | None = None


class Item(msgspec.Struct, gc=False):
    """An item of the conversation: a message, a tool's call or its result, something of MCP."""

    id: str | None = None
    type: str | None = None
    role: str | None = None
    status: str | None = None
    content: msgspec.Raw = msgspec.Raw()
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    server_label: str | None = None
    phase: str | None = None
    error: msgspec.Raw = msgspec.Raw()


class Fault(msgspec.Struct, gc=False):
    """The inside of an error event, and of a failed response. Vendors put numbers into `code`, too."""

    type: Any = None
    code: Any = None
    message: Any = None
    param: Any = None
    event_id: Any = None


class Response(msgspec.Struct, gc=False):
    """A response, at its start or its end. "Out of band" ones have a conversation_id of null."""

    id: str | None = None
    status: str | None = None
    status_details: msgspec.Raw = msgspec.Raw()
    conversation_id: Any = msgspec.UNSET
    metadata: Any = msgspec.UNSET
    usage: msgspec.Raw = msgspec.Raw()


class StatusDetails(msgspec.Struct, gc=False):
    """Why a response was cancelled or is incomplete (`reason`), or how it failed (`error`)."""

    reason: str | None = None
    error: Fault | None = None


class Tokens(msgspec.Struct, gc=False):
    """Tokens by kind; the cached ones are a subset of them."""

    text_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None
    cached_tokens_details: Tokens | None = None


class Usage(msgspec.Struct, gc=False):
    """What a response cost, or a transcription: some models count that one in `seconds`."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    input_token_details: Tokens | None = None
    output_token_details: Tokens | None = None
    seconds: float | None = None
    billable_audio_seconds: float | None = None


class RateLimit(msgspec.Struct, gc=False):
    """One limit: what is left of it, and when it is whole again."""

    limit: float | None = None
    remaining: float | None = None
    reset_seconds: float | None = None


class Session(msgspec.Struct, gc=False):
    """A new session. Its configuration is not ours yet."""

    id: str | None = None
    expires_at: msgspec.Raw = msgspec.Raw()


decode_event = msgspec.json.Decoder(Event).decode
decode_kind = msgspec.json.Decoder(Kind).decode
decode_item = msgspec.json.Decoder(Item).decode
decode_fault = msgspec.json.Decoder(Fault).decode
decode_words = msgspec.json.Decoder(str).decode
decode_response = msgspec.json.Decoder(Response).decode
decode_session = msgspec.json.Decoder(Session).decode
decode_tree = msgspec.json.Decoder(dict[str, Any]).decode
decode_details = msgspec.json.Decoder(StatusDetails).decode
decode_content = msgspec.json.Decoder(list[Part]).decode
decode_limits = msgspec.json.Decoder(list[RateLimit]).decode
decode_usage = msgspec.json.Decoder(Usage).decode
decode_number = msgspec.json.Decoder(Number | None).decode


def refuse_if_known(frame: str, kinds: Container[str], unreadable: Exception) -> None:
    """Ignore a field of the wrong type in an event of an unknown kind. Raises UpstreamError for the others,
    and for what is no event.
    """
    try:
        kind = decode_kind(frame).type
    except UNREADABLE as cause:
        raise UpstreamError(f"not a server event: {cause}", frame=frame) from cause
    if kind in kinds:
        raise UpstreamError(f"{kind} not as documented: {unreadable}", frame=frame) from unreadable


def if_readable(decode: Callable[[msgspec.Raw], Decoded], raw: msgspec.Raw) -> Decoded | None:
    """What only informs: None where it is missing, null, or not as we know it."""
    try:
        return decode(raw)
    except UNREADABLE:
        return None
