"""A caller is sent on: whatever comes of it, they are with the same model again, and hear a word."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridge.agents.agent import Agent
from bridge.core import messages as m
from bridge.core.messages import TransferOutcome as Outcome
from bridge.doubles.tones import tone
from bridge.simulators.phone import Kind
from tests.detours.rig import (
    BILLING,
    Mind,
    ended,
    feed,
    greeted,
    greeted_call,
    heard,
    hears_a_word,
    passes,
    sent_on,
    wish,
)
from tests.detours.test_documents import T
from tests.door.rig import DESK, door, kinds, run, until

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
        call = await greeted_call(house)
        feed(house, call, wish())
        await hears_a_word(call, 1)
        (end,) = ended(house, call)
        assert end.result.outcome is outcome
        assert len(phone.legs) == 1
        await until(lambda: words in mind.known[-1])
        assert len(house.servers()) == 1, "the model's session is the same"
        call.hang_up()
        await until(lambda: call.over)
        assert kinds(call).count(Kind.STREAM) == 2


async def test_a_target_that_accepts_talks_to_the_caller_and_the_call_is_over() -> None:
    async with door(Mind(), AGENT, transfers=BILLING) as house:
        phone = house.api.phone(T, "human", presses="1")
        call = await greeted_call(house)
        await sent_on(house, call, wish(), 20)
        phone.hang_up()
        await until(lambda: call.over, 10)
        (end,) = ended(house, call)
        assert (end.result.outcome, end.result.accepted) == (Outcome.CONNECTED, True)
        assert 20 <= end.result.talk_ms / 1000 < 60
        assert kinds(call)[-1] is Kind.HUNG_UP


async def test_a_talk_that_breaks_off_at_once_leads_back_to_the_model() -> None:
    mind = Mind()
    async with door(mind, AGENT, transfers=BILLING) as house:
        phone = house.api.phone(T, "human", presses="1")
        call = await greeted_call(house)
        await sent_on(house, call, wish(), 3)
        phone.hang_up()
        await hears_a_word(call, 1)
        assert ended(house, call)[0].result.outcome is Outcome.DROPPED
        await until(lambda: "cut off" in mind.known[-1])
        call.hang_up()


@pytest.mark.parametrize(
    ("seconds", "outcome", "words"),
    [(20, Outcome.CONNECTED, "they have talked"), (4, Outcome.RETURNED, "came back by themselves")],
)
async def test_a_caller_who_comes_back_by_a_key(seconds: float, outcome: Outcome, words: str) -> None:
    mind = Mind()
    async with door(mind, AGENT, transfers=BILLING) as house:
        phone = house.api.phone(T, "human", presses="1")
        call = await greeted_call(house)
        await sent_on(house, call, wish(after=m.Afterwards.RETURN), seconds)
        call.press("*")
        await hears_a_word(call, 1)
        assert ended(house, call)[0].result.outcome is outcome
        await until(lambda: words in mind.known[-1])
        assert phone.leg.over
        assert len(house.servers()) == 1
        call.hang_up()


async def test_a_second_transfer_is_as_the_first() -> None:
    mind = Mind()
    async with door(mind, AGENT, transfers=BILLING) as house:
        house.api.phone(T, "busy")
        other = house.api.phone(DESK, "human", presses="1")
        call = await greeted_call(house)
        feed(house, call, wish())
        await hears_a_word(call, 1)
        feed(house, call, wish("front desk", mode=m.TransferMode.WARM, min_talk_s=0))
        await until(lambda: Kind.CONFERENCE in kinds(call), 15)
        await passes(house, 5)
        other.hang_up()
        await until(lambda: call.over, 10)
        assert [end.result.outcome for end in ended(house, call)] == [Outcome.BUSY, Outcome.CONNECTED]
        assert len(house.servers()) == 1
        assert kinds(call).count(Kind.STREAM) == 2


async def test_simulated_calls_come_back_without_any_proof() -> None:
    async with door(Mind(), AGENT, transfers=BILLING, insecure=True, with_api=False) as house:
        call = house.caller()
        house.api.phone(T, "busy")
        house.dial(call)
        await greeted(call)
        for stream in (1, 2):
            feed(house, call, wish())
            await hears_a_word(call, stream)
        assert [end.result.outcome for end in ended(house, call)] == [Outcome.BUSY] * 2
        assert len(house.servers()) == 1
        call.hang_up()


async def test_a_caller_who_speaks_before_they_have_left_stays() -> None:
    """The last words are still to be heard."""
    async with door(Mind(ms=4_000), AGENT, transfers=BILLING) as house:
        phone = house.api.phone(T, "human", presses="1")
        call = house.dial(house.caller(b"\xff" * 8 * 1_500 + tone(800) + b"\xff" * 8 * 60_000))
        await until(lambda: call.streaming.is_set() and len(heard(call, 0)) > 500 * 8, 10)
        feed(house, call, wish())
        await until(lambda: ended(house, call), 10)
        assert ended(house, call)[0].result.outcome is Outcome.INTERRUPTED
        assert phone.legs == []
        assert kinds(call) == [Kind.ASKED, Kind.STREAM]
        call.hang_up()


async def test_a_caller_who_hangs_up_while_they_talk() -> None:
    async with door(Mind(), AGENT, transfers=BILLING) as house:
        phone = house.api.phone(T, "human", presses="1")
        call = await greeted_call(house)
        await sent_on(house, call, wish(), 12)
        call.hang_up()
        await until(lambda: ended(house, call), 10)
        assert ended(house, call)[0].result.outcome is Outcome.CONNECTED
        assert phone.leg.over
        await until(lambda: house.service.registry.runner(call.handset.call_sid) is None)


async def test_a_caller_who_leaves_while_it_rings() -> None:
    async with door(Mind(), AGENT, transfers=BILLING) as house:
        phone = house.api.phone(T, "no_answer")
        call = await greeted_call(house)
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
