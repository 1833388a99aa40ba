"""Calls that are asked for by REST: who rings, what is told of it, and what it sounds like."""

from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from twilio.base.exceptions import TwilioRestException

from bridge.codecs.caption import caption_of
from bridge.codecs.level import level_dbfs
from bridge.doubles.people.words import spoken
from bridge.simulators.rest_api import BROKEN, LOST, TOO_MANY, Fault
from tests.door.rig import until
from tests.simulators.server import AC, N, T, TwimlServer, over, twiml_server

EVENTS = ["initiated", "ringing", "answered", "completed"]


async def create(server: TwimlServer, **given: Any) -> Any:
    """A call by the vendor's SDK; T from N unless given otherwise."""
    wishes = {
        "to": T, "from_": N, "url": f"{server.base}/outbound-call?ref=R1", "status_callback_event": EVENTS,
        "status_callback": f"{server.base}/call-status?ref=R1", **given,
    }  # fmt: skip
    client = server.client()
    return await asyncio.to_thread(lambda: client.calls.create(**wishes))


async def test_a_person_answers_and_every_status_is_told_in_order() -> None:
    async with twiml_server() as server:
        server.say("/outbound-call", "<Say>Good morning to you.</Say><Hangup />")
        phone = server.api.phone(T, "human", answers_after_ms=3_000, says="Hello?")
        call = await create(server)
        assert (call.status, call.direction, call.to, call._from) == ("queued", "outbound-api", T, N)
        assert (call.account_sid, call.queue_time, call.price_unit) == (AC, "0", "USD")
        await over(server.api, call.sid)
        told = server.forms("/call-status")
        assert [form["CallStatus"] for form in told] == ["initiated", "ringing", "in-progress", "completed"]
        assert [form["SequenceNumber"] for form in told] == ["0", "1", "2", "3"]
        assert {form["CallbackSource"] for form in told} == {"call-progress-events"}
        assert all(parsedate_to_datetime(form["Timestamp"]) for form in told)
        assert (told[1]["StirStatus"], told[3]["SipResponseCode"], told[3]["Duration"]) == ("A", "200", "1")
        assert told[3]["CallDuration"] == "1"
        (asked,) = server.forms("/outbound-call")
        assert asked == {
            "CallSid": call.sid, "AccountSid": AC, "ApiVersion": "2010-04-01", "CallStatus": "in-progress",
            "Direction": "outbound-api", "From": N, "Caller": N, "To": T, "Called": T,
        }  # fmt: skip
        assert server.came[0].url == "/call-status?ref=R1"
        assert caption_of(phone.heard) == "Good morning to you."
        assert caption_of(phone.said) == "Hello?"


REFUSING = {
    "busy": (["initiated", "busy"], "486"),
    "no_answer": (["initiated", "ringing", "no-answer"], "487"),
    "declines": (["initiated", "ringing", "no-answer"], "603"),
    "unreachable": (["initiated", "no-answer"], "480"),
    "invalid": (["initiated", "failed"], "404"),
}


@pytest.mark.hostile
async def test_who_does_not_answer() -> None:
    async with twiml_server() as server:
        for place, (as_, (told, sip_code)) in enumerate(REFUSING.items()):
            number = f"+155500040{place:02}"
            server.api.phone(number, as_)
            path = f"/status/{as_}"
            call = await create(server, to=number, timeout=20, status_callback=f"{server.base}{path}")
            await over(server.api, call.sid)
            forms = server.forms(path)
            assert [form["CallStatus"] for form in forms] == told
            last = forms[-1]
            assert (last["SipResponseCode"], last["CallDuration"], last["Duration"]) == (sip_code, "0", "0")
        assert server.forms("/outbound-call") == []


@pytest.mark.hostile
async def test_the_ring_time_is_the_timeout_and_five_seconds() -> None:
    async with twiml_server() as server:
        server.api.phone(T, "no_answer")
        call = await create(server, timeout=25)
        await over(server.api, call.sid)
        times = [request.at_ms for request in server.api.network.requests if "call-status" in request.url]
        assert 30_000 <= times[2] - times[1] <= 31_000


@pytest.mark.hostile
async def test_only_the_events_asked_for_are_counted() -> None:
    async with twiml_server() as server:
        server.api.phone(T, "busy")
        call = await create(server, status_callback_event=[])
        await over(server.api, call.sid)
        (form,) = server.forms("/call-status")
        assert (form["CallStatus"], form["SequenceNumber"]) == ("busy", "0")


WRONG: list[tuple[dict[str, Any], int]] = [
    ({"to": "5550003333"}, 21211),
    ({"from_": "phone"}, 21212),
    ({"status_callback": "https://my_host.example.com/x"}, 21609),
    ({"timeout": 601}, 20001),
    ({"url": "voice.example.com"}, 21205),
    ({"send_digits": "12x"}, 20001),
    ({"machine_detection": "enable"}, 20001),
]


async def test_what_is_wrong_with_a_request_is_said_by_the_vendors_code() -> None:
    async with twiml_server() as server:
        for wishes, code in WRONG:
            with pytest.raises(TwilioRestException) as refused:
                await create(server, **wishes)
            assert (refused.value.status, refused.value.code) == (400, code)
        assert server.api.network.legs == {}


