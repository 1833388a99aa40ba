"""The edge of a Realtime server that speaks a dialect of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from .items import Item


class Wire(Protocol):
    """Translates between a vendor's own events and those of the GA dialect; one object a session."""

    def incoming(self, event: dict[str, Any]) -> dict[str, Any]:
        """A client event in the GA dialect; may raise `Fault`. It has a `type`, and anything besides."""
        ...

    def outgoing(self, event: dict[str, Any], items: Mapping[str, Item]) -> Sequence[dict[str, Any]]:
        """The events that say this here, in order. `items` is the conversation."""
        ...
