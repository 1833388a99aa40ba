"""The vendor's published types of the Live API as a yardstick: what it would take, and what it may send."""

from __future__ import annotations

import json
from typing import Any

from openai.types.live import ClientEvent, ClientEventParam, ServerEvent
from pydantic import ConfigDict, TypeAdapter

from .published import unknown_fields

_client_models: TypeAdapter[Any] = TypeAdapter(ClientEvent)
_client_params: TypeAdapter[Any] = TypeAdapter(
    ClientEventParam, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True)
)
_server: TypeAdapter[Any] = TypeAdapter(ServerEvent)


def client_event(frame: str) -> dict[str, Any]:
    """The event of a frame of ours; raises unless the vendor knows all its fields, however deep."""
    event: dict[str, Any] = json.loads(frame)
    _client_params.validate_python(json.loads(frame))
    unknown = list(unknown_fields(_client_models.validate_python(event)))
    if unknown:
        raise AssertionError(f"{event['type']} has fields that nobody published: {unknown}")
    return event


def server_event(event: dict[str, Any]) -> str:
    """The frame of an event; raises unless the vendor's server may send it."""
    _server.validate_python(event)
    return json.dumps(event)


def client_events(log: list[dict[str, Any]]) -> None:
    """Raises unless each of what a server has got is an event that the vendor knows. Sound stands there in
    runs, and is left out.
    """
    for event in log:
        if event["type"] != "session.input_audio.append":
            client_event(json.dumps(event))
