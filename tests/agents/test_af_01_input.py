"""AF-1: a handler awaits `session.input()` and gets a real turn, from the live transport."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridge.agents.agent import Agent
from bridge.agents.inputs import Digit, Happening, Turn
from bridge.agents.session import Session
from bridge.errors import CallEnded


def test_af_01_a_handler_awaits_input_and_gets_what_the_caller_said(calls: Any) -> None:
    turns: list[Turn] = []

    async def handler(session: Session) -> None:
        turns.append(await session.input())
        turns.append(await session.input())

    live = calls(Agent(handler=handler))
    live.caller.says("I would like a pizza")
    live.wait(4_000)
    live.caller.says("with olives")
    live.until_over()
    assert [turn.text for turn in turns] == ["I would like a pizza", "with olives"]
    assert all(type(turn) is Turn for turn in turns)
    assert turns[0].item_id != turns[1].item_id


def test_af_01_input_can_be_iterated_over_until_the_call_ends(calls: Any) -> None:
    happened: list[Happening] = []

    async def handler(session: Session) -> None:
        happened.extend([happening async for happening in session.input()])
        happened.append(Turn("after the end"))

    live = calls(Agent(handler=handler))
    live.caller.says("hello")
    live.wait(2_000)
    live.caller.presses("5")
    live.wait(1_000)
    live.caller.hangs_up()
    live.until_over()
    live.wait(100)
    said, pressed, after = happened
    assert isinstance(said, Turn)
    assert said.text == "hello"
    assert pressed == Digit("5")
    assert after == Turn("after the end")


def test_af_01_awaiting_input_after_the_call_says_how_it_ended(calls: Any) -> None:
    raised: list[CallEnded] = []

    async def handler(session: Session) -> None:
        try:
            await session.input()
        except CallEnded as ended:
            raised.append(ended)
            raise

    live = calls(Agent(handler=handler))
    live.caller.hangs_up()
    live.until_over()
    live.wait(100)
    assert [str(error) for error in raised] == ["the call is over: the caller hung up (ended by caller)"]


def test_af_01_turns_that_came_before_they_were_asked_for_wait(calls: Any) -> None:
    turns: list[str] = []

    async def handler(session: Session) -> None:
        await asyncio.sleep(10)
        turns.append((await session.input()).text)

    live = calls(Agent(handler=handler))
    live.caller.says("early")
    live.until_over()
    assert turns == ["early"]


def test_af_01_without_transcription_there_are_turns_all_the_same(calls: Any) -> None:
    turns: list[Turn] = []

    async def handler(session: Session) -> None:
        turns.append(await session.input())

    live = calls(Agent(handler=handler, transcription="off", turn_audio=True))
    live.caller.says("hello")
    live.until_over()
    assert [turn.text for turn in turns] == [""]


@pytest.mark.parametrize("transport", ["awaited", "iterated"])
def test_af_01_both_ways_may_be_mixed(calls: Any, transport: str) -> None:
    texts: list[str] = []

    async def handler(session: Session) -> None:
        incoming = session.input()
        for _ in range(2):
            turn = await incoming if transport == "awaited" else await anext(session.input())
            assert isinstance(turn, Turn)
            texts.append(turn.text)

    live = calls(Agent(handler=handler))
    live.caller.says("one")
    live.wait(3_000)
    live.caller.says("two")
    live.until_over()
    assert texts == ["one", "two"]
