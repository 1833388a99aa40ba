"""The carrier's requests about a detour in their order, and what each of them is answered, to the letter."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any

import pytest

from bridge.agents.agent import Agent
from bridge.core import detours
from bridge.core import messages as m
from bridge.core.messages import DetourKind, TransferMode
from bridge.core.messages import TransferOutcome as Outcome
from bridge.doubles.phone import Phone
from bridge.server import detour_control, detour_return, detour_routes
from bridge.server.twilio_rest import Outcome as TwilioOutcome
from bridge.simulators.answers import NOT_FOUND
from bridge.simulators.carrier import CarrierSimulator
from bridge.simulators.rest_api import Fault
from bridge.simulators.servers import Simulation
from tests.calls import ACCOUNT
from tests.detours.rig import BILLING, Mind, loud_ms
from tests.detours.test_documents import LEG, SAY, XML, B, N, T, U, dialled
from tests.door.rig import Door, door, run, until

pytestmark = [pytest.mark.hostile, pytest.mark.runs_with(function=run)]

ID = "d1" * 16
AGENT = Agent("Answer.", greeting="Hello.")
HANGUP = f"{XML}<Response><Hangup /></Response>"
NOTHING = f"{XML}<Response />"
PROGRESS = {"CallStatus": "in-progress"}
LEG_A = {"ApiVersion": "2010-04-01", "Direction": "inbound", "Caller": U, "Called": N}


def stream(returned: str = "", before: str = "") -> str:
    """The stream document, its token left out."""
    more = f'<Parameter name="returned" value="{returned}" />' if returned else ""
    return (
        f'{XML}<Response>{before}<Connect action="{B}/after-stream" method="POST"><Stream '
        f'statusCallback="{B}/stream-status" url="wss://voice.example.com/media-stream">'
        f'<Parameter name="token" value="…" />{more}</Stream></Connect></Response>'
    )


class Wire:
    """One call, request by request. Time is what a test says."""

    def __init__(self, house: Door) -> None:
        self.house = house
        self.now_ms = 1_000_000_000_000
        self.handset: CarrierSimulator = house.handset(caller=U, called=N)
        self.sid = self.handset.call_sid
        self.streams: list[Simulation] = []
        self.after_stream = ""

    async def begin(self) -> None:
        """The call comes in, and its caller has heard the greeting."""
        await self.open(await self.raw("/incoming-call", CallStatus="ringing"))
        await until(lambda: loud_ms(self.heard()) is not None)
        await asyncio.sleep(0.6)

    async def open(self, document: str) -> None:
        """Open the stream that a document names."""
        found = re.findall(r'<Parameter name="([^"]*)" value="([^"]*)"', document)
        parameters = {name: unescape(value) for name, value in found}
        action = re.search(r'<Connect action="([^"]*)"', document)
        assert action is not None
        self.after_stream = unescape(action[1])
        sid = f"MZ{len(self.streams) + 1:032x}"
        self.streams.append(await self.handset.open(self.house.stream, parameters, stream_sid=sid))

    def heard(self) -> bytes:
        """What the caller hears on the stream that was opened last."""
        machine = self.streams[-1].machine
        assert isinstance(machine, Phone)
        return machine.recording()[1]

    async def comes_back(self, document: str) -> None:
        """The stream that is answered, and a word within a second and a half."""
        sessions = len(self.house.servers())
        await self.open(document)
        await until(lambda: len(self.heard()) > 1_500 * 8 or loud_ms(self.heard()) is not None)
        found = loud_ms(self.heard())
        assert found is not None
        assert found <= 1_500
        assert sessions == len(self.house.servers()) == 1, "the upstream socket is the same"

    async def leaves(self, **wish: Any) -> str:
        """The wish, the stream's end, and what the carrier is answered."""
        self.wish(**wish)
        return await self.left()

    def wish(self, **wish: Any) -> None:
        runner = self.house.service.registry.runner(self.sid)
        assert runner is not None
        usual = {"name": "billing", "brief": "Ann Lee, about an invoice."}
        runner.feed(m.Detour(ID, **{**usual, **wish}))

    async def left(self) -> str:
        """The stream is over, and the carrier asks."""
        await self.streams[-1].closed
        return self.plain((await self.handset.post(self.after_stream, {**LEG_A, **PROGRESS})).decode())

    async def raw(self, path: str, **fields: str) -> str:
        return (await self.handset.post(self.house.base + path, {**LEG_A, **PROGRESS, **fields})).decode()

    async def leg_a(self, step: str, **fields: str) -> str:
        return await self.raw(f"/detour/{ID}/{step}", **fields)

    async def leg_b(self, step: str, sid: str = LEG, parent: str | None = None, **fields: str) -> str:
        """Of a dialled leg; of one that we placed where `parent` is empty."""
        other = CarrierSimulator(
            call_sid=sid, account_sid=ACCOUNT, caller=N, called=T, auth_token=self.house.token
        )
        parent = self.sid if parent is None else parent
        form = {"Direction": "outbound-dial" if parent else "outbound-api", **PROGRESS, **fields}
        if parent:
            form["ParentCallSid"] = parent
        return self.plain((await other.post(f"{self.house.base}/detour/{ID}/{step}", form)).decode())

    async def status(self, status: str, number: int, sid: str = LEG, **fields: str) -> None:
        callback = {"CallbackSource": "call-progress-events", "SequenceNumber": str(number)}
        assert await self.leg_b("leg", sid, CallStatus=status, **callback, **fields) == ""

    def plain(self, document: str) -> str:
        """A document as the vectors have it."""
        text = document.replace(f"ws{self.house.base.removeprefix('http')}", "wss://voice.example.com")
        text = text.replace(self.house.base, B).replace(ID, "D1")
        return re.sub(r'(name="token" value=)"[^"]*"', r'\1"…"', re.sub(r"\?stream=[^\"]*", "", text))

    @property
    def ended(self) -> list[m.DetourResult]:
        did = self.house.log.did[self.sid]
        return [action.result for action in did if isinstance(action, m.DetourEnded)]

    def hang_up(self) -> None:
        machine = self.streams[-1].machine
        if isinstance(machine, Phone) and not self.streams[-1].closed.done():
            self.streams[-1].send(machine.hang_up(self.streams[-1].now_ms()))


