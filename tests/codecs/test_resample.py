"""Sound at another rate: the same sound, however it was cut up on the way in."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bridge.codecs.resample import RATES_HZ, Resampler, _filter

PAIRS = list(permutations(RATES_HZ, 2))
every_pair = pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS, ids=[f"{a}-{b}" for a, b in PAIRS])


def tone(frequency_hz: int, hz: int, ms: int = 1000, amplitude: float = 10_000) -> bytes:
    return samples_of(amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(hz * ms // 1000) / hz))


def samples_of(wave: NDArray[np.float64]) -> bytes:
    return np.round(wave).astype("<i2").tobytes()


def wave_of(pcm: bytes) -> NDArray[np.float64]:
    return np.frombuffer(pcm, "<i2").astype(np.float64)


def strength_db(pcm: bytes, frequency_hz: int, hz: int, than: float = 10_000) -> float:
    """How strong a tone is in the middle of a sound, against an amplitude. Whole periods of it fit there."""
    wave = wave_of(pcm)
    middle = wave[hz // 10 : hz // 10 + hz // 2]
    turn = np.exp(-2j * np.pi * frequency_hz * np.arange(len(middle)) / hz)
    return float(20 * np.log10(2 * abs(middle @ turn) / len(middle) / than + 1e-12))


# -- cut it as you like


@settings(deadline=None)
@given(
    pair=st.sampled_from(PAIRS),
    pcm=st.binary(max_size=3_000),
    cuts=st.lists(st.integers(0, 3_000), max_size=20),
)
def test_blocks_make_what_the_whole_makes(pair: tuple[int, int], pcm: bytes, cuts: list[int]) -> None:
    whole = Resampler(*pair)
    expected = whole.resample(pcm) + whole.flush()

    stream = Resampler(*pair)
    edges = [0, *sorted(cuts), len(pcm)]
    blocks = [stream.resample(pcm[start:end]) for start, end in pairwise(edges)]
    assert b"".join(blocks) + stream.flush() == expected


@every_pair
def test_one_byte_at_a_time(from_hz: int, to_hz: int) -> None:
    pcm = np.random.default_rng(7).integers(-32_768, 32_768, 500).astype("<i2").tobytes()
    stream = Resampler(from_hz, to_hz)
    one_by_one = b"".join(stream.resample(pcm[at : at + 1]) for at in range(len(pcm)))
    assert one_by_one == Resampler(from_hz, to_hz).resample(pcm)


@every_pair
def test_every_frame_gives_a_frame_from_the_first_one_on(from_hz: int, to_hz: int) -> None:
    stream = Resampler(from_hz, to_hz)
    frame = tone(500, from_hz, ms=20)
    assert [len(stream.resample(frame)) for _ in range(5)] == [to_hz // 50 * 2] * 5


def test_half_a_sample_waits_for_its_other_half() -> None:
    stream = Resampler(8_000, 24_000)
    assert stream.resample(b"\x10") == b""
    assert len(stream.resample(b"\x27\x10")) == 6
    assert len(stream.resample(b"\x27")) == 6


def test_going_down_three_samples_make_one() -> None:
    stream = Resampler(24_000, 8_000)
    assert stream.resample(bytes(4)) == b""
    assert stream.resample(bytes(1)) == b""
    assert len(stream.resample(bytes(1))) == 2


@every_pair
def test_the_sums_are_exact_in_whatever_order_they_are_added(from_hz: int, to_hz: int) -> None:
    taps = _filter(from_hz, to_hz).matrix * 2.0**24
    assert (taps == np.rint(taps)).all()
    assert np.abs(taps).sum(axis=0).max() * 32_768 < 2**53


# -- the beginning and the end


@every_pair
def test_the_first_frame_rises_out_of_silence_and_is_there_after_the_latency(
    from_hz: int, to_hz: int
) -> None:
    stream = Resampler(from_hz, to_hz)
    wave = wave_of(stream.resample(samples_of(np.full(from_hz // 50, 10_000.0))))
    assert abs(wave[0]) < 100, "no click: the first sample is next to nothing"

    half = int(np.argmax(wave >= 5_000))
    crossed_ms = (half - (wave[half] - 5_000) / (wave[half] - wave[half - 1])) / to_hz * 1_000
    began_ms = -0.5 / from_hz * 1_000  # between the silent sample before the first and the first
    assert crossed_ms - began_ms == pytest.approx(stream.latency_ms, abs=0.05)
    assert stream.latency_ms <= 1.5

    settled = to_hz * 3 // 1_000 + 1
    assert set(wave[settled:]) == {10_000.0}, "a constant is then let through to the last bit"


@every_pair
def test_a_click_comes_out_at_its_place(from_hz: int, to_hz: int) -> None:
    stream = Resampler(from_hz, to_hz)
    click = np.zeros(from_hz // 10)
    click[from_hz // 20] = 30_000  # at 50 ms
    wave = wave_of(stream.resample(samples_of(click)))
    came_at_ms = np.argmax(np.abs(wave)) / to_hz * 1_000
    assert abs(came_at_ms - 50 - stream.latency_ms) <= 1_000 / min(from_hz, to_hz)


@settings(deadline=None)
@given(pair=st.sampled_from(PAIRS), count=st.integers(1, 700), odd=st.booleans())
def test_flush_gives_the_latency_and_no_more(pair: tuple[int, int], count: int, odd: bool) -> None:
    from_hz, to_hz = pair
    stream = Resampler(from_hz, to_hz)
    out = stream.resample(bytes(2 * count + odd)) + stream.flush()
    expected = count * to_hz / from_hz + stream.latency_ms * to_hz / 1_000
    assert expected <= len(out) / 2 <= expected + to_hz // 8_000, "rounded up to whole samples"
    assert stream.flush() == b"", "only once"


@every_pair
def test_a_last_sample_is_still_heard(from_hz: int, to_hz: int) -> None:
    stream = Resampler(from_hz, to_hz)
    ends_in_a_click = samples_of(np.append(np.zeros(from_hz // 50 - 1), 30_000))
    before = wave_of(stream.resample(ends_in_a_click))
    assert np.abs(wave_of(stream.flush())).max() > 10 * np.abs(before).max()


@pytest.mark.parametrize("too_little", [b"", b"\x10"])
def test_flush_of_nothing_is_nothing(too_little: bytes) -> None:
    stream = Resampler(8_000, 24_000)
    stream.resample(too_little)
    assert stream.flush() == b""
    stream.resample(tone(500, 8_000, ms=20))
    stream.reset()
    assert stream.flush() == b""


@every_pair
def test_half_a_sample_at_the_very_end_is_dropped(from_hz: int, to_hz: int) -> None:
    whole, odd = Resampler(from_hz, to_hz), Resampler(from_hz, to_hz)
    frame = tone(500, from_hz, ms=20)
    assert odd.resample(frame + b"\x7f") + odd.flush() == whole.resample(frame) + whole.flush()


@every_pair
def test_after_flush_or_reset_a_stream_is_as_new(from_hz: int, to_hz: int) -> None:
    fresh = Resampler(from_hz, to_hz).resample(tone(500, from_hz, ms=40))
    stream = Resampler(from_hz, to_hz)
    stream.resample(tone(900, from_hz, ms=33) + b"\x01")
    stream.flush()
    assert stream.resample(tone(500, from_hz, ms=40)) == fresh
    stream.resample(b"\x01")
    stream.reset()
    assert stream.resample(tone(500, from_hz, ms=40)) == fresh


def test_streams_share_a_filter_and_nothing_else() -> None:
    one, other = Resampler(8_000, 24_000), Resampler(8_000, 24_000)
    one.resample(tone(500, 8_000))
    assert set(other.resample(bytes(320))) == {0}


# -- the sound


@pytest.mark.parametrize("frequency_hz", [300, 1_000, 2_000, 3_000, 3_400])
@pytest.mark.parametrize("between", [16_000, 24_000])
def test_a_tone_keeps_frequency_and_level_there_and_back(frequency_hz: int, between: int) -> None:
    up = Resampler(8_000, between).resample(tone(frequency_hz, 8_000))
    back = Resampler(between, 8_000).resample(up)
    for pcm, hz in ((up, between), (back, 8_000)):
        assert abs(strength_db(pcm, frequency_hz, hz)) < 0.05
        wave = wave_of(pcm)[hz // 10 : hz // 10 + hz // 2]
        spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
        assert np.argmax(spectrum) * 2 == frequency_hz, "half a second: a bin every 2 Hz"


def test_24_to_8_to_24_keeps_what_a_phone_can_carry() -> None:
    down = Resampler(24_000, 8_000).resample(tone(1_000, 24_000))
    up = Resampler(8_000, 24_000).resample(down)
    assert abs(strength_db(up, 1_000, 24_000)) < 0.05


@pytest.mark.parametrize(("from_hz", "to_hz"), [(24_000, 8_000), (16_000, 8_000), (24_000, 16_000)])
@pytest.mark.parametrize("above_hz", [4_600, 5_000, 5_500, 6_500, 7_500])
def test_what_the_lower_rate_cannot_hold_does_not_fold_back(from_hz: int, to_hz: int, above_hz: int) -> None:
    above_hz = above_hz * to_hz // 8_000
    pcm = Resampler(from_hz, to_hz).resample(tone(above_hz, from_hz, amplitude=20_000))
    assert strength_db(pcm, abs(to_hz - above_hz), to_hz, than=20_000) < -55


@pytest.mark.parametrize(("from_hz", "to_hz"), [(8_000, 24_000), (8_000, 16_000), (16_000, 24_000)])
@pytest.mark.parametrize("below_hz", [300, 1_000, 3_000, 3_400])
def test_going_up_leaves_no_mirror_image(from_hz: int, to_hz: int, below_hz: int) -> None:
    below_hz = below_hz * from_hz // 8_000
    pcm = Resampler(from_hz, to_hz).resample(tone(below_hz, from_hz, amplitude=20_000))
    assert strength_db(pcm, from_hz - below_hz, to_hz, than=20_000) < -55


@every_pair
def test_too_loud_is_clipped_and_never_wraps_around(from_hz: int, to_hz: int) -> None:
    # A square wave at full scale overshoots behind any low-pass.
    square = np.where(np.arange(from_hz // 10) // (from_hz // 1_000) % 2, -32_768.0, 32_767.0)
    wave = wave_of(Resampler(from_hz, to_hz).resample(samples_of(square)))
    assert wave.max() == 32_767
    assert wave.min() == -32_768
    late = to_hz // 400
    steps = np.abs(np.diff(wave[late:]))
    assert steps.max() <= 65_535 * (1 if to_hz <= from_hz else 0.75), "up, an edge takes more than one sample"


@pytest.mark.parametrize(("from_hz", "to_hz"), [(8_000, 8_000), (8_000, 44_100), (11_025, 8_000), (0, 8_000)])
def test_other_rates_are_refused(from_hz: int, to_hz: int) -> None:
    with pytest.raises(ValueError, match=f"from {from_hz} to {to_hz} Hz"):
        Resampler(from_hz, to_hz)
