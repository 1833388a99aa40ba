"""Facts that a prompt tells in plain form: `key: value` lines, opening hours, a quoted opening line.

Nothing else of a prompt is ever said: it is written for a model, not for callers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from .english import alike, stem, telling, word_set, words_of

_LINE: Final = re.compile(r"^[-*\s]*([A-Za-z][A-Za-z ]{1,30}):\s+(\S.{0,160})$", re.MULTILINE)
_HOURS: Final = re.compile(r"\bhours are ([^.;\n]{3,100})|\bopen from ([^.;\n]{3,60})", re.IGNORECASE)
_OPENING: Final = re.compile(
    r'\b(?:greet|open|begin|start|answer)\w*\b[^."“\n]{0,60}["“]([^"”\n]{2,200})["”]', re.IGNORECASE
)
_NOT_FOR_CALLERS: Final = frozenset(
    map(
        stem,
        word_set("""
    rule role style tone instruction secret password note important goal task persona format output example
    step guideline policy context system never always key token
"""),
    )
)


def fact_for(instructions: str, words: Sequence[str]) -> str:
    """The fact that these words ask for, in a sentence; "" for none."""
    stems = telling(words)
    for key, value in _facts(instructions):
        meant = [alike(word) for word in words_of(key)]
        if meant and all(one & stems for one in meant):
            return f"{key[0].upper()}{key[1:]}: {value.strip().rstrip('.')}."
    return ""


def _facts(instructions: str) -> list[tuple[str, str]]:
    found = [
        (line[1].strip(), line[2])
        for line in _LINE.finditer(instructions)
        if len(line[1].split()) <= 4 and not {*map(stem, words_of(line[1]))} & _NOT_FOR_CALLERS
    ]
    hours = _HOURS.finditer(instructions)
    return [*found, *(("open", one[1] or f"from {one[2]}") for one in hours)]


def opening_line(instructions: str) -> str:
    """The words that the prompt wants a call to begin with, in quotes; "" for none."""
    found = _OPENING.search(instructions)
    return found[1].strip() if found else ""
