"""Every example without a key: the front desk greets as the agent does, calls tools, obeys a handler."""

from __future__ import annotations

import asyncio
from types import ModuleType

import pytest

from bridge import Agent, Approval, McpServer, Session, ToolError
from bridge.codecs.caption import caption_of, captioned
from bridge.core import messages as m
from bridge.doubles.agents import Speech
from bridge.doubles.front_desk.agent import REHEARSAL, FrontDesk
from bridge.doubles.tones import tone
from bridge.testing import ScriptedCall, begin
from tests.agents.test_examples import example


def desk() -> FrontDesk:
    """Sentences of 20 ms a letter; what a caller says is in the sound."""
    return FrontDesk(lambda text: Speech(tone(20 * len(text)), text), caption_of)


def talk(live: ScriptedCall, *turns: str, wait_ms: int = 6_000) -> None:
    """Each turn is spoken when the answer to the one before must be over; `keys 905#` are pressed."""
    live.wait(wait_ms)
    for turn in turns:
        if turn.startswith("keys "):
            live.caller.presses(turn.removeprefix("keys "))
        else:
            live.caller.says(captioned(tone(2_000), turn), words=turn)
        live.wait(wait_ms)


def rehearsed(
    agent: Agent, *turns: str, transfers: tuple[str, ...] = (), wait_ms: int = 6_000
) -> tuple[list[str], m.Ended]:
    """What the caller heard and which tools were called, in order; and how the call ended."""

    live = begin(agent, mind=desk(), transfers=transfers, digits="interrupt", phrases={})
    talk(live, *turns, wait_ms=wait_ms)
    live.close()
    ended = live.rehearsal.ended
    assert ended is not None
    told = [text for role, text in live.model.conversation if role in ("assistant", "function_call")]
    return [text for text in told if text], ended


@pytest.fixture(scope="module")
def tools() -> ModuleType:
    return example("tools")


def test_a_prompt_is_greeted_with_and_told_from() -> None:
    said, _ = rehearsed(example("prompt").agent, "what are your opening hours", "can you sing")
    assert said[:3] == [
        "Good day, this is the bakery. What can I do for you?", REHEARSAL,
        "Open: seven to six, Sundays eight to twelve.",
    ]  # fmt: skip
    assert said[3].startswith("I did not understand that.")


def test_tools_are_called_with_what_the_caller_says(tools: ModuleType) -> None:
    turns = (
        "how far is order seventeen",
        "note a wish for tomorrow",
        "a poppy seed cake",
        "thanks that is all bye",
    )
    said, ended = rehearsed(tools.agent.replace(greeting="Hello."), *turns)
    assert said[2:] == [
        '{"number": 17}', "in the oven", "What, please?", '{"what": "a poppy seed cake", "when": "tomorrow"}',
        "noted a poppy seed cake: for tomorrow.", "Goodbye.", "{}",
    ]  # fmt: skip
    assert ended == m.Ended(m.Reason.WE_HUNG_UP, "the model said goodbye")


def test_a_tool_that_fails_is_tried_again_when_the_caller_wants_it(tools: ModuleType) -> None:
    said, _ = rehearsed(tools.agent.replace(greeting="Hello."), "is order ninety nine ready", "yes")
    with pytest.raises(ToolError):
        asyncio.run(tools.order_state(99))
    again = "Sorry, that did not work. Shall I try again?"
    assert said[2:] == ['{"number": 99}', again, '{"number": 99}', "Sorry, that did not work."]


def test_an_order_is_confirmed_before_it_is_placed() -> None:
    agent = example("mounted").agent.replace(greeting="Hello.")
    said, _ = rehearsed(agent, "i would like to place an order", "two rye loaves", "yes please")
    assert said[2:] == [
        "What, please?", "Place order: two rye loaves. Right?", '{"what": "two rye loaves"}',
        "two rye loaves: order number 1",
    ]  # fmt: skip


def test_hand_off_and_transfer() -> None:
    agent = example("handoff").agent
    turns = ("i have a question about my invoice", "the balance under Ann", "let me talk to a person")
    said, ended = rehearsed(agent, *turns, transfers=("owner",))
    assert said == [
        "Good day, the bakery. How can I help?", REHEARSAL, "{}",
        "You are with billing now. What can I do for you?", '{"customer": "Ann"}', "Ann owes nothing.",
        "I put you through to owner.", '{"target": "owner"}',
    ]  # fmt: skip
    assert ended == m.Ended(m.Reason.TRANSFERRED, "owner")


def test_a_handler_is_obeyed_to_the_word() -> None:
    said, ended = rehearsed(
        example("handler").agent, "Ann", "please call me back", "keys 0", "goodbye", wait_ms=8_000
    )
    assert said == [
        "Nobody is in at the moment. Who is calling, please?",
        "Thank you, Ann. What shall I pass on?",
        "I have noted: please call me back. Say goodbye if that is right, or tell me again.",
        REHEARSAL,
        "I am sorry about that.",
        "Goodbye.",
    ]
    assert ended.reason is m.Reason.WE_HUNG_UP


def test_a_menu_by_keys() -> None:
    said, ended = rehearsed(example("menu").agent, "keys 2", "keys 17#", "keys 9", wait_ms=5_000)
    assert said[1:3] == ["Enter the number of your order, then the pound key.", "Order 1 7 is in the oven."]
    assert said[-1] == "Goodbye."
    assert ended.reason is m.Reason.WE_HUNG_UP


def test_keys_reach_the_tools_of_an_agent_without_a_handler(tools: ModuleType) -> None:
    said, _ = rehearsed(tools.agent.replace(greeting="Hello."), "keys 1", "keys 18#", wait_ms=8_000)
    assert said[2:] == ["Which number, please?", '{"number": 18}', "ready"]


def test_a_human_is_asked_before_a_server_s_tool_is_used() -> None:
    asked: list[tuple[str, str]] = []

    def approve(_session: Session, approval: Approval) -> bool:
        asked.append((approval.server, approval.name))
        return True

    weather = McpServer(label="weather", url="https://tools.example.com", allowed_tools=["today"])
    said, _ = rehearsed(
        Agent("Help.", greeting="Hello.", tools=[weather], approve=approve), "how is the weather today"
    )
    assert said[2] == "I would ask the server weather now; it cannot be reached here."
    assert asked == [("weather", "today")]


def test_a_caller_who_speaks_over_an_answer_is_answered_and_the_question_stays_open(
    tools: ModuleType,
) -> None:
    live = begin(tools.agent.replace(greeting="Hello."), mind=desk(), phrases={})
    talk(live, "how far is my order", wait_ms=3_600)
    live.caller.says(captioned(tone(1_500), "number seventeen"))
    live.wait(6_000)
    live.close()
    said = [text for _, text in live.model.conversation]
    assert said[-3:] == ['{"number": 17}', "in the oven", "in the oven"]
