"""The console over live calls: what it shows is what the ledger knows, and what it wishes happens.

A bridge in this process, simulated phones, Chromium. Sounds are compared with what the phone itself played.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bridge.codecs.g711 import pcmu_to_pcm
from bridge.core import messages as m
from bridge.doubles.agents import Asked, Output, Speech
from bridge.doubles.tones import murmur
from bridge.sounds import load_demo

from ..browser import Browser, Page, chromium, running
from ..calls import phone_of
from .axe import violations
from .ears import LOUD, listen, track
from .live_house import LiveHouse, live_house, open_call, sign_in
from .switchboard import MICROPHONE

pytestmark = [
    pytest.mark.alone,
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="there is no chromium here"),
]
PICTURES = Path(__file__).parents[2] / "build" / "pages"
QUIET = b"\xff" * 8_000
VOICE = load_demo("caller")[16_000:]
"""Speech from its first moment on."""
ANSWERS = (
    "We are open from nine o'clock in the morning to five thirty in the afternoon on every day of the week.",
    "Of course, a table for two.",
)
LINES = """
Array.from(document.querySelectorAll(".said"), e => ({
  who: e.querySelector("b").textContent, heard: e.querySelector(".heard")?.textContent ?? "",
  struck: (e.querySelector("s")?.textContent ?? "").replace("not heard: ", ""),
  text: e.querySelector(".text").textContent,
}))
"""
# The wall's clock when words are struck for the first time.
NOTE_STRUCK = """
addEventListener("DOMContentLoaded", () => new MutationObserver(() => {
  if (document.querySelector(".said s") && !window.struckAt) window.struckAt = Date.now();
}).observe(document.body, {childList: true, subtree: true}));
"""


class Host:
    """Greets, says what it is told to say, and answers turns from a list."""

    def answer(self, asked: Asked) -> list[Output]:
        wanted = str(asked.request.get("instructions") or "")
        if '"' in wanted:
            text = wanted.partition('"')[2].rpartition('"')[0]
        elif asked.reason == "turn":
            turns = sum(item.role == "user" for item in asked.items)
            text = ANSWERS[min(turns, len(ANSWERS)) - 1]
        else:
            text = "Hello, how can I help you?"
        return [Speech(murmur(text), text)]


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with running(*MICROPHONE) as browser:
        yield browser


@pytest.fixture(scope="module")
def house() -> Iterator[LiveHouse]:
    words = iter(("when are you open", "a table for two please", "thank you"))
    given = {"transfers": {"sales": "+15550003333"}}
    server = {"transcribe": lambda _item: next(words, "and so on"), "speed": 3}
    with live_house(Host(), given=given, server=server) as found:
        yield found


def press(page: Page, label: str) -> None:
    has_label = f"e => e.textContent.trim() === {json.dumps(label)}"
    page.value(f"Array.from(document.querySelectorAll('button')).find({has_label}).click()")


def write(page: Page, action: str, text: str) -> None:
    press(page, action)
    page.until("document.activeElement.id === 'composer'")
    page.command("Input.insertText", text=text)
    page.press("Enter")
    page.until("!!document.querySelector('.toast') && !document.querySelector('#composer')")


def when(house: LiveHouse, call_sid: str, kind: type[m.Message]) -> list[m.Message]:
    return [action for action in house.house.log.did[call_sid] if isinstance(action, kind)]


def test_the_transcript_is_the_ledgers_and_a_barge_in_shows_at_once(
    chrome: Browser, house: LiveHouse
) -> None:
    cuts: list[float] = []
    log = house.house.log
    did = log.call_did

    def note(call_sid: str, action: m.Action, now_ms: int, /) -> None:
        did(call_sid, action, now_ms)
        if isinstance(action, m.Cut):
            cuts.append(time.time() * 1000)

    log.call_did = note  # type: ignore[method-assign]
    speech = QUIET * 2 + VOICE[:12_000] + QUIET * 3 + VOICE[:12_000] + QUIET * 8
    with chrome.tab() as page:
        page.look(width=1440, height=900)
        page.before_each_page(NOTE_STRUCK)
        sign_in(page, house.house.base)
        simulation = house.call(speech)
        call_sid = phone_of(simulation).call_sid
        open_call(page, call_sid)
        page.until("document.body.textContent.includes('a table for two please')")
        page.until("document.querySelectorAll('.said.agent').length === 3")
        page.until("!document.querySelector('.said .coming')")
        PICTURES.mkdir(parents=True, exist_ok=True)
        (PICTURES / "console-live-1440-light.png").write_bytes(page.screenshot())
        assert violations(page) == []
        shown = page.value(LINES)
        struck_at = page.value("window.struckAt")
        house.hang_up(simulation)
        page.until("document.querySelector('.call-head .facts b').textContent === 'Ended'")
        assert page.value("document.querySelector('.banner').textContent") == "The caller hung up"
    spoken = [action for action in when(house, call_sid, m.Spoken) if isinstance(action, m.Spoken)]
    assert [(line["heard"].strip(), line["struck"]) for line in shown if line["who"] == "agent"] == [
        (one.heard.strip(), one.generated.removeprefix(one.heard).strip() if one.cut else "")
        for one in spoken
    ]
    assert [line["who"] for line in shown] == ["agent", "caller", "agent", "caller", "agent"]
    assert sum(one.cut for one in spoken) == 1
    [cut_at] = cuts[:1]
    assert 0 <= struck_at - cut_at <= 300


def test_what_an_operator_wishes_is_done(chrome: Browser, house: LiveHouse) -> None:
    with chrome.tab() as page:
        sign_in(page, house.house.base)
        simulation = house.call()
        phone = phone_of(simulation)
        open_call(page, phone.call_sid)
        page.until("document.querySelector('.said.agent')?.textContent.includes('Hello, how')")
        write(page, "Whisper", "The caller is a regular guest.")
        write(page, "Say", "One moment please.")
        heard_before = len(phone.heard.replace(b"\xff", b""))
        page.until("Array.from(document.querySelectorAll('.said.agent .heard')).at(-1).textContent"
                   " === 'One moment please.'")  # fmt: skip
        page.until("document.querySelector('.said.operator')?.textContent.includes('a regular guest')")
        assert len(phone.heard.replace(b"\xff", b"")) - heard_before > 1_000
        items = house.house.server(len(house.house.upstream.sessions) - 1).items.values()
        assert "The caller is a regular guest." in [item.text for item in items if item.role == "system"]
        press(page, "Mute model")
        page.until("document.querySelector('.facts').textContent.includes('model muted')")
        press(page, "Hang up")
        press(page, "Really hang up")
        page.until("document.querySelector('.call-head .facts b').textContent === 'Ended'")
    house.run(closed(simulation))
    assert house.house.log.ended[phone.call_sid][0].reason is m.Reason.WE_HUNG_UP


async def closed(simulation: Any) -> None:
    await simulation.closed


def test_a_call_is_transferred(chrome: Browser, house: LiveHouse) -> None:
    with chrome.tab() as page:
        sign_in(page, house.house.base)
        simulation = house.call()
        phone = phone_of(simulation)
        open_call(page, phone.call_sid)
        page.until("document.querySelector('.said.agent')?.textContent.includes('Hello, how')")
        press(page, "Transfer")
        page.until("document.activeElement.id === 'target'")
        page.press("Tab")
        page.press("Enter")
        page.until("document.querySelector('.call-head .facts b').textContent !== 'Live'")
        house.hang_up(simulation)
    moved = [one for one in when(house, phone.call_sid, m.DetourMoved) if isinstance(one, m.DetourMoved)]
    assert {one.name for one in moved} == {"sales"}


PIECE = 1_600
"""Samples of 8 kHz: 0.2 s."""


def likeness(heard: np.ndarray, pcmu: bytes) -> tuple[float, float]:
    """How much those two seconds are in `heard`, in pieces of 0.2 s: the middle one of their correlations,
    1 for the same wave; and how many of the pieces lie equally far from their place in `pcmu`, as a share.
    """
    wave = np.frombuffer(pcmu_to_pcm(pcmu), "<i2") / 32_768
    begins = int(np.flatnonzero(np.abs(wave[20_000:]) > LOUD)[0]) + 20_000
    found, shifts = [], []
    for at in range(begins, begins + 10 * PIECE, PIECE):
        piece = wave[at : at + PIECE]
        size = np.sqrt(np.convolve(heard**2, np.ones(PIECE), "valid")) * np.linalg.norm(piece)
        alike = np.correlate(heard, piece, "valid") / (size + 1e-3)
        found.append(float(np.max(alike)))
        shifts.append(int(np.argmax(alike)) - at)
    same = sum(abs(shift - np.median(shifts)) <= 40 for shift in shifts) / len(shifts)
    return float(np.median(found)), same


def test_listening_in_is_what_the_caller_says_and_hears(chrome: Browser, house: LiveHouse) -> None:
    with chrome.tab() as page:
        listen(page)
        sign_in(page, house.house.base)
        simulation = house.call(QUIET * 3 + VOICE[:16_000] + QUIET * 20)
        phone = phone_of(simulation)
        open_call(page, phone.call_sid)
        page.click(".actions button:nth-of-type(4)")
        page.until("!!document.querySelector('.listening')")
        page.until("document.querySelector('.facts').textContent.includes('1 listening')")
        page.until(
            "document.body.textContent.includes('(sound') || document.querySelectorAll('.said').length >= 3"
        )
        time.sleep(2)
        left, right = track(page, "left"), track(page, "right")
        press(page, "Stop listening")
        page.until("!document.querySelector('.facts').textContent.includes('listening')")
        said, heard = phone.recording()
        house.hang_up(simulation)
    both = {name: one.between(0, float(one.at_s[-1]), 8_000) for name, one in (("l", left), ("r", right))}
    for side, pcmu in (("l", said), ("r", heard)):
        alike, same = likeness(both[side], pcmu)
        assert alike >= 0.85
        assert same >= 0.8
    assert likeness(both["l"], heard)[0] <= 0.8
    notes = [action.detail for action in when(house, phone.call_sid, m.Noted) if isinstance(action, m.Noted)]
    assert sum("listen" in note for note in notes) == 2, notes
