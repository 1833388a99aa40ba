"""The shapes of what we send to a Realtime server, in GA spelling only.

API reference, "Realtime client events". A field of before GA is refused, and what it stood in with it.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from bridge.core.messages import CreateItem, CreateResponse
from bridge.errors import ConfigError

MAX_ID_CHARACTERS: Final = 512
"""Of an event id, and of a metadata value."""


def client_event(kind: str, event_id: str, **fields: Any) -> str:
    """The frame of one event. API reference, "error": the event id of what caused it comes back with it, so
    ours say what they were about.
    """
    event = {"type": kind, "event_id": event_id[:MAX_ID_CHARACTERS], **fields}
    try:
        return msgspec.json.encode(event).decode()
    except UnicodeEncodeError:
        # Half of a surrogate pair in a user's text: no word in JSON, and no reason to lose the rest.
        return json.dumps(event, ensure_ascii=False).encode(errors="replace").decode()


def check_session(tree: dict[str, Any]) -> None:
    """Raises ConfigError for a session that no frame can hold."""
    try:
        client_event("", "", session=tree)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"the session holds something that JSON has no word for: {error}") from error


def item(command: CreateItem) -> dict[str, Any]:
    """The item of a conversation.item.create: a tool's result, a tool's call (of a history), or words."""
    made: dict[str, Any] = {"id": command.item_id}
    if command.output is not None:
        return made | {"type": "function_call_output", "call_id": command.call_id, "output": command.output}
    if command.arguments is not None:
        called = {"call_id": command.call_id, "name": command.name, "arguments": command.arguments}
        return made | {"type": "function_call", **called}
    # Realtime conversations guide: the model's own words are output_text; its sound cannot be put in.
    kind = "output_text" if command.role == "assistant" else "input_text"
    content = [{"type": kind, "text": command.text}]
    return made | {"type": "message", "role": command.role or "user", "content": content}


def response(command: CreateResponse) -> dict[str, Any]:
    """The response of a response.create. Only its tag comes back: response.created
    does not echo the event id, and "the `metadata` field is a good way to disambiguate".
    """
    asked: dict[str, Any] = {"metadata": {"tag": command.tag[:MAX_ID_CHARACTERS]}}
    if command.instructions is not None:
        asked["instructions"] = command.instructions
    if command.tool_choice is not None:
        of_three = command.tool_choice in ("auto", "none", "required")
        function = {"type": "function", "name": command.tool_choice}
        asked["tool_choice"] = command.tool_choice if of_three else function
    if command.aside:
        asked["conversation"] = "none"
    if command.text_only:
        asked["output_modalities"] = ["text"]
    return asked