@contextlib.asynccontextmanager
async def wire(patch: pytest.MonkeyPatch, **given: Any) -> AsyncIterator[Wire]:
    async with door(Mind(), AGENT, transfers=BILLING, **given) as house:
        one = Wire(house)
        for module in (detour_control, detour_return, detour_routes):
            patch.setattr(module, "now_ms", lambda: one.now_ms)
        await one.begin()
        yield one
        one.hang_up()


async def test_16_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with wire(monkeypatch) as one:
        assert await one.leaves() == dialled()
        busy = {"DialCallStatus": "busy", "DialCallSid": LEG, "DialCallDuration": "0", "DialBridged": "false"}
        back = await one.leg_a("after", **busy)
        assert one.plain(back) == stream("busy")
        # 24: asked again, identical bytes
        assert await one.leg_a("after", **busy) == back
        assert one.ended == []
        await one.comes_back(back)
        assert [end.outcome for end in one.ended] == [Outcome.BUSY]
        # a replay after that opens nothing
        assert "spent" in await one.leg_a("after", **busy)
        assert one.house.api.asked == []


async def test_17_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with wire(monkeypatch) as one:
        assert await one.leaves() == dialled()
        one.now_ms += 30_000
        back = await one.leg_a("after", DialCallStatus="no-answer", DialCallSid=LEG, DialCallDuration="0")
        assert one.plain(back) == stream("no_answer")
        await one.comes_back(back)
        assert (one.ended[0].outcome, one.ended[0].rang_ms) == (Outcome.NO_ANSWER, 30_000)


WHISPER = (
    f'{XML}<Response><Gather action="{B}/detour/D1/accept" actionOnEmptyResult="true" input="dtmf" '
    f'method="POST" numDigits="1" timeout="6">{SAY}A call for you. Ann Lee, about an invoice. '
    "To take it, press 1. To decline, press 2.</Say></Gather><Hangup /></Response>"
)


