"""Tools that the vendor calls itself, at MCP servers: approvals it asks for, and lists of tools it could not
get.

API reference, "mcp_list_tools.failed", "response.mcp_call.in_progress", and the item "mcp_approval_request".
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from bridge.core import messages as m

from . import server_events as wire
from .remembered import remember
from .values import id_of, reason, required, text_of

LIST: Final = "mcp_list_tools"
EVENTS: Final = (
    "mcp_list_tools.in_progress",
    "mcp_list_tools.completed",
    "mcp_list_tools.failed",
    "response.mcp_call.in_progress",
    "response.mcp_call.completed",
    "response.mcp_call.failed",
)
_MAX_NOTE_BYTES: Final = 262_144


class McpNotes:
    """One session's."""

    __slots__ = ("_approvals", "_epoch", "_labels")

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._approvals: dict[str, None] = {}  # asked for, and told
        self._labels: dict[str, str] = {}  # of servers whose tools are being listed, by item

    def item_added(self, item_id: str, item: wire.Item) -> None:
        """An item has begun; a list of tools says here whose they are."""
        if item.type == LIST:
            remember(self._labels, item_id, text_of(item.server_label))

    def item_done(self, raw: msgspec.Raw) -> m.VendorNote | None:
        """An item is whole. An approval may be asked for in a response or outside of one, and is told twice
        when in one.
        """
        item = wire.decode_item(raw)
        if item.type == LIST and (why := reason(item.error)):
            item_id, label = id_of(item.id, "item.id"), text_of(item.server_label)
            body = _body({"item_id": item_id})
            return m.VendorNote(item.type, body, item_id, self._epoch, f"{label}: {why}")
        if item.type != "mcp_approval_request" or item.id in self._approvals:
            return None
        remember(self._approvals, required(item.id, "item.id"), None)
        if len(raw) > _MAX_NOTE_BYTES:
            raise ValueError(f"with an item of more than {_MAX_NOTE_BYTES} bytes")
        return m.VendorNote(item.type, bytes(raw).decode(), epoch=self._epoch)

    def note(self, event: wire.Event) -> m.VendorNote:
        """One of `EVENTS`."""
        item_id = id_of(event.item_id, "item_id")
        why = ""
        if event.type.startswith(LIST) and not event.type.endswith(".in_progress"):
            label = self._labels.pop(item_id, "")
            if event.type.endswith(".failed"):
                why = f"{label or item_id}: {reason(event.error) or 'no reason given'}"
        return m.VendorNote(event.type, _body({"item_id": event.item_id}), item_id, self._epoch, why)


def _body(tree: dict[str, Any]) -> str:
    return msgspec.json.encode(tree).decode()
