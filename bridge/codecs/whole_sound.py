"""A whole sound at another rate, any rate: for files and synthetic voices. Calls have `resample`."""

from __future__ import annotations

from functools import cache
from math import gcd
from typing import Final

import numpy as np
from numpy.typing import NDArray

# The filter spans 32 samples of the lower rate: flat to 0.8 of its band, and what would fold back is gone.
_SPAN_SAMPLES: Final = 32
_KAISER_BETA: Final = 6.0
_PASSED: Final = 0.92
_BLOCK_SAMPLES: Final = 4_096


def at_rate(samples: NDArray[np.float64], from_hz: int, to_hz: int) -> NDArray[np.float64]:
    """The same sound at another rate, as long as before to the sample; what a lower rate cannot hold is
    filtered out first. Raises ValueError for a rate below 1 Hz.
    """
    if from_hz < 1 or to_hz < 1:
        raise ValueError("a rate is 1 Hz or more")
    common = gcd(from_hz, to_hz)
    up, down = to_hz // common, from_hz // common
    if up == down:
        return samples
    taps = _taps(up, down)
    reach = taps.shape[1] // 2
    padded = np.pad(samples, (reach, reach + 1))
    windows = np.lib.stride_tricks.sliding_window_view(padded[1:], 2 * reach)
    count = len(samples) * up // down
    out = np.empty(count)
    for start in range(0, count, _BLOCK_SAMPLES):
        at = np.arange(start, min(start + _BLOCK_SAMPLES, count)) * down
        np.einsum("ij,ij->i", windows[at // up], taps[at % up], out=out[start : start + len(at)])
    return out


@cache
def _taps(up: int, down: int) -> NDArray[np.float64]:
    """A row for each of the `up` places between two samples where one may be wanted: a windowed sinc."""
    stretch = max(1.0, down / up) / _PASSED
    reach = int(np.ceil(_SPAN_SAMPLES / 2 * stretch))
    distance = np.arange(-reach + 1, reach + 1) - np.arange(up)[:, np.newaxis] / up
    inside = np.clip(1 - (distance / reach) ** 2, 0, None)
    taps: NDArray[np.float64] = np.sinc(distance / stretch) * np.i0(_KAISER_BETA * np.sqrt(inside))
    return taps / taps.sum(axis=1, keepdims=True)
