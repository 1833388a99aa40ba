"""The kit itself: a plain call, heard; and silence that is sound without loudness."""

from __future__ import annotations

import asyncio
import time

import pytest

from . import kit

pytestmark = pytest.mark.hostile


async def _plain_call() -> None:
    async with kit.Model() as model, kit.bridge(model) as bridge:
        phone = await kit.Phone(bridge).dial()
        await asyncio.sleep(2.5)
        before_s = phone.heard_s()
        await phone.talk(0.8)
        began_s = time.monotonic()
        await asyncio.sleep(2)
        assert phone.heard_s() >= before_s + 0.9
        assert phone.longest_silence_s(began_s, began_s + 1.3) < 0.8
        assert model.longest_wait_s(began_s) < 0.3
        assert await bridge.healthz_s() < 0.5
        await phone.hang_up()
        await bridge.until_log("call.summary")
        assert await bridge.replays() == ""
        assert len(bridge.recordings()) == 1


def test_a_plain_call_is_heard_and_replays() -> None:
    asyncio.run(asyncio.wait_for(_plain_call(), 60))


def test_sound_without_loudness_is_silence() -> None:
    phone = kit.Phone(None)  # type: ignore[arg-type]  # it never dials
    phone.heard = [(10.0, kit.tone(1)), (11.0, b"\xff" * 24_000), (14.0, kit.tone(1))]
    assert phone.longest_silence_s(10.0, 15.0) == pytest.approx(3.0, abs=0.021)
