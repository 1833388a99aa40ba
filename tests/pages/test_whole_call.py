"""The promise of the first ten minutes: a person speaks in the browser, and an agent answers aloud.

A real `phonebridge serve`, no key; Chromium with a microphone that hears a file once. What was heard is the
page's own output, compared with a voice that this test makes by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest

from bridge.codecs.g711 import pcmu_to_pcm
from bridge.simulators.espeak import EspeakVoice

from ..browser import browser, chromium
from ..calls import served
from .ears import Track, listen, track
from .switchboard import microphone, write_wav

EXTRA = ("pocketsphinx", "webrtcvad", "espeakng_loader")
pytestmark = [
    pytest.mark.alone,
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="there is no chromium here"),
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in EXTRA), reason="the extra `demo` is not here"
    ),
]
PIECE = 2_400
"""Samples of 8 kHz: 0.3 s."""
MOST_S = 45
SUNDAY = "On sunday we are open from nine o'clock to five thirty."
SATURDAY = "On saturday we are open from nine o'clock to five thirty."
CLIPS = Path(__file__).parent / "clips"
AGENT = '''
import json, pathlib
from bridge import Agent, hang_up, tool

CALLED = pathlib.Path(__file__).with_name("called.jsonl")


@tool
def opening_hours(day: str) -> str:
    """Tell when we are open on a day."""
    with CALLED.open("a") as out:
        out.write(json.dumps(day) + "\\n")
    return f"On {day} we are open from 9:00 to 17:30."


agent = Agent("You are the host.", greeting="Good day, the Olive Tree.", tools=[opening_hours, hang_up])
'''
# Words in the page's captions, by who said them; struck ones apart.
CAPTIONS = """
Array.from(document.querySelectorAll("#captions p"), line => ({
  who: line.querySelector("b")?.textContent,
  text: line.querySelector("span")?.textContent,
  aside: line.querySelector(".latency")?.textContent ?? "",
  struck: Array.from(line.querySelectorAll("s"), one => one.textContent).join(""),
}))
"""
NOTE_EVENTS = """
(() => {
  const Socket = window.WebSocket;
  window.told = [];
  window.WebSocket = function (...given) {
    const socket = new Socket(...given);
    socket.addEventListener("message", ({data}) => window.told.push([Date.now(), JSON.parse(data)]));
    return socket;
  };
})();
"""


def wave(pcmu: bytes) -> np.ndarray:
    return np.frombuffer(pcmu_to_pcm(pcmu), "<i2") / 32_768


def clip(name: str) -> np.ndarray:
    """A clip as a microphone of 48 kHz hears it: the spectrum ends where the telephone's does."""
    samples = wave((CLIPS / f"{name}.ulaw").read_bytes())
    spectrum = np.fft.rfft(samples)
    wide = np.zeros(len(samples) * 3 + 1, complex)
    wide[: len(spectrum)] = spectrum
    return np.asarray(np.fft.irfft(wide, len(samples) * 6) * 6)


def script(path: Path, turns: dict[float, str], lasts_s: float) -> Path:
    """A WAV in which each clip begins at its second."""
    sound = np.zeros(int(lasts_s * 48_000))
    for at_s, name in turns.items():
        words = clip(name)
        at = int(at_s * 48_000)
        sound[at : at + len(words)] += words
    return write_wav(path, sound)


def likeness(heard: Track, spurt: tuple[float, float], sentence: str) -> float:
    """How much the first second of the spurt is this sentence in the local voice: 1 for the same wave.

    In pieces of 0.3 s, each where it fits best within 0.1 s: the voice's pauses are never quite the same.
    """
    voice = wave(EspeakVoice().pcmu(sentence))[: 3 * PIECE]
    sound = heard.between(spurt[0] - 0.5, spurt[0] + 2, 8_000)
    shift = int(np.argmax(np.correlate(sound, voice, "valid")))
    found = []
    for at in range(0, len(voice) - PIECE + 1, PIECE):
        piece = voice[at : at + PIECE]
        near = sound[max(0, shift + at - 800) : shift + at + 800 + PIECE]
        size = np.sqrt(np.convolve(near**2, np.ones(PIECE), "valid")) * np.linalg.norm(piece)
        found.append(np.max(np.correlate(near, piece, "valid") / (size + 1e-3)))
    return float(np.mean(found))


@dataclass
class Talk:
    """What there is to know of a call when it is over. `told` has the events that the page got, each with
    the wall's clock; `agent` and `caller` are what was heard of either.
    """

    captions: list[dict[str, str]]
    told: list[tuple[float, dict[str, Any]]]
    agent: Track
    caller: Track
    state: str
    complaints: list[str]

    def said(self, who: str) -> list[str]:
        return [line["text"] for line in self.captions if line["who"] == who]

    def when(self, kind: str, **is_: object) -> list[float]:
        """The wall's clock at the events of this kind, in milliseconds."""
        return [at for at, one in self.told if one["kind"] == kind and is_.items() <= one.items()]

    def hears(self, *sentences: str) -> list[tuple[float, float]]:
        """The spurts in which these sentences were heard, in this order."""
        spurts = self.agent.spurts()
        scores = {one: [likeness(self.agent, spurt, one) for spurt in spurts] for one in sentences}
        best = [int(np.argmax(scores[one])) for one in sentences]
        assert best == sorted(set(best)), (best, scores)
        assert all(max(found) >= 0.45 for found in scores.values()), scores
        return [spurts[at] for at in best]


