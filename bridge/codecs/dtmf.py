"""The keys of a phone as sound (DTMF): ITU-T Q.23's two tones a key, made and heard in µ-law at 8 kHz."""

from __future__ import annotations

import functools
from typing import Final

import numpy as np

from .g711 import pcm_to_pcmu, pcmu_to_pcm

LOW_HZ: Final = (697, 770, 852, 941)
HIGH_HZ: Final = (1_209, 1_336, 1_477, 1_633)
_ROWS: Final = ("123A", "456B", "789C", "*0#D")
KEYS: Final = "".join(_ROWS)
KEY_MS: Final = 100
GAP_MS: Final = 100
HALF_SECONDS: Final = {"w": 500, "W": 1_000}
"""Twilio, `SendDigits`: "w" waits half a second, "W" a second."""
FRAME_BYTES: Final = 160
_HZ: Final = 8_000
_PEAK: Final = 9_000
_LEAST_RMS: Final = 400
_LEAST_SHARE: Final = 0.75
"""Of two pure tones nearly all energy is in these two; of speech it never is."""
_MOST_TWIST: Final = 5.0
"""How much stronger one of the two may be."""
_LEAST_FRAMES: Final = 2
"""Q.24 wants 40 ms of a tone before it is a key."""
_WAVES: Final = np.exp(-2j * np.pi * np.outer(LOW_HZ + HIGH_HZ, np.arange(FRAME_BYTES)) / _HZ)


@functools.lru_cache(maxsize=64)
def key_tone(key: str, ms: int = KEY_MS) -> bytes:
    """One key. Raises ValueError for what is no key."""
    row = next((row for row in _ROWS if key in row), None)
    if row is None or len(key) != 1:
        raise ValueError(f"{key!r} is no key of a phone")
    turns = 2 * np.pi * np.arange(ms * _HZ // 1_000) / _HZ
    low, high = LOW_HZ[_ROWS.index(row)], HIGH_HZ[row.index(key)]
    return pcm_to_pcmu(np.rint(_PEAK * (np.sin(low * turns) + np.sin(high * turns))).astype("<i2").tobytes())


def dialled(digits: str) -> bytes:
    """`1w2#` as sound: tones of 100 ms with rests. Raises ValueError for what is neither key nor wait."""
    silent_ms = b"\xff" * 8
    return b"".join(
        silent_ms * HALF_SECONDS[digit] if digit in HALF_SECONDS else key_tone(digit) + silent_ms * GAP_MS
        for digit in digits
    )


class KeyEar:
    """Hears keys, a frame of 20 ms at a time. A key is told once, in its second frame."""

    def __init__(self) -> None:
        self._key = ""
        self._frames = 0

    def rest(self) -> None:
        """A silent frame."""
        self._key, self._frames = "", 0

    def hear(self, frame: bytes) -> str:
        """The key that 160 bytes complete, empty for none."""
        key = _key_in(frame)
        self._frames = self._frames + 1 if key == self._key else 1
        self._key = key
        return key if key and self._frames == _LEAST_FRAMES else ""


def _key_in(frame: bytes) -> str:
    samples = np.frombuffer(pcmu_to_pcm(frame), "<i2").astype(np.float64)
    energy = float(samples @ samples)
    if energy < len(samples) * _LEAST_RMS**2:
        return ""
    powers = np.abs(_WAVES @ samples) ** 2
    low, high = powers[:4], powers[4:]
    row, column = int(low.argmax()), int(high.argmax())
    share = 2 * (low[row] + high[column]) / (len(samples) * energy)
    twist = low[row] / max(high[column], 1.0)
    return _ROWS[row][column] if share > _LEAST_SHARE and 1 / _MOST_TWIST < twist < _MOST_TWIST else ""
