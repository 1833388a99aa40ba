"""The end of a call that somebody wants: the last word is heard, then the line ends, whatever REST says."""

from __future__ import annotations

import re

import pytest

from bridge.agents.agent import Agent
from bridge.agents.session import Session
from bridge.agents.tools import hang_up, transfer
from bridge.core import detours
from bridge.core import messages as m
from bridge.doubles.agents import Asked, Output, Scripted, Speech, ToolCall
from bridge.doubles.tones import marked
from bridge.server import twilio_rest as carrier_rest
from bridge.simulators.phone import Kind
from bridge.simulators.rest_api import BROKEN, NOT_FOUND, NOT_IN_PROGRESS, UNKNOWN_TOKEN, CarrierApi, Fault
from tests.calls import TOKEN
from tests.door.rig import DESK, door, kinds, run, until

pytestmark = pytest.mark.runs_with(function=run)

LAST_WORD = marked(9, 400)
GOODBYE = Scripted([[Speech(LAST_WORD, "Goodbye!"), ToolCall("hang_up")]])
AGENT = Agent("Say goodbye.", tools=[hang_up, transfer], greeting="Hello.")

BY_REST = [Kind.ASKED, Kind.STREAM, Kind.STREAM_OVER, Kind.ENDED_BY_REST]
BY_INTENT = [Kind.ASKED, Kind.STREAM, Kind.STREAM_OVER, Kind.ASKED, Kind.HUNG_UP]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier_rest, "RETRY_S", 0.01)


@pytest.mark.parametrize(
    ("faults", "requests", "lived_through"),
    [
        ([], 1, BY_REST),
        ([BROKEN], 2, BY_REST),
        ([BROKEN] * 9, 3, BY_INTENT),
        ([UNKNOWN_TOKEN] * 9, 2, BY_INTENT),
        ([Fault(delay_s=0.9)], 1, BY_INTENT),
        ([NOT_FOUND], 1, BY_INTENT),
        ([NOT_IN_PROGRESS], 1, BY_INTENT),
    ],
    ids=["done", "500 once", "500 for ever", "401", "slow", "404", "not in progress"],
)
async def test_a_goodbye_ends_the_call(faults: list[Fault], requests: int, lived_through: list[Kind]) -> None:
    """Two tokens are configured, as while they are rotated: on a 401 the other one is tried."""

    tokens = f"{TOKEN},the-other-token-of-thirty-two-xx"
    async with door(GOODBYE, AGENT, twilio_auth_token=tokens) as house:
        house.api.tokens = None
        house.api.faults = list(faults)
        slow = any(fault.delay_s for fault in faults)
        house.service.services.control.before_close_s = (
            0.6 if slow else 5.0
        )  # the first request loads its library
        call = await house.placed_call()
        assert kinds(call) == lived_through
        assert call.sound()[1].count(9) == len(LAST_WORD), "every millisecond of it was heard"
        assert len(house.api.asked) == requests
        assert all(form == {"Status": "completed"} for _, form in house.api.asked)
        assert len(house.upstream.sessions) == 1, "a goodbye never becomes a resumed call"
        ended, _ = house.log.ended[call.handset.call_sid]
        assert ended.reason is m.Reason.WE_HUNG_UP


async def test_the_other_token_ends_it_by_rest() -> None:
    new = "the-new-token-of-thirty-two-xxxx"
    async with door(GOODBYE, AGENT, api=CarrierApi((new,)), twilio_auth_token=f"{TOKEN},{new}") as house:
        call = await house.placed_call()
        assert kinds(call) == BY_REST
        assert len(house.api.asked) == 2


async def test_without_credentials_it_ends_by_intent() -> None:
    async with door(GOODBYE, AGENT, with_api=False) as house:
        call = await house.placed_call()
        assert kinds(call) == BY_INTENT
        assert call.sound()[1].count(9) == len(LAST_WORD), "every millisecond of it was heard"
        assert house.api.asked == []


SENT_ON = [Kind.ASKED, Kind.STREAM, Kind.STREAM_OVER]


@pytest.mark.parametrize("faults", [[], [BROKEN] * 9, None], ids=["REST", "no REST", "no credentials"])
async def test_a_transfer_reaches_the_targets_leg(faults: list[Fault] | None) -> None:
    """No request to the carrier is needed: it asks what comes after the stream."""
    words = marked(9, 300)
    mind = Scripted([[Speech(words, "One moment."), ToolCall("transfer", {"target": "front desk"})]])
    async with door(mind, AGENT, with_api=faults is not None) as house:
        house.api.faults = list(faults or [])
        call = await house.sent_on_call(DESK)
        assert call.reached == [DESK]
        assert call.sound()[1].count(9) == len(words)
        assert kinds(call) == [*SENT_ON, Kind.ASKED, Kind.DIALLED, Kind.ASKED, Kind.HUNG_UP]
        ended, _ = house.log.ended[call.handset.call_sid]
        assert ended.reason is m.Reason.TRANSFERRED


