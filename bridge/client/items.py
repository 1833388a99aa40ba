"""Items as servers spell them, in one spelling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bridge.client.events import Item, Part

_STATUS: Final = {"done": "completed", None: "completed"}
# Realtime API reference: in items a model's parts are output_audio and output_text, in content parts audio
# and text; what the user said is input_audio and input_text.
_KINDS: Final = {"output_audio": "audio", "input_audio": "audio", "output_text": "text", "input_text": "text"}


def normalised(item: Any, *, previous_id: Any = None, status: str | None = None) -> Item:
    """The item of an event. Raises ValueError for what cannot be one: without an id, or no object."""
    if not isinstance(item, Mapping) or not isinstance(item.get("id"), str) or not item["id"]:
        raise ValueError("an item without an id")
    given = item.get("status")
    content = item.get("content")
    return Item(
        item["id"],
        _text(item.get("type")) or "message",
        _text(item.get("role")),
        status or _STATUS.get(given) or _text(given),
        tuple(_part(part) for part in content if isinstance(part, Mapping))
        if isinstance(content, list)
        else (),
        _text(item.get("call_id")),
        _text(item.get("name")),
        _text(item.get("arguments")),
        item.get("output") if isinstance(item.get("output"), str) else None,
        previous_id if isinstance(previous_id, str) else None,
    )


def _part(part: Mapping[str, Any]) -> Part:
    kind = _text(part.get("type"))
    text, transcript = part.get("text"), part.get("transcript")
    return Part(
        _KINDS.get(kind, kind),
        text if isinstance(text, str) else None,
        transcript if isinstance(transcript, str) else None,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