async def test_faults_on_demand() -> None:
    async with twiml_server() as server:
        server.api.phone(T, "busy")
        server.api.refusals += [TOO_MANY, BROKEN, Fault(400, 10004)]
        server.api.refused_numbers["+15550009999"] = 21215
        for code in (20429, 20500, 10004):
            with pytest.raises(TwilioRestException) as refused:
                await create(server)
            assert refused.value.code == code
        with pytest.raises(TwilioRestException) as refused:
            await create(server, to="+15550009999")
        assert refused.value.code == 21215
        assert server.api.network.legs == {}, "none of them was placed"
        server.api.refusals.append(LOST)
        with pytest.raises(OSError):
            await create(server)
        (leg,) = server.api.network.legs.values()
        await over(server.api, leg.sid)
        assert [form["CallStatus"] for form in server.forms("/call-status")] == ["initiated", "busy"]


@pytest.mark.hostile
async def test_calls_are_listed_fetched_and_cancelled() -> None:
    async with twiml_server() as server:
        server.api.phone(T, "no_answer")
        call = await create(server)
        client = server.client()
        assert [one.sid for one in await asyncio.to_thread(client.calls.list, to=T, from_=N)] == [call.sid]
        assert await asyncio.to_thread(client.calls.list, to=N) == []
        await asyncio.to_thread(lambda: client.calls(call.sid).update(status="canceled"))
        await over(server.api, call.sid)
        fetched = await asyncio.to_thread(client.calls(call.sid).fetch)
        assert (fetched.status, fetched.duration) == ("canceled", "0")
        with pytest.raises(TwilioRestException) as refused:
            await asyncio.to_thread(lambda: client.calls(call.sid).update(status="canceled"))
        assert refused.value.code == 21220
        assert server.forms("/call-status")[-1]["CallStatus"] == "canceled"


@pytest.mark.hostile
async def test_a_call_waits_its_turn_in_the_queue() -> None:
    async with twiml_server(pace=1.0) as server:
        server.api.network.behaviour.calls_per_s = 1.0
        server.api.phone(T, "busy")
        waits = [int((await create(server)).queue_time) for _ in range(3)]
        assert waits[0] == 0
        assert 500 < waits[1] <= 1_000 < waits[2] <= 2_000


@pytest.mark.hostile
async def test_callbacks_lost_late_and_doubled() -> None:
    async with twiml_server() as server:
        deliveries = server.api.network.deliveries
        deliveries.lost.add("initiated")
        deliveries.late_ms["ringing"] = 60_000
        deliveries.doubled.add("completed")
        server.api.phone(T, "no_answer")
        call = await create(server, timeout=1)
        await over(server.api, call.sid)
        told = [(form["CallStatus"], form["SequenceNumber"]) for form in server.forms("/call-status")]
        assert told == [("no-answer", "2"), ("no-answer", "2"), ("ringing", "1")]


@pytest.mark.hostile
@pytest.mark.parametrize("as_", ["human", "machine"])
async def test_detection_judges_by_the_sound_and_tells_once(as_: str) -> None:
    async with twiml_server() as server:
        server.say("/outbound-call", '<Pause length="20" />')
        server.api.phone(T, as_, greeting=spoken("You have reached us and nobody is here just now. " * 3))
        call = await create(
            server, machine_detection="DetectMessageEnd", async_amd="true",
            async_amd_status_callback=f"{server.base}/amd?ref=R1",
        )  # fmt: skip
        await over(server.api, call.sid)
        (verdict,) = server.forms("/amd")
        assert verdict["AnsweredBy"] == {"human": "human", "machine": "machine_end_beep"}[as_]
        assert set(verdict) == {"CallSid", "AccountSid", "AnsweredBy", "MachineDetectionDuration"}
        assert int(verdict["MachineDetectionDuration"]) > (9_000 if as_ == "machine" else 1_200)
        assert server.forms("/call-status")[-1]["AnsweredBy"] == verdict["AnsweredBy"]


@pytest.mark.hostile
async def test_a_scripted_verdict_may_come_after_the_end() -> None:
    async with twiml_server() as server:
        server.say("/outbound-call", "<Hangup />")
        server.api.phone(T, "human", verdict=(9_000, "machine_end_silence"))
        call = await create(
            server, machine_detection="Enable", async_amd="true",
            async_amd_status_callback=f"{server.base}/amd",
        )  # fmt: skip
        await over(server.api, call.sid)
        await until(lambda: server.forms("/amd"))
        assert "AnsweredBy" not in server.forms("/call-status")[-1]


@pytest.mark.hostile
async def test_detection_in_line_holds_the_document_back() -> None:
    async with twiml_server() as server:
        server.say("/outbound-call", "<Hangup />")
        server.api.phone(T, "human")
        call = await create(server, machine_detection="Enable")
        await over(server.api, call.sid)
        (asked,) = server.forms("/outbound-call")
        assert asked["AnsweredBy"] == "human"
        assert int(asked["MachineDetectionDuration"]) > 1_000


@pytest.mark.hostile
async def test_a_mailbox_has_what_was_said_after_the_beep() -> None:
    async with twiml_server() as server:
        message = "This is the clinic, please call back."
        server.say("/outbound-call", f'<Pause length="7" /><Say>{message}</Say><Hangup />')
        phone = server.api.phone(T, "machine", greeting="Leave a message after the tone.", beep_ms=300)
        call = await create(server)
        await over(server.api, call.sid)
        assert caption_of(phone.mailbox) == message
        (beep_at_ms,) = [phone.leg.person.recorded_at_ms]
        assert beep_at_ms is not None
        assert level_dbfs(phone.said[(beep_at_ms - 100) * 8 : (beep_at_ms - 20) * 8]) > -25, "the beep"
        assert caption_of(phone.heard[: beep_at_ms * 8]) is None
