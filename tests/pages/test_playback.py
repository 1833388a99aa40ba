"""The page plays what came, in time. A mark comes back when its sound was played; a clear silences."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import numpy as np
import pytest

from bridge.codecs.g711 import pcm_to_pcmu

from ..browser import Browser, chromium, running
from .ears import listen, track
from .switchboard import MICROPHONE, Line, Switchboard, call, tone

pytestmark = [
    pytest.mark.alone,
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="there is no chromium here"),
]


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with running(*MICROPHONE) as browser:
        yield browser


def mulaw(samples: np.ndarray) -> bytes:
    return pcm_to_pcmu((samples * 32_767).astype("<i2").tobytes())


def sound(seconds: float) -> bytes:
    return mulaw(tone(600, seconds, rate_hz=8_000))


def pieces(whole: bytes) -> list[bytes]:
    return [whole[at : at + 160] for at in range(0, len(whole), 160)]


def test_a_burst_plays_once_whole_and_marks_come_when_it_was_played(chrome: Browser) -> None:
    sent: dict[str, float] = {}

    async def script(line: Line) -> None:
        await asyncio.sleep(0.3)
        for number, piece in enumerate(pieces(sound(3)), 1):
            await line.play(piece)
            if number % 25 == 0:
                await line.mark(f"{number * 20}")
        sent["at"] = time.monotonic()

    with Switchboard(script).open() as board, chrome.tab() as page:
        listen(page)
        line = call(page, board)
        time.sleep(4.2)
        loud = track(page, "loudspeaker").loud_s()
        footer = page.value("document.getElementById('footer').textContent")
    marks = [(at_s, int(message["mark"]["name"])) for at_s, message in line.of("mark")]
    assert [name for _, name in marks] == [500, 1_000, 1_500, 2_000, 2_500, 3_000]
    for at_s, played_ms in marks:
        assert (at_s - sent["at"]) * 1_000 == pytest.approx(played_ms, abs=150)
    assert loud[-1] - loud[0] == pytest.approx(3, abs=0.06)
    assert np.diff(loud).max() < 0.04
    assert "underruns 0" in footer


def test_sound_that_comes_paced_plays_without_a_gap(chrome: Browser) -> None:
    async def script(line: Line) -> None:
        await asyncio.sleep(0.3)
        await line.pace(pieces(sound(3)))

    with Switchboard(script).open() as board, chrome.tab() as page:
        listen(page)
        line = call(page, board)
        time.sleep(4.2)
        loud = track(page, "loudspeaker").loud_s()
    late_s = max(line.late_s)  # this side's, on a busy machine
    assert loud[-1] - loud[0] == pytest.approx(3, abs=0.06 + late_s)
    assert np.diff(loud).max() < 0.04 + late_s


def test_clear_silences_at_once_and_returns_every_mark(chrome: Browser) -> None:
    cleared: dict[str, float] = {}

    async def script(line: Line) -> None:
        await asyncio.sleep(0.3)
        for number, piece in enumerate(pieces(sound(4))):
            await line.play(piece)
            if number % 20 == 0:
                await line.mark(str(number))
        await asyncio.sleep(1.5)
        cleared["wall_ms"], cleared["at"] = time.time() * 1_000, time.monotonic()
        await line.clear()

    with Switchboard(script).open() as board, chrome.tab() as page:
        listen(page)
        line = call(page, board)
        time.sleep(3)
        loud = track(page, "loudspeaker").loud_wall_ms()
    assert loud[-1] - cleared["wall_ms"] <= 60
    marks = [at_s - cleared["at"] for at_s, _ in line.of("mark")]
    assert len(marks) == 10
    assert max(marks) <= 0.1


def test_a_mark_with_nothing_before_it_comes_back_at_once(chrome: Browser) -> None:
    asked: list[float] = []

    async def script(line: Line) -> None:
        await asyncio.sleep(0.3)
        for number in range(3):
            asked.append(time.monotonic())
            await line.mark(str(number))
            await asyncio.sleep(0.1)

    with Switchboard(script).open() as board, chrome.tab() as page:
        line = call(page, board)
        time.sleep(1)
    took_ms = [(at_s - asked_s) * 1_000 for (at_s, _), asked_s in zip(line.of("mark"), asked, strict=True)]
    assert max(took_ms) <= 60
