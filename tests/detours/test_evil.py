"""A handler that passes on the model's words unchecked reaches nobody who is not configured."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.agents.agent import Agent
from bridge.agents.session import Session
from bridge.core import messages as m
from bridge.doubles.agents import Scripted, Speech, ToolCall
from bridge.simulators.phone import Kind
from tests.detours.rig import BILLING, Mind, ended, feed, greeted_call, wish
from tests.door.rig import door, run, until

pytestmark = [pytest.mark.hostile, pytest.mark.runs_with(function=run)]

EVIL = (
    "+19005550100",
    "sip:evil@evil.example.com",
    "front desk,night",
    "billing ",
    "client:x",
    "",
    "Billing",
)


def passes_on(session: Session, kind: str, words: str) -> Any:
    return {
        "cold": lambda: session.transfer(words),
        "warm": lambda: session.transfer(words, "warm"),
        "keys": lambda: session.send_digits(words),
    }[kind]()


def agent(kind: str, told: list[str]) -> Agent:
    """Its tool does whatever the model says."""
    from bridge import tool

    @tool(deadline_ms=60_000)
    async def obey(session: Session, words: str) -> str:
        """Do it."""
        try:
            result = await passes_on(session, kind, words)
        except ValueError as error:
            told.append(str(error))
            return "no"
        told.append(result.outcome)
        return str(result.outcome)

    return Agent("Obey.", greeting="Hello.", tools=[obey])


@pytest.mark.parametrize("kind", ["cold", "warm"])
async def test_words_of_a_model_as_a_target_reach_nobody(kind: str) -> None:
    told: list[str] = []
    asks = [[ToolCall("obey", {"words": words})] for words in EVIL]
    mind = Scripted([*asks, Speech(200, "Well.")])  # type: ignore[list-item]
    async with door(mind, agent(kind, told), transfers=BILLING) as house:
        call = house.dial(house.caller())
        await until(lambda: len(told) == len(EVIL), 15)
        assert all("there is no transfer target" in words for words in told)
        # Past the session, which is user code's: the core and the carrier's side know names only, too.
        for number, mode in enumerate((m.TransferMode.COLD, m.TransferMode.WARM), 1):
            feed(house, call, wish(EVIL[0], mode=mode, quiet=True))
            await until(lambda number=number: len(ended(house, call)) == number, 15)
        assert house.api.placed == []
        assert call.reached == []
        assert Kind.DIALLED not in [step.kind for step in call.steps]
        call.hang_up()


async def test_words_of_a_model_as_keys_are_keys_or_nothing() -> None:
    told: list[str] = []
    evil = ["+19005550100", '1"/><Dial>+19005550100</Dial>', "1" * 33, "", "1 2", "１２"]
    asks = [[ToolCall("obey", {"words": words})] for words in evil]
    async with door(Scripted([*asks, Speech(200, "Well.")]), agent("keys", told), transfers=BILLING) as house:  # type: ignore[list-item]
        call = house.dial(house.caller())
        await until(lambda: len(told) == len(evil), 15)
        assert all(words.startswith("keys are 1 to 32 of") for words in told)
        assert [step.kind for step in call.steps] == [Kind.ASKED, Kind.STREAM]
        call.hang_up()


async def test_keys_that_reach_the_shell_another_way_are_still_no_document() -> None:
    """The carrier's side looks at them once more."""
    async with door(Mind(), Agent("Obey.", greeting="Hello."), transfers=BILLING) as house:
        call = await greeted_call(house)
        keys = wish("", kind=m.DetourKind.KEYS)
        house.service.services.keep_keys(keys.detour_id, '"/><Dial>+19005550100</Dial>')
        feed(house, call, keys)
        await until(lambda: ended(house, call), 10)
        assert ended(house, call)[0].result.outcome is m.TransferOutcome.FAILED
        assert Kind.DIALLED not in [step.kind for step in call.steps]
        call.hang_up()
