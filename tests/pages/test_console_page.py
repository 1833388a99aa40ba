"""What the console does with what it is told, and what it asks for: by mouse and by keyboard alone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ..browser import Browser, Page, chromium, running
from .console_board import SESSION, ConsoleBoard, line, row
from .console_scene import LANES, WORDS, scene

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="there is no chromium here"),
]
ORDER = """
Array.from(document.querySelectorAll(".call-row"), e => [parseFloat(e.style.top), e.dataset.call])
  .sort((a, b) => a[0] - b[0]).map(pair => pair[1])
"""
LINES = """
Array.from(document.querySelectorAll(".said"), e => ({
  who: e.querySelector("b").textContent, heard: e.querySelector(".heard")?.textContent ?? "",
  struck: e.querySelector("s")?.textContent ?? "", coming: e.querySelector(".coming")?.textContent ?? "",
}))
"""
FOCUSED = """(() => {
  const element = document.activeElement;
  const style = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  return {
    body: element === document.body,
    name: element.getAttribute("aria-label") || element.textContent.trim() || element.id,
    ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2
      && box.top >= 0 && box.bottom <= innerHeight && box.left >= 0 && box.right <= innerWidth,
  };
})()"""


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with running() as browser:
        yield browser


def delta(call: str, after: int, **changed: Any) -> dict[str, Any]:
    return {"kind": "rows", "rows": [{"call": call, "from": after, "to": after + 1, **changed}]}


def open_call(page: Page, board: ConsoleBoard) -> None:
    page.visit(f"{board.base}/console")
    page.until("document.querySelectorAll('.call-row').length > 0")
    page.value("location.hash = '#/live/CA1'")
    page.until("!!document.querySelector('.pane.words')")


def press(page: Page, label: str) -> None:
    has_label = f"e => e.textContent.trim() === {json.dumps(label)}"
    page.value(f"Array.from(document.querySelectorAll('button')).find({has_label}).click()")


def go_to(page: Page, name: str) -> None:
    """By the keyboard; whatever has the focus on the way there shows it."""
    for _ in range(60):
        found = page.value(FOCUSED)
        if found["name"] == name:
            return
        page.press("Tab")
        found = page.value(FOCUSED)
        assert found["ring"] or found["body"], found
    raise AssertionError(f"the keyboard never gets to {name}")


def many_rows(count: int) -> list[dict[str, Any]]:
    now = int(time.time() * 1000)
    return [row(f"CA{n}", began_at=now - n * 1_000, caller=f"+1 … {n % 100:02}") for n in range(count)]


def test_trouble_comes_first_and_nothing_moves_under_the_pointer(chrome: Browser) -> None:
    rows = many_rows(6)
    with ConsoleBoard(rows).open() as board, chrome.tab() as page:
        page.look(width=1440, height=900)
        page.visit(f"{board.base}/console")
        page.until("document.querySelectorAll('.call-row').length === 6")
        assert page.value(ORDER) == ["CA5", "CA4", "CA3", "CA2", "CA1", "CA0"]
        page.hover(600, 200)
        board.tell(delta("CA0", 1, trouble=["the model is lost"]))
        board.tell({"kind": "gone", "calls": ["CA4"]})
        board.tell({"kind": "rows", "rows": [row("CAnew", began_at=1)]})
        page.until("document.querySelectorAll('.call-row .bad').length > 0")
        assert page.value(ORDER) == ["CA5", "CA4", "CA3", "CA2", "CA1", "CA0", "CAnew"]
        page.hover(600, 20)
        page.until(f"({ORDER})[0] === 'CA0'")
        assert page.value(ORDER) == ["CA0", "CAnew", "CA5", "CA3", "CA2", "CA1"]


def test_only_the_rows_that_are_seen_are_in_the_page(chrome: Browser) -> None:
    with ConsoleBoard(many_rows(200)).open() as board, chrome.tab() as page:
        page.look(width=1440, height=900)
        page.visit(f"{board.base}/console")
        page.until("document.querySelectorAll('.call-row').length > 10")
        assert page.value("document.querySelectorAll('.call-row').length") < 40
        assert page.value("document.querySelector('.table').getAttribute('aria-rowcount')") == "201"
        page.value("document.querySelector('.rows').scrollTop = 1e6")
        page.until("!!document.querySelector('[data-call=CA0]')")
        assert page.value("document.querySelectorAll('.call-row').length") < 40
        page.value("document.querySelector('input[type=search]').focus()")
        page.command("Input.insertText", text="… 77")
        page.until("document.querySelectorAll('.call-row').length === 2")


def test_a_change_that_follows_no_known_one_asks_for_a_snapshot(chrome: Browser) -> None:
    rows, whole = scene()
    with ConsoleBoard(rows, [whole]).open() as board, chrome.tab() as page:
        open_call(page, board)
        board.tell(delta("CA2", 7, last_words="never shown"))
        page.until("document.querySelectorAll('.call-row').length === 5")
        board.tell({"kind": "call_delta", "call": "CA1", "from": 4, "to": 5, "at_ms": 26_000, "events": []})
        due_s = time.monotonic() + 5
        while [one["kind"] for one in board.came].count("snapshot") < 2:
            assert time.monotonic() < due_s
            page.value("0")
        assert "never shown" not in page.value("document.body.textContent")


def test_words_are_bright_once_heard_and_struck_once_cut(chrome: Browser) -> None:
    rows, whole = scene()
    whole = {**whole, "words": WORDS[:2], "lanes": LANES[:2]}
    text = "On sunday we are open from nine."
    told = {"kind": "call_delta", "call": "CA1", "at_ms": 26_000}
    with ConsoleBoard(rows, [whole]).open() as board, chrome.tab() as page:
        open_call(page, board)
        playing = line(3, "agent", 7_100, text, heard=9, state="playing", heard_ms=400)
        board.tell({**told, "from": 1, "to": 2, "words": [playing]})
        page.until("document.querySelectorAll('.said').length === 3")
        assert page.value(LINES)[2] == {
            "who": "agent", "heard": "On sunday", "struck": "",
            "coming": "not heard yet:  we are open from nine.",
        }  # fmt: skip
        assert page.value("document.querySelector('[aria-live=polite]').textContent") == ""
        cut = {**playing, "heard": 21, "state": "cut", "heard_ms": 1_310, "made_ms": 2_100}
        board.tell({**told, "from": 2, "to": 3, "words": [cut]})
        page.until("!!document.querySelector('.said s')")
        assert page.value(LINES)[2] == {
            "who": "agent", "heard": "On sunday we are open", "struck": "not heard: from nine.", "coming": "",
        }  # fmt: skip
        aloud = "document.querySelector('[aria-live=polite]').textContent"
        page.until(f"{aloud} === 'agent: On sunday we are open'")
        aside = "Array.from(document.querySelectorAll('.said .aside'), e => e.textContent)"
        assert page.value(aside) == ["cut after 1.31 s of 2.10 s"]


def test_reading_above_is_not_disturbed_by_news(chrome: Browser) -> None:
    rows, whole = scene()
    words = [line(n, "caller", n * 1_000, f"sentence number {n}") for n in range(60)]
    with ConsoleBoard(rows, [{**whole, "words": words}]).open() as board, chrome.tab() as page:
        open_call(page, board)
        log = "document.querySelector('[role=log]')"
        page.until(f"{log}.scrollTop + {log}.clientHeight >= {log}.scrollHeight - 1")
        page.value(f"{log}.scrollTop = 100")
        page.until("!!document.querySelector('.to-end')")
        more = [line(99, "caller", 99_000, "the newest")]
        news = {"kind": "call_delta", "call": "CA1", "from": 1, "to": 2, "at_ms": 99_000, "words": more}
        board.tell(news)
        page.until("document.body.textContent.includes('the newest')")
        assert page.value(f"{log}.scrollTop") == 100
        press(page, "Newest ↓")
        page.until(f"{log}.scrollTop > 1000")


def test_a_call_is_found_helped_and_hung_up_by_the_keyboard_alone(chrome: Browser) -> None:
    rows, whole = scene()
    with ConsoleBoard(rows, [whole]).open() as board, chrome.tab() as page:
        page.look(width=1440, height=900, still=True)
        page.visit(f"{board.base}/console")
        page.until("document.querySelectorAll('.call-row').length === 5")
        page.press("j")
        page.until("document.activeElement.getAttribute('aria-label')?.startsWith('Open call of +1')")
        assert page.value(FOCUSED)["ring"]
        page.press("Enter")
        page.until("!!document.querySelector('.actions')")
        go_to(page, "Whisper")
        page.press("Enter")
        page.until("document.activeElement.id === 'composer'")
        page.command("Input.insertText", text="be brief")
        page.press("Enter")
        page.until("document.querySelector('.toast')?.textContent === 'The model was told.'")
        assert page.value(FOCUSED)["name"] == "Whisper"
        go_to(page, "Transfer")
        page.press(" ")
        page.until("document.activeElement.id === 'target'")
        page.press("Tab")
        page.press("Enter")
        page.until("document.querySelector('.toast')?.textContent === 'Transferring to sales.'")
        page.press("m")
        page.until("document.querySelector('.toast')?.textContent === 'The model is muted.'")
        go_to(page, "Hang up")
        page.press("Enter")
        assert page.value(FOCUSED)["name"] == "Really hang up"
        page.press("Enter")
        page.until("document.querySelector('.toast')?.textContent === 'Hanging up.'")
        page.press("Escape")
        page.until("location.hash === '#/live'")
        page.press("?")
        page.until("!!document.querySelector('dialog[open]')")
    wishes = [(call, action, {**wanted}) for call, action, wanted in board.wishes]
    assert all(wanted.pop("key") and wanted.pop("machine") == "desk-1" for *_, wanted in wishes)
    assert wishes == [
        ("CA1", "whisper", {"text": "be brief"}),
        ("CA1", "transfer", {"to": "sales"}),
        ("CA1", "mute", {"on": True}),
        ("CA1", "hang_up", {}),
    ]


def test_hanging_up_asks_once_more_for_three_seconds_and_says_why_it_was_refused(chrome: Browser) -> None:
    rows, whole = scene()
    with ConsoleBoard(rows, [whole]).open() as board, chrome.tab() as page:
        open_call(page, board)
        press(page, "Hang up")
        asked_s = time.monotonic()
        page.until("!document.querySelector('.danger.really')")
        assert 2.5 < time.monotonic() - asked_s < 5
        board.refusal = "this call is over"
        press(page, "Hang up")
        press(page, "Really hang up")
        page.until("document.querySelector('[role=alert]')?.textContent === 'Not done: this call is over'")
    assert [action for _, action, _ in board.wishes] == ["hang_up"]


def test_news_that_stop_are_told_and_a_lost_connection_comes_back_by_itself(chrome: Browser) -> None:
    rows, whole = scene()
    with ConsoleBoard(rows, [whole]).open() as board, chrome.tab() as page:
        open_call(page, board)
        board.silent = True
        page.until("document.querySelector('.banner.warn')?.textContent.startsWith('No news for')")
        assert page.value("!!document.querySelector('.stale')")
        board.silent = False
        board.hang(1013)
        page.until("!!document.querySelector('.banner.bad[role=alert]')")
        page.until("!document.querySelector('.banner.bad[role=alert]') && !document.querySelector('.stale')")
        assert [one["call"] for one in board.came if one["kind"] == "look"] == ["CA1", "CA1"]
        board.signed_in = False
        board.hang(1008)
        page.until("!!document.querySelector('#token')")


def test_the_cursor_of_the_timeline_goes_from_barge_in_to_barge_in(chrome: Browser) -> None:
    rows, whole = scene(state="ended", end="the caller hung up")
    with ConsoleBoard(rows, [whole]).open() as board, chrome.tab() as page:
        open_call(page, board)
        at = "Array.from(document.querySelectorAll('.timeline header .small'), e => e.textContent)[0]"
        for key, then in (
            ("n", "at 0:08.4"),
            ("e", "at 0:23.4"),
            ("ArrowLeft", "at 0:22.4"),
            ("p", "at 0:08.4"),
        ):
            page.press(key)
            page.until(f"{at} === {json.dumps(then)}")
        page.press("ArrowRight", shift=True)
        page.until(f"{at} === 'at 0:08.5'")
        press(page, "Table")
        page.until("document.querySelectorAll('.as-table tbody tr').length === 14")


def test_a_hidden_field_is_revealed_to_those_who_say_why(chrome: Browser) -> None:
    rows, whole = scene()
    tools = [{**whole["tools"][0], "hidden": ["input.pin"]}]
    with ConsoleBoard(rows, [{**whole, "tools": tools}]).open() as board, chrome.tab() as page:
        open_call(page, board)
        board.answer = {"value": "<b>4217</b>"}
        page.until("!!document.querySelector('.tool-card')")
        page.value("document.querySelector('.tool-card').open = true")
        press(page, "Reveal…")
        page.until("!!document.querySelector('.reveal input')")
        page.value("document.querySelector('.reveal input').focus()")
        page.command("Input.insertText", text="the caller asked")
        page.press("Enter")
        page.until("document.querySelector('.tool-card p.small')?.textContent === 'input.pin <b>4217</b>'")
    [(call, action, wanted)] = board.wishes
    del wanted["key"]
    assert (call, action) == ("CA1", "reveal")
    assert wanted == {"machine": "desk-1", "tool": "c1", "path": "input.pin", "reason": "the caller asked"}


def test_a_demos_address_opens_it_once_and_its_code_is_not_kept(chrome: Browser) -> None:
    with ConsoleBoard(many_rows(2), signed_in=False).open() as board, chrome.tab() as page:
        page.command("Page.navigate", url=f"{board.base}/console#code=good-once")
        page.until("document.querySelectorAll('.call-row').length === 2")
        assert page.value("location.href") == f"{board.base}/console"
        press(page, "Sign out")
        page.until("!!document.querySelector('#token')")
        page.command("Page.navigate", url=f"{board.base}/console?again#code=good-once")
        page.until("document.querySelector('[role=alert]')?.textContent === 'the token is wrong'")


def test_the_softphone_opens_beside_the_console(chrome: Browser) -> None:
    session = {**SESSION, "softphone": True}
    with ConsoleBoard([], session=session).open() as board, chrome.tab() as page:
        page.visit(f"{board.base}/console")
        page.until("!!document.querySelector('.softphone')")
        page.click(".softphone")
        due_s = time.monotonic() + 5
        found: list[dict[str, Any]] = []
        while not found and time.monotonic() < due_s:
            targets = chrome.command("Target.getTargets")["targetInfos"]
            found = [one for one in targets if one["url"] == f"{board.base}/phone"]
        assert found
        assert page.value("!!document.querySelector('.top')")
