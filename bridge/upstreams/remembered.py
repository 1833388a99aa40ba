"""A bounded memory: how many items there are is the server's choice."""

from __future__ import annotations

from typing import Final, TypeVar

Value = TypeVar("Value")
_MOST: Final = 256


def remember(items: dict[str, Value], item_id: str, what: Value) -> None:
    """Keep it, and forget the oldest of more than 256."""
    items[item_id] = what
    if len(items) > _MOST:
        del items[next(iter(items))]
