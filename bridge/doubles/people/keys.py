"""The keys of a phone as sound: ITU-T Q.23's two tones a key, made and heard."""

from __future__ import annotations

import functools
import math
import struct
from typing import Final

from ...codecs.g711 import pcm_to_pcmu, pcmu_to_pcm

LOW_HZ: Final = (697, 770, 852, 941)
HIGH_HZ: Final = (1_209, 1_336, 1_477, 1_633)
_ROWS: Final = ("123A", "456B", "789C", "*0#D")
KEYS: Final = "".join(_ROWS)
KEY_MS: Final = 100
GAP_MS: Final = 100
HALF_SECONDS: Final = {"w": 500, "W": 1_000}
"""Twilio, `SendDigits`: "w" waits half a second, "W" a second."""
_HZ: Final = 8_000
_PEAK: Final = 9_000
_LEAST_FRAMES: Final = 2
"""Q.24 wants 40 ms of a tone before it is a key."""


@functools.lru_cache(maxsize=64)
def key_tone(key: str, ms: int = KEY_MS) -> bytes:
    """One key, µ-law at 8 kHz. Raises ValueError for what is no key."""
    row = next((row for row in _ROWS if key in row), None)
    if row is None or len(key) != 1:
        raise ValueError(f"{key!r} is no key of a phone")
    low, high = LOW_HZ[_ROWS.index(row)], HIGH_HZ[row.index(key)]
    samples = [
        round(_PEAK * (math.sin(2 * math.pi * low * n / _HZ) + math.sin(2 * math.pi * high * n / _HZ)))
        for n in range(ms * _HZ // 1_000)
    ]
    return pcm_to_pcmu(struct.pack(f"<{len(samples)}h", *samples))


def dialled(digits: str) -> bytes:
    """`1w2#` as sound: tones of 100 ms with rests. Raises ValueError for what is neither key nor wait."""
    silent_ms = b"\xff" * 8
    return b"".join(
        silent_ms * HALF_SECONDS[digit] if digit in HALF_SECONDS else key_tone(digit) + silent_ms * GAP_MS
        for digit in digits
    )


class KeyEar:
    """Hears keys in µ-law, 20 ms at a time. A key is told once, in its second frame."""

    def __init__(self) -> None:
        self._key = ""
        self._frames = 0

    def rest(self) -> None:
        """A silent frame."""
        self._key, self._frames = "", 0

    def hear(self, frame: bytes) -> str:
        """The key that this frame completes, empty for none."""
        key = _key_in(frame)
        self._frames = self._frames + 1 if key == self._key else 1
        self._key = key
        return key if key and self._frames == _LEAST_FRAMES else ""


def _key_in(frame: bytes) -> str:
    pcm = pcmu_to_pcm(frame)
    samples = struct.unpack(f"<{len(frame)}h", pcm)
    energy = sum(sample * sample for sample in samples)
    if energy < len(samples) * 400 * 400:
        return ""
    low = [_power(samples, hz) for hz in LOW_HZ]
    high = [_power(samples, hz) for hz in HIGH_HZ]
    row, column = low.index(max(low)), high.index(max(high))
    # Of two pure tones each has half the energy: both together are nearly all there is.
    share = 2 * (low[row] + high[column]) / (len(samples) * energy)
    twist = low[row] / high[column] if high[column] else math.inf
    return _ROWS[row][column] if share > 0.75 and 0.2 < twist < 5 else ""


def _power(samples: tuple[int, ...], hz: int) -> float:
    """Goertzel: the squared magnitude at one frequency."""
    factor = 2 * math.cos(2 * math.pi * hz / _HZ)
    before = last = 0.0
    for sample in samples:
        before, last = last, sample + factor * last - before
    return before * before + last * last - factor * before * last