SEND_ON = ToolCall("transfer", {"target": "front desk"})


class SendsOn:
    """Sends the caller on `times` times, and then says what it was told of it, and goodbye."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.told: list[str] = []
        self.remembers: list[str] = []

    def answer(self, asked: Asked) -> list[Output]:
        self.told = [item.text for item in asked.items if item.text.startswith("transfer")]
        self.remembers += [item.text for item in asked.items if item.role == "assistant"]
        self.left -= 1
        if self.left >= 0:
            return [Speech(marked(7, 200), "I put you through."), SEND_ON]
        return [Speech(marked(8, 300), "Nobody is there."), ToolCall("hang_up")]


@pytest.mark.parametrize(
    ("status", "words", "with_api"),
    [
        ("no-answer", "nobody answered", True),
        ("no-answer", "nobody answered", False),
        ("busy", "the line is busy", False),
        ("failed", "the number could not be reached|there is no such number", False),
        ("canceled", "it was cancelled before anybody answered", False),
    ],
)
async def test_a_target_that_is_not_reached_leads_back_to_the_model(
    status: str, words: str, with_api: bool
) -> None:
    mind = SendsOn(1)
    async with door(mind, AGENT, with_api=with_api, fallback="night") as house:
        call = await house.placed_call(targets={DESK: status})
        dialled = [step.detail for step in call.steps if step.kind is Kind.DIALLED]
        assert dialled == [f"{DESK}: {status}"]
        [told] = mind.told
        assert re.match(f"transfer to front desk: ({words})", told)
        assert mind.remembers == ["I put you through."]
        assert len(house.servers()) == 1, "one session from the first word to the last"
        sound = call.sound()[1]
        assert (sound.count(7), sound.count(8)) == (1_600, 2_400), "both sentences, whole"
        assert Kind.SAID not in kinds(call), "no apology"
        conversations = house.service.services.store.conversations
        assert conversations.find(call.handset.call_sid) is None, "what was said is kept no longer"


async def test_a_call_has_so_many_detours_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detours, "MOST", 1)
    mind = SendsOn(2)
    async with door(mind, AGENT, with_api=False, fallback="night") as house:
        call = await house.placed_call(targets={DESK: "busy"})
        assert [step.detail for step in call.steps if step.kind is Kind.DIALLED] == [f"{DESK}: busy"]
        did = house.log.did[call.handset.call_sid]
        outcomes = [one.result.outcome.value for one in did if isinstance(one, m.DetourEnded)]
        assert outcomes == ["busy", "refused"]
        assert call.sound()[1].count(8) == 2_400, "the model says so"


async def test_a_handler_is_told_what_came_of_it_and_goes_on() -> None:
    async def handler(session: Session) -> None:
        result = await session.transfer("front desk")
        await session.say(f"It is {result.outcome}.")

    agent = Agent("Say goodbye.", handler=handler)
    said: list[str] = []

    class Reads:
        def answer(self, asked: Asked) -> list[Output]:
            said.append(str(asked.request.get("instructions")))
            return [Speech(marked(9, 200), "So it is.")]

    async with door(Reads(), agent, with_api=False) as house:
        await house.placed_call(targets={DESK: "busy"})
        assert [words for words in said if "It is busy." in words]


async def test_a_caller_who_hangs_up_first_is_not_called_after() -> None:
    """They leave while our last word plays: no request about a call that is over, nobody is dialled."""

    mind = Scripted([[Speech(marked(9, 4_000), "A long goodbye"), ToolCall("hang_up")]])
    async with door(mind, AGENT) as house:
        call = house.dial(house.caller())
        await until(lambda: m.NoteIntent("ended") in house.log.did.get(call.handset.call_sid, []))
        call.hang_up()
        await until(lambda: call.over)
        assert kinds(call) == [Kind.ASKED, Kind.STREAM, Kind.STREAM_OVER, Kind.CALLER_LEFT]
        assert house.api.asked == []
        ended, _ = house.log.ended[call.handset.call_sid]
        assert ended.reason is m.Reason.CALLER_HUNG_UP
