"""`phonebridge number test --call`, against the simulated carrier: one call, and times of what was seen.

The simulated carrier joins no two calls of its own, so the called leg here hears its own caller and not the
tone; what is made of the tone is tested in `tests/routing/test_trial.py`.
"""

from __future__ import annotations

import asyncio
import json

import pytest

from bridge.server.phone_numbers.trial import Pace, TrialFailed, try_call
from bridge.server.routing.router import whole_world
from bridge.settings.settings import Settings, load_settings
from bridge.simulators.rest_api import CarrierApi
from tests.hostile.kit import free_port

pytestmark = pytest.mark.hostile

ACCOUNT, TOKEN = f"AC{1:032x}", "12345"
NUMBER, CALLER = "+15550002222", "+15550003333"
PACE = Pace(
    tone_ms=1_000, mark_every_ms=100, clear_after_ms=400, marks_wait_ms=300, listen_ms=200,
    other_leg_ms=3_000, end_ms=500,
)  # fmt: skip


def settings(port: int, api: CarrierApi) -> Settings:
    return load_settings(
        env_file=None, port=port, host="127.0.0.1", public_url=f"http://127.0.0.1:{port}", journal=None,
        twilio_account_sid=ACCOUNT, twilio_auth_token=TOKEN, twilio_api_url=api.url, upstream="embedded",
    )  # fmt: skip


async def test_one_call_and_what_was_seen() -> None:
    api, port = CarrierApi((TOKEN,)), free_port()
    async with api.serve():
        api.numbers = [{"phone_number": NUMBER, "voice_url": f"http://127.0.0.1:{port}/incoming-call"}]
        phone = api.phone(NUMBER, answers_after_ms=300, rings_after_ms=100, hangs_up_after_ms=20_000)
        ours = settings(port, api)

        async def rings() -> None:
            async with asyncio.timeout(10):
                while not phone.legs:  # noqa: ASYNC110  it is dialled by another task
                    await asyncio.sleep(0.02)
            await api.ring(NUMBER, CALLER)

        ringing = asyncio.create_task(rings())
        async with asyncio.timeout(50):
            seen = await try_call(ours, whole_world(ours), NUMBER, CALLER, PACE)
        ringing.cancel()
    assert seen["simulated"] is True
    assert seen["marks_before_clear"] in range(2, 6), seen
    assert len(seen["marks_after_clear_ms"]) == 10 - seen["marks_before_clear"], seen
    assert max(seen["marks_after_clear_ms"]) < 300
    for name in ("answered_ms", "called_leg_rang_ms", "connect_action_ms", "reconnect_start_ms"):
        assert 0 <= seen[name] < 5_000, (name, seen)
    assert seen["reconnect_sound_ms"] >= seen["reconnect_start_ms"]
    assert "DialCallStatus" in seen["dial_fields"]
    told = json.dumps(seen)
    for secret in (NUMBER, CALLER, ACCOUNT, TOKEN, "CA0", "MZ"):
        assert secret.removeprefix("+") not in told
    assert len(api.placed) == 1


async def test_a_call_that_the_carrier_refuses() -> None:
    api, port = CarrierApi((TOKEN,)), free_port()
    async with api.serve():
        api.refused_numbers[NUMBER] = 21215
        ours = settings(port, api)
        with pytest.raises(TrialFailed, match="may not call this country"):
            await try_call(ours, whole_world(ours), NUMBER, CALLER, PACE)


async def test_a_call_that_nobody_answers() -> None:
    api, port = CarrierApi((TOKEN,)), free_port()
    async with api.serve():
        api.phone(NUMBER, "busy", rings_after_ms=50)
        ours = settings(port, api)
        with pytest.raises(TrialFailed, match="came to no stream"):
            async with asyncio.timeout(10):
                await try_call(ours, whole_world(ours), NUMBER, CALLER, PACE)
