"""The conversation as the Realtime server holds it: items in order, each with its true length of sound."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Any

from .ears import Words
from .faults import Fault
from .formats import spoken


@dataclass(slots=True, eq=False)
class Item:
    """One item. `fields` are what its type has on the wire, such as `role` and `content`, or `call_id`."""

    id: str
    type: str
    fields: dict[str, Any]
    status: str = "completed"
    sound: bytes = b""
    """µ-law: what the caller said in it; for the server's item all that was to be said, sent or not."""
    sent_bytes: int = 0
    """How much of an assistant item has left, in the output format."""
    bytes_per_ms: int = 8
    truncated_ms: int | None = None
    words: Words | None = None
    """Of the caller's sound, where the server has ears."""
    previous_id: str | None = None
    """The item before it when it was added."""

    @property
    def role(self) -> str:
        """`user`, `assistant` or `system`; empty for what is no message."""
        return str(self.fields.get("role", ""))

    @property
    def text(self) -> str:
        """Its words: texts and transcripts of its parts, or a tool's output."""
        parts = self.fields.get("content", ())
        words = "".join(part.get("text") or part.get("transcript") or "" for part in parts)
        return words or str(self.fields.get("output") or self.fields.get("arguments") or "")

    @property
    def audio_ms(self) -> int:
        """The length the model believes in: what was said, or sent and not truncated. Rounded down."""
        if self.role == "user":
            return len(self.sound) // 8
        return self.sent_bytes // self.bytes_per_ms

    def wire_with_sound(self, name: str) -> dict[str, Any]:
        """The item as `conversation.item.retrieved` has it, with its sound in this format if it has any."""
        wire = self.wire()
        if self.sound:
            sound = spoken(self.sound, name)
            sound = sound if self.role == "user" else sound[: self.sent_bytes]
            first, *others = wire["content"]
            wire["content"] = [{**first, "audio": b64encode(sound).decode()}, *others]
        return wire

    def wire(self) -> dict[str, Any]:
        """The item without its sound, as all other events carry it."""
        if self.type == "mcp_approval_request":  # the one kind that has neither object nor status
            return {"id": self.id, "type": self.type, **self.fields}
        return {
            "id": self.id,
            "object": "realtime.item",
            "type": self.type,
            "status": self.status,
            **self.fields,
        }


class Conversation:
    """Items by id, in their order. `ever` keeps the deleted ones too."""

    def __init__(self, short_by_ms: int = 0) -> None:
        self.id = "conv_1"
        self.items: dict[str, Item] = {}
        self.ever: dict[str, Item] = {}
        self.truncations: dict[str, int] = {}
        self.deleted: list[str] = []
        self._short_by_ms = short_by_ms

    def add(self, item: Item, after: str | None = None) -> None:
        """Append, or insert behind `after`; `root` makes it the first. Raises `Fault` for an id that is
        unknown or taken.
        """
        if item.id in self.items:
            message = f"Error adding item: an item with id '{item.id}' already exists in the conversation."
            raise Fault("item_create_duplicate_item_id", message, "item.id")
        if after is not None and after != "root" and after not in self.items:
            message = f"Previous item with id '{after}' not found."
            raise Fault("item_create_invalid_previous_item_id", message, "previous_item_id")
        order = list(self.items)
        place = len(order) if after is None else 0 if after == "root" else order.index(after) + 1
        item.previous_id = order[place - 1] if place else None
        self.ever[item.id] = item
        if place == len(order):
            self.items[item.id] = item
        else:
            order.insert(place, item.id)
            self.items = {item_id: self.ever[item_id] for item_id in order}

    def delete(self, item_id: str) -> None:
        """Forget an item. Raises `Fault` for an unknown id."""
        self.find(item_id, "item_delete_invalid_item_id")
        del self.items[item_id]
        self.deleted.append(item_id)

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """Cut an assistant's sound to what was heard; its transcript goes with it. Raises `Fault`.

        Realtime guide, "Interruption and truncation": truncating deletes the server-side transcript, so that
        there is no text that the user does not know about.
        """
        item = self.find(item_id, "item_truncate_invalid_item_id")
        if item.role != "assistant" or not item.sent_bytes:
            message = "Only model output audio messages can be truncated"
            raise Fault("unsupported_content_type", message, "item_id")
        if content_index:
            raise Fault(
                "invalid_value", "Only the content part at index 0 can be truncated.", "content_index"
            )
        length_ms = max(0, item.audio_ms - (self._short_by_ms if item.truncated_ms is None else 0))
        if audio_end_ms > length_ms:
            message = f"Audio content of {length_ms}ms is already shorter than {audio_end_ms}ms"
            raise Fault("invalid_value", message, "audio_end_ms")
        item.truncated_ms = audio_end_ms
        item.sent_bytes = audio_end_ms * item.bytes_per_ms
        for part in item.fields["content"]:
            part.pop("transcript", None)
        self.truncations[item_id] = audio_end_ms

    def find_call(self, call_id: str) -> None:
        """Raises `Fault` unless the model called a function with this id."""
        calls = (item for item in self.items.values() if item.type == "function_call")
        if not any(call.fields["call_id"] == call_id for call in calls):
            message = f"Tool call ID '{call_id}' not found in conversation."
            raise Fault("invalid_tool_call_id", message, "item.call_id")

    def find(self, item_id: str, code: str) -> Item:
        """The item of that id. Raises `Fault` with this code if it is unknown."""
        if item_id not in self.items:
            raise Fault(code, f"Item with item_id '{item_id}' not found.", "item_id")
        return self.items[item_id]
