"""The vendor's published types as a yardstick: what it would take from us, and what it may send."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from openai.types.realtime import RealtimeClientEvent, RealtimeClientEventParam, RealtimeServerEvent
from pydantic import BaseModel, ConfigDict, TypeAdapter

_client_models: TypeAdapter[Any] = TypeAdapter(RealtimeClientEvent)
_client_params: TypeAdapter[Any] = TypeAdapter(
    RealtimeClientEventParam, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True)
)
_server: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)


def client_event(frame: str) -> dict[str, Any]:
    """The event of a frame of ours; raises unless the vendor knows all its fields, however deep."""
    event: dict[str, Any] = json.loads(frame)
    _client_params.validate_python(without_nulls(json.loads(frame)))
    # Lists are validated lazily there, and here unknown fields are kept: what one misses, the other sees.
    unknown = list(unknown_fields(_client_models.validate_python(event)))
    if unknown:
        raise AssertionError(f"{event['type']} has fields that nobody published: {unknown}")
    return event


def without_nulls(event: Any) -> Any:
    """The event without a null that the vendor documents and its types do not know. API reference,
    session.update: transcription "defaults to off and can be set to `null` to turn off once on".
    """
    heard = event.get("session", {}).get("audio", {}).get("input") if isinstance(event, dict) else None
    if isinstance(heard, dict) and heard.get("transcription", "") is None:
        del heard["transcription"]
    return event


def server_event(frame: dict[str, Any]) -> None:
    """Raises unless this is an event that the vendor's server may send."""
    _server.validate_python(frame)


def unknown_fields(part: Any, here: str = "") -> Iterator[str]:
    if isinstance(part, BaseModel):
        for name in part.model_extra or {}:
            yield f"{here}.{name}"
        for name in type(part).model_fields:
            yield from unknown_fields(getattr(part, name), f"{here}.{name}")
    elif isinstance(part, list):
        for index, inner in enumerate(part):
            yield from unknown_fields(inner, f"{here}[{index}]")
