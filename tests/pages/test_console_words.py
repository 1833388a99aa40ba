"""Names, transcripts, parameters and results that were written to break the console are text in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ..browser import Page, chromium, running
from .console_board import ConsoleBoard, line, row, whole
from .console_scene import event, lane, tool
from .test_hostile_words import HOSTILE, REPORTS

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="there is no chromium here"),
]
BOXES = """
Array.from(document.querySelectorAll(".top, main, .side, .call, .call-head, .actions, .pane, .facts-column"),
  e => { const r = e.getBoundingClientRect(); return [r.left, r.right]; })
"""
MADE = "document.querySelectorAll('img, b b, i b, script:not([src]), [onerror], [onfocus]').length"


OPENED = ("Raw", "Table", "Generated", "Transfer")
OPEN = f"""
for (const button of document.querySelectorAll("button")) {{
  if ({list(OPENED)}.includes(button.textContent.trim())) button.click();
}}
"""


def told(text: str, revision: int) -> dict[str, Any]:
    """A call with this text wherever a stranger's, a model's or a tool's words may stand."""
    shown = row(
        "CA1", revision=revision, caller=text, called=text, agent=text, model=text, last_words=text,
        trouble=[text], machine="desk-1",
    )  # fmt: skip
    return whole(
        shown,
        to=revision,
        words=[
            line(1, "caller", 1_000, text),
            line(2, "agent", 2_000, text + text, heard=3, state="cut"),
            line(3, "operator", 3_000, text),
        ],
        turns=[{"id": "t1", "at_ms": 1, "felt_ms": 200, "parts": [[text, 0, 200]]}],
        tools=[{**tool(1, text, 1_000, 20, "failed", text, text), "hidden": [text]}],
        lanes=[lane("hw2", "heard", 0, 2_000, "cut", text), lane("m1", "mark", 5, 5, text, text)],
        events=[event(1, "tool", text, text), {**event(2, text, text, ""), "raw": text}],
        parameters={text: text},
        instructions=text,
        targets=[text],
        phone=text,
    )


@pytest.fixture(scope="module")
def board() -> Iterator[ConsoleBoard]:
    usual = told("an agent", 1)
    with ConsoleBoard([usual["row"]], [usual]).open() as found:
        yield found


@pytest.fixture(scope="module")
def page(board: ConsoleBoard) -> Iterator[Page]:
    """A page that looks at the call, with all that can be opened open. It stays the same for all words."""
    with running() as chrome, chrome.tab() as found:
        found.before_each_page(REPORTS)
        found.look(width=1440, height=900)
        found.visit(f"{board.base}/console")
        found.until("document.querySelectorAll('.call-row').length === 1")
        found.value("location.hash = '#/live/CA1'")
        found.until("document.querySelectorAll('.said').length === 3")
        found.value(OPEN)
        found.value("document.querySelectorAll('details').forEach(e => { e.open = true; })")
        found.value("new Promise(done => setTimeout(done, 300))")
        yield found


@pytest.fixture(scope="module")
def usual(page: Page) -> list[list[float]]:
    """Where the page's parts are when all words are harmless."""
    boxes: list[list[float]] = page.value(BOXES)
    return boxes


@pytest.mark.parametrize(("number", "kind"), [*enumerate(HOSTILE, 2)], ids=[*HOSTILE])
def test_hostile_words_are_words(
    page: Page, board: ConsoleBoard, usual: list[list[float]], number: int, kind: str
) -> None:
    text = HOSTILE[kind]
    there = told(text, number)
    board.tell({"kind": "rows", "rows": [there["row"]]})
    board.tell(there)
    page.until(f"document.querySelector('.said.caller .text').textContent === {json.dumps(text)}")
    page.value("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    page.value("new Promise(done => setTimeout(done, 200))")
    assert page.value("document.querySelector('.call-head h1').textContent") == text
    assert page.value(BOXES) == usual
    size = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    assert page.value(size) == [1440, 900]
    assert page.value("window.reports") == []
    assert page.dialogs == 0
    assert page.complaints == []
    assert page.value(MADE) == 0
