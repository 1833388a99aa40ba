"""`<Dial>` of numbers: ringing, whisper, two voices in one wire, and what the action is told."""

from __future__ import annotations

import asyncio

import pytest

from bridge.codecs.caption import caption_of
from bridge.doubles.people.person import Listen, Person, Say, Script, Wait
from bridge.doubles.people.words import spoken
from bridge.simulators.steps import Kind
from tests.door.rig import kinds, until
from tests.simulators.server import N, T, TwimlServer, U, twiml_server

DIAL = (
    '<Dial action="B/after" callerId="+15550002222" timeout="25"><Number url="B/whisper" '
    f'statusCallback="B/leg" statusCallbackEvent="initiated ringing answered completed">{T}</Number></Dial>'
)
WHISPER = "<Say>A caller for you.</Say><Pause />"


def talks() -> Script:
    """The caller: speaks when the other side has said hello, and listens."""
    yield Listen(quiet_ms=200)
    yield Say(spoken("I would like to book a table."))
    yield Listen(quiet_ms=2_000)


def answers() -> Script:
    """The target: hears the whisper, then the caller, and answers them."""
    yield Listen(quiet_ms=1_500)
    yield Say(spoken("This is the restaurant."))
    yield Listen(quiet_ms=200)
    yield Say(spoken("For how many?"))
    yield Wait(1_000)


async def placed(server: TwimlServer, script: Script | None = None) -> tuple[Person, list[Kind]]:
    """A caller who is sent on by the first document; what they lived through."""
    server.say("/incoming-call", DIAL)
    server.say("/after", "<Hangup />")
    caller = server.caller(person=Person(script))
    await caller.place(f"{server.base}/incoming-call")
    return caller.person, kinds(caller)


async def test_a_whisper_that_ends_joins_the_legs_and_both_hear_each_other() -> None:
    async with twiml_server() as server:
        phone = server.api.phone(T, script=answers, hangs_up_after_ms=None)
        server.say("/whisper", WHISPER)
        placing = asyncio.create_task(placed(server, talks()))
        await until(lambda: phone.legs and caption_of(phone.said) == "This is the restaurant. For how many?")
        phone.hang_up()
        person, lived = await placing
        assert lived == [Kind.ASKED, Kind.DIALLED, Kind.ASKED, Kind.HUNG_UP]
        assert caption_of(bytes(person.heard)) == "This is the restaurant. For how many?"
        assert caption_of(phone.heard) == "A caller for you. I would like to book a table."
        (whisper,) = server.forms("/whisper")
        leg = {name: whisper[name] for name in ("ParentCallSid", "Direction", "From", "To", "CallStatus")}
        assert leg == {
            "ParentCallSid": server.forms("/incoming-call")[0]["CallSid"], "Direction": "outbound-dial",
            "From": N, "To": T, "CallStatus": "in-progress",
        }  # fmt: skip
        (after,) = server.forms("/after")
        assert (after["DialCallStatus"], after["DialBridged"]) == ("completed", "true")
        assert after["DialCallSid"] == whisper["CallSid"]
        assert int(after["DialCallDuration"]) >= 6
        assert (after["From"], after["To"], after["CallStatus"]) == (U, N, "in-progress")
        told = [form["CallStatus"] for form in server.forms("/leg")]
        assert told == ["initiated", "ringing", "in-progress", "completed"]


@pytest.mark.hostile
async def test_a_whisper_that_hangs_up_is_completed_and_not_bridged() -> None:
    async with twiml_server() as server:
        server.api.phone(T, "human")
        server.say("/whisper", "<Say>A caller for you.</Say><Hangup />")
        await placed(server)
        (after,) = server.forms("/after")
        assert (after["DialCallStatus"], after["DialBridged"]) == ("completed", "false")


@pytest.mark.hostile
async def test_who_is_not_reached() -> None:
    async with twiml_server() as server:
        for as_, status in (("busy", "busy"), ("no_answer", "no-answer"), ("invalid", "failed")):
            server.api.phone(T, as_)
            _, lived = await placed(server)
            assert lived == [Kind.ASKED, Kind.DIALLED, Kind.ASKED, Kind.HUNG_UP]
            after = server.forms("/after")[-1]
            assert (after["DialCallStatus"], after["DialCallDuration"]) == (status, "0")
            assert after["DialBridged"] == "false"
        assert server.forms("/whisper") == []


