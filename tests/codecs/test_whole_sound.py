"""A whole sound at another rate: what stays is exact, what the lower rate cannot hold is gone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bridge.codecs.whole_sound import at_rate


def sine(hz: int, rate_hz: int, seconds: float = 0.5) -> NDArray[np.float64]:
    return 10_000 * np.sin(2 * np.pi * hz * np.arange(int(rate_hz * seconds)) / rate_hz)


def db(sound: NDArray[np.float64]) -> float:
    """The level of what is not an edge, against the sine's own."""
    middle = sound[300:-300]
    return float(20 * np.log10(np.sqrt(np.mean(middle**2)) / (10_000 / np.sqrt(2)) + 1e-12))


@pytest.mark.parametrize("rate_hz", [11_025, 16_000, 22_050, 44_100, 48_000])
def test_a_telephone_voice_passes_and_nothing_folds_back(rate_hz: int) -> None:
    for hz in (300, 1_000, 2_900):
        down = at_rate(sine(hz, rate_hz), rate_hz, 8_000)
        assert len(down) == int(rate_hz * 0.5) * 8_000 // rate_hz
        assert db(down - sine(hz, 8_000)[: len(down)]) < -60
    for hz in (5_000, rate_hz // 2 - 100):
        assert db(at_rate(sine(hz, rate_hz), rate_hz, 8_000)) < -60


def test_a_higher_rate_and_the_same() -> None:
    up = at_rate(sine(1_000, 6_000), 6_000, 8_000)
    assert db(up - sine(1_000, 8_000)[: len(up)]) < -60
    same = sine(440, 8_000)
    assert at_rate(same, 8_000, 8_000) is same
    assert len(at_rate(np.zeros(0), 22_050, 8_000)) == 0


def test_a_rate_that_is_none() -> None:
    with pytest.raises(ValueError, match="1 Hz"):
        at_rate(np.zeros(10), 0, 8_000)
