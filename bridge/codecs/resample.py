"""Sound at another rate: 8, 16 and 24 kHz, as a stream, without a click where one block meets the next.

A polyphase filter: in thought the input is spread out with zeros to a rate both sides divide (`up` times the
input's, `down` times the output's), smoothed there by one low-pass, and every `down`-th sample is kept. Only
what is kept is computed, as one product of matrices a block: 7 to 8 µs for 20 ms.

Whole numbers throughout. The taps are multiples of 2**-24, so every product of a 16-bit sample and a tap, and
every sum of 72 of them, fits the 53 bits of a double exactly: the result does not depend on the order in
which the matrix library adds, and so not on how the stream was cut into blocks.
"""

from __future__ import annotations

from functools import cache
from math import gcd
from typing import Final

import numpy as np
from numpy.typing import NDArray

_Samples = NDArray[np.float64]

RATES_HZ: Final = (8_000, 16_000, 24_000)

# The filter spans 24 samples of the lower rate, which is 72 taps between 8 and 24 kHz; half of them, 1.5 ms
# at 8 kHz, is how late it makes the sound. It is flat to 0.85 of the lower rate's band (3.4 kHz of 4, where
# telephone speech ends) and more than 55 dB down from 1.15 of it (4.6 kHz, which folds back onto 3.4).
_SPAN_SAMPLES: Final = 24
_KAISER_BETA: Final = 5.6
_TAP_UNIT: Final = 2.0**-24
# Cycles (`down` samples in, `up` out) that one row of the matrix makes. One would do; eight copy less input.
_CYCLES: Final = 8
_LOUDEST: Final = 32_767.0
_ITEM_BYTES: Final = 8


class Resampler:
    """One direction of one stream of 16-bit little-endian PCM.

    From the first block on as much time comes out as went in, 20 ms for 20 ms; nothing is held back in lumps.
    The sound in it is late by `latency_ms`, so the very first block begins with the filter's rise out of
    silence. Raises ValueError for a pair of rates it does not have.
    """

    __slots__ = ("_filter", "_past", "_rest", "from_hz", "to_hz")

    def __init__(self, from_hz: int, to_hz: int) -> None:
        if from_hz == to_hz or from_hz not in RATES_HZ or to_hz not in RATES_HZ:
            raise ValueError(f"from {from_hz} to {to_hz} Hz: two different ones of {RATES_HZ} are needed")
        self.from_hz = from_hz
        self.to_hz = to_hz
        self._filter = _filter(from_hz, to_hz)
        self._past = self._filter.silence
        self._rest = b""  # of the input: too little for an output sample, or half a sample

    @property
    def latency_ms(self) -> float:
        """How late the sound comes out: 1.48 ms where 8 kHz are involved, else 0.74."""
        return (self._filter.taps - 1) / 2 / self._filter.hz * 1_000

    def resample(self, pcm: bytes) -> bytes:
        """What this block makes, at the other rate.

        Any size will do, half a sample too: what is too little for an output sample waits for the next block.
        """
        form = self._filter
        if self._rest:
            pcm = self._rest + pcm
        cycles = len(pcm) // (2 * form.down)
        used = cycles * form.down
        self._rest = pcm[2 * used :]
        if not cycles:
            return b""

        # The past, this block, and zeros to fill the last row, whose surplus is cut off below.
        rows = -(-cycles // _CYCLES)
        past = len(self._past)
        line = np.zeros(past + rows * form.step)
        line[:past] = self._past
        line[past : past + used] = np.frombuffer(pcm, "<i2", used)
        self._past = line[used : used + past].copy()

        # Overlapping windows on the line. numpy's sliding_window_view costs more than the product.
        windows: _Samples = np.ndarray(
            (rows, len(form.matrix)), np.float64, line, 0, (form.step * _ITEM_BYTES, _ITEM_BYTES)
        )
        out = (np.ascontiguousarray(windows) @ form.matrix).reshape(-1)[: cycles * form.up]
        np.rint(out, out=out)
        np.minimum(out, _LOUDEST, out=out)
        np.maximum(out, -_LOUDEST - 1, out=out)
        return out.astype("<i2").tobytes()

    def flush(self) -> bytes:
        """The end of the stream: the `latency_ms` that it is behind, in whole samples. A new one may begin.

        Nothing when nothing came in. Half a sample that never got its other half is dropped.
        """
        form = self._filter
        waiting = len(self._rest) // 2
        tail = b""
        if waiting or self._past is not form.silence:
            behind = form.taps // (2 * form.up)
            self._rest = self._rest[: 2 * waiting]
            tail = self.resample(bytes(2 * (behind + -(waiting + behind) % form.down)))
        self.reset()
        return tail

    def reset(self) -> None:
        """Forget the stream so far, as after a cut: what comes next begins out of silence."""
        self._past = self._filter.silence
        self._rest = b""


class _Filter:
    """What all streams between the same two rates share."""

    __slots__ = ("down", "hz", "matrix", "silence", "step", "taps", "up")

    def __init__(self, from_hz: int, to_hz: int) -> None:
        common = gcd(from_hz, to_hz)
        self.up = to_hz // common
        self.down = from_hz // common
        self.hz = from_hz * self.up
        self.taps = _SPAN_SAMPLES * max(self.up, self.down)
        self.silence: _Samples = np.zeros((self.taps - 1) // self.up)  # a past without sound
        self.step = _CYCLES * self.down
        self.matrix = self._matrix()

    def _matrix(self) -> _Samples:
        """One row of input (the past, then `_CYCLES` cycles) to one row of output.

        Output j lies at j * down on the common line, input i at i * up; how far apart they are names the tap.
        """
        low_pass = self._low_pass()
        outputs = np.arange(_CYCLES * self.up) * self.down
        inputs = np.arange(-len(self.silence), self.step) * self.up
        distance = outputs[np.newaxis, :] - inputs[:, np.newaxis]
        inside = (distance >= 0) & (distance < self.taps)
        return np.where(inside, low_pass[np.where(inside, distance, 0)], 0.0)

    def _low_pass(self) -> _Samples:
        """A Kaiser-windowed sinc that ends at half the lower rate.

        Each phase is scaled to let a constant through unchanged; or else the zeros in between would whistle.
        """
        from_middle = np.arange(self.taps) - (self.taps - 1) / 2
        taps: _Samples = np.sinc(from_middle / max(self.up, self.down)) * np.kaiser(self.taps, _KAISER_BETA)
        for phase in range(self.up):
            taps[phase :: self.up] /= taps[phase :: self.up].sum()
        return np.rint(taps / _TAP_UNIT) * _TAP_UNIT


@cache
def _filter(from_hz: int, to_hz: int) -> _Filter:
    return _Filter(from_hz, to_hz)
