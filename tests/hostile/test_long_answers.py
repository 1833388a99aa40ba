"""A model that makes a long answer at once, or thirty times faster than it is played: the caller hears all of
it, byte for byte and without a gap, and may interrupt it at any moment.

The phone plays in real time, as a carrier does. Several calls are on at once, so that a minute is enough.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import pytest

from .kit import Bridge, Model, Phone, Session, bridge, tone

pytestmark = [pytest.mark.hostile, pytest.mark.alone]

LEAD_S = 5.0
FULL_S = 300
PAUSE_S = 4.0
MOST_GAP_S = 0.1
SHORT = tone(1.0)


class Way(NamedTuple):
    """How the answer is sent: in pieces of so many bytes, so many times faster than it is played; 0: at
    once.
    """

    speed: float
    piece_bytes: int


WAYS = (Way(0, 4_000), Way(0, 1 << 30), Way(30, 4_001))


def story(seconds: int) -> bytes:
    """A loud noise of which no two moments are alike."""
    return bytes(random.Random(seconds).choices((0x10, 0x20, 0x90, 0xA0), k=8_000 * seconds))


def telling(model: Model, sound: bytes, ways: tuple[Way, ...]) -> Callable[[Session], Awaitable[None]]:
    """The first session sends the sound in the first way, and so on; another turn gets a short answer."""

    async def on_turn(session: Session) -> None:
        speed, piece_bytes = ways[model.sessions.index(session)]
        await session.turn_ends()
        if session.turns > 1:
            await session.answer(SHORT)
            return
        response_id = await session.begin()
        await session.item(response_id, "item_long")
        began_s = time.monotonic()
        for start in range(0, len(sound), piece_bytes):
            await session.delta(response_id, "item_long", sound[start : start + piece_bytes])
            if speed:
                await asyncio.sleep(max(0.0, began_s + start / 8000 / speed - time.monotonic()))
        await session.done(response_id)

    return on_turn


class Listener:
    """A call whose greeting was heard; what is heard of it after that is the answer."""

    def __init__(self, phone: Phone, greeting_s: float) -> None:
        self.phone = phone
        self.greeting_s = greeting_s

    @classmethod
    async def dial(cls, served: Bridge) -> Listener:
        phone = await Phone(served).dial()
        async with asyncio.timeout(10):
            while phone.heard_s() < 1:  # noqa: ASYNC110  another task hears it
                await asyncio.sleep(0.02)
        await asyncio.sleep(1.2)
        return cls(phone, phone.heard_s())

    async def ask(self) -> float:
        """Speak, and wait for the first of the answer. Returns when that came."""
        await self.phone.talk(0.6)
        async with asyncio.timeout(5):
            while self.answer_s() <= 0:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        return time.monotonic()

    def answer_s(self) -> float:
        return self.phone.heard_s() - self.greeting_s

    def answer(self) -> bytes:
        return b"".join(sound for _, sound in self.phone.heard)[round(self.greeting_s * 8000) :]

    def lead_s(self, began_s: float) -> float:
        """How far what came is ahead of what was played."""
        return self.answer_s() - (time.monotonic() - began_s)


async def hears_it_whole(listener: Listener, sound: bytes) -> None:
    """Though the phone reads nothing for four seconds."""
    phone, leads_s = listener.phone, []
    began_s = await listener.ask()
    paused_s = began_s + 9
    seconds = len(sound) / 8000
    while time.monotonic() < began_s + seconds:
        assert phone.closed_s is None
        await asyncio.sleep(0.05)
        if paused_s and time.monotonic() >= paused_s:
            paused_s = 0.0
            phone.socket.transport.pause_reading()
            await asyncio.sleep(PAUSE_S)
            phone.socket.transport.resume_reading()
            await asyncio.sleep(0.5)
        if 2 < time.monotonic() - began_s < seconds - LEAD_S - 2:
            leads_s.append(listener.lead_s(began_s))
    await asyncio.sleep(1.0)
    assert listener.answer() == sound
    assert phone.clears == []
    assert phone.longest_silence_s(began_s, began_s + seconds - 0.2) <= MOST_GAP_S
    assert min(leads_s) >= LEAD_S - 1.2
    assert max(leads_s) <= LEAD_S + 0.3


@pytest.mark.parametrize("seconds", [24, pytest.param(FULL_S, marks=pytest.mark.long)])
@pytest.mark.timeout(FULL_S + 90)
async def test_all_of_it_arrives_though_the_phone_does_not_read_for_four_seconds(seconds: int) -> None:
    sound = story(seconds)

    model = Model()
    model.on_turn = telling(model, sound, WAYS)
    async with model, bridge(model) as served:
        listeners = [await Listener.dial(served) for _ in WAYS]
        rss_mb = served.rss_mb
        async with asyncio.TaskGroup() as listening:
            for listener in listeners:
                listening.create_task(hears_it_whole(listener, sound))
        assert served.peak_mb - rss_mb < 60
        for listener in listeners:
            await listener.phone.hang_up()
        await served.until_log("call.summary")
        await asyncio.sleep(0.5)
        assert await served.replays() == ""
    summaries = served.events('"call.summary"')
    assert [summary["ended"] for summary in summaries] == ["the caller hung up"] * len(WAYS)
    assert "outbox full" not in served.log


async def interrupts(listener: Listener, session: Session, sound: bytes, after_s: float) -> None:
    """With one word, so many seconds into the answer."""
    phone = listener.phone
    began_s = await listener.ask()
    await asyncio.sleep(began_s + after_s - time.monotonic())
    assert phone.clears == []
    assert phone.longest_silence_s(began_s) <= MOST_GAP_S
    assert listener.lead_s(began_s) <= LEAD_S + 0.3
    spoke_s = time.monotonic()
    await phone.talk(0.4)
    async with asyncio.timeout(5):
        while not phone.clears:  # noqa: ASYNC110  another task hears it
            await asyncio.sleep(0.005)
    [cleared_s] = phone.clears
    assert cleared_s - spoke_s < 0.6  # the model hears a voice when it has lasted for 200 ms
    heard = listener.answer()
    heard_s = len(heard) / 8000
    assert heard == sound[: len(heard)]
    assert heard_s <= cleared_s - began_s + 0.1
    await asyncio.sleep(2.0)
    assert listener.answer() == heard + SHORT  # and nothing of the long one comes after the clear
    [cut] = [one for one in session.events if one["type"] == "conversation.item.truncate"]
    assert cut["item_id"] == "item_long"
    assert abs(cut["audio_end_ms"] / 1000 - heard_s) <= 0.1


@pytest.mark.parametrize(
    "after_s", [(1.5, 5.0, 10.0), pytest.param((30.0, 150.0, 290.0), marks=pytest.mark.long)], ids=str
)
@pytest.mark.timeout(FULL_S + 90)
async def test_a_word_of_the_callers_ends_it_at_any_moment(after_s: tuple[float, ...]) -> None:
    sound = story(FULL_S)

    model = Model()
    model.on_turn = telling(model, sound, WAYS)
    async with model, bridge(model) as served:
        listeners = [await Listener.dial(served) for _ in WAYS]
        async with asyncio.TaskGroup() as listening:
            for listener, session, moment_s in zip(listeners, model.sessions, after_s, strict=True):
                listening.create_task(interrupts(listener, session, sound, moment_s))
        for listener in listeners:
            await listener.phone.hang_up()
        await served.until_log("call.summary")
        await asyncio.sleep(0.5)
        assert await served.replays() == ""
