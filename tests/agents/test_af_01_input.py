"""AF-1: a handler awaits `session.input()` and gets a real turn, from the live transport."""

from __future__ import annotations

import asyncio

import pytest

from bridge.agents.agent import Agent
from bridge.agents.inputs import Digit, Happening, Turn
from bridge.agents.session import Session
from bridge.errors import CallEnded
from tests.agents.line import live_call
from tests.agents.virtual_time import run


def test_af_01_a_handler_awaits_input_and_gets_what_the_caller_said() -> None:
    turns: list[Turn] = []

    async def handler(session: Session) -> None:
        turns.append(await session.input())
        turns.append(await session.input())

    async def call() -> None:
        async with live_call(Agent(handler=handler)) as live:
            live.says("I would like a pizza")
            await asyncio.sleep(4)
            live.says("with olives")
            await live.over()

    run(call())
    assert [turn.text for turn in turns] == ["I would like a pizza", "with olives"]
    assert all(type(turn) is Turn for turn in turns)
    assert turns[0].item_id != turns[1].item_id


def test_af_01_input_can_be_iterated_over_until_the_call_ends() -> None:
    happened: list[Happening] = []

    async def handler(session: Session) -> None:
        happened.extend([happening async for happening in session.input()])
        happened.append(Turn("after the end"))

    async def call() -> None:
        async with live_call(Agent(handler=handler)) as live:
            live.says("hello")
            await asyncio.sleep(2)
            live.presses("5")
            await asyncio.sleep(1)
            live.hangs_up()
            await live.over()
            await asyncio.sleep(0.1)

    run(call())
    said, pressed, after = happened
    assert isinstance(said, Turn)
    assert said.text == "hello"
    assert pressed == Digit("5")
    assert after == Turn("after the end")


def test_af_01_awaiting_input_after_the_call_says_how_it_ended() -> None:
    raised: list[CallEnded] = []

    async def handler(session: Session) -> None:
        try:
            await session.input()
        except CallEnded as ended:
            raised.append(ended)
            raise

    async def call() -> None:
        async with live_call(Agent(handler=handler)) as live:
            live.hangs_up()
            await live.over()
            await asyncio.sleep(0.1)

    run(call())
    assert [str(error) for error in raised] == ["the call is over: the caller hung up (ended by caller)"]


def test_af_01_turns_that_came_before_they_were_asked_for_wait() -> None:
    turns: list[str] = []

    async def handler(session: Session) -> None:
        await asyncio.sleep(10)
        turns.append((await session.input()).text)

    async def call() -> None:
        async with live_call(Agent(handler=handler)) as live:
            live.says("early")
            await live.over()

    run(call())
    assert turns == ["early"]


def test_af_01_without_transcription_there_are_turns_all_the_same() -> None:
    turns: list[Turn] = []

    async def handler(session: Session) -> None:
        turns.append(await session.input())

    async def call() -> None:
        async with live_call(Agent(handler=handler, transcription="off", turn_audio=True)) as live:
            live.says("hello")
            await live.over()

    run(call())
    assert [turn.text for turn in turns] == [""]


@pytest.mark.parametrize("transport", ["awaited", "iterated"])
def test_af_01_both_ways_may_be_mixed(transport: str) -> None:
    texts: list[str] = []

    async def handler(session: Session) -> None:
        incoming = session.input()
        for _ in range(2):
            turn = await incoming if transport == "awaited" else await anext(session.input())
            assert isinstance(turn, Turn)
            texts.append(turn.text)

    async def call() -> None:
        async with live_call(Agent(handler=handler)) as live:
            live.says("one")
            await asyncio.sleep(3)
            live.says("two")
            await live.over()

    run(call())
    assert texts == ["one", "two"]
