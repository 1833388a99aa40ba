"""How the pages look, in each state, to eyes and to screen readers. Pictures of them go to `build/pages/`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bridge.codecs.g711 import pcm_to_pcmu

from ..browser import Browser, Page, chromium, running
from .axe import violations
from .switchboard import MICROPHONE, Line, Switchboard, call, tone

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="there is no chromium here"),
]
PICTURES = Path(__file__).parents[2] / "build" / "pages"
SIZES = {1440: 900, 390: 844, 320: 640}

BEGINNING: list[dict[str, Any]] = [
    {"kind": "began"},
    {"kind": "spoken", "item": "1", "generated": "Good day, the Olive Tree.",
     "heard": "Good day, the Olive Tree.", "heard_ms": 1680, "cut": False},
    {"kind": "turn", "text": "are you open on sunday"},
    {"kind": "tool", "name": "opening_hours", "arguments": '{"day": "sunday"}'},
    {"kind": "answered", "after_ms": 221},
    {"kind": "spoken", "item": "2", "generated": "On sunday we are open from nine o'clock to five thirty.",
     "heard": "On sunday we are open", "heard_ms": 1310, "cut": True},
    {"kind": "turn", "text": "book a table for two on friday at seven thirty"},
    {"kind": "tool", "name": "book", "arguments": '{"day": "friday", "time": "19:30", "people": 2}'},
    {"kind": "answered", "after_ms": 318},
    {"kind": "noted", "what": "the model is lost", "detail": "1006; dialled again"},
    {"kind": "words", "item": "3", "text": "Friday, half past seven, two people. Your booking is A7, and we "
     "keep the table for a quarter of an hour."},
]  # fmt: skip
END = {"kind": "ended", "why": "caller hung up", "turns": 2, "barge_ins": 1, "unheard_ms": 0}
HUM = pcm_to_pcmu((tone(400, 0.02, rate_hz=8_000) * 32_767).astype("<i2").tobytes())
STATES = ("front", "ready", "live", "ended", "error")


@dataclass
class Shown:
    """A page in one of its states."""

    page: Page
    state: str
    dark: bool

    def look(self, width: int) -> None:
        self.page.look(width=width, height=SIZES[width], dark=self.dark, still=True)
        time.sleep(0.1)


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with running(*MICROPHONE[:1]) as browser:
        yield browser


@pytest.fixture(
    scope="module",
    params=[(state, dark) for dark in (False, True) for state in STATES],
    ids=lambda param: f"{param[0]}-{'dark' if param[1] else 'light'}",
)
def shown(request: pytest.FixtureRequest, chrome: Browser) -> Iterator[Shown]:
    state, dark = request.param
    tells = [*BEGINNING, END] if state == "ended" else BEGINNING
    allowed = "denied" if state == "error" else "granted"

    async def script(line: Line) -> None:
        if state == "ended":
            await line.socket.close()

    with Switchboard(script, tells=tells).open() as board, chrome.tab(microphone=allowed) as page:
        page.look(width=1440, height=SIZES[1440], dark=dark, still=True)
        page.visit(f"{board.base}/" if state == "front" else f"{board.base}/phone")
        if state in ("live", "ended"):
            call(page, board)
        elif state == "error":
            page.click("#call")
        if state != "front":
            page.until(f"document.body.dataset.state === '{state}'")
        yield Shown(page, state, dark)


def test_it_breaks_no_rule_of_accessibility(shown: Shown) -> None:
    for width in (1440, 390):
        shown.look(width)
        assert violations(shown.page) == []


@pytest.mark.parametrize("width", SIZES)
def test_it_fits(shown: Shown, width: int) -> None:
    shown.look(width)
    PICTURES.mkdir(parents=True, exist_ok=True)
    name = f"{shown.state}-{width}-{'dark' if shown.dark else 'light'}.png"
    (PICTURES / name).write_bytes(shown.page.screenshot())
    assert shown.page.value("document.documentElement.scrollWidth") <= width


with_captions = pytest.mark.parametrize(
    "shown", [(state, dark) for state in ("live", "ended") for dark in (False, True)], indirect=True, ids=str
)


@with_captions
def test_captions_have_nearly_half_of_a_small_screen_and_stand_before_the_keys(shown: Shown) -> None:
    shown.look(390)
    box = "(e => e.getBoundingClientRect())(document.querySelector(%r))"
    top, bottom, keys = (
        shown.page.value(f"{box % selector}.{side}")
        for selector, side in (("#captions", "top"), ("#captions", "bottom"), ("#keys", "top"))
    )
    assert bottom - top >= 0.45 * SIZES[390]
    assert bottom <= min(SIZES[390], keys)
    cut_off = (
        "Array.from(document.querySelectorAll('button, summary, h2, p, dd, label'))"
        ".filter(e => e.offsetParent && e.scrollWidth > e.clientWidth + 1 && !e.closest('.visually-hidden')"
        " && getComputedStyle(e).display !== 'inline').map(e => e.outerHTML.slice(0, 80))"
    )
    assert shown.page.value(cut_off) == []


# WCAG 2.2, "relative luminance" and "contrast ratio"; the background is the card's.
CONTRAST = """
(selector => {
  const light = color => {
    const parts = color.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255);
    const [r, g, b] = parts.map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = light(getComputedStyle(document.querySelector(".talk")).backgroundColor);
  return Array.from(document.querySelectorAll(selector), element => {
    const ink = light(getComputedStyle(element).color);
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  });
})(%r)
"""


@with_captions
def test_struck_and_faint_words_can_be_read(shown: Shown) -> None:
    selectors = "#captions s, #captions .coming, #captions .aside, #captions .note span, #captions b"
    found = shown.page.value(CONTRAST % selectors)
    assert len(found) > 10
    assert min(found) >= 4.5
    struck = shown.page.value("document.querySelector('#captions s').textContent")
    assert struck == "not heard: from nine o'clock to five thirty."


def test_nothing_moves_for_those_who_want_it_still(chrome: Browser) -> None:
    async def script(line: Line) -> None:
        await line.pace([HUM] * 100)

    count = (
        "window.sized = 0;"
        "const size = Object.getOwnPropertyDescriptor(HTMLCanvasElement.prototype, 'width');"
        "Object.defineProperty(HTMLCanvasElement.prototype, 'width', {get: size.get,"
        " set(value) { window.sized++; size.set.call(this, value); }});"
    )
    with Switchboard(script).open() as board, chrome.tab(microphone="granted") as page:
        page.look(still=True)
        page.before_each_page(count)
        call(page, board)
        page.press("5")
        assert page.value("document.getAnimations().length") == 0
        time.sleep(1.2)
        still = page.value("window.sized")
        page.look(still=False)
        page.press("5")
        assert page.value("document.getAnimations().length") == 1
        time.sleep(1.2)
        moving = page.value("window.sized") - still
    assert 1 <= still <= 3
    assert moving >= 6


FOCUSED = """(() => {
  const element = document.activeElement;
  const style = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  const shown = box.top >= 0 && box.bottom <= innerHeight && box.left >= 0 && box.right <= innerWidth;
  return {
    name: element.id || element.dataset.key || element.textContent,
    ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 && shown,
  };
})()"""


def test_a_call_is_made_by_keyboard_alone(chrome: Browser) -> None:
    def go_to(name: str) -> None:
        for _ in range(40):
            found = page.value(FOCUSED)
            if found["name"] == name:
                return
            page.press("Tab")
            found = page.value(FOCUSED)
            assert (
                found["ring"]
                or found["name"] in ("", None)
                or page.value("document.activeElement === document.body")
            ), found
        raise AssertionError(f"the keyboard never gets to {name}")

    with Switchboard().open() as board, chrome.tab(microphone="granted") as page:
        page.look(width=390, height=844)
        page.visit(f"{board.base}/phone")
        go_to("call")
        page.press("Enter")
        assert board.taken.wait(15)
        line = board.line
        assert line is not None
        page.until("document.body.dataset.state === 'live'")
        go_to("mute")
        page.press(" ")
        assert page.value("document.getElementById('mute').getAttribute('aria-pressed')") == "true"
        go_to("5")
        page.press("Enter")
        page.until("document.querySelector('#captions .keys')?.textContent.includes('pressed 5')")
        go_to("call")
        page.press("Enter")
        page.until("document.body.dataset.state === 'ended'")
    assert [message["dtmf"]["digit"] for _, message in line.of("dtmf")] == ["5"]
    assert len(line.of("stop")) == 1


def test_its_keys_work_anywhere(chrome: Browser) -> None:
    with Switchboard().open() as board, chrome.tab(microphone="granted") as page:
        page.visit(f"{board.base}/phone")
        page.press("c")
        assert board.taken.wait(15)
        line = board.line
        assert line is not None
        page.until("document.body.dataset.state === 'live'")
        for key in "90#*":
            page.press(key)
        page.press("m")
        assert page.value("document.getElementById('mute').getAttribute('aria-pressed')") == "true"
        page.press("c")
        page.until("document.body.dataset.state === 'ended'")
    assert [message["dtmf"]["digit"] for _, message in line.of("dtmf")] == list("90#*")
