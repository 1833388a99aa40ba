"""Sounds of a caller's line, mu-law: voices, noises, music. The same arguments always give the same bytes."""

from __future__ import annotations

import functools
import math
import random
import struct
import warnings
from itertools import pairwise

from bridge import sounds

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # deprecated in 3.11 and 3.12, a package since 3.13
    import audioop

HZ = 8_000
UNIFORM_DBFS = -4.77
"""Of samples that are all as likely."""


def _long(once: bytes, seconds: float) -> bytes:
    count = round(seconds * HZ)
    return (once * (count // len(once) + 1))[:count]


def louder(sound: bytes, db: float) -> bytes:
    """The same, that much louder; softer below 0."""
    return audioop.lin2ulaw(audioop.mul(audioop.ulaw2lin(sound, 2), 2, 10.0 ** (db / 20)), 2)


def mixed(sound: bytes, other: bytes) -> bytes:
    """Both at once, as long as the first."""
    beside = other[: len(sound)].ljust(len(sound), b"\xff")
    return audioop.lin2ulaw(audioop.add(audioop.ulaw2lin(sound, 2), audioop.ulaw2lin(beside, 2), 2), 2)


@functools.cache
def noise(seconds: float, dbfs: float) -> bytes:
    """A street, or the hiss of a line: two seconds of it, over and over."""
    pcm = audioop.mul(random.Random(7).randbytes(4 * HZ), 2, 10.0 ** ((dbfs - UNIFORM_DBFS) / 20))
    return _long(audioop.lin2ulaw(pcm, 2), seconds)


@functools.cache
def voice(seconds: float) -> bytes:
    """Somebody who talks without a stop: the bundled phrases, with no more than a breath between them."""
    spoken = [sounds.load(name).strip(b"\xff\x7f\xfe\x7e") for name in sounds.phrase_names()]
    return _long(b"".join(phrase + b"\xff" * 800 for phrase in spoken), seconds)


@functools.cache
def _bar() -> list[float]:
    """Two chords that swell, with a beat under them: two seconds."""
    bar = []
    for at in range(2 * HZ):
        second = at / HZ
        low, high = (220, 277) if second < 1 else (196, 247)
        chord = math.sin(2 * math.pi * low * second) + math.sin(2 * math.pi * high * second)
        beat = math.sin(2 * math.pi * 90 * second) * (1 - at % 4_000 / 4_000) ** 4
        bar.append((0.8 + 0.2 * math.sin(math.pi * second)) * chord + 2 * beat)
    return bar


@functools.cache
def music(seconds: float, dbfs: float = -20) -> bytes:
    """That bar over and over."""
    bar = _bar()
    mean = math.sqrt(sum(sample * sample for sample in bar) / len(bar))
    peak = 32_768 * 10.0 ** (dbfs / 20) / mean
    return _long(
        audioop.lin2ulaw(struct.pack(f"<{len(bar)}h", *(round(one * peak) for one in bar)), 2), seconds
    )


@functools.cache
def dog(seconds: float) -> bytes:
    """A bark of a quarter of a second every 600 ms."""
    return _long(noise(0.25, -15) + noise(0.35, -60), seconds)


def frames(sound: bytes, every: int = 1) -> list[bytes]:
    """Its whole frames of 20 ms, or one in so many."""
    starts = range(0, len(sound) + 1, 160 * every)
    return [sound[start : start + 160] for start, _ in pairwise(starts)]
