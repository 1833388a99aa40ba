"""JSON as it stands in a recording: one object, one line, for everybody's idea of a line."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import msgspec

# What str.splitlines calls the end of a line, among what JSON allows inside of a string.
_ENDS: Final = re.compile("[\x85\u2028\u2029]")
UNREADABLE: Final = (ValueError, RecursionError)
"""What reading JSON raises: it is malformed, of the wrong types, or nested too deep."""
_is_json: Final = msgspec.json.Decoder(msgspec.Raw).decode
# What JSON has no word for stands in a recording as Python shows it.
_encode: Final = msgspec.json.Encoder(enc_hook=repr).encode


def object_of(text: str) -> dict[str, Any] | None:
    """The object in a text, such as a tool's arguments; {} for an empty one, None for any other text, and for
    one that is nested too deep to be read.
    """
    try:
        found = json.loads(text or "{}")
    except UNREADABLE:
        return None
    return found if isinstance(found, dict) else None


def one_line(json_text: str) -> str:
    """JSON whose strings hold nothing that a reader may take for the end of a line."""
    if json_text.isascii() or _ENDS.search(json_text) is None:
        return json_text
    return _ENDS.sub(lambda end: f"\\u{ord(end[0]):04x}", json_text)


def quoted(text: str) -> str:
    """Text as JSON. Halves of surrogate pairs, for which JSON has no word, become question marks."""
    return one_line(msgspec.json.encode(text.encode(errors="replace").decode()).decode())


def fits_a_line(frame: str) -> bool:
    """Whether it is a JSON object that can stand in a line as it is."""
    if not frame.startswith("{") or "\n" in frame or "\r" in frame:
        return False
    if not frame.isascii() and _ENDS.search(frame) is not None:
        return False
    try:
        _is_json(frame)
    except UNREADABLE:
        return False
    return True


def encoded(message: msgspec.Struct) -> str:
    """A message or a header as JSON. Never raises for what its texts hold."""
    try:
        return one_line(_encode(message).decode())
    except UnicodeEncodeError:
        # Half of a surrogate pair in a peer's text. The adapters write a question mark for it, too.
        text = json.dumps(msgspec.to_builtins(message, enc_hook=repr), ensure_ascii=False)
        return one_line(text.encode(errors="replace").decode())
