"""Recorded sound that a handler plays: a WAV file, or raw µ-law, as the phone wants it."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from bridge.codecs.wav import is_wav, pcmu_of
from bridge.core.messages import Sound


def sound_of(given: bytes | str | Path, text: str = "") -> Sound:
    """A sound as the core plays it. `given` is a file's path or its bytes; bytes that are no WAV file are raw
    µ-law, 8 bytes a millisecond. `text` is what is said in it, for the conversation's record.

    Of a WAV file the first channel counts; any that is not compressed will do. Raises ValueError for anything
    else, and for no sound at all; OSError for a file that can't be read.
    """
    raw = given if isinstance(given, bytes) else Path(given).read_bytes()
    pcmu = pcmu_of(raw) if is_wav(raw) else raw
    if not pcmu:
        raise ValueError("there is no sound in it")
    return Sound(b64encode(pcmu).decode(), len(pcmu), text)
