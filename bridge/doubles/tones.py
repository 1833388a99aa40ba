"""Sound made up for agents and callers, µ-law at 8 kHz. The same arguments always give the same bytes."""

from __future__ import annotations

import functools
import math
import struct
from typing import Final

from ..codecs.g711 import pcm_to_pcmu

HZ: Final = 8_000
SAMPLES_PER_MS: Final = 8
LETTER_MS: Final = 60
"""About the pace of speech: fifteen letters a second."""

_MARKS: Final = 0x60


def marked(number: int, ms: int) -> bytes:
    """Sound that is nothing but one byte, 0x01 to 0x60 in turn, so that `count` tells how much of it was
    heard.

    Never 0xFF, which stands for silence, and never 0x00. Loud to any voice detection.
    """
    return bytes([1 + (number - 1) % _MARKS]) * (ms * SAMPLES_PER_MS)


@functools.lru_cache(maxsize=64)
def tone(ms: int, hz: int = 440, dbfs: int = -15) -> bytes:
    """A sine, faded in and out over 5 ms so that it does not click."""
    fade = 5 * SAMPLES_PER_MS
    count = ms * SAMPLES_PER_MS
    peak = 32_767 * 10 ** (dbfs / 20)
    samples = [
        round(peak * min(1.0, n / fade, (count - n) / fade) * math.sin(2 * math.pi * hz * n / HZ))
        for n in range(count)
    ]
    return pcm_to_pcmu(struct.pack(f"<{count}h", *samples))


@functools.lru_cache(maxsize=64)
def murmur(text: str) -> bytes:
    """What stands for speech where there is no voice: a short tone for each letter, a rest between words.

    Another text gives another melody, and a longer one takes longer: 60 ms a letter. No text, no sound.
    """
    rest = b"\xff" * (LETTER_MS * SAMPLES_PER_MS)
    return b"".join(tone(LETTER_MS, 180 + 40 * (ord(c.lower()) % 13)) if c.isalnum() else rest for c in text)
