"""How much a recording may hold. More is no call's: it is made to cost the reader minutes or gigabytes.

The recorder counts by the same bounds, so whatever a call was like, its recording can be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from bridge.codecs import size_bytes
from bridge.core import messages as m
from bridge.errors import ConfigError

MOST_BYTES: Final = 256 * 1024 * 1024
"""Of a file: three hours of call with the sound of both sides."""
MOST_STEPS: Final = 500_000
"""Nearly three hours of the caller's frames."""
MOST_CHARACTERS: Final = 512 * 1024 * 1024
"""Of all frames together, with the sound put back that was left out."""
MOST_MS: Final = 7 * 24 * 3_600_000
"""Of a call's clock."""
MOST_NUMBER: Final = 2**53
"""Whole numbers up to here are exact in JSON for every reader, and never overflow a float."""
MOST_BYTES_PER_MS: Final = 768
"""Of sound: 48 kHz, 16 bit, eight channels."""
_END_BYTES: Final = 1_000
DEEPEST: Final = 64
"""Levels of JSON in one event or header."""

_RUN: Final = re.compile(r'\s*{\s*(?:"t"\s*:\s*\d+\s*,\s*)?"run"\s*:\s*"([^"]*)"')


def steps_of(line: str) -> int:
    """How many steps a line stands for, at a glance: those of a run, else one."""
    run = _RUN.match(line)
    return 1 if run is None else run[1].count(" ") + 1


class Budget:
    """What a recording that is being written may still hold."""

    def __init__(self) -> None:
        self._steps = self._outputs = self._bytes = 0
        self._characters = 0

    def frame(self, characters: int) -> None:
        """A frame is noted, of that length before sound was left out of it."""
        self._characters += characters

    def spend(self, line: str, outputs: int = 0) -> str | None:
        """Why this line, which stands for `outputs` outputs, cannot be written any more. None if it can, and
        it counts from then on. One more line, of the end, always fits.
        """
        self._steps += steps_of(line)
        self._outputs += outputs
        self._bytes += (len(line) if line.isascii() else len(line.encode(errors="replace"))) + 1
        if self._steps >= MOST_STEPS or self._outputs > MOST_STEPS:
            return f"{MOST_STEPS:,} steps"
        if self._bytes >= MOST_BYTES - _END_BYTES:
            return f"{MOST_BYTES:,} bytes"
        return None if self._characters <= MOST_CHARACTERS else f"{MOST_CHARACTERS:,} characters of frames"


def weigh(lines: Iterable[str]) -> None:
    """Raises ConfigError when there is more in them than in any call, at a glance and before anything is
    read.
    """
    steps = sum(map(steps_of, lines))
    if steps > MOST_STEPS:
        raise ConfigError(f"this recording has {steps:,} steps; one of a call has at most {MOST_STEPS:,}")


def plausible(message: msgspec.Struct, *, sized: bool = True) -> None:
    """Raises ValueError for a message or header that no call has: numbers out of range, values nested without
    end, and (where `sized`) sound of another size than it says.
    """
    try:
        built = msgspec.to_builtins(message, enc_hook=repr)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    _check(built, sized, 0)


def _check(value: Any, sized: bool, depth: int) -> None:
    if depth > DEEPEST:
        raise ValueError("it is nested too deep")
    if isinstance(value, Mapping):
        audio, size = value.get("audio"), value.get("size_bytes")
        if sized and isinstance(audio, str) and isinstance(size, int) and size_bytes(audio) != size:
            raise ValueError(f"sound of {size_bytes(audio)} bytes that says it has {size}")
        for inner in value.values():
            _check(inner, sized, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check(inner, sized, depth + 1)
    elif isinstance(value, int) and abs(value) > MOST_NUMBER:
        raise ValueError("a number out of any range")


def possible(config: m.CallConfig) -> None:
    """Raises ValueError for a configuration that no call can be made of."""
    if not 1 <= config.bytes_per_ms <= MOST_BYTES_PER_MS:
        raise ValueError(f"{config.bytes_per_ms} bytes of sound a millisecond")
