"""Reading keys: patience for the first key, less for a further one, none after the last."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from bridge import Agent, Session, tool
from bridge.core import messages as m
from bridge.settings.settings import Settings
from bridge.testing.call import begin, usual_config


def read(
    *pressed: tuple[int, str], until_ms: int = 20_000, setting_ms: int = 3_000, **how: Any
) -> tuple[str, int]:
    """What `digits(max=4)` returned for keys pressed at these times, and when (ms)."""
    got: list[str] = []

    async def handler(session: Session) -> None:
        got.append(await session.digits(max=4, **how))

    call = begin(Agent(handler=handler), digits_gap_ms=setting_ms)
    for at_ms, key in pressed:
        call.at(at_ms)
        call.caller.presses(key)
    call.at(until_ms)
    done = [at_ms for at_ms, action in call.rehearsal.said if isinstance(action, m.NoteIntent)]
    call.close()
    return got[0], done[0]


def test_the_first_key_may_come_late_and_a_further_one_within_three_seconds() -> None:
    keys, at_ms = read((4_000, "1"), (6_500, "2"))
    assert keys == "12"
    assert 9_400 <= at_ms <= 9_700


def test_no_time_passes_after_the_terminator_or_the_last_key() -> None:
    assert read((1_000, "1"), (2_000, "#")) == ("1", pytest.approx(2_000, abs=200))
    assert read((1_000, "1"), (1_300, "2"), (1_600, "3"), (1_900, "4")) == (
        "1234",
        pytest.approx(1_900, abs=200),
    )


def test_the_gap_is_an_argument() -> None:
    keys, at_ms = read((1_000, "1"), (3_000, "2"), gap_ms=1_000)
    assert keys == "1"
    assert 2_000 <= at_ms <= 2_300


def test_no_key_at_all_is_waited_for_as_long_as_was_asked() -> None:
    keys, at_ms = read(timeout_ms=7_000)
    assert keys == ""
    assert 7_000 <= at_ms <= 7_300


def test_the_gap_is_a_setting_and_the_argument_goes_before() -> None:
    keys, at_ms = read((1_000, "1"), (3_000, "2"), setting_ms=1_000)
    assert keys == "1"
    assert 2_000 <= at_ms <= 2_300
    assert read((1_000, "1"), (3_000, "2"), (3_400, "#"), setting_ms=1_000, gap_ms=2_500)[0] == "12"


def test_a_read_that_waits_less_for_the_first_key_waits_no_longer_for_a_further_one() -> None:
    _, at_ms = read((1_000, "1"), timeout_ms=1_500)
    assert 2_500 <= at_ms <= 2_800


@pytest.mark.parametrize(("given", "ms"), [({}, 3_000), ({"dtmf_gap_ms": 1_200}, 1_200)])
def test_the_setting_holds_for_keys_that_become_words_too(given: Any, ms: int) -> None:
    settings = Settings(_env_file=None, insecure=True, **given)
    assert settings.call_config().digits_gap_ms == ms
    call = begin(Agent("Be brief.", greeting=""), config=usual_config(digits="text", digits_gap_ms=ms))
    for at_ms, key in ((1_000, "4"), (1_000 + ms - 100, "2")):
        call.at(at_ms)
        call.caller.presses(key)
    call.at(10_000)
    told = [
        (at_ms, a.text)
        for at_ms, a in call.rehearsal.said
        if isinstance(a, m.CreateItem) and a.role == "user"
    ]
    call.close()
    assert [(at_ms, text) for at_ms, text in told if at_ms >= 1_000] == [
        (1_000 + 2 * ms - 100, "[The caller pressed 4 2 on the keypad.]")
    ]


def test_keys_between_two_reads_of_a_tool_are_the_models_and_none_has_two_readers() -> None:
    got: list[str] = []

    @tool
    async def ask_twice(session: Session) -> str:
        """Ask for two things."""
        got.append(await session.digits(max=2, timeout_ms=3_000))
        await session.say("And now the other one.")
        got.append(await session.digits(max=2, timeout_ms=3_000))
        return "asked"

    call = begin(Agent("Be brief.", greeting="", tools=[ask_twice]), config=usual_config(digits="text"))
    call.at(500)
    call.model.calls("ask_twice")
    for at_ms, key in ((1_000, "1"), (1_200, "2"), (1_400, "3"), (4_500, "4"), (4_700, "5")):
        call.at(at_ms)
        call.caller.presses(key)
    call.at(12_000)
    words = [a.text for _, a in call.rehearsal.said if isinstance(a, m.CreateItem) and "keypad" in a.text]
    call.close()
    assert got == ["12", "45"]
    assert words == ["[The caller pressed 3 on the keypad.]"]


def test_a_read_that_is_cancelled_gives_the_keys_back_to_the_model() -> None:
    @tool
    async def give_up(session: Session) -> str:
        """Wait for a key, and no longer than that."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(session.digits(max=4), 1)
        return "nothing"

    call = begin(Agent("Be brief.", greeting="", tools=[give_up]), config=usual_config(digits="text"))
    call.at(500)
    call.model.calls("give_up")
    for at_ms, key in ((1_000, "1"), (2_500, "7"), (2_600, "#")):
        call.at(at_ms)
        call.caller.presses(key)
    call.at(9_000)
    words = [a.text for _, a in call.rehearsal.said if isinstance(a, m.CreateItem) and "keypad" in a.text]
    call.close()
    assert words == ["[The caller pressed 7 # on the keypad.]"]
