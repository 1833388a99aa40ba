"""A handler and a tool that send the caller on, and what comes of it, in virtual time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from bridge import Agent, TransferResult, tool, transfer
from bridge.agents.session import Session
from bridge.core import messages as m
from bridge.doubles.agents import ToolCall
from bridge.testing import tool_call


def told(call: Any) -> list[str]:
    """What the model was told as the system."""
    return [item.text for item in call.rehearsal.log(m.CreateItem) if item.role == "system"]


def outputs(call: Any) -> list[Any]:
    return [json.loads(item.output) for item in call.rehearsal.log(m.CreateItem) if item.output]


def asks_for_billing(call: Any) -> Any:
    """The caller asks, the model says so and calls the tool."""
    call.wait(500)
    call.model.answers("I put you through.", tool_call("transfer", target="billing", about="An invoice."))
    call.caller.says("Billing please")
    return call


# --- by the model -------------------------------------------------------------------------------------------


def test_a_busy_target_is_a_tool_result_and_the_model_says_so_on_the_same_session(calls: Any) -> None:
    call = calls(Agent("Shop.", tools=[transfer]), transfers=["billing"])
    asks_for_billing(call).returns("busy", after_ms=3_000)
    call.model.answers("Billing is busy. Shall I take a message?")
    call.wait(20_000)
    call.expect.transferred("billing").outcomes("busy").going_on()
    assert len(call.rehearsal.servers) == 1
    assert outputs(call) == [{"outcome": "busy", "target": "billing", "rang_s": 3.0, "talk_s": 0.0}]
    [note] = told(call)
    assert note.startswith("transfer to billing: the line is busy.")
    assert call.model.conversation[-1] == ("assistant", "Billing is busy. Shall I take a message?")


def test_the_caller_hears_a_word_within_two_seconds_of_the_new_stream(calls: Any) -> None:
    call = calls(Agent("Shop.", tools=[transfer]), transfers=["billing"])
    asks_for_billing(call).returns("no_answer", after_ms=25_000)
    call.model.answers("Nobody is there.")
    call.until(lambda: len(call.rehearsal.phones) == 2)
    call.wait(1_000)
    assert call.phone.played_bytes > 0


def test_a_target_who_talks_ends_the_call_when_they_are_done(calls: Any) -> None:
    call = calls(Agent("Shop.", tools=[transfer]), transfers=["billing"])
    asks_for_billing(call).returns("connected", after_ms=95_000, talk_s=90)
    ended = call.until_over().rehearsal.ended
    assert ended == m.Ended(m.Reason.TRANSFERRED, "billing")
    call.expect.outcomes("connected")
    assert call.rehearsal.log(m.CloseUpstream), "the session was let go while they talked"


def test_a_caller_who_speaks_as_they_are_put_through_stays(calls: Any) -> None:
    call = calls(Agent("Shop.", tools=[transfer]), transfers=["billing"])
    asks_for_billing(call)
    call.until(lambda: call.rehearsal.log(m.DetourMoved))
    call.model.answers("Of course.")
    call.caller.interrupts("No, wait!", ms=600)
    call.wait(6_000)
    call.expect.outcomes("interrupted").going_on()
    assert outputs(call)[0]["outcome"] == "interrupted"


# --- by a handler -------------------------------------------------------------------------------------------


def with_handler(calls: Any, work: Any) -> Any:
    async def handler(session: Session) -> None:
        await session.say("Hello.")
        await work(session)
        await session.say("Goodbye.")

    return calls(Agent(handler=handler), transfers=["billing"])


def test_a_handler_gets_a_value_and_goes_on_with_the_same_session(calls: Any) -> None:
    results: list[TransferResult] = []

    async def work(session: Session) -> None:
        assert session.detours
        results.append(await session.transfer("billing", ring_s=20))
        await session.say(f"They were {results[0].outcome}.")

    call = with_handler(calls, work)
    call.returns("declined", after_ms=9_000, sip_code=603)
    ended = call.until_over().rehearsal.ended
    assert ended.reason is m.Reason.WE_HUNG_UP
    [result] = results
    assert (result.outcome, result.target, result.rang_s, result.sip_code) == (
        "declined",
        "billing",
        9.0,
        603,
    )
    assert not result
    spoken = [item.text for item in call.rehearsal.log(m.Heard)]
    assert spoken == ["Hello.", "They were declined.", "Goodbye."]


def test_a_talk_that_comes_back(calls: Any) -> None:
    results: list[TransferResult] = []

    async def work(session: Session) -> None:
        results.append(await session.transfer("billing", after="return"))

    call = with_handler(calls, work)
    call.returns("connected", after_ms=40_000, talk_s=35)
    call.until_over(300_000)
    assert results[0]
    assert results[0].talk_s == 35.0
    assert "they have talked for 35 s" in told(call)[0]


def test_warm_the_handler_waits_and_the_caller_stays(calls: Any) -> None:
    results: list[TransferResult] = []

    async def work(session: Session) -> None:
        results.append(await session.transfer("billing", mode="warm", brief="Ann, about an invoice."))

    call = with_handler(calls, work)
    call.returns("no_answer", after_ms=25_000)
    call.until_over(300_000)
    assert results[0].outcome == "no_answer"
    assert not call.rehearsal.log(m.LeaveStream)
    [placed] = call.rehearsal.log(m.PlaceLeg)
    assert placed.wish.brief == "Ann, about an invoice."


def test_keys_never_cross_the_core(calls: Any) -> None:
    results: list[TransferResult] = []

    async def work(session: Session) -> None:
        results.append(await session.send_digits("1w234#"))

    call = with_handler(calls, work)
    call.until_over(300_000)
    assert results[0].outcome == "sent"
    assert call.rehearsal.keys == ["1w234#"]
    assert not [line for line in call.lines if "1w234" in line]


def test_a_hold_lasts_as_long_as_the_work(calls: Any) -> None:
    results: list[TransferResult | None] = []

    async def work(session: Session) -> None:
        hold = session.hold()
        async with hold:
            await asyncio.sleep(30)
        results.append(hold.result)

    call = with_handler(calls, work)
    call.until_over(300_000)
    assert results[0] is not None
    assert results[0].outcome == "held"
    assert 29_000 <= away_ms(call) <= 33_000


def away_ms(call: Any) -> int:
    left = next(at for at, action in call.rehearsal.said if isinstance(action, m.LeaveStream))
    back = next(at for at, action in call.rehearsal.said if isinstance(action, m.DetourEnded))
    return back - left


@pytest.mark.parametrize(
    "wrong", [{"accept": "12"}, {"ring_s": 0}, {"ring_s": 100}, {"mode": "hot"}, {"after": "x"}]
)
def test_what_no_carrier_could_do_is_refused_at_once(calls: Any, wrong: Any) -> None:
    raised: list[ValueError] = []

    async def work(session: Session) -> None:
        try:
            await session.transfer("billing", **wrong)
        except ValueError as error:
            raised.append(error)

    with_handler(calls, work).until_over(300_000)
    assert len(raised) == 1


@pytest.mark.parametrize("keys", ["", "12 3", "٣", "1" * 33, "12e", "+1555"])
def test_keys_that_no_phone_has_are_refused_without_being_repeated(calls: Any, keys: str) -> None:
    raised: list[ValueError] = []

    async def work(session: Session) -> None:
        try:
            await session.send_digits(keys)
        except ValueError as error:
            raised.append(error)

    with_handler(calls, work).until_over(300_000)
    assert not keys or keys not in str(raised[0])


def test_a_second_transfer_at_the_same_time_is_refused(calls: Any) -> None:
    results: list[str] = []

    async def work(session: Session) -> None:
        both = await asyncio.gather(session.transfer("billing"), session.transfer("billing"))
        results.extend(result.outcome for result in both)

    call = with_handler(calls, work)
    call.returns("busy")
    call.until_over(300_000)
    assert results == ["busy", "refused"]


def test_a_tool_of_the_users_may_send_the_caller_on_and_speaks_of_it_once(calls: Any) -> None:
    @tool(deadline_ms=60_000)
    async def to_somebody(session: Session) -> str:
        """Put the caller through."""
        result = await session.transfer("billing")
        return f"It was {result.outcome}."

    call = calls(Agent("Shop.", tools=[to_somebody]), transfers=["billing"])
    call.wait(500)
    call.model.answers("One moment.", ToolCall("to_somebody", {}))
    call.model.answers("Sorry, they are busy.")
    call.returns("busy")
    call.caller.says("Somebody please")
    call.wait(20_000)
    said = [words for who, words in call.model.conversation if who == "assistant"]
    assert said == ["One moment.", "Sorry, they are busy."]


def test_a_transfer_that_user_code_waits_no_longer_for_is_taken_back(calls: Any) -> None:
    waited: list[str] = []

    async def work(session: Session) -> None:
        try:
            async with asyncio.timeout(8):
                await session.transfer("billing", mode="warm")
        except TimeoutError:
            waited.append("8 s")

    call = with_handler(calls, work)
    call.returns("no_answer", after_ms=25_000)
    call.until_over(300_000)
    assert waited == ["8 s"]
    call.expect.outcomes("canceled")
    assert len(call.rehearsal.log(m.CancelLeg)) == 1
