"""A caller is sent on: whatever comes of it, they are with the same model again, and hear a word."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridge.agents.agent import Agent
from bridge.core import messages as m
from bridge.core.messages import TransferOutcome as Outcome
from bridge.simulators.phone import Kind
from tests.detours.rig import BILLING, Mind, ended, feed, greeted, hears_a_word, passes, wish
from tests.detours.test_documents import T
from tests.door.rig import door, kinds, run, until

pytestmark = [pytest.mark.hostile, pytest.mark.runs_with(function=run)]

AGENT = Agent("Answer.", greeting="Hello.")


@pytest.mark.parametrize(
    ("as_", "more", "outcome", "words"),
    [
        ("busy", {}, Outcome.BUSY, "the line is busy"),
        ("no_answer", {}, Outcome.NO_ANSWER, "nobody answered"),
        ("failed", {}, Outcome.FAILED, "could not be reached"),
        ("human", {"presses": "2"}, Outcome.DECLINED, "cannot take the call now"),
        ("machine", {}, Outcome.VOICEMAIL, "a machine answered"),
    ],
)
async def test_a_target_that_is_not_to_be_had(
    as_: str, more: dict[str, Any], outcome: Outcome, words: str
) -> None:
    mind = Mind()
    async with door(mind, AGENT, transfers=BILLING) as house:
        phone = house.api.phone(T, as_, **more)
        call = house.dial(house.caller())
        await greeted(call)
        feed(house, call, wish())
        await hears_a_word(call, 1)
        (end,) = ended(house, call)
        assert end.result.outcome is outcome
        assert len(phone.legs) == 1
        assert words in mind.known[-1]
        assert len(house.servers()) == 1, "the model's session is the same"
        call.hang_up()
        await until(lambda: call.over)
        assert kinds(call).count(Kind.STREAM) == 2


async def test_a_target_that_accepts_talks_to_the_caller_and_the_call_is_over() -> None:
    async with door(Mind(), AGENT, transfers=BILLING) as house:
        phone = house.api.phone(T, "human", presses="1")
        call = house.dial(house.caller())
        await greeted(call)
        feed(house, call, wish())
        await until(lambda: call.bridges, 10)
        await passes(house, 20)
        phone.hang_up()
        await until(lambda: call.over, 10)
        (end,) = ended(house, call)
        assert (end.result.outcome, end.result.accepted) == (Outcome.CONNECTED, True)
        assert 20 <= end.result.talk_ms / 1000 < 60
        assert kinds(call)[-1] is Kind.HUNG_UP


async def test_a_caller_who_leaves_while_it_rings() -> None:
    async with door(Mind(), AGENT, transfers=BILLING) as house:
        phone = house.api.phone(T, "no_answer")
        call = house.dial(house.caller())
        await greeted(call)
        feed(house, call, wish(ring_s=600))
        await until(lambda: phone.legs and phone.leg.status == "ringing", 10)
        call.hang_up()
        await until(lambda: call.over, 10)
        await until(lambda: ended(house, call))
        assert ended(house, call)[0].result.outcome is Outcome.CALLER_LEFT
        reason = house.log.ended[call.handset.call_sid][0].reason
        assert reason is m.Reason.CALLER_HUNG_UP
        assert phone.leg.status == "canceled"
        await asyncio.sleep(0.1)
        assert house.service.registry.runner(call.handset.call_sid) is None