@pytest.mark.hostile
async def test_a_caller_who_leaves_while_it_rings_takes_the_other_leg_with_them() -> None:
    async with twiml_server() as server:
        phone = server.api.phone(T, "no_answer")
        server.say("/incoming-call", DIAL)
        caller = server.caller()
        placing = asyncio.create_task(caller.place(f"{server.base}/incoming-call"))
        await until(lambda: phone.legs and phone.leg.status == "ringing")
        caller.hang_up()
        await placing
        assert phone.leg.status == "canceled"
        (after,) = server.forms("/after")
        assert (after["CallStatus"], after["DialCallStatus"]) == ("completed", "canceled")
        assert server.forms("/leg")[-1]["CallStatus"] == "canceled"


@pytest.mark.hostile
async def test_a_redirect_by_rest_asks_the_action_and_drops_its_answer() -> None:
    async with twiml_server() as server:
        phone = server.api.phone(T, "human")
        server.say("/incoming-call", DIAL)
        server.say("/whisper", "")
        server.say("/after", "<Say>Not this.</Say>")
        server.say("/go", "<Say>But this.</Say>")
        caller = server.caller()
        placing = asyncio.create_task(caller.place(f"{server.base}/incoming-call"))
        await until(lambda: caller.bridges)
        calls = server.client().calls(caller.sid)
        await asyncio.to_thread(lambda: calls.update(url=f"{server.base}/go", method="POST"))
        await placing
        said = [step.detail for step in caller.steps if step.kind is Kind.SAID]
        assert said == ["But this."]
        (after,) = server.forms("/after")
        assert (after["CallStatus"], after["DialCallStatus"]) == ("in-progress", "completed")
        assert phone.leg.over


@pytest.mark.hostile
async def test_the_first_of_several_wins_and_an_extension_is_keyed() -> None:
    async with twiml_server() as server:
        slow = server.api.phone("+15550003331", answers_after_ms=9_000)
        quick = server.api.phone("+15550003332", "ivr", answers_after_ms=1_000, greeting="Extension?")
        quick.menu = {"12": "Connected."}
        server.say(
            "/incoming-call",
            '<Dial action="B/after"><Number>+15550003331</Number>'
            '<Number sendDigits="wwwwww1w2">+15550003332</Number></Dial>',
        )
        caller = server.caller()
        placing = asyncio.create_task(caller.place(f"{server.base}/incoming-call"))
        await until(lambda: caller.bridges)
        await until(lambda: caption_of(bytes(caller.person.heard)) == "Connected.")
        caller.hang_up()
        await placing
        assert quick.decoded == "12"
        assert slow.leg.status == "canceled"
        assert slow.leg.answered_ms is None


@pytest.mark.hostile
async def test_an_attribute_that_the_carrier_does_not_know_is_a_failure() -> None:
    async with twiml_server() as server:
        server.say("/incoming-call", f'<Dial timeOut="25">{T}</Dial>')
        caller = server.caller()
        await caller.place(f"{server.base}/incoming-call")
        assert kinds(caller) == [Kind.ASKED, Kind.FAILED]
        assert "timeOut" in caller.steps[-1].detail


@pytest.mark.hostile
async def test_a_sip_target_tells_its_own_code() -> None:
    async with twiml_server() as server:
        server.api.phone("sip:desk@example.com", "busy")
        server.say(
            "/incoming-call",
            '<Dial action="B/after"><Sip username="u" password="p">sip:desk@example.com?X-Ref=1</Sip></Dial>',
        )
        await server.caller().place(f"{server.base}/incoming-call")
        (after,) = server.forms("/after")
        assert (after["DialCallStatus"], after["DialSipResponseCode"]) == ("busy", "486")


@pytest.mark.hostile
async def test_a_number_that_is_not_ours_cannot_be_shown() -> None:
    async with twiml_server() as server:
        phone = server.api.phone(T)
        server.api.network.caller_ids.add("+15550002299")
        for caller_id, status in (("+15550009999", "failed"), ("anonymous", "failed"), (U, "completed")):
            server.say("/incoming-call", f'<Dial action="B/after" callerId="{caller_id}">{T}</Dial>')
            phone.hangs_up_after_ms = 2_000
            await server.caller().place(f"{server.base}/incoming-call")
            assert server.forms("/after")[-1]["DialCallStatus"] == status


@pytest.mark.hostile
async def test_detection_of_a_dialled_leg_is_told_aside() -> None:
    async with twiml_server() as server:
        server.api.phone(T, verdict=(2_000, "human"), hangs_up_after_ms=4_000)
        server.say(
            "/incoming-call",
            '<Dial><Number machineDetection="DetectMessageEnd" amdStatusCallback="B/amd">'
            f"{T}</Number></Dial>",
        )
        caller = server.caller()
        await caller.place(f"{server.base}/incoming-call")
        (told,) = server.forms("/amd")
        assert (told["AnsweredBy"], told["CallSid"]) == ("human", caller.bridges[0][1].sid)
