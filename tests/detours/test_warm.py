"""A target is called while the caller stays with the model: they hear what comes of it, and nobody is called
twice.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from bridge.agents.agent import Agent
from bridge.core import messages as m
from bridge.core.messages import TransferMode
from bridge.core.messages import TransferOutcome as Outcome
from bridge.simulators.phone import Kind, PhoneCall
from bridge.simulators.rest_api import BROKEN, LOST, NOT_FOUND, TOO_MANY, UNKNOWN_TOKEN, Fault
from tests.detours.rig import BILLING, Mind, ended, feed, greeted_call, heard, hears_a_word, passes, wish
from tests.detours.test_documents import T
from tests.door.rig import Door, door, kinds, run, until

pytestmark = [pytest.mark.hostile, pytest.mark.runs_with(function=run)]

AGENT = Agent("Answer.", greeting="Hello.")


def warm(**more: Any) -> m.Detour:
    return wish(mode=TransferMode.WARM, **more)


async def comes_to(house: Door, call: PhoneCall, outcome: Outcome, within_s: float = 10) -> None:
    """The detour ends so, and the caller, who is with the model, hears a word within two seconds."""
    await until(lambda: ended(house, call), within_s)
    now_ms = len(heard(call, len(call.streams) - 1)) // 8
    assert ended(house, call)[0].result.outcome is outcome
    await hears_a_word(call, len(call.streams) - 1, now_ms)


@pytest.mark.parametrize(
    ("as_", "more", "outcome", "words"),
    [
        ("busy", {}, Outcome.BUSY, "the line is busy"),
        ("no_answer", {}, Outcome.NO_ANSWER, "nobody answered"),
        ("failed", {}, Outcome.FAILED, "could not be reached"),
        ("invalid", {}, Outcome.INVALID, "there is no such number"),
        ("declines", {}, Outcome.DECLINED, "cannot take the call now"),
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
        feed(house, call, warm())
        await comes_to(house, call, outcome)
        await until(lambda: words in mind.known[-1])
        assert len(phone.legs) == len(house.api.placed) == 1
        assert kinds(call).count(Kind.STREAM) == 1, "the caller never left"
        call.hang_up()
        await until(lambda: call.over)
        assert len(house.servers()) == 1


@pytest.mark.parametrize("fault", [UNKNOWN_TOKEN, Fault(403, 20003), NOT_FOUND, TOO_MANY])
async def test_where_surely_nobody_was_called_the_caller_is_sent_on_themselves(fault: Fault) -> None:
    mind = Mind()
    async with door(mind, AGENT, transfers=BILLING) as house:
        house.api.refusals = [fault] * 4
        phone = house.api.phone(T, "busy")
        call = await greeted_call(house)
        feed(house, call, warm())
        await hears_a_word(call, 1)
        assert ended(house, call)[0].result.outcome is Outcome.BUSY
        await until(lambda: "the line is busy" in mind.known[-1])
        assert len(phone.legs) == 1
        call.hang_up()


@pytest.mark.parametrize("fault", [BROKEN, Fault(503, 20500), LOST, Fault(delay_s=8)])
async def test_where_somebody_may_have_been_called_nobody_is_called_again(fault: Fault) -> None:
    """Told within five seconds; what rings all the same is taken back."""
    mind = Mind()
    async with door(mind, AGENT, transfers=BILLING) as house:
        house.api.refusals = [fault]
        house.api.network.deliveries.lost.update({"initiated", "ringing"})
        phone = house.api.phone(T, "no_answer")
        call = await greeted_call(house)
        began_s = time.monotonic()
        feed(house, call, warm(ring_s=60))
        await comes_to(house, call, Outcome.REST_FAILED)
        assert time.monotonic() - began_s < 7
        await until(lambda: "could not be placed" in mind.known[-1])
        assert len(house.api.placed) == 1
        assert kinds(call).count(Kind.STREAM) == 1
        call.hang_up()
        del phone


async def test_a_number_that_is_none_is_not_tried_again() -> None:
    async with door(Mind(), AGENT, transfers=BILLING) as house:
        house.api.refused_numbers[T] = 21211
        call = await greeted_call(house)
        feed(house, call, warm())
        await comes_to(house, call, Outcome.INVALID)
        assert kinds(call).count(Kind.STREAM) == 1
        call.hang_up()


async def test_a_caller_who_leaves_takes_the_target_s_call_with_them() -> None:
    async with door(Mind(), AGENT, transfers=BILLING) as house:
        phone = house.api.phone(T, "no_answer")
        call = await greeted_call(house)
        feed(house, call, warm(ring_s=600))
        await until(lambda: phone.legs and phone.leg.status == "ringing", 10)
        call.hang_up()
        await until(lambda: phone.leg.over, 10)
        assert phone.leg.status == "canceled"
        assert ended(house, call)[0].result.outcome is Outcome.CALLER_LEFT
        assert len(phone.legs) == 1


async def test_a_caller_who_leaves_before_the_carrier_has_answered() -> None:
    """The call that is placed all the same is taken back as soon as it is known."""
    async with door(Mind(), AGENT, transfers=BILLING) as house:
        house.api.refusals = [Fault(delay_s=1)]
        phone = house.api.phone(T, "no_answer")
        call = await greeted_call(house)
        feed(house, call, warm(ring_s=600))
        await until(lambda: house.api.placed)
        call.hang_up()
        await until(lambda: phone.legs and phone.leg.over, 10)
        assert phone.leg.status == "canceled"
        assert len(house.api.placed) == 1


async def test_two_talk_in_a_room() -> None:
    """Until the target is there the caller hears the model; how long they talk is real time here."""
    async with door(Mind(), AGENT, transfers=BILLING) as house:
        phone = house.api.phone(T, "human", presses="1")
        call = await greeted_call(house)
        feed(house, call, warm(min_talk_s=0))
        await until(lambda: Kind.CONFERENCE in kinds(call), 15)
        await passes(house, 20)
        phone.hang_up()
        await until(lambda: call.over, 10)
        (end,) = ended(house, call)
        assert (end.result.outcome, end.result.accepted) == (Outcome.CONNECTED, True)
        assert kinds(call)[-1] is Kind.HUNG_UP
        assert len(phone.legs) == len(house.api.placed) == 1
        heard_by_target = [step.detail for step in phone.leg.steps if step.kind is Kind.SAID]
        assert heard_by_target[0].startswith("A call for you. Ann Lee, about an invoice.")


async def test_a_talk_that_breaks_off_at_once_leads_back_to_the_model() -> None:
    mind = Mind()
    async with door(mind, AGENT, transfers=BILLING) as house:
        phone = house.api.phone(T, "human", presses="1")
        call = await greeted_call(house)
        feed(house, call, warm())
        await until(lambda: Kind.CONFERENCE in kinds(call), 15)
        await passes(house, 3)
        phone.hang_up()
        await hears_a_word(call, 1)
        assert ended(house, call)[0].result.outcome is Outcome.DROPPED
        await until(lambda: "cut off" in mind.known[-1])
        assert len(house.servers()) == 1
        call.hang_up()


async def test_a_target_that_is_gone_when_the_caller_is_moved() -> None:
    """It left after it had accepted, and before the carrier asked: a stream document, no empty room."""
    mind = Mind()
    async with door(mind, AGENT, transfers=BILLING) as house:
        phone = house.api.phone(T, "human", presses="1")
        call = await greeted_call(house)
        mind.ms = 1_500
        feed(house, call, warm())
        await until(lambda: phone.legs and Kind.CONFERENCE in [step.kind for step in phone.leg.steps], 15)
        phone.hang_up()
        await comes_to(house, call, Outcome.DROPPED)
        assert Kind.CONFERENCE not in kinds(call)
        call.hang_up()