def until_ready(base: str) -> None:
    """A busy machine's server takes no call until it has caught up."""
    due_s = time.monotonic() + MOST_S
    while time.monotonic() < due_s:
        with contextlib.suppress(OSError), urlopen(f"{base}/readyz", timeout=5):
            return
        time.sleep(0.2)
    raise AssertionError(f"it never gets ready: {base}")


def talk(base: str, wav: Path) -> Talk:
    """One call from the page until it is over."""
    with browser(*microphone(wav)) as page:
        listen(page)
        page.before_each_page(NOTE_EVENTS)
        until_ready(base)
        page.visit(f"{base}/phone")
        page.click("#call")
        due_s = time.monotonic() + MOST_S
        while page.value("document.body.dataset.state") not in ("ended", "error", "busy"):
            assert time.monotonic() < due_s, (
                page.value("document.getElementById('state').textContent"),
                page.value(CAPTIONS),
                page.complaints,
            )
            time.sleep(0.1)
        return Talk(
            page.value(CAPTIONS),
            page.value("window.told"),
            track(page, "loudspeaker"),
            track(page, "microphone"),
            page.value("document.getElementById('state').textContent"),
            page.complaints,
        )


async def call(folder: Path, turns: dict[float, str]) -> Talk:
    """A call of these turns with the agent in that folder, on a server and in a browser of its own."""
    wav = script(folder / "microphone.wav", turns, 40)
    async with served(folder, BRIDGE_INSECURE="1", BRIDGE_DISCLOSURE="0") as bridge:
        return await asyncio.to_thread(talk, bridge.base, wav)


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Talk, Talk]:
    """Both calls, at the same time: the first one's folder, and what there is to know of either."""
    ours, theirs = tmp_path_factory.mktemp("olive"), tmp_path_factory.mktemp("made")
    (ours / "agent.py").write_text(AGENT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "bridge", "init", "bakery"], cwd=theirs, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    turns = {6.8: "are_you_open_on_sunday", 10.3: "what_time_do_you_open_on_saturday", 16.8: "goodbye"}
    questions = {7.6: "what_time_do_you_open_on_saturday", 12.6: "goodbye"}

    async def both() -> tuple[Talk, Talk]:
        return await asyncio.gather(call(ours, turns), call(theirs / "bakery", questions))

    first, second = asyncio.run(both())
    return ours, first, second


def test_a_spoken_question_is_answered_aloud_cut_and_ended(calls: tuple[Path, Talk, Talk]) -> None:
    folder, found, _ = calls
    assert [words.split()[-1] for words in found.said("you")] == ["sunday", "saturday", "goodbye"]
    assert [json.loads(line) for line in (folder / "called.jsonl").read_text().splitlines()] == [
        "sunday",
        "saturday",
    ]
    assert found.said("tool")[0] == 'opening_hours({"day": "sunday"})'
    _, second, third, last = found.hears("Good day, the Olive Tree.", SUNDAY, SATURDAY, "Goodbye.")

    # Answers come when the caller has been silent for the half second that ends a turn.
    asked, interrupted, bade = found.caller.spurts(over=0.02)
    for question, answer in ((asked, second), (interrupted, third), (bade, last)):
        assert 0.4 <= answer[0] - question[1] <= 2.5
    # The second question comes in the first answer, which stops for it.
    assert second[0] < interrupted[0] < second[1]
    assert second[1] - interrupted[0] <= 0.25
    began_ms = found.when("caller", speaking=True)[1]
    assert found.agent.wall_ms_of(second[1]) - began_ms <= 150
    # Words are there while they are spoken, not only when they were.
    assert found.when("words")[0] < found.when("spoken")[0] - 500
    [struck] = [line["struck"] for line in found.captions if line["struck"]]
    assert sum("answered after" in line["aside"] for line in found.captions) == 3
    assert struck.startswith("not heard: ")
    assert struck.endswith("to five thirty.")

    assert found.state.startswith("Ended")
    assert found.complaints == []


def test_so_does_an_agent_as_init_makes_it(calls: tuple[Path, Talk, Talk]) -> None:
    _, _, found = calls
    assert found.said("tool")[0] == 'opening_hours({"day": "saturday"})'
    found.hears("Good day, this is the bakery.", "Eight to twelve.", "Goodbye.")
    assert found.state.startswith("Ended")
    assert found.complaints == []
