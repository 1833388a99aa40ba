"""User code that is slow, stuck or broken: the model gets a result, and the caller is not left in silence."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from bridge.agents.agent import Agent
from bridge.agents.clips import sound_of
from bridge.agents.tools import AnyTool, tool
from bridge.core import messages as m
from bridge.doubles.agents import ToolCall
from bridge.doubles.tones import tone
from bridge.testing import ScriptedCall, begin
from tests.agents.obedient import Obedient

FILLER = tone(600, 250)
BASE = m.CallConfig(
    session=m.SessionConfig(transcription="gpt-transcribe"),
    phrases={"filler": sound_of(FILLER), "apology": sound_of(tone(900, 300), "We are sorry.")},
)
ONE_ANSWER_MS = 2_000


@tool
async def sleeps() -> str:
    """Sleep."""
    await asyncio.sleep(30)
    return "too late"


@tool
async def raises() -> str:
    """Raise."""
    raise LookupError("no such order")


@tool(deadline_ms=4_000, filler=None)
async def silent() -> str:
    """Sleep, and want no filler."""
    await asyncio.sleep(3)
    return "found"


def longest_silence_ms(live: ScriptedCall, from_ms: int, until_ms: int) -> int:
    """Between those two moments, of what the caller heard."""
    at_ms, longest_ms = from_ms, 0
    for span in live.phone.heard_spans:
        start_ms, end_ms = span.at_ms, span.at_ms + span.size_bytes // 8
        if end_ms <= from_ms or start_ms >= until_ms:
            continue
        longest_ms = max(longest_ms, start_ms - at_ms)
        at_ms = max(at_ms, end_ms)
    return max(longest_ms, until_ms - at_ms) if at_ms < until_ms else longest_ms


def told_by(called: AnyTool) -> tuple[list[tuple[str, str]], int, int]:
    """A call in which the model calls that tool: the conversation, the longest silence while an answer was
    owed, and how often the caller heard the filler."""
    mind = Obedient(outputs=[ToolCall(called.name)])

    live = begin(Agent(tools=[called], greeting=""), config=BASE, mind=mind)
    live.caller.says("look it up please")
    live.until(lambda: [spoke.speaking for spoke in live.rehearsal.log(m.CallerSpoke)][-1:] == [False])
    stopped_ms = live.now_ms
    live.until(lambda: live.model.conversation[-1][0] == "assistant")
    answered_ms = live.now_ms + ONE_ANSWER_MS // 4
    live.wait(6_000)
    silence_ms = longest_silence_ms(live, stopped_ms, answered_ms)
    fillers = live.phone.heard.count(FILLER)
    live.close()
    return live.model.conversation, silence_ms, fillers


def test_a_tool_that_sleeps_for_30_s_is_covered_and_given_up(caplog: pytest.LogCaptureFixture) -> None:
    conversation, silence_ms, fillers = told_by(sleeps)
    assert silence_ms <= ONE_ANSWER_MS
    assert fillers >= 3
    kind, output = conversation[-2]
    assert kind == "function_call_output"
    assert "took too long" in json.loads(output)["error"]
    assert conversation[-1][0] == "assistant"
    assert "tool sleeps: no result within 10000 ms" in caplog.text


def test_a_tool_that_raises_is_answered_at_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "bridge.user"):
        conversation, silence_ms, fillers = told_by(raises)
    assert silence_ms <= ONE_ANSWER_MS
    assert fillers == 0
    assert json.loads(conversation[-2][1]) == {"error": "It failed. Tell the caller that it did not work."}
    assert "in raises" in caplog.text


def test_a_tool_may_forgo_its_filler() -> None:
    conversation, _, fillers = told_by(silent)
    assert fillers == 0
    assert conversation[-2] == ("function_call_output", "found")
