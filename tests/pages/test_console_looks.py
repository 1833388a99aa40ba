"""How the console looks in each state, to eyes and to screen readers. Pictures go to `build/pages/`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..browser import Browser, Page, chromium, running
from .axe import violations
from .console_board import TOKEN, ConsoleBoard
from .console_scene import scene

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="there is no chromium here"),
]
PICTURES = Path(__file__).parents[2] / "build" / "pages"
SIZES = {1440: 900, 1024: 768, 390: 844}
DARK = ("signin", "list", "call")
STATES = ("signin", "empty", "list", "call", "actions", "ended", "lost", "gone")
# Elements whose text is wider than their box, but for those that end in an ellipsis, which is meant.
CLIPPED = """
Array.from(document.querySelectorAll(
  "h1, h2, p, dd, dt, button, label, summary, td, th, li, .banner > *"))
  .filter(e => e.offsetParent && e.scrollWidth > e.clientWidth + 1
    && !e.closest(".visually-hidden, .call-row") && getComputedStyle(e).display !== "inline"
    && getComputedStyle(e).textOverflow !== "ellipsis")
  .map(e => e.outerHTML.slice(0, 100))
"""
# What lies outside of the window and cannot be scrolled to.
OUTSIDE = """
Array.from(document.querySelectorAll("button, a, input, select, h1, h2, canvas"))
  .filter(e => e.offsetParent && !e.closest(".scroll, .facts-column, .panes, .rows")
    && (box => box.right > innerWidth + 1 || box.left < -1 || box.bottom > innerHeight + 1)
      (e.getBoundingClientRect()))
  .map(e => e.outerHTML.slice(0, 100))
"""


@dataclass
class Shown:
    page: Page
    state: str
    dark: bool

    def look(self, width: int) -> None:
        self.page.look(width=width, height=SIZES[width], dark=self.dark, still=True)
        self.page.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def keep(self, name: str) -> None:
        PICTURES.mkdir(parents=True, exist_ok=True)
        scheme = "dark" if self.dark else "light"
        (PICTURES / f"console-{name}-{scheme}.png").write_bytes(self.page.screenshot())


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with running() as browser:
        yield browser


def press(page: Page, label: str) -> None:
    has_label = f"e => e.textContent.trim() === {json.dumps(label)}"
    page.value(f"Array.from(document.querySelectorAll('button')).find({has_label}).click()")


@pytest.fixture(
    scope="module",
    params=[*((state, False) for state in STATES), *((state, True) for state in DARK)],
    ids=lambda param: f"{param[0]}-{'dark' if param[1] else 'light'}",
)
def shown(request: pytest.FixtureRequest, chrome: Browser) -> Iterator[Shown]:
    state, dark = request.param
    ended = {"state": "ended", "end": "the caller hung up", "ended_at": 1_800_000_000_000}
    rows, whole = scene(**(ended if state == "ended" else {}))
    board = ConsoleBoard([] if state == "empty" else rows, [whole], signed_in=state != "signin")
    with board.open(), chrome.tab() as page:
        page.look(width=1440, height=900, dark=dark, still=True)
        page.visit(f"{board.base}/console")
        if state == "signin":
            page.until("!!document.querySelector('#token')")
        elif state in ("empty", "list"):
            page.until("!!document.querySelector('h1')")
        else:
            call = "CAunknown" if state == "gone" else "CA1"
            page.value(f"location.hash = '#/live/{call}'")
            page.until("!!document.querySelector('.call h1') || !!document.querySelector('.call .empty')")
        if state == "actions":
            page.until("!!document.querySelector('.actions')")
            press(page, "Whisper")
            page.until("!!document.querySelector('#composer')")
        elif state == "lost":
            board.down = True
            board.hang(1013)
            page.until("!!document.querySelector('.banner.bad[role=alert]')")
        yield Shown(page, state, dark)


def test_it_breaks_no_rule_of_accessibility(shown: Shown) -> None:
    for width in (1440, 390) if shown.state in ("list", "actions") and not shown.dark else (1440,):
        shown.look(width)
        assert violations(shown.page) == []


@pytest.mark.parametrize("width", SIZES)
def test_it_fits_and_nothing_is_clipped(shown: Shown, width: int) -> None:
    shown.look(width)
    shown.keep(f"{shown.state}-{width}")
    assert shown.page.value("document.documentElement.scrollWidth") <= width
    assert shown.page.value("document.documentElement.scrollHeight") <= SIZES[width]
    assert shown.page.value(CLIPPED) == []
    assert shown.page.value(OUTSIDE) == []


@pytest.mark.parametrize("shown", [("call", False), ("call", True)], indirect=True, ids=str)
def test_each_tab_of_a_narrow_page_fits(shown: Shown) -> None:
    shown.look(390)
    for tab, count in {"Timeline": 2, "Tools": 3, "Events": 1, "Words": 1}.items():
        press(shown.page, tab)
        shown.look(390)
        shown.keep(f"call-390-{tab.lower()}")
        assert shown.page.value("document.documentElement.scrollWidth") <= 390
        assert shown.page.value(CLIPPED) == []
        panes = "Array.from(document.querySelectorAll('.pane')).filter(e => e.offsetParent).length"
        assert shown.page.value(panes) == count
        assert shown.dark or violations(shown.page) == []


@pytest.mark.parametrize("shown", [("list", False), ("call", False)], indirect=True, ids=str)
def test_at_400_percent_the_page_scrolls_down_and_never_sideways(shown: Shown) -> None:
    shown.page.look(width=320, height=256, still=True)
    shown.page.value("new Promise(done => setTimeout(done, 100))")
    assert shown.page.value("document.documentElement.scrollWidth") == 320
    assert shown.page.value(CLIPPED) == []
    seen = """selector => {
      const element = document.querySelector(selector);
      element.scrollIntoView();
      const box = element.getBoundingClientRect();
      return box.top >= -1 && box.top < 200 && box.height > 40;
    }"""
    for selector in (".rows",) if shown.state == "list" else (".pane.words .scroll", ".actions"):
        assert shown.page.value(f"({seen})({json.dumps(selector)})"), selector
    shown.page.value("scrollTo(0, 0)")


def test_signing_in_says_why_it_was_refused_and_shows_the_calls(chrome: Browser) -> None:
    rows, whole = scene()
    with ConsoleBoard(rows, [whole], signed_in=False).open() as board, chrome.tab() as page:
        page.visit(f"{board.base}/console")
        page.until("document.activeElement?.id === 'token'")
        for token, then in (
            ("wrong", "document.querySelector('[role=alert]').textContent.includes('wrong')"),
            (TOKEN, "document.querySelectorAll('.call-row').length === 5"),
        ):
            page.command("Input.insertText", text=token)
            page.press("Enter")
            page.until(then)
        assert page.complaints == [
            "Failed to load resource: the server responded with a status of 401 (Unauthorized)",
            "Failed to load resource: the server responded with a status of 403 (Forbidden)",
        ]
