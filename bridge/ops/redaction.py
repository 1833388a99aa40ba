"""Takes secrets and phone numbers out of what is about to be written down.

A net under everything: no code should put them there, and yet an exception may hold a header.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote

_SHORTEST_SECRET: Final = 4
"""Anything shorter would blank half of every line."""
_DEEPEST: Final = 6
_LARGEST: Final = 2**63 - 1

# E.164 with what people put between digits; ten digits and more that stand alone are a number too.
_NUMBER: Final = re.compile(
    r"(?:\+|%2B)[0-9](?:[ ().-]{0,2}[0-9]){5,14}|(?<![0-9A-Za-z.:_-])[0-9]{10,15}(?![0-9A-Za-z_-])"
)
_CREDENTIAL: Final = re.compile(
    r"\b(Bearer|Basic|bearer|basic)(\s+)[A-Za-z0-9+/=._~-]{12,}|\bsk-[A-Za-z0-9_-]{8,}"
)
# Base64 of HMAC-SHA1 and HMAC-SHA256.
_SIGNATURE: Final = re.compile(
    r"(?<![A-Za-z0-9+/])(?:[A-Za-z0-9+/]{27}|[A-Za-z0-9+/]{43})=(?![A-Za-z0-9+/=])"
)
# Keys and tokens; the digit tells them from the long names of functions in a stack. Looked for once a run: a
# long text without a digit must not cost its square.
_LONG_RUN: Final = re.compile(r"(?<![A-Za-z0-9+_-])(?=[A-Za-z+_-]*[0-9])[A-Za-z0-9+_-]{40,}={0,2}")


class Mask:
    """Takes secrets and phone numbers out of text. `hidden` are those known by their very letters."""

    def __init__(self, hidden: Iterable[str] = ()) -> None:
        spellings = {spelling for one in hidden for spelling in (one, quote(one, safe=""))}
        known = sorted((one for one in spellings if len(one) >= _SHORTEST_SECRET), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def text(self, text: str) -> str:
        """The text, with what was taken out marked."""
        if self._known is not None:
            text = self._known.sub("[hidden]", text)
        text = _CREDENTIAL.sub(lambda found: f"{found[1] or 'sk'}{found[2] or '-'}[hidden]", text)
        text = _SIGNATURE.sub("[signature]", text)
        text = _LONG_RUN.sub(lambda found: f"<{len(found.group())} characters>", text)
        return _NUMBER.sub("+…", text)

    def value(self, value: object, depth: int = 0) -> object:
        """A field of a line: text in it is masked, six levels deep; what has no form in JSON becomes text."""
        if value is None or isinstance(value, bool | float):
            return value
        if isinstance(value, int) and abs(value) <= _LARGEST:
            return value
        if isinstance(value, Mapping) and depth < _DEEPEST:
            return {self.text(words_of(name)): self.value(inner, depth + 1) for name, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset) and depth < _DEEPEST:
            return [self.value(inner, depth + 1) for inner in value]
        return self.text(words_of(value))


def words_of(value: object) -> str:
    """`str`, of anything."""
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001  anybody's __str__ or __repr__
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"
