"""Words of strangers on a terminal: nothing in them moves the cursor, colours it or turns the line around."""

from __future__ import annotations

import re
from typing import Final

# C0 and C1 controls but the line end, line and paragraph separators, marks that change the direction, and
# halves of surrogate pairs, which no terminal's encoding has.
_OBEYED: Final = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
MOST_CHARACTERS: Final = 500
"""Of one line of complaint."""


def printable(text: str) -> str:
    """The text with what a terminal would obey written as its escape, as Python does."""
    return _OBEYED.sub(lambda found: ascii(found.group())[1:-1], text)


def in_one_line(text: str) -> str:
    """The same as one line, of bounded length."""
    line = printable(text.replace("\n", " "))
    cut = len(line) - MOST_CHARACTERS
    return line if cut <= 0 else f"{line[:MOST_CHARACTERS]}… ({cut} more)"
