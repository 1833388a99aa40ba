"""What the carrier is answered about a detour whose call another process had: everything from the store."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from bridge.core import messages as m
from bridge.core.messages import TransferMode, TransferOutcome
from bridge.doubles.agents import Parrot
from bridge.doubles.tones import marked
from bridge.server.store.detours import DetourRecord
from bridge.server.store.intents import DETOUR, ENDED
from bridge.simulators.carrier import CarrierSimulator, WebhookFailed
from tests.calls import ACCOUNT
from tests.detours.test_documents import LEG, N, T, U
from tests.door.rig import TRANSFERS, Door, door, run, until

pytestmark = [pytest.mark.hostile, pytest.mark.runs_with(function=run)]

ID = "d1" * 16
CALL = f"CA{1:032x}"
MIND = Parrot(marked(1, 600))


class Carrier:
    """The carrier, about one call that left its stream for a detour before this process began."""

    def __init__(self, house: Door, **record: Any) -> None:
        self.house = house
        self.base = f"{house.base}/detour/{ID}"
        store = house.service.services.store
        store.intents.began(CALL)
        store.intents.note(CALL, DETOUR + ID)
        usual = {"name": "billing", "left_stream": True, "away_at_ms": 2_000, "since_ms": 1_000}
        store.detours.begin(
            DetourRecord(detour_id=ID, call_sid=CALL, account_sid=ACCOUNT, **{**usual, **record})
        )
        house.knows(CALL)

    @property
    def record(self) -> DetourRecord:
        found = self.house.service.services.store.detours.find(ID)
        assert found is not None
        return found

    async def _post(self, call_sid: str, step: str, fields: dict[str, str]) -> bytes:
        handset = CarrierSimulator(
            call_sid=call_sid, account_sid=ACCOUNT, caller=U, called=N, auth_token=self.house.token
        )
        return await handset.post(f"{self.base}/{step}", fields)

    async def leg_a(self, step: str, status: str = "in-progress", **fields: str) -> ET.Element:
        return ET.fromstring(await self._post(CALL, step, {"CallStatus": status, **fields}))

    async def leg_b(self, step: str, status: str = "in-progress", **fields: str) -> bytes:
        usual = {"CallStatus": status, "ParentCallSid": CALL, "Direction": "outbound-dial"}
        return await self._post(LEG, step, {**usual, "From": N, "To": T, **fields})


def returned(document: ET.Element) -> str | None:
    """What came of it, by the parameter of a stream that is opened again."""
    found = document.find("./Connect/Stream/Parameter[@name='returned']")
    return None if found is None else found.get("value")


def verbs(body: bytes) -> list[str]:
    return [verb.tag for verb in ET.fromstring(body)]


BILLING = f"{TRANSFERS},billing={T}"


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"DialCallStatus": "busy", "DialCallDuration": "0", "DialBridged": "false"}, "busy"),
        ({"DialCallStatus": "no-answer"}, "no_answer"),
        ({"DialCallStatus": "failed"}, "failed"),
    ],
)
async def test_a_target_that_did_not_answer(fields: dict[str, str], outcome: str) -> None:
    """The carrier asks twice, and gets the same; a later word of its own changes nothing."""
    async with door(MIND, transfers=BILLING) as house:
        carrier = Carrier(house)
        first = await carrier.leg_a("after", DialCallSid=LEG, **fields)
        again = await carrier.leg_a("after", DialCallSid=LEG, **fields)
        other = await carrier.leg_a("after", DialCallSid=LEG, DialCallStatus="completed")
        assert returned(first) == outcome
        assert ET.tostring(first) == ET.tostring(again) == ET.tostring(other)
        assert len(house.servers()) == 1


async def test_a_target_that_accepts_has_the_caller_to_itself() -> None:
    async with door(MIND, transfers=BILLING) as house:
        carrier = Carrier(house, brief="Ann Lee, about an invoice.")
        for number, status in enumerate(["initiated", "ringing", "in-progress"]):
            assert await carrier.leg_b("leg", status, SequenceNumber=str(number)) == b""
        asked = await carrier.leg_b("whisper")
        assert b"Ann Lee, about an invoice." in asked
        assert verbs(asked) == ["Gather", "Hangup"]
        assert await carrier.leg_b("whisper") == asked
        assert await carrier.leg_b("accept", Digits="1") == await carrier.leg_b("accept", Digits="1")
        assert verbs(await carrier.leg_b("accept", Digits="1")) == []
        assert carrier.record.accepted
        after = {"DialCallStatus": "completed", "DialCallDuration": "102", "DialBridged": "true"}
        assert [verb.tag for verb in await carrier.leg_a("after", **after)] == ["Hangup"]
        assert carrier.record.result is not None
        assert carrier.record.result.outcome is TransferOutcome.CONNECTED
        assert house.service.services.store.intents.peek(CALL) == ENDED
        assert house.servers() == []


@pytest.mark.parametrize(
    ("key", "bridged", "outcome"),
    [("2", "false", "declined"), ("", None, "voicemail"), ("9", None, "declined")],
)
async def test_a_target_that_does_not_accept(key: str, bridged: str | None, outcome: str) -> None:
    async with door(MIND, transfers=BILLING) as house:
        carrier = Carrier(house)
        await carrier.leg_b("whisper")
        assert verbs(await carrier.leg_b("accept", Digits=key)) == ["Hangup"]
        # Another key does not help any more.
        assert verbs(await carrier.leg_b("accept", Digits="1")) == ["Hangup"]
        more = {} if bridged is None else {"DialBridged": bridged}
        after = await carrier.leg_a("after", DialCallStatus="completed", DialCallDuration="9", **more)
        assert returned(after) == outcome


async def test_a_caller_who_left_while_it_rang() -> None:
    async with door(MIND, transfers=BILLING) as house:
        carrier = Carrier(house)
        over = await carrier.leg_a("after", "completed", DialCallStatus="canceled")
        assert [verb.tag for verb in over] == []
        assert verbs(await carrier.leg_b("whisper")) == ["Say", "Hangup"]
        assert house.service.services.store.intents.peek(CALL) == ENDED
        assert house.servers() == []


async def test_the_status_callback_of_a_number_says_that_the_caller_has_left() -> None:
    async with door(MIND, transfers=BILLING) as house:
        carrier = Carrier(house)
        handset = CarrierSimulator(call_sid=CALL, account_sid=ACCOUNT, auth_token=house.token)
        for status in ("in-progress", "completed", "completed"):
            assert await handset.post(f"{house.base}/call-status", {"CallStatus": status}) == b""
            left = carrier.record.result
            assert (left is not None) is (status == "completed")
        assert left is not None
        assert left.outcome is TransferOutcome.CALLER_LEFT
        assert verbs(await carrier.leg_b("whisper")) == ["Say", "Hangup"]


async def test_a_leg_that_nobody_waits_for_is_ended() -> None:
    """The process that called it is gone, and the call came over without it."""
    async with door(MIND, transfers=BILLING) as house:
        carrier = Carrier(house, mode=TransferMode.WARM, left_stream=False, away_at_ms=0)
        await carrier.leg_b("leg", "ringing", ParentCallSid="")
        assert verbs(await carrier.leg_b("callee", ParentCallSid="")) == ["Say", "Hangup"]
        assert (LEG, {"Status": "canceled"}) in house.api.asked


async def test_a_warm_transfer_goes_on_in_the_next_process() -> None:
    """The room had both of them when the process was killed."""
    async with door(MIND, transfers=BILLING) as house:
        at_ms = {"accepted_at_ms": 9_000, "room_at_ms": 10_000, "joined_at_ms": 11_000}
        carrier = Carrier(house, mode=TransferMode.WARM, leg_sid=LEG, **at_ms)
        leaves = {"StatusCallbackEvent": "participant-leave", "ParticipantLabel": "callee"}
        await carrier.leg_b("room", **leaves, ParticipantCallStatus="completed")
        assert verbs(await carrier.leg_b("after", ParentCallSid="", DialCallStatus="answered")) == ["Hangup"]
        over = await carrier.leg_a("after", DialCallStatus="answered")
        assert [verb.tag for verb in over] == ["Hangup"]


async def test_what_is_not_the_carrier_s_or_of_another_call_gets_nothing() -> None:
    async with door(MIND, transfers=BILLING) as house:
        carrier = Carrier(house)
        unsigned = CarrierSimulator(call_sid=CALL, account_sid=ACCOUNT)
        for step in ("after", "whisper", "callee", "accept", "leg", "room", "hold", "go"):
            with pytest.raises(WebhookFailed, match="403: is it signed with the server's TWILIO_AUTH_TOKEN"):
                await unsigned.post(f"{carrier.base}/{step}", {"CallStatus": "in-progress"})
        before = carrier.record
        other = CarrierSimulator(call_sid=f"CA{2:032x}", account_sid=ACCOUNT, auth_token=house.token)
        for step in ("whisper", "callee", "accept", "leg", "room", "go"):
            fields = {"CallStatus": "in-progress", "Digits": "1", "ParentCallSid": f"CA{3:032x}"}
            body = await other.post(f"{carrier.base}/{step}", fields)
            assert body == b"" or verbs(body) == ["Hangup"], step
        assert carrier.record == before


async def test_a_detour_that_nothing_is_known_of_leaves_nobody_alone(tmp_path: Path) -> None:
    async with door(MIND, transfers=BILLING, journal=tmp_path / "intents") as house:
        handset = CarrierSimulator(call_sid=CALL, account_sid=ACCOUNT, auth_token=house.token)
        house.knows(CALL)
        url = f"{house.base}/detour/{'e' * 32}/after"
        busy = {"CallStatus": "in-progress", "DialCallStatus": "busy"}
        assert returned(await handset.webhook(url, busy)) == "busy"
        talked = {"CallStatus": "in-progress", "DialCallStatus": "completed", "DialBridged": "true"}
        document = await handset.webhook(url, {**talked, "DialCallDuration": "90"})
        assert [verb.tag for verb in document] == ["Hangup"]


async def test_a_caller_on_hold_hears_music_until_they_are_wanted_back() -> None:
    async with door(MIND, transfers=BILLING) as house:
        carrier = Carrier(house, kind=m.DetourKind.HOLD, name="")
        waits = await carrier.leg_a("hold", QueuePosition="1", QueueTime="0")
        assert waits.findtext("./Play") == f"{house.base}/hold.wav"
        house.service.services.store.detours.change(ID, wanted_back=True)
        assert [verb.tag for verb in await carrier.leg_a("hold", QueueTime="11")] == ["Leave"]
        assert returned(await carrier.leg_a("after", QueueResult="leave", QueueTime="12")) == "held"


async def test_music_is_what_settings_name_and_no_address_of_a_handler_s() -> None:
    async with door(MIND, transfers=BILLING, hold_music="jazz=https://example.com/jazz.mp3") as house:
        store = house.service.services.store.detours
        Carrier(house, kind=m.DetourKind.HOLD, name="jazz")
        handset = house.handset(call_sid=CALL)
        waits = await handset.webhook(f"{house.base}/detour/{ID}/hold", {"CallStatus": "in-progress"})
        assert waits.findtext("./Play") == "https://example.com/jazz.mp3"
        store.change(ID, name="https://evil.example.com/x.mp3")
        waits = await handset.webhook(f"{house.base}/detour/{ID}/hold", {"CallStatus": "in-progress"})
        assert waits.findtext("./Play") == f"{house.base}/hold.wav"


async def test_nobody_is_called_twice_by_a_call_that_was_pushed() -> None:
    async with door(MIND, transfers=BILLING) as house:
        carrier = Carrier(house, away_at_ms=0)
        assert (await carrier.leg_a("go")).findtext("./Dial/Number") == T
        assert returned(await carrier.leg_a("go")) == "failed"


async def test_a_caller_on_hold_whose_process_is_gone_is_let_go() -> None:
    """The code that would have fetched them is gone with it; there is no music for ever."""
    async with door(MIND, transfers=BILLING) as house:
        carrier = Carrier(house, kind=m.DetourKind.HOLD, name="")
        assert [verb.tag for verb in await carrier.leg_a("hold", QueueTime="11")] == ["Leave"]
        assert returned(await carrier.leg_a("after", QueueResult="leave", QueueTime="12")) == "held"


async def test_a_caller_s_call_is_never_taken_for_a_target_s_leg() -> None:
    """Whatever the carrier says of it under another call's detour, it is not ended."""
    async with door(MIND, transfers=BILLING) as house:
        carrier = Carrier(house, mode=TransferMode.WARM, left_stream=False, away_at_ms=0)
        before = carrier.record
        house.service.services.store.intents.began(LEG)
        for step in ("callee", "accept", "leg", "after"):
            status = "ringing" if step == "leg" else "in-progress"
            await carrier.leg_b(step, status, ParentCallSid="", Digits="1")
        assert carrier.record == before
        assert house.api.asked == []


async def test_a_leg_that_waits_for_a_call_that_came_over_is_ended() -> None:
    """It had accepted, and waits in a room when its process is killed: nothing more is asked about it."""
    async with door(MIND, transfers=BILLING) as house:
        at_ms = {"answered_at_ms": 8_000, "accepted_at_ms": 9_000, "room_at_ms": 10_000}
        here: dict[str, Any] = {"left_stream": False, "away_at_ms": 0, "leg_sid": LEG, **at_ms}
        carrier = Carrier(house, mode=TransferMode.WARM, **here)
        await house.service.registry.ring(CALL, {"CallSid": CALL, "AccountSid": ACCOUNT, "From": U, "To": N})
        await until(lambda: house.api.asked)
        assert house.api.asked == [(LEG, {"Status": "completed"})]
        assert carrier.record.cancelled
