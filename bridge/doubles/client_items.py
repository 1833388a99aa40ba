"""Items as a client writes them, in `conversation.item.create` and in a response's own `input`."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from typing import Any, Final

from .faults import Fault
from .formats import Ear
from .items import Item

# Realtime guide, "Conversations": assistant audio can't be inserted.
_PARTS: Final = {
    "system": {"input_text"},
    "user": {"input_text", "input_audio", "input_image"},
    "assistant": {"output_text"},
}
_OWN: Final = {"id", "object", "type", "status"}


def made(given: dict[str, Any], new_id: Callable[[str], str], input_format: str) -> Item:
    """The item; its sound, if it has any, is heard and put aside. `given` has passed `client_events.check`.

    Raises `Fault` for content that its role can't have.
    """
    fields = {name: value for name, value in given.items() if name not in _OWN and value is not None}
    item = Item(given.get("id") or new_id("item"), given["type"], fields)
    if "content" in fields:
        fields["content"] = [_part(part, item, input_format) for part in fields["content"]]
    if item.type == "function_call":
        fields.setdefault("call_id", new_id("call"))
    return item


def _part(part: dict[str, Any], item: Item, input_format: str) -> dict[str, Any]:
    if part["type"] not in _PARTS[item.role]:
        message = f"Invalid value: '{part['type']}' is no content of role {item.role}."
        raise Fault("invalid_value", message, "item.content")
    if part["type"] != "input_audio":
        return part
    try:
        item.sound += Ear(input_format).hear(b64decode(part["audio"], validate=True))
    except ValueError:
        raise Fault("invalid_value", "Invalid 'audio': not base64.", "item.content") from None
    return {"type": "input_audio", "transcript": part.get("transcript")}
