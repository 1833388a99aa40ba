"""Loud or quiet, by blocks of 20 ms: what a stream that never pauses is cut by.

A block is loud when at least 4 of its samples are above -55 dBFS. That is below what an ear makes out
(`audible`): the soft beginnings and ends of words are loud here, and comfort noise is not.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from typing import Final

from .audible import is_audible

BLOCK_BYTES: Final = 160
LEAST_SAMPLES: Final = 4
_QUIET: Final = bytes(range(0xF8, 0x100)) + bytes(range(0x78, 0x80))
"""mu-law of magnitudes below 58, which is -55 dBFS."""
_LOUDNESS: Final = bytes(ord(".") if byte in _QUIET else ord("!") for byte in range(256))


def runs(audio: str) -> list[tuple[str, int, bool]]:
    """The delta's blocks, neighbours of one kind together: base64 text, size in bytes, and whether it is
    loud. The text of a delta of one kind is returned as it came; [] for one without sound. Raises ValueError
    for what is not base64.
    """
    size_bytes = len(audio) * 3 // 4 - audio.count("=", -2)
    if size_bytes > 0 and not audio[:-4].strip("/") and audio[-4:] in ("////", "//8=", "/w=="):
        return [(audio, size_bytes, False)]  # digital silence is known by its text
    sound = b64decode(audio, validate=True)
    if not sound:
        return []
    loudness = sound.translate(_LOUDNESS)
    ends: list[tuple[int, bool]] = []
    for at in range(0, len(sound), BLOCK_BYTES):
        loud = loudness.count(b"!", at, at + BLOCK_BYTES) >= LEAST_SAMPLES
        if ends and ends[-1][1] is loud:
            ends.pop()
        ends.append((min(at + BLOCK_BYTES, len(sound)), loud))
    if len(ends) == 1:
        return [(audio, len(sound), ends[0][1])]
    start, parts = 0, []
    for end, loud in ends:
        parts.append((b64encode(sound[start:end]).decode(), end - start, loud))
        start = end
    return parts


# What stands for sound that is left out: a letter of each kind of run, and samples of that kind.
_LOUD: Final = "!"
_FAINT: Final = "~"
_SAMPLES: Final = {".": b"\xff\xff", _LOUD: b"\x10\x90", _FAINT: b"\xf0\x70"}
_RUN: Final = re.compile(r"(\d+)([.!~])")


def marks(audio: str) -> str:
    """The runs of a delta without their sound, such as `320.480!`: sizes in bytes, `.` quiet, `!` loud, `~`
    loud and yet not to be heard. Raises ValueError as `runs` does.
    """
    return "".join(
        f"{size_bytes}{'.' if not loud else _LOUD if is_audible(part) else _FAINT}"
        for part, size_bytes, loud in runs(audio)
    )


def marked(marks: str) -> str:
    """Base64 text of sound with these `marks`: its runs are the same."""
    parts = ((int(size), kind) for size, kind in _RUN.findall(marks))
    return b64encode(b"".join((_SAMPLES[kind] * size)[:size] for size, kind in parts)).decode()


def marked_bytes(marks: str) -> int:
    """How long that sound is."""
    return sum(int(size) for size, _ in _RUN.findall(marks))
