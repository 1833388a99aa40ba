"""What is made of a trial call: from what was heard and when, to the file that can be contributed."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from bridge.codecs.dtmf import dialled
from bridge.doubles.tones import tone
from bridge.server.gates import Signatures
from bridge.server.phone_numbers.trial import Trial
from bridge.server.twilio_rest import CarrierRest
from bridge.settings.settings import load_settings

FRAME = 160


def trial() -> Trial:
    settings = load_settings(env_file=None, demo=True, insecure=True)
    return Trial(settings, cast("CarrierRest", None), "+15550002222", "+15550003333", Signatures(settings))


def heard(sound: bytes, from_s: float) -> list[tuple[float, bytes]]:
    """Frames as they come, 20 ms apart."""
    frames = [sound[at : at + FRAME] for at in range(0, len(sound), FRAME)]
    return [(from_s + 0.02 * place, frame) for place, frame in enumerate(frames)]


def result(at: dict[str, float], sound: list[tuple[float, bytes]], marks: tuple[float, ...] = ()) -> Any:
    async def told() -> Any:
        one = trial()
        vars(one)["_at"], vars(one)["_heard"], vars(one)["_marks"] = at, sound, list(marks)
        return one.result()

    return asyncio.run(told())


def test_how_exactly_a_cut_is_known() -> None:
    at = {"spoke": 10.0, "cleared": 11.5, "closed": 13.5}
    line = heard(b"\xff" * 8 * 200 + tone(1_420) + b"\xff" * 8 * 1_000, 10.0)
    told = result(at, line, (10.6, 11.1, 11.55, 11.552))
    assert told["truncation_error_ms"] == 80, "cleared at 1,500 by the clock, 1,420 ms were heard"
    assert told["marks_before_clear"] == 2
    assert told["marks_after_clear_ms"] == [50, 52]


def test_a_leg_that_heard_nothing_says_nothing() -> None:
    at = {"spoke": 10.0, "cleared": 11.5, "closed": 13.5}
    told = result(at, heard(b"\xff" * 8 * 3_000, 10.0))
    assert told["truncation_error_ms"] is None
    assert told["keys_in_sound"] == ""
    assert told["reconnect_start_ms"] is None


def test_keys_that_are_heard_as_sound() -> None:
    at = {"spoke": 10.0, "cleared": 11.0, "closed": 12.0, "after_1": 12.2, "a2": 12.7, "after_2": 14.0}
    told = result(at, [*heard(dialled("9"), 13.0), *heard(dialled("1w2"), 14.1)])
    assert told["keys_in_sound"] == "12"
    assert (told["connect_action_ms"], told["reconnect_start_ms"]) == (200, 700)
