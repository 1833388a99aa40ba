"""What the page says when there is no call to be had, or when one ends in another way than by hanging up."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.doubles.front_desk.results import FAILED

from ..browser import Browser, Page, chromium, running
from ..calls import Served, served
from .switchboard import MICROPHONE, Line, Switchboard, call

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="there is no chromium here"),
]
AGENT = """
from bridge import Agent, tool


@tool
def stock() -> str:
    \"\"\"Tell what is left.\"\"\"
    return "Three loaves are left."


agent = Agent("You are the baker.", greeting="Good day.", tools=[stock])
"""
NOTES = {
    "tools": "results of tools are withheld",
    "stall": "the model is stalled for 5000 ms",
    "drop": "the model's connection is cut",
}
PLAIN = "plain.example"


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with running(MICROPHONE[0], f"--host-resolver-rules=MAP {PLAIN} 127.0.0.1") as browser:
        yield browser


def words(page: Page, name: str) -> str:
    return str(page.value(f"document.getElementById({name!r}).textContent"))


def until(page: Page, state: str) -> None:
    page.until(f"document.body.dataset.state === {state!r}")


def card(page: Page, state: str) -> str:
    """The words of the card, which has the focus, so that a screen reader reads it."""
    until(page, state)
    page.until("!document.getElementById('card').hidden")
    assert page.value("document.activeElement.id") == "card"
    return words(page, "card-text")


def no_complaints(page: Page) -> bool:
    """Apart from the failed requests that the browser itself reports."""
    return [one for one in page.complaints if "Failed to load resource" not in one] == []


def test_without_leave_to_use_the_microphone_a_call_can_be_made_without(chrome: Browser) -> None:
    with Switchboard().open() as board, chrome.tab(microphone="denied") as page:
        page.visit(f"{board.base}/phone")
        page.click("#call")
        assert card(page, "error").startswith("The microphone is not allowed.")
        page.click("#card-action")
        until(page, "live")
        assert page.value("document.getElementById('card').hidden")
        page.until("document.getElementById('clock').textContent !== ''")
        assert board.line is not None
        assert no_complaints(page)


def test_without_a_microphone_too() -> None:
    with running() as chrome, Switchboard().open() as board, chrome.tab(microphone="granted") as page:
        page.visit(f"{board.base}/phone")
        page.click("#call")
        assert card(page, "error") == "There is no microphone."
        page.click("#card-action")
        until(page, "live")


def test_over_plain_http_from_another_name_the_page_says_what_to_do(chrome: Browser) -> None:
    with Switchboard().open() as board, chrome.tab() as page:
        page.visit(f"{board.base.replace('127.0.0.1', PLAIN)}/phone")
        told = card(page, "error")
        assert "http://127.0.0.1" in told
        assert "https" in told
        assert page.value("document.getElementById('call').disabled")


def test_a_busy_server_is_asked_again_at_a_click(chrome: Browser) -> None:
    with (
        Switchboard(session={"busy": "All lines are busy."}).open() as board,
        chrome.tab(microphone="granted") as page,
    ):
        page.visit(f"{board.base}/phone")
        page.click("#call")
        assert card(page, "busy") == "All lines are busy."
        board.session = {"call": "CA1", "account": "AC1", "stream": "MZ1", "parameters": {}}
        page.click("#card-action")
        until(page, "live")
        assert no_complaints(page)


def test_a_server_that_is_gone_before_the_call(chrome: Browser) -> None:
    with chrome.tab(microphone="granted") as page:
        with Switchboard().open() as board:
            page.visit(f"{board.base}/phone")
        page.click("#call")
        assert card(page, "error").startswith("The server does not answer.")


def test_a_server_that_is_gone_in_the_middle_of_one(chrome: Browser) -> None:
    """A real one, which is killed."""

    def watch(bridge: Served) -> None:
        with chrome.tab(microphone="granted") as page:
            page.visit(f"{bridge.base}/phone")
            page.click("#call")
            until(page, "live")
            os.kill(bridge.process.pid, signal.SIGKILL)
            assert card(page, "error").startswith("The server is gone in the middle of the call.")
            assert words(page, "state") == "Connection lost"
            assert words(page, "call") == "Call again"
            assert page.value("document.getElementById('mute').disabled")

    async def main() -> None:
        async with served(BRIDGE_INSECURE="1") as bridge:
            await asyncio.to_thread(watch, bridge)

    asyncio.run(main())


ENDED: dict[str, Any] = {"kind": "ended", "why": "transferred", "turns": 1, "barge_ins": 0}


def test_a_transfer_ends_here_and_says_to_whom(chrome: Browser) -> None:
    async def script(line: Line) -> None:
        await line.socket.close()

    tells = [{"kind": "began"}, {"kind": "transfer", "to": "sales"}, ENDED]
    with Switchboard(script, tells=tells).open() as board, chrome.tab(microphone="granted") as page:
        call(page, board)
        until(page, "ended")
        page.until("document.getElementById('state').textContent === 'Transferred to sales'")
        assert "would now dial sales" in words(page, "captions")
        assert page.value("document.getElementById('card').hidden")


def test_a_model_that_is_lost_is_said_to_be_and_then_is_back(chrome: Browser) -> None:
    with Switchboard().open() as board, chrome.tab(microphone="granted") as page:
        call(page, board)
        until(page, "live")
        page.value("TOLD.noted({what: 'the model was lost', detail: '1006'})")
        assert page.value("document.body.dataset.state") == "lost"
        assert words(page, "state") == "Model lost, dialling again"
        page.value("TOLD.words({item: '1', text: 'I am back.'})")
        assert page.value("document.body.dataset.state") == "live"


def test_faults_of_the_model_are_made_noted_and_recorded(chrome: Browser, tmp_path: Path) -> None:
    def watch(bridge: Served) -> None:
        with chrome.tab(microphone="denied") as page:
            page.visit(f"{bridge.base}/phone")
            page.click("#call")
            card(page, "error")
            page.click("#card-action")
            until(page, "live")
            page.click("#faults summary")
            page.click("[data-fault=tools]")
            page.until("document.getElementById('captions').textContent.includes('rehearsal')")
            page.press("1")
            page.until(f"document.getElementById('captions').textContent.includes({FAILED!r})")
            for fault, note in NOTES.items():
                page.click(f"[data-fault={fault}]")
                page.until(f"document.getElementById('captions').textContent.includes({note!r})")
            assert words(page, "fault-note").startswith("The model's connection is cut.")
            page.click("#call")
            until(page, "ended")
            assert page.complaints == []

    async def main() -> None:
        settings = {"BRIDGE_INSECURE": "1", "BRIDGE_DISCLOSURE": "0", "BRIDGE_RECORDINGS": str(tmp_path)}
        async with served(tmp_path, **settings) as bridge:
            await asyncio.to_thread(watch, bridge)
            bridge.process.terminate()
            await bridge.ended(5)

    (tmp_path / "agent.py").write_text(AGENT, encoding="utf-8")
    asyncio.run(main())
    [path] = tmp_path.glob("*.call.jsonl")
    recording = path.read_text(encoding="utf-8")
    for note in NOTES.values():
        assert recording.count(f'"is":"BrokenOnPurpose","what":"{note}"') == 1
    replay = [sys.executable, "-m", "bridge", "replay", str(path)]
    done = subprocess.run(replay, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
