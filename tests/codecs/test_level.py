"""How loud a frame is: integers, rounded down, with a floor."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.codecs import PCMU
from bridge.codecs.g711 import pcm_to_pcmu, pcmu_to_pcm, rms
from bridge.codecs.level import SILENCE_DBFS, level_dbfs, pcm_level_dbfs


def square(amplitude: int, count: int = 160) -> bytes:
    return struct.pack(f"<{count}h", *[amplitude, -amplitude] * (count // 2))


def test_silence_is_the_floor() -> None:
    assert level_dbfs(PCMU.silence(20)) == SILENCE_DBFS == -96
    assert level_dbfs(b"\x7f" * 160) == -96, "the other zero of mu-law"
    assert level_dbfs(b"") == -96
    assert pcm_level_dbfs(b"") == -96


@pytest.mark.parametrize(
    ("amplitude", "dbfs"),
    [
        (1, -91),
        (32, -61),
        (33, -60),
        (327, -41),
        (328, -40),
        (3276, -21),
        (3277, -20),
        (16422, -7),
        (16423, -6),
        (32767, -1),
    ],
)
def test_a_square_wave_has_the_level_of_its_amplitude_rounded_down(amplitude: int, dbfs: int) -> None:
    assert pcm_level_dbfs(square(amplitude)) == dbfs


def test_full_scale_is_zero_and_mu_law_ends_just_below() -> None:
    assert pcm_level_dbfs(struct.pack("<h", -32768) * 160) == 0
    assert level_dbfs(b"\x00\x80" * 80) == -1


def test_a_full_scale_sine_reads_3_01_below_a_square() -> None:
    sine = np.round(32767 * np.sin(2 * np.pi * 1000 * np.arange(160) / 8000)).astype("<i2").tobytes()
    assert pcm_level_dbfs(sine) == level_dbfs(pcm_to_pcmu(sine)) == -4


@given(st.binary(min_size=1, max_size=400))
def test_a_level_is_the_logarithm_rounded_down(frame: bytes) -> None:
    level = level_dbfs(frame)
    loudness = rms(pcmu_to_pcm(frame))
    assert level == SILENCE_DBFS or 32768 * 10 ** (level / 20) <= loudness
    assert loudness < 32768 * 10 ** ((level + 1) / 20)


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="16-bit"):
        pcm_level_dbfs(bytes(3))
