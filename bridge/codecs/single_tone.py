"""A mailbox's tone: a single one of 350 to 2,600 Hz, that ends, and what follows it.

Each frame of 20 ms is looked at by itself. It is a tone if nearly all of its power lies within 100 Hz of one
frequency; a run of such frames of one pitch and one level is a beep. Keys of a phone and the tones of most
exchanges are two frequencies at once, and a vowel has its harmonics: none of them passes.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from .g711 import pcmu_to_pcm

FRAME_BYTES: Final = 160
FRAME_MS: Final = 20
RATE_HZ: Final = 8_000
LOWEST_HZ, HIGHEST_HZ = 335, 2_640
PURITY: Final = 0.85
"""Share of the power that is the tone's; 7.5 dB above all else."""
LEAST_POWER: Final = 260.0**2
"""-42 dBFS, as a square of 16-bit samples."""
SAME_PITCH: Final = 0.03
SAME_LEVEL: Final = 4.0
"""6 dB, in power."""
EVEN: Final = 0.5
"""Of the power of a frame has each quarter of it."""
SILENT: Final = 16.0
"""12 dB below the tone, in power."""
BEGUN_FRAMES: Final = 4
FADING: Final = 0.9
"""Of a frame's power has the next one at the most."""
MOST_TAIL_FRAMES: Final = 25
QUIET_FRAMES: Final = 10

_WINDOW: Final = np.hanning(FRAME_BYTES)
_BIN_HZ: Final = RATE_HZ / FRAME_BYTES
_SIDE: Final = 2
"""Bins of the window's main lobe, to either side."""


class Tone(NamedTuple):
    """What is known of it now. `over` with `quiet_ms` of silence after its end; with 0 of it something else
    followed at once.
    """

    hz: int
    duration_ms: int
    over: bool = False
    quiet_ms: int = 0


class ToneDetector:
    """One line's. `update` takes its frames in order."""

    __slots__ = ("_begun", "_fading", "_frames", "_hz", "_misses", "_power", "_quiet", "_tail")

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._frames = self._quiet = self._misses = 0
        self._hz = self._power = 0.0
        self._begun = False
        self._fading, self._tail = math.inf, 0

    def update(self, pcmu: bytes) -> Tone | None:
        """Look at 20 ms of mu-law. Returns what is new: that a tone has begun, 80 ms ago, or that it is
        over. A frame of another length is no tone.
        """
        samples = np.frombuffer(pcmu_to_pcm(pcmu), np.int16).astype(np.float64)
        power = float(np.mean(samples * samples)) if len(samples) else 0.0
        hz = _pitch(samples) if power >= LEAST_POWER and len(samples) == FRAME_BYTES else 0.0
        even, rising = _loudness(samples, power) if hz else (False, False)
        if even and self._goes_on(hz, power) and not self._quiet:
            return self._tone(hz, power)
        if not self._begun:
            self._reset()
            if even or rising:
                self._tone(hz, power)
            return None
        if self._misses and self._fades(hz, power):
            return None
        if power * SILENT <= self._power or power < LEAST_POWER:
            return self._silence()
        if not self._quiet and not self._misses:
            self._misses = 1  # the frame in which it ends
            return None
        return self._over()

    def _goes_on(self, hz: float, power: float) -> bool:
        if not self._frames:
            return True
        if abs(hz - self._hz) > SAME_PITCH * self._hz:
            return False
        # The first frame of a tone may have only a part of it.
        return self._frames < 2 or self._power / SAME_LEVEL <= power <= self._power * SAME_LEVEL

    def _fades(self, hz: float, power: float) -> bool:
        """Whether a tone that was even for long enough dies away, as in a room; that is no other sound."""
        same = hz and abs(hz - self._hz) <= SAME_PITCH * self._hz
        if self._quiet or not same or power > FADING * self._fading:
            return False
        self._fading, self._tail = power, self._tail + 1
        return self._tail <= MOST_TAIL_FRAMES

    def _tone(self, hz: float, power: float) -> Tone | None:
        self._frames += 1 + self._misses
        self._misses = 0
        if self._frames <= 2:
            self._hz, self._power = hz, power
        if self._begun or self._frames < BEGUN_FRAMES:
            return None
        self._begun = True
        return Tone(round(self._hz), self._frames * FRAME_MS)

    def _silence(self) -> Tone | None:
        self._quiet += 1
        return self._over() if self._quiet >= QUIET_FRAMES else None

    def _over(self) -> Tone:
        quiet = self._quiet if self._quiet >= QUIET_FRAMES else 0
        hz, lasted_ms = round(self._hz), (self._frames + self._misses) * FRAME_MS
        self._reset()
        return Tone(hz, lasted_ms, over=True, quiet_ms=quiet * FRAME_MS)


def _loudness(samples: np.ndarray, power: float) -> tuple[bool, bool]:
    """Whether it sounds all the time, and whether it sounds at the end: two short notes of one pitch fade in
    between.
    """
    quarters = (samples * samples).reshape(4, -1).mean(axis=1)
    return bool(quarters.min() >= EVEN * power), bool(quarters[-1] >= EVEN * power)


def _pitch(samples: np.ndarray) -> float:
    """The frequency that has nearly all the power of this frame; 0 if none has, or one that no beep has."""
    spectrum = np.abs(np.fft.rfft(samples * _WINDOW)) ** 2
    spectrum[0] = 0.0
    peak = int(spectrum.argmax())
    low, high = max(1, peak - _SIDE), peak + _SIDE + 1
    around = spectrum[low:high]
    total = float(spectrum.sum())
    own = float(around.sum())
    if not total or own < PURITY * total:
        return 0.0
    hz = float((around * np.arange(low, low + len(around))).sum() / own) * _BIN_HZ
    return hz if LOWEST_HZ <= hz <= HIGHEST_HZ else 0.0
