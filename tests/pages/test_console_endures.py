"""A console that stays open over two hundred calls: what it holds does not grow, and a core stays free."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import Any

import pytest

from ..browser import Page, chromium, running
from .console_board import ConsoleBoard, line, row
from .console_scene import event, lane, scene

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="there is no chromium here"),
]
CALLS = 200
MOST_NODES = 3_000
MOST_DRIFT_BYTES = 5_000_000
MOST_SHARE = 0.15
"""Of a core, while news come as fast as a server sends them."""
LONGEST_TASK_MS = 200
# How many tasks of the page were too long, by the browser's own account: by the wall's clock, so that a busy
# machine makes one now and then.
NOTE_TASKS = """
window.slow = 0;
new PerformanceObserver(list => {
  for (const one of list.getEntries()) if (one.duration > %d) window.slow++;
}).observe({entryTypes: ["longtask"]});
"""


@dataclass
class Held:
    """What the page holds, after everything that can be dropped was."""

    heap_bytes: int
    nodes: int
    cpu_s: float
    at_s: float


def held(page: Page) -> Held:
    page.command("HeapProfiler.collectGarbage")
    metrics = {one["name"]: one["value"] for one in page.command("Performance.getMetrics")["metrics"]}
    nodes = page.command("Memory.getDOMCounters")["nodes"]
    return Held(int(metrics["JSHeapUsedSize"]), nodes, metrics["ThreadTime"], time.monotonic())


def news(board: ConsoleBoard, number: int) -> None:
    """A quarter of a second: every call has said something, one is over and another is new; and the call in
    view goes on.
    """
    changed: list[dict[str, Any]] = [
        {"call": f"CA{n}", "from": number, "to": number + 1, "last_words": f"sentence {number} of {n}"}
        for n in range(1, CALLS)
    ]
    for at in range(0, len(changed), 25):
        board.tell({"kind": "rows", "rows": changed[at : at + 25]})
    board.tell({"kind": "rows", "rows": [row(f"CAnew{number}", state="ended", end="the caller hung up")]})
    board.tell({"kind": "gone", "calls": [f"CAnew{number - 4}"]})
    at_ms = 25_000 + number * 250
    words = f"this is sentence number {number} of a long call"
    board.tell(
        {
            "kind": "call_delta", "call": "CA1", "from": number, "to": number + 1, "at_ms": at_ms,
            "words": [line(1_000 + number // 8, "agent", at_ms, words, heard=number % 8, state="playing")],
            "lanes": [lane(f"hw{1_000 + number // 8}", "heard", at_ms - 200, at_ms, "model")],
            "events": [event(1_000 + number, "agent", "Spoken", words)],
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lasts_s", "every_s"),
    [(10, 0.125), pytest.param(600, 0.25, marks=[pytest.mark.long, pytest.mark.timeout(720)])],
    ids=("short", "long"),
)
def test_it_does_not_grow_while_calls_come_and_go(lasts_s: float, every_s: float) -> None:
    _, whole = scene()
    rows = [row("CA1"), *(row(f"CA{n}") for n in range(2, CALLS))]
    board = ConsoleBoard([row(f"CA{n}") for n in range(1, CALLS)], [{**whole, "row": rows[0]}])
    with board.open(), running() as chrome, chrome.tab() as page:
        page.look(width=1440, height=900)
        page.command("Performance.enable")
        page.before_each_page(NOTE_TASKS % LONGEST_TASK_MS)
        page.visit(f"{board.base}/console")
        page.until("document.querySelectorAll('.call-row').length > 10")
        page.value("location.hash = '#/live/CA1'")
        page.until("document.querySelectorAll('.said').length > 2")
        numbers = itertools.count(1)
        for _ in range(40):  # until lists are as long as they get
            news(board, next(numbers))
        page.until("document.querySelector('.event-list li').textContent.includes('number 40')")
        before = held(page)
        page.value("window.slow = 0")
        while time.monotonic() - before.at_s < lasts_s:
            news(board, number := next(numbers))
            time.sleep(every_s)
        page.until(f"document.querySelector('.event-list li').textContent.includes('number {number}')")
        after = held(page)
        assert page.value("document.querySelectorAll('*').length") <= MOST_NODES
        assert page.value("window.slow") <= 1 + lasts_s // 60
        assert [one for one in board.came if one["kind"] == "snapshot"] == []
    rate = 0.25 / every_s  # news of the short form come faster than a server's
    assert after.heap_bytes - before.heap_bytes <= MOST_DRIFT_BYTES
    assert after.nodes <= before.nodes * 1.5
    assert (after.cpu_s - before.cpu_s) / (after.at_s - before.at_s) / rate <= MOST_SHARE, (before, after)
