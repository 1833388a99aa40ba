"""Sound in frames, left out and put back: a base64 text reads `<160>`, its decoded size.

`<` is no letter of base64, so nothing can be mistaken for it. What is put back is silence of that size. A
duplex model's sound says when it speaks: it reads `<320.480!>`, its runs of quiet and loud blocks, and sound
of the same runs is put back. Only
the texts that a door is known to carry sound in are looked at, and they are found by their key: the frame is
not read.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from bridge.codecs import blocks, clean_size_bytes, is_clean, plain_size_bytes, size_bytes

LEAST_CHARACTERS: Final = 48
"""Shorter sound stays (4.5 ms of it): `errors.elide` shows such a text as it is, and a replay must get the
same words for a frame that was refused."""

MAX_BYTES: Final = 8 * 1024 * 1024
"""Of sound in one frame; the sockets accept no larger frames."""
_MOST_DIGITS: Final = len(str(MAX_BYTES))

# A quote inside of a JSON string is escaped, so a key in quotes with a colon behind it is a key.
_KEYS: Final = {"carrier": ('"payload"',), "upstream": ('"audio"', '"delta"')}
_COLON: Final = re.compile(r'\s*:\s*"')
_MARKS: Final = r"(?:\d{1,8}[.!~]){1,65536}"
_ELIDED: Final = re.compile(rf"<(\d+|{_MARKS})>")
STREAM_DELTA: Final = "session.output_audio.delta"
"""The type of a duplex model's sound."""
_STREAM: Final = f'"{STREAM_DELTA}"'
_KIND_CHARACTERS: Final = 96
"""Of a frame hold its type, in those of a stream."""


@lru_cache(256)
def silence(silent_bytes: int) -> str:
    """So many bytes of µ-law silence, as base64 text. Raises ValueError for more than a frame can hold."""
    if silent_bytes > MAX_BYTES:
        raise ValueError(f"{silent_bytes} bytes of sound in one frame")
    return b64encode(b"\xff" * silent_bytes).decode()


def elide_sound(frame: str, door: str, least_characters: int = LEAST_CHARACTERS) -> str | None:
    """The frame without its sound. None when it holds what reads like left out sound already."""
    pieces = []
    done = 0
    for start, end in _sounds(frame, door):
        text = frame[start:end]
        if text.startswith("<") and _ELIDED.fullmatch(text):
            return None
        if text and end - start >= least_characters and is_clean(text):
            pieces.append(f"{frame[done:start]}<{_marks_of(frame, text) or size_bytes(text)}>")
            done = end
    return "".join(pieces) + frame[done:] if pieces else frame


def expand_sound(frame: str, door: str) -> str:
    """The frame with silence where `elide_sound` left sound out."""
    pieces: list[str] = []
    done = total_bytes = 0
    for start, end in _sounds(frame, door):
        elided = _ELIDED.fullmatch(frame, start, end)
        if elided is not None:
            told = elided[1]
            size = _size(told) if told.isdecimal() else blocks.marked_bytes(told)
            total_bytes += size
            if total_bytes > MAX_BYTES:
                raise ValueError(f"{total_bytes} bytes of sound in one frame")
            pieces += (frame[done:start], silence(size) if told.isdecimal() else blocks.marked(told))
            done = end
    return "".join(pieces) + frame[done:] if pieces else frame


def without_sound(frame: str, door: str) -> str:
    """The frame with silence in the place of its sound, of the same size where its adapter takes it; that of
    a duplex model with the same runs.
    """
    size_of = plain_size_bytes if door == "carrier" and "\\" not in frame else clean_size_bytes
    pieces: list[str] = []
    done = 0
    for start, end in _sounds(frame, door):
        text = frame[start:end]
        size, told = size_of(text), _marks_of(frame, text)
        silent = silence(min(size, MAX_BYTES)) if size > 0 else ""
        pieces += (frame[done:start], blocks.marked(told) if told else silent)
        done = end
    return "".join(pieces) + frame[done:]


def runs_of(audio: str) -> str:
    """Sound of a duplex model with nothing of it left but when it is quiet and loud, as base64 text. Raises
    ValueError for a text that is no base64.
    """
    return blocks.marked(blocks.marks(audio))


def expand_text(audio: str) -> str:
    """One base64 text, put back if it was left out."""
    elided = _ELIDED.fullmatch(audio)
    return audio if elided is None else silence(_size(elided[1]))


def _marks_of(frame: str, text: str) -> str:
    """The runs of a duplex model's sound; "" where all of it is quiet, and for any other frame's."""
    if frame.find(_STREAM, 0, _KIND_CHARACTERS) < 0:
        return ""
    try:
        found = blocks.marks(text)
    except ValueError:
        return ""
    return "" if found[:-1].isdecimal() and found.endswith(".") else found


def _size(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a size of {len(digits)} digits in one frame")
    return int(digits)


def _sounds(frame: str, door: str) -> Iterator[tuple[int, int]]:
    """Where texts stand that may be sound, in order."""
    found = []
    for key in _KEYS[door]:
        # Deltas of words have the same key.
        if key == '"delta"' and 'audio.delta"' not in frame:
            continue
        at = frame.find(key)
        while at >= 0:
            colon = _COLON.match(frame, at + len(key))
            if colon is None:
                at = frame.find(key, at + len(key))
                continue
            start = colon.end()
            end = frame.find('"', start)
            if end < 0:
                break
            found.append((start, end))
            at = frame.find(key, end + 1)
    return iter(sorted(found))
