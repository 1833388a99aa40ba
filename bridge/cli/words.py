"""Words of strangers on a terminal, of bounded length."""

from __future__ import annotations

from typing import Final

from ..recording.printable import printable, printable_lines

__all__ = ["in_one_line", "printable", "printable_lines"]

MOST_CHARACTERS: Final = 500
"""Of one line of complaint."""


def in_one_line(text: str) -> str:
    """The text as one line of what can be printed, of bounded length."""
    line = printable(text.replace("\n", " "))
    cut = len(line) - MOST_CHARACTERS
    return line if cut <= 0 else f"{line[:MOST_CHARACTERS]}… ({cut} more)"