async def whispered(one: Wire, key: str, seconds: float = 7.0) -> str:
    """Sent on, answered, asked, and this pressed after so long."""
    assert await one.leaves() == dialled()
    for number, status in enumerate(("initiated", "ringing", "in-progress")):
        await one.status(status, number)
    assert await one.leg_b("whisper") == WHISPER
    one.now_ms += round(seconds * 1000)
    return await one.leg_b("accept", Digits=key)


async def test_18_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with wire(monkeypatch) as one:
        assert await whispered(one, "1") == NOTHING
        one.now_ms += 95_000
        talked = {"DialCallStatus": "completed", "DialCallDuration": "102", "DialBridged": "true"}
        assert await one.leg_a("after", DialCallSid=LEG, **talked) == HANGUP
        assert await one.leg_a("after", DialCallSid=LEG, **talked) == HANGUP
        (end,) = one.ended
        assert (end.outcome, end.talk_ms, end.accepted) == (Outcome.CONNECTED, 95_000, True)
        await until(lambda: one.sid in one.house.log.ended)
        assert one.house.log.ended[one.sid][0].reason is m.Reason.TRANSFERRED
        assert one.house.api.asked == [], "no REST at all"


async def test_18_and_back_to_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    async with wire(monkeypatch) as one:
        one.wish(after=m.Afterwards.RETURN)
        assert 'hangupOnStar="true"' in await one.left()
        await one.leg_b("whisper")
        assert await one.leg_b("accept", Digits="1") == NOTHING
        talked = {"DialCallStatus": "completed", "DialCallDuration": "60", "DialBridged": "true"}
        back = await one.leg_a("after", DialCallSid=LEG, **talked)
        assert one.plain(back) == stream("connected")
        await one.comes_back(back)


