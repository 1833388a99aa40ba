"""Words of strangers, to be shown: nothing in them moves a cursor, colours it or turns a line around."""

from __future__ import annotations

import re
from typing import Any, Final

# C0 and C1 controls, line and paragraph separators, marks that change the direction, and halves of surrogate
# pairs, which no terminal's encoding has.
_OBEYED: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """The text as one line, with what a terminal would obey written as its escape, as Python does."""
    return _OBEYED.sub(lambda found: ascii(found.group())[1:-1], text)


def printable_lines(text: str) -> str:
    """The same for a text of several lines."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(value: Any) -> Any:
    """The same for every text in a value of JSON."""
    if isinstance(value, str):
        return printable_lines(value)
    if isinstance(value, dict):
        return {printable_lines(name): printable_json(one) for name, one in value.items()}
    return [printable_json(one) for one in value] if isinstance(value, list | tuple) else value
