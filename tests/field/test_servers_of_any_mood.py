"""A conversation goes the same way with each of the habits that servers have: what is owed is answered once,
and the model is told what the caller heard.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest

from bridge import Agent, tool
from bridge.core import messages as m
from bridge.doubles.options import ServerOptions
from bridge.testing.call import begin, tool_call
from bridge.testing.scripted_call import ScriptedCall

HABITS: dict[str, dict[str, Any]] = {
    "none": {},
    "words run ahead": {"words_ahead_ms": 600},
    "all words come first": {"words_ahead_ms": sys.maxsize},
    "items overlap": {"items_overlap": True},
    "responses end late": {"done_ms": 900},
    "no metadata": {"metadata": False},
    "late rate limits": {"late_rate_limits": True},
    "transcripts word by word": {"transcription_word_ms": 60},
    "transcripts after the answer": {"transcription_last": True, "transcription_ms": (400,)},
}
HABITS["all at once"] = {name: value for habit in HABITS.values() for name, value in habit.items()}


@tool(filler=None)
async def opening_hours(day: str) -> str:
    """Look up the opening hours."""
    return f"{day}: nine to five"


def told(call: ScriptedCall, kind: type[m.Message]) -> list[Any]:
    return [action for _, action in call.rehearsal.said if isinstance(action, kind)]


def conversation(habit: dict[str, Any]) -> ScriptedCall:
    """Greeting, turn, a tool called and its result, and an answer of two items that is interrupted."""
    agent = Agent("Be brief.", greeting="Good day.", tools=[opening_hours])
    call = begin(agent, model=ServerOptions(speed=5.0, **habit))
    call.at(1_500)
    call.model.answers("What can I do?")
    call.caller.says("Hello", ms=600)
    call.at(4_500)
    call.model.answers(tool_call("opening_hours", day="Monday"))
    call.model.answers("We open at nine.")
    call.caller.says("When do you open?", ms=600)
    call.at(9_000)
    call.model.answers("On Tuesday at nine o'clock. ", "And on Sunday we do not open at all, I am afraid.")
    call.caller.says("And else?", ms=600)
    call.at(13_300)
    call.model.answers("Goodbye then.")
    call.caller.interrupts("Thanks", ms=600)
    call.at(16_500)
    call.close()
    return call


@pytest.mark.parametrize(
    "habit", [pytest.param(one, marks=[] if one == "all at once" else pytest.mark.hostile) for one in HABITS]
)
def test_each_turn_is_answered_once_and_each_cut_is_told(habit: str) -> None:
    call = conversation(HABITS[habit])
    heard = [spoken.heard for spoken in told(call, m.Spoken)]
    assert heard[:3] == ["Good day.", "What can I do?", "We open at nine."]
    assert heard[-1] == "Goodbye then."
    assert len(told(call, m.ToolWanted)) == 1
    for item_id, (believed_ms, heard_ms) in call.truth().items():
        assert abs(believed_ms - heard_ms) <= 60, item_id
    assert [turn.text for turn in told(call, m.Turn)] == ["Hello", "When do you open?", "And else?", "Thanks"]