@pytest.mark.parametrize(
    ("key", "more", "outcome"),
    [("2", {"DialBridged": "false"}, "declined"), ("", {}, "voicemail")],
    ids=["19 declined", "20 voicemail"],
)
async def test_19_and_20_not_accepted(
    key: str, more: dict[str, str], outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with wire(monkeypatch) as one:
        assert await whispered(one, key) == HANGUP
        back = await one.leg_a("after", DialCallStatus="completed", DialCallDuration="9", **more)
        assert one.plain(back) == stream(outcome)
        await one.comes_back(back)
        assert one.ended[0].outcome.value == outcome


async def test_21_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    async with wire(monkeypatch) as one:
        assert await whispered(one, "1", 8) == NOTHING
        dropped = {"DialCallStatus": "completed", "DialCallDuration": "11", "DialBridged": "true"}
        back = await one.leg_a("after", **dropped)
        assert one.plain(back) == stream("dropped")
        await one.comes_back(back)
        assert (one.ended[0].outcome, one.ended[0].talk_ms) == (Outcome.DROPPED, 3_000)


@pytest.mark.parametrize("asks", [True, False])
async def test_22_the_caller_leaves_while_it_rings(asks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    async with wire(monkeypatch) as one:
        assert await one.leaves() == dialled()
        await one.status("ringing", 1)
        if asks:
            assert await one.leg_a("after", CallStatus="completed", DialCallStatus="canceled") == NOTHING
        assert await one.raw("/call-status", CallStatus="completed") == ""
        await until(lambda: one.sid in one.house.log.ended)
        assert [end.outcome for end in one.ended] == [Outcome.CALLER_LEFT]
        assert one.house.log.ended[one.sid][0].reason is m.Reason.CALLER_HUNG_UP
        await until(lambda: one.house.service.registry.runner(one.sid) is None)
        # 3.6: leg B answers as its caller leaves
        assert "<Hangup />" in await one.leg_b("whisper")


# -- warm

CONFERENCE = {"ConferenceSid": f"CF{1:032x}"}
JOIN = {"StatusCallbackEvent": "participant-join", **CONFERENCE}
LEAVE = {"StatusCallbackEvent": "participant-leave", **CONFERENCE}


async def in_room(one: Wire, said_by: str = "room") -> str:
    """A warm transfer up to the target's being in the room; its leg."""
    one.house.api.phone(T, "no_answer", rings_after_ms=60_000)
    one.wish(mode=TransferMode.WARM)
    await until(lambda: one.house.service.services.store.detours.find(ID).leg_sid)  # type: ignore[union-attr]
    leg: str = one.house.service.services.store.detours.find(ID).leg_sid  # type: ignore[union-attr]
    for number, status in enumerate(("initiated", "ringing")):
        await one.status(status, number, leg, ParentCallSid="")
    one.now_ms += 5_000
    assert await one.leg_b("callee", leg, "") == WHISPER
    await one.status("in-progress", 2, leg, ParentCallSid="")
    room = await one.leg_b("accept", leg, "", Digits="1")
    assert room == f"{XML}<Response>{_room('callee')}</Response>"
    one.now_ms += 500
    assert "Hangup" not in await one.leg_b(said_by, leg, "", **JOIN, ParticipantLabel="callee")
    return leg


def _room(label: str) -> str:
    return (
        f'<Dial action="{B}/detour/D1/after" method="POST"><Conference beep="false" '
        f'endConferenceOnExit="true" participantLabel="{label}" startConferenceOnEnter="true" '
        f'statusCallback="{B}/detour/D1/room" statusCallbackEvent="start end join leave" '
        f'waitUrl="{B}/detour/D1/hold">pb-D1</Conference></Dial>'
    )


async def test_25_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with wire(monkeypatch) as one:
        leg = await in_room(one)
        (placed,) = one.house.api.placed
        base = f"{one.house.base}/detour/{ID}"
        assert {name: values[-1] for name, values in placed.items()} == {
            "To": T, "From": N, "Url": f"{base}/callee", "Method": "POST", "Timeout": "25",
            "TimeLimit": "3600", "StatusCallback": f"{base}/leg", "StatusCallbackMethod": "POST",
            "StatusCallbackEvent": "completed", "MachineDetection": "DetectMessageEnd", "AsyncAmd": "true",
            "AsyncAmdStatusCallback": f"{base}/leg", "AsyncAmdStatusCallbackMethod": "POST",
        }  # fmt: skip
        assert placed["StatusCallbackEvent"] == ["initiated", "ringing", "answered", "completed"]
        assert await one.left() == f"{XML}<Response>{_room('caller')}</Response>"
        assert await one.leg_a("room", **JOIN, ParticipantLabel="caller") == ""
        one.now_ms += 44_000
        left = {"ReasonParticipantLeft": "participant_hung_up", "ParticipantCallStatus": "completed"}
        assert await one.leg_b("room", leg, "", **LEAVE, **left, ParticipantLabel="callee") == ""
        assert await one.leg_b("after", leg, "", DialCallStatus="answered") == HANGUP
        assert await one.leg_a("after", DialCallStatus="answered") == HANGUP
        (end,) = one.ended
        assert (end.outcome, end.talk_ms, end.rang_ms) == (Outcome.CONNECTED, 44_000, 5_000)
        assert [form for _, form in one.house.api.asked] == []


async def test_26_the_target_is_gone_at_the_move(monkeypatch: pytest.MonkeyPatch) -> None:
    async with wire(monkeypatch) as one:
        leg = await in_room(one)
        await one.streams[-1].closed
        left = {"ReasonParticipantLeft": "participant_hung_up", "ParticipantCallStatus": "completed"}
        await one.leg_b("room", leg, "", **LEAVE, **left, ParticipantLabel="callee")
        await one.status("completed", 3, leg, ParentCallSid="")
        back = await one.raw(one.after_stream.removeprefix(one.house.base))
        assert one.plain(back) == stream("dropped")
        await one.comes_back(back)
        assert one.ended[0].outcome is Outcome.DROPPED


@pytest.mark.parametrize("joins", [False, True])
async def test_a_target_that_leaves_while_the_caller_is_on_their_way(
    joins: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The carrier has the room's document already: the caller is fetched out of the empty room."""
    async with wire(monkeypatch) as one:
        pushed: list[str] = []

        async def redirect(_call_sid: str, url: str, _account: str | None = None) -> TwilioOutcome:
            pushed.append(url)
            return TwilioOutcome.DONE

        monkeypatch.setattr(one.house.service.services.control.rest, "redirect", redirect)
        leg = await in_room(one)
        assert "pb-D1" in await one.left()
        await one.leg_b("room", leg, "", **LEAVE, ParticipantLabel="callee")
        if joins:
            await one.leg_a("room", **JOIN, ParticipantLabel="caller")
        await until(lambda: pushed)
        assert set(pushed) == {f"{one.house.base}/detour/{ID}/go"}
        # The action is asked as well, and its answer is ignored.
        ignored = await one.leg_a("after", DialCallStatus="answered")
        back = await one.leg_a("go")
        assert one.plain(back) == one.plain(ignored) == stream("dropped")
        await one.comes_back(back)
        assert [end.outcome for end in one.ended] == [Outcome.DROPPED]


async def test_a_404_is_no_proof_that_the_caller_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """To an API of another region every call is unknown: when the carrier asks at last, the call goes on."""
    monkeypatch.setattr(detours, "PUSH_MS", 300)
    async with wire(monkeypatch) as one:
        one.house.api.always = NOT_FOUND
        one.wish()
        await until(lambda: one.ended, 10)
        assert [end.outcome for end in one.ended] == [Outcome.LOST]
        assert await one.left() == stream("lost")


async def test_a_lost_callback_of_the_room_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The music of those who wait there is asked for, too."""
    async with wire(monkeypatch) as one:
        leg = await in_room(one, "hold")
        assert one.house.service.services.store.detours.find(ID).leg_sid == leg  # type: ignore[union-attr]
        assert "pb-D1" in await one.left()


async def test_27_a_leg_that_comes_late_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its request had no answer; the caller was told, and it is nobody's."""
    async with wire(monkeypatch) as one:
        store = one.house.service.services.store.detours
        one.house.api.refusals = [Fault(503, 20500)]
        one.wish(mode=TransferMode.WARM)
        await until(lambda: one.ended)
        assert [end.outcome for end in one.ended] == [Outcome.REST_FAILED]
        assert len(one.house.api.placed) == 1
        await one.status("initiated", 0, ParentCallSid="")
        await until(lambda: one.house.api.asked)
        assert one.house.api.asked == [(LEG, {"Status": "canceled"})]
        assert "<Hangup />" in await one.leg_b("callee", parent="")
        assert store.find(ID).result.outcome is Outcome.REST_FAILED  # type: ignore[union-attr]
        assert len(one.streams) == 1


async def test_a_second_leg_of_one_wish_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async with wire(monkeypatch) as one:
        await in_room(one)
        other = f"CA{'0' * 30}d2"
        await one.status("initiated", 0, other, ParentCallSid="")
        await until(lambda: one.house.api.asked)
        assert one.house.api.asked == [(other, {"Status": "canceled"})]
        assert await one.leg_b("callee", other, "") == HANGUP


async def test_28_keys_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async with wire(monkeypatch) as one:
        one.house.service.services.keep_keys(ID, "1w2")
        back = await one.leaves(kind=DetourKind.KEYS, name="", brief="")
        assert back == stream("sent", '<Play digits="1w2" />')
        again = await one.raw(one.after_stream.removeprefix(one.house.base))
        assert one.plain(again) == back
        await one.open(again)
        await until(lambda: one.ended)
        assert one.ended[0].outcome is Outcome.SENT
        assert len(one.house.servers()) == 1


async def test_29_hold_by_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    async with wire(monkeypatch) as one:
        assert await one.leaves(kind=DetourKind.HOLD, name="", brief="") == (
            f'{XML}<Response><Enqueue action="{B}/detour/D1/after" waitUrl="{B}/detour/D1/hold">'
            "pb-D1</Enqueue></Response>"
        )
        music = await one.leg_a("hold", QueuePosition="1", QueueTime="0")
        assert one.plain(music) == f"{XML}<Response><Play>{B}/hold.wav</Play></Response>"
        runner = one.house.service.registry.runner(one.sid)
        assert runner is not None
        runner.feed(m.EndDetour(ID))
        assert await one.leg_a("hold", QueuePosition="1", QueueTime="11") == (
            f"{XML}<Response><Leave /></Response>"
        )
        back = await one.leg_a("after", QueueResult="leave", QueueTime="12")
        assert one.plain(back) == stream("held")
        await one.comes_back(back)
        assert one.ended[0].outcome is Outcome.HELD
