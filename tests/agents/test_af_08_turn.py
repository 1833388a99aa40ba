"""AF-8: a turn has text, transcript, audio with its format, channel and metadata, and is frozen."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from bridge.agents.agent import Agent
from bridge.agents.inputs import Turn
from bridge.agents.session import Session
from bridge.core import messages as m
from tests.agents.door import Door, settled
from tests.agents.virtual_time import run


def test_af_08_its_fields_and_their_defaults() -> None:
    turn = Turn("hello")
    assert (turn.text, turn.transcript, turn.audio) == ("hello", "hello", b"")
    assert (turn.audio_format, turn.channel, dict(turn.metadata)) == ("audio/pcmu", "phone", {})


def test_af_08_it_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Turn("hello").text = "bye"  # type: ignore[misc]


def test_af_08_a_match_takes_its_text() -> None:
    match Turn("hello"):
        case Turn(text):
            assert text == "hello"


def test_af_08_it_carries_the_calls_metadata() -> None:
    turns: list[Turn] = []

    async def handler(session: Session) -> None:
        turns.append(await session.input())

    async def call() -> None:
        door = await Door(Agent(handler=handler, metadata={"tier": "gold"})).begin()
        door.tell(m.Turn("item_1", "hello"))
        await settled()

    run(call())
    assert [dict(turn.metadata) for turn in turns] == [{"tier": "gold"}]


def test_af_08_its_sound_is_there_for_agents_that_ask() -> None:
    """From a little before the caller was heard to speak until they were heard to stop."""
    turns: list[Turn] = []

    async def handler(session: Session) -> None:
        turns.append(await session.input())
        turns.append(await session.input())

    async def call() -> None:
        door = await Door(Agent(handler=handler, turn_audio=True)).begin()
        await settled()
        assert door.tap is not None

        def hears(letter: str, frames: int) -> None:
            assert door.tap is not None
            for _ in range(frames):
                door.tap(m.CallerAudio(letter * 4, 3))

        hears("A", 100)
        door.tell(m.CallerSpoke(True, "item_1"))
        hears("B", 50)
        door.tell(m.CallerSpoke(False, "item_1"))
        hears("C", 10)
        door.tell(m.CallerSpoke(True, "item_2"))
        hears("D", 5)
        door.tell(m.CallerSpoke(False, "item_2"))
        # Their transcripts come in the wrong order.
        door.tell(m.Turn("item_2", "two"), m.Turn("item_1", "one"))
        await settled()

    run(call())
    two, one = turns
    assert (two.text, one.text) == ("two", "one")
    assert len(one.audio) == (40 + 50) * 3
    assert len(two.audio) == (10 + 5) * 3


def test_af_08_without_asking_nobody_listens_in() -> None:
    async def handler(session: Session) -> None:
        await session.input()

    async def call() -> bool:
        door = await Door(Agent(handler=handler)).begin()
        await settled()
        return door.tap is None

    assert run(call())


def test_af_08_a_turn_longer_than_a_minute_keeps_its_last_minute() -> None:
    turns: list[Turn] = []

    async def handler(session: Session) -> None:
        turns.append(await session.input())

    async def call() -> None:
        door = await Door(Agent(handler=handler, turn_audio=True)).begin()
        await settled()
        door.tell(m.CallerSpoke(True))
        for _ in range(4_000):
            assert door.tap is not None
            door.tap(m.CallerAudio("AAAA", 3))
        door.tell(m.CallerSpoke(False), m.Turn("item_1", "long"))
        await asyncio.sleep(0.1)

    run(call())
    assert len(turns[0].audio) == 3_000 * 3
