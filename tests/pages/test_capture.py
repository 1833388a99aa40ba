"""What the page hears of the caller arrives as the carrier's frames do: 160 bytes, fifty a second, clean."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bridge.codecs.g711 import pcm_to_pcmu, pcmu_to_pcm

from ..browser import Browser, browser, chromium, running
from .switchboard import MICROPHONE, SILENCE, Line, Switchboard, call, microphone, tone, write_wav

pytestmark = [
    pytest.mark.alone,
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="there is no chromium here"),
]


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with running(*MICROPHONE) as browser:
        yield browser


# The browser's own treatment of voices takes a tone for noise.
UNTREATED = (
    "const get = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);"
    "navigator.mediaDevices.getUserMedia = () => get({audio: {echoCancellation: false,"
    " noiseSuppression: false, autoGainControl: false}})"
)


HUM = pcm_to_pcmu((tone(400, 0.02, rate_hz=8_000) * 32_767).astype("<i2").tobytes())


def heard(line: Line, seconds: float) -> np.ndarray:
    """The samples that came in so many seconds from now, -1 to 1."""
    before = len(line.frames)
    time.sleep(seconds)
    sound = b"".join(frame for _, frame in line.frames[before:])
    return np.frombuffer(pcmu_to_pcm(sound), "<i2") / 32_768


def level_db(samples: np.ndarray) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(samples**2)) + 1e-9))


def signal_to_noise_db(samples: np.ndarray, hz: float) -> float:
    """Of a tone: its best fit against all that is left."""
    at = np.arange(len(samples)) / 8_000
    basis = np.stack([np.sin(2 * np.pi * hz * at), np.cos(2 * np.pi * hz * at)], axis=1)
    fit, *_ = np.linalg.lstsq(basis, samples, rcond=None)
    tone_ = basis @ fit
    return level_db(tone_) - level_db(samples - tone_)


async def speak(line: Line) -> None:
    """What a model would: sound without end, paced."""
    await line.pace(itertools.repeat(HUM))


@pytest.mark.parametrize(
    ("seconds", "tolerance"), [(10, 0.5), pytest.param(60, 0.1, marks=pytest.mark.long)], ids=["10s", "60s"]
)
def test_frames_come_fifty_a_second_of_160_bytes(chrome: Browser, seconds: int, tolerance: float) -> None:
    with Switchboard(speak).open() as board, chrome.tab() as page:
        line = call(page, board)
        time.sleep(seconds + 1.5)
        frames = line.frames
        stamps = [int(message["media"]["timestamp"]) for _, message in line.of("media")]
        footer = page.value("document.getElementById('footer').textContent")
    first = next(n for n, (at_s, _) in enumerate(frames) if at_s > frames[0][0] + 1)
    lasted_s = frames[-1][0] - frames[first][0]
    assert lasted_s >= seconds
    assert {len(frame) for _, frame in frames} == {160}
    assert (len(frames) - 1 - first) / lasted_s == pytest.approx(50, abs=tolerance)
    gaps_ms = np.diff([at_s for at_s, _ in frames[first:]]) * 1_000
    assert np.percentile(gaps_ms, 99) <= 45
    assert set(np.diff(stamps)) == {20}
    underruns = re.search(r"underruns (\d+)", footer)
    assert underruns is not None
    if seconds == 60 and max(line.late_s) < 0.03:  # else this side was late, on a busy machine
        assert int(underruns[1]) == 0


def test_a_page_that_hangs_costs_no_frame(chrome: Browser) -> None:
    hang = "(ms => { const due = performance.now() + ms; while (performance.now() < due); })(500)"
    with Switchboard().open() as board, chrome.tab() as page:
        line = call(page, board)
        time.sleep(1)
        before = len(line.frames)
        page.value(hang)
        time.sleep(0.2)
        frames = line.frames[before:]
        stamps = [int(message["media"]["timestamp"]) for _, message in line.of("media")]
    at_s = np.array([at_s for at_s, _ in frames])
    assert set(np.diff(stamps)) == {20}
    assert len(frames) - 1 == pytest.approx((at_s[-1] - at_s[0]) * 50, abs=3)
    assert np.diff(at_s).max() <= 0.1


@pytest.mark.parametrize("hz", [440, 2_900])
def test_a_tone_stays_a_tone(tmp_path: Path, hz: int) -> None:
    wav = write_wav(tmp_path / "tone.wav", tone(hz, 8))
    with Switchboard().open() as board, browser(*microphone(wav)) as page:
        page.before_each_page(UNTREATED)
        line = call(page, board)
        time.sleep(0.8)
        samples = heard(line, 1.5)
    assert level_db(samples) == pytest.approx(level_db(tone(hz, 1)), abs=3)
    windows = np.split(samples[: len(samples) // 5 * 5], 5)  # a busy machine may tear one of them
    assert np.median([signal_to_noise_db(window, hz) for window in windows]) >= 30


def test_what_a_telephone_cannot_carry_does_not_fold_back(tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "high.wav", tone(5_000, 8))
    with Switchboard().open() as board, browser(*microphone(wav)) as page:
        page.before_each_page(UNTREATED)
        line = call(page, board)
        time.sleep(0.8)
        samples = heard(line, 1.0)
    assert level_db(samples) - level_db(tone(5_000, 1)) <= -35


def test_mute_sends_silence_and_keeps_the_clock(chrome: Browser) -> None:
    with Switchboard().open() as board, chrome.tab() as page:
        line = call(page, board)
        time.sleep(0.5)
        page.click("#mute")
        time.sleep(0.3)
        before = len(line.frames)
        time.sleep(1)
        muted = line.frames[before:]
    assert 45 <= len(muted) <= 55
    assert {frame for _, frame in muted} == {SILENCE}


def test_the_law_is_the_one_of_every_other_phone() -> None:
    """All 65,536 samples and all 256 bytes, against the codec of the standard library."""
    source = Path(__file__).parents[2] / "bridge/server/pages/files/worklet.js"
    stub = (
        "globalThis.AudioWorkletProcessor = class {}; globalThis.registerProcessor = () => {};"
        "globalThis.sampleRate = 48000;"
    )
    ask = (
        "[Array.from({length: 65536}, (_, k) => encode((k - 32768) / 32768)),"
        " Array.from(DECODED, sample => sample * 32768)]"
    )
    with browser() as page:
        script = json.dumps(f"{source.read_text()}; return {ask}")
        encoded, decoded = page.value(f"(() => {{ {stub} return new Function({script})(); }})()")
    samples = np.arange(-32_768, 32_768).astype("<i2").tobytes()
    assert bytes(encoded) == pcm_to_pcmu(samples)
    assert decoded == np.frombuffer(pcmu_to_pcm(bytes(range(256))), "<i2").tolist()
