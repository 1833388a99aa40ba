"""What is accepted at start can work: names of hand-offs, a call without turn detection, `extra`."""

from __future__ import annotations

import re
from typing import Any

import pytest

from bridge import Agent, ConfigError, Digit, Session, Turn, tool
from bridge.agents.agent import roster
from bridge.agents.config import AgentConfigs
from bridge.agents.tool_names import hand_off_names
from bridge.core import messages as m
from bridge.testing.call import begin, usual_config

CONFIGS = AgentConfigs(usual_config())


# --- names of hand-offs


def test_two_hand_offs_whose_names_look_alike_are_two_tools() -> None:
    one = Agent(name="Sales & Support", instructions="x")
    two = Agent(name="Sales / Support", instructions="y", handoffs=[one])
    root = Agent(name="root", handoffs=["Sales & Support", two])
    CONFIGS.check(root, "embedded")
    tools = CONFIGS.tools(root, roster(root))
    assert list(tools) == ["hand_off_to_Sales_Support", "hand_off_to_Sales_Support_2"]
    assert "Sales & Support" in tools["hand_off_to_Sales_Support"].description


@pytest.mark.parametrize(
    ("agents", "names"),
    [
        (["営業", "サポート"], ["agent", "sapoto"]),
        (["営業", "経理"], ["agent", "agent_2"]),
        (["ひらがな", "Büro für Straßen"], ["hiragana", "Buro_fur_Strassen"]),
        (["Продажи", "Πωλήσεις"], ["Prodazhi", "Poliseis"]),
        (["영업"], ["yeongeob"]),
        (["مبيعات", "🤖", "日本 2"], ["agent", "agent_2", "2"]),
        (["a b", "a.b", "a_b"], ["a_b", "a_b_2", "a_b_3"]),
    ],
)
def test_names_in_any_script_become_names_of_tools(agents: list[str], names: list[str]) -> None:
    assert hand_off_names(agents) == [f"hand_off_to_{name}" for name in names]
    Agent(name="root", handoffs=[Agent(name=name) for name in agents])


def test_long_names_stay_distinct_and_within_what_the_vendor_takes() -> None:
    names = hand_off_names(["x" * 80] * 12)
    assert len(set(names)) == 12
    assert all(re.fullmatch("[A-Za-z0-9_-]{1,64}", name) for name in names)


def test_a_hand_off_in_another_script_works() -> None:
    second = Agent(name="営業", instructions="You sell.")
    call = begin(Agent(name="A", instructions="A", greeting="", handoffs=[second])).at(1_000)
    call.model.calls("hand_off_to_agent")
    call.at(4_000)
    assert call.model.server.session.tree["instructions"] == "You sell."
    call.close()


def test_the_same_agent_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="hands off to 'B' twice"):
        Agent(name="A", handoffs=["B", Agent(name="B")])


# --- a call without turn detection


def test_without_turn_detection_somebody_has_to_end_turns() -> None:
    with pytest.raises(ConfigError, match=r"session\.commit\(\)"):
        begin(Agent(turn_detection=None, greeting="Hi"))
    with pytest.raises(ConfigError, match="agent B"):
        begin(Agent(name="A", greeting="Hi", handoffs=[Agent(name="B", turn_detection=None)]))


def pushed_to_talk(*, forget: bool = False) -> tuple[list[str], list[str], int]:
    """The turns that a handler was given, what the caller heard, and how long the turn was (ms), of a call in
    which `#` ends a turn, and `*` forgets what was said before it.
    """
    turns: list[str] = []

    async def handler(session: Session) -> None:
        async for happening in session.input():
            if isinstance(happening, Digit) and happening.digit == "*":
                session.clear_input()
            elif isinstance(happening, Digit):
                session.commit()
            elif isinstance(happening, Turn):
                turns.append(happening.text)
                await session.respond()

    call = begin(Agent("You listen.", handler=handler, turn_detection=None)).at(1_000)
    call.model.answers("I heard you.")
    call.at(3_000)
    if forget:
        call.caller.presses("*")
    call.at(3_200)
    call.caller.says("is the shop open today", ms=1_200)
    call.at(5_000)
    call.caller.presses("#")
    call.at(12_000)
    heard = [a.heard for _, a in call.rehearsal.said if isinstance(a, m.Spoken)]
    [item] = [item for item in call.model.items.values() if item.role == "user"]
    assert call.model.server.errors == []
    call.close()
    return turns, heard, len(item.sound) // 8


def test_a_handler_ends_the_turn_at_a_key() -> None:
    turns, heard, _ = pushed_to_talk()
    assert turns == ["is the shop open today"]
    assert heard == ["I heard you."]


def test_what_was_said_before_the_key_can_be_forgotten() -> None:
    *_, whole_ms = pushed_to_talk()
    *_, short_ms = pushed_to_talk(forget=True)
    assert 2_500 <= whole_ms - short_ms <= 3_300


def test_nothing_to_commit_ends_no_call() -> None:
    async def handler(session: Session) -> None:
        session.commit()
        session.clear_input()
        await session.say("Go on.")
        await session.input()

    call = begin(Agent(handler=handler, turn_detection=None)).at(6_000)
    assert call.rehearsal.call.phase is m.Phase.LIVE
    call.close()


# --- fields and their twins


@tool
async def lookup() -> str:
    """Look it up."""
    return ""


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        (
            {"tool_choice": {"type": "function", "name": "look_up"}},
            "tool_choice names 'look_up'; it has lookup",
        ),
        ({"tool_choice": {"type": "mcp", "server_label": "docs"}}, "tool_choice names 'mcp:docs'"),
        ({"tool_choice": "always"}, "tool_choice is one of auto, none, required"),
        ({"extra": {"output_modalities": ["text"]}}, "output_modalities has audio"),
        ({"extra": {"output_modalities": []}}, "output_modalities has audio"),
        ({"extra": {"audio": {"input": {"turn_detection": None}}}}, "turn_detection is not null"),
        ({"extra": {"audio": {"output": {"voice": None}}}}, "voice is not null"),
    ],
)
def test_a_field_that_cannot_work_is_refused_at_start_and_in_a_call(
    fields: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        begin(Agent(tools=[lookup], **fields))
    refused: list[str] = []

    async def handler(session: Session) -> None:
        try:
            session.update(**fields)
        except ConfigError as error:
            refused.append(str(error))
        await session.input()

    call = begin(Agent("A", tools=[lookup], handler=handler)).at(2_000)
    assert re.search(complaint, refused[0])
    assert call.model.server.session.tree["instructions"] == "A"
    call.close()
