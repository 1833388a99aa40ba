"""Names, transcripts and results that were written to break a page are shown as the text that they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ..browser import Browser, Page, chromium, running
from .switchboard import MICROPHONE, Switchboard, call

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="there is no chromium here"),
]
HOSTILE = {
    "image": "<img src=x onerror=alert(1)>",
    "script": "</script><script>alert(1)</script>",
    "template": "{{answered_by}} ${alert(1)} <b>bold</b> &lt;i&gt;",
    "attribute": '"\' onfocus=alert(1) autofocus x="',
    "override": "\u202egnirts desrever\u202c \u2066isolated",
    "long": "x" * 10_000,
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈e\u0301" + "\u0300" * 200,
    "zero": "a\u0000b\ufffe\u2028c",
}
# Reports of a policy, and of errors.
REPORTS = """
window.reports = [];
document.addEventListener("securitypolicyviolation", event => window.reports.push(event.violatedDirective));
addEventListener("error", event => window.reports.push(event.message));
"""
BOXES = (
    "Array.from(document.querySelectorAll('header, main, .call-now, .talk, .more, #captions'),"
    " e => { const r = e.getBoundingClientRect(); return [r.left, r.right]; })"
)


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with running(*MICROPHONE) as browser:
        yield browser


def told(text: str) -> list[dict[str, Any]]:
    """Every event of a call with this text wherever one may stand."""
    return [
        {"kind": "began"},
        {"kind": "turn", "text": text},
        {"kind": "tool", "name": text, "arguments": text},
        {"kind": "answered", "after_ms": 200},
        {"kind": "words", "item": text, "text": text},
        {
            "kind": "spoken",
            "item": text,
            "generated": f"{text} {text}",
            "heard": text,
            "heard_ms": 1,
            "cut": True,
        },
        {"kind": "phrase", "heard": text},
        {"kind": "noted", "what": text, "detail": text},
        {"kind": "transfer", "to": text},
        {"kind": text},
    ]


def widths(page: Page) -> list[list[float]]:
    found: list[list[float]] = page.value(BOXES)
    return found


def show(board: Switchboard, page: Page, name: str) -> None:
    board.answered_by, board.tells = name, told(name)
    page.before_each_page(REPORTS)
    page.look(width=390, height=844)
    call(page, board)
    page.until("document.querySelectorAll('#captions p').length === 6")


@pytest.fixture(scope="module")
def usual(chrome: Browser) -> list[list[float]]:
    """Where the page's parts are when all words are harmless."""
    with Switchboard().open() as board, chrome.tab() as page:
        show(board, page, "an agent")
        return widths(page)


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_words_are_words(chrome: Browser, usual: list[list[float]], kind: str) -> None:
    text = HOSTILE[kind]
    with Switchboard().open() as board, chrome.tab() as page:
        show(board, page, text)
        assert widths(page) == usual
        assert page.value("document.documentElement.scrollWidth") == 390
        page.value("new Promise(done => setTimeout(done, 200))")
        assert page.value("window.reports") == []
        assert page.dialogs == 0
        assert page.complaints == []
        assert page.value("document.querySelectorAll('img, script:not([src]), #captions b b').length") == 0
        visible = "document.querySelector('#captions .you span').textContent"
        assert page.value(visible) == text
