"""Client events as users write them: mappings, or objects of a vendor's types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec


def event_of(given: Any) -> dict[str, Any] | None:
    """The event, without fields that are null or were never set; None for anything else."""
    try:
        event = mapping_of(given)
        encoded(event)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return None
    return event if isinstance(event.get("type"), str) and event["type"] else None


def mapping_of(given: Any) -> dict[str, Any]:
    """The fields of it. A null inside of a mapping stays: there it says something. Raises TypeError."""
    if isinstance(given, Mapping):
        return {name: value for name, value in given.items() if value is not None}
    if hasattr(given, "model_dump"):
        dumped: dict[str, Any] = given.model_dump(mode="json", exclude_none=True, exclude_unset=True)
        return dumped
    raise TypeError(f"{type(given).__name__} has no fields")


def encoded(event: Mapping[str, Any]) -> str:
    """The frame. Raises TypeError or ValueError for what JSON has no word for."""
    try:
        return msgspec.json.encode(event).decode()
    except UnicodeEncodeError:  # half of a surrogate pair: no word in JSON, and no reason to lose the rest
        return json.dumps(event, ensure_ascii=False).encode(errors="replace").decode()
