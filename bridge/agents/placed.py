"""The fields of a call that we placed, as a resolver and a handler see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CONTEXT: Final = "context."
"""Before the name of each field that the placer of a call gave."""


def is_placed(fields: Mapping[str, str]) -> bool:
    """Whether these are the fields of a call that we placed."""
    return fields.get("direction") == "outbound"


def context(fields: Mapping[str, str]) -> dict[str, str]:
    """What the placer of a call said about it; nothing of a call that came in."""
    if not is_placed(fields):
        return {}
    return {name.removeprefix(CONTEXT): text for name, text in fields.items() if name.startswith(CONTEXT)}
