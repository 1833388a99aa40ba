"""A model that makes an answer of five minutes at once, or thirty times faster than it is played: the caller
hears all of it, and may interrupt it at any moment.
"""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import pytest

from .kit import Model, Phone, Session, bridge, tone

pytestmark = [pytest.mark.hostile, pytest.mark.long]

ANSWER_S = 300
LEAD_S = 5.0
FAST = 40
"""How much faster than people listen the phone of the first test plays. It returns marks as fast."""


class FastPhone(Phone):
    """Plays and echoes faster, so that the test need not take five minutes."""

    async def _listen(self) -> None:
        async for frame in self.socket:
            message, now_s = json.loads(frame), time.monotonic()
            self._ends_s = max(self._ends_s, now_s)
            if message["event"] == "media":
                sound = b64decode(message["media"]["payload"], validate=True)
                self.heard.append((self._ends_s, sound))
                self._ends_s += len(sound) / 8000 / FAST
            elif message["event"] == "mark":
                self._marks.append((self._ends_s, message["mark"]["name"]))


def story(speed: float, piece_bytes: int = 4_000) -> Callable[[Session], Any]:
    """The answer to what the caller says: at once, or so many times faster than it is played."""
    sound = tone(1) * ANSWER_S

    async def on_turn(session: Session) -> None:
        await session.turn_ends()
        response_id = await session.begin()
        await session.item(response_id, "item_long")
        began_s = time.monotonic()
        for start in range(0, len(sound), piece_bytes):
            await session.delta(response_id, "item_long", sound[start : start + piece_bytes])
            if speed:
                await asyncio.sleep(max(0.0, began_s + start / 8000 / speed - time.monotonic()))
        await session.done(response_id)

    return on_turn


async def greeted(phone: Phone) -> float:
    """A call whose greeting has been heard; how much of it there was."""
    await phone.dial()
    async with asyncio.timeout(10):
        while phone.heard_s() < 1:  # noqa: ASYNC110  another task hears it
            await asyncio.sleep(0.02)
    await asyncio.sleep(1.2)
    return phone.heard_s()


@pytest.mark.parametrize(("speed", "piece_bytes"), [(0, 4_000), (0, 2_400_000), (30, 4_001)])
def test_all_of_it_arrives_though_the_phone_does_not_read_for_four_seconds(
    speed: float, piece_bytes: int
) -> None:
    async def main() -> None:
        async with Model(on_turn=story(speed, piece_bytes)) as model, bridge(model) as served:
            phone = FastPhone(served)
            before_s = await greeted(phone)
            rss_mb = served.rss_mb
            await phone.talk(0.6)
            await asyncio.sleep(1.0)
            phone.socket.transport.pause_reading()
            await asyncio.sleep(4.0)
            phone.socket.transport.resume_reading()
            async with asyncio.timeout(2 * ANSWER_S / FAST + 20):
                while phone.heard_s() < before_s + ANSWER_S:
                    assert phone.closed_s is None
                    await asyncio.sleep(0.1)
            await asyncio.sleep(1.0)
            assert phone.heard_s() == before_s + ANSWER_S
            assert phone.clears == []
            assert served.peak_mb - rss_mb < 60
            await phone.hang_up()
            await served.until_log("call.summary")
        [summary] = served.events('"call.summary"')
        assert summary["ended"] == "the caller hung up"
        assert "outbox full" not in served.log

    asyncio.run(main())


def test_it_comes_with_a_lead_of_five_seconds_and_a_word_of_the_callers_ends_it() -> None:
    async def main() -> None:
        async with Model(on_turn=story(0)) as model, bridge(model) as served:
            phone = Phone(served)
            before_s = await greeted(phone)
            await phone.talk(0.6)
            async with asyncio.timeout(5):
                while phone.heard_s() <= before_s:  # noqa: ASYNC110  another task hears it
                    await asyncio.sleep(0.01)
            began_s = time.monotonic()
            await asyncio.sleep(8.0)
            lead_s = phone.heard_s() - before_s - (time.monotonic() - began_s)
            assert LEAD_S - 1.2 <= lead_s <= LEAD_S + 0.3
            assert phone.longest_silence_s(began_s) <= 0.1
            await phone.talk(0.4)
            async with asyncio.timeout(5):
                while not phone.clears:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            heard_s = phone.heard_s() - before_s
            assert heard_s <= phone.clears[0] - began_s + 0.1
            await asyncio.sleep(0.6)
            [cut] = [one for one in model.events if one["type"] == "conversation.item.truncate"]
            assert cut["item_id"] == "item_long"
            assert abs(cut["audio_end_ms"] / 1000 - heard_s) <= 0.1
            await phone.hang_up()
            await served.until_log("call.summary")
            assert await served.replays() == ""

    asyncio.run(main())
