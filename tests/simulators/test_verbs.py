"""TwiML verbs that ask, wait and gather people."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridge.codecs.caption import caption_of
from bridge.doubles.people.person import HangUp, Listen, Person, Press, Say, Script, Wait
from bridge.doubles.people.words import spoken
from bridge.simulators.phone import PhoneCall
from bridge.simulators.steps import Kind
from tests.door.rig import kinds, until
from tests.simulators.server import AC, T, TwimlServer, twiml_server


def presses(keys: str, after_ms: int = 500) -> Script:
    """Hears something, then presses."""
    yield Listen(quiet_ms=0)
    yield Wait(after_ms)
    yield Press(keys)


def calling(server: TwimlServer, script: Script | None = None) -> PhoneCall:
    return server.caller(person=Person(script))


async def placed(server: TwimlServer, script: Script | None = None) -> PhoneCall:
    call = calling(server, script)
    await call.place(f"{server.base}/incoming-call")
    return call


async def test_gather_takes_keys_during_its_prompt_and_stops_it() -> None:
    async with twiml_server() as server:
        prompt = "Please press the two digits of your year, and then wait for a moment."
        server.say("/incoming-call", f'<Gather action="B/keys" numDigits="2"><Say>{prompt}</Say></Gather>')
        server.say("/keys", "<Hangup />")
        call = await placed(server, presses("42#"))
        (form,) = server.forms("/keys")
        assert form["Digits"] == "42"
        heard = bytes(call.person.heard).strip(b"\xff")
        assert len(heard) < len(spoken(prompt)) / 2, "the prompt was not heard to its end"
        server.say("/incoming-call", '<Gather action="B/keys"><Say>Your number.</Say></Gather>')
        await placed(server, presses("123#"))
        form = server.forms("/keys")[-1]
        assert (form["Digits"], form["FinishedOnKey"]) == ("123", "#")


@pytest.mark.hostile
async def test_gather_of_nothing_is_the_next_verb_or_an_empty_result() -> None:
    async with twiml_server() as server:
        gather = '<Gather action="B/keys" timeout="6"{}><Say>Press 1.</Say></Gather><Say>Nothing came.</Say>'
        server.say("/incoming-call", gather.format(""))
        server.say("/keys", "<Hangup />")
        call = await placed(server)
        assert kinds(call) == [Kind.ASKED, Kind.SAID, Kind.GATHERED, Kind.SAID, Kind.HUNG_UP]
        server.say("/incoming-call", gather.format(' actionOnEmptyResult="true"'))
        await placed(server)
        (form,) = server.forms("/keys")
        assert form["Digits"] == ""


@pytest.mark.hostile
async def test_gather_hears_words() -> None:
    def speaks() -> Script:
        yield Listen(quiet_ms=300)
        yield Say(spoken("Half past seven."))

    async with twiml_server() as server:
        server.say("/incoming-call", '<Gather input="speech dtmf" action="B/said"><Say>When?</Say></Gather>')
        server.say("/said", "<Hangup />")
        await placed(server, speaks())
        (form,) = server.forms("/said")
        assert (form["SpeechResult"], form["Confidence"]) == ("Half past seven.", "0.9")


@pytest.mark.hostile
async def test_keys_are_sound_and_an_ivr_hears_them() -> None:
    async with twiml_server() as server:
        menu = server.api.phone(T, "ivr", menu={"1": "Nine to five.", "2": "Hold on."})
        server.say("/outbound", '<Pause length="5" /><Play digits="w1" /><Pause length="3" />')
        client = server.client()
        await asyncio.to_thread(
            lambda: client.calls.create(to=T, from_="+15550002222", url=f"{server.base}/outbound")
        )
        leg = await menu.over()
        assert menu.decoded == "1"
        assert (caption_of(menu.said) or "").endswith("Nine to five.")
        assert [step.detail for step in leg.steps if step.kind is Kind.PLAYED] == ["keys w1"]


@pytest.mark.hostile
async def test_record_keeps_what_was_said_and_ends_by_silence_or_hang_up() -> None:
    def speaks(then_leaves: bool) -> Script:
        yield Listen(quiet_ms=0, least_ms=400)
        yield Wait(400)
        yield Say(spoken("Please call me back."))
        if then_leaves:
            yield HangUp()

    async with twiml_server() as server:
        server.say(
            "/incoming-call",
            '<Record action="B/kept" timeout="3" maxLength="120" recordingStatusCallback="B/recording" />',
        )
        server.say("/kept", "<Hangup />")
        for leaves in (False, True):
            await placed(server, speaks(leaves))
            form, told = server.forms("/kept")[-1], server.forms("/recording")[-1]
            assert form["Digits"] == ("hangup" if leaves else "")
            assert form["CallStatus"] == ("completed" if leaves else "in-progress")
            assert (told["RecordingSid"], told["RecordingStatus"]) == (form["RecordingSid"], "completed")
            sound = server.api.network.recordings[form["RecordingSid"]]
            assert caption_of(sound) == "Please call me back."
            assert int(form["RecordingDuration"]) == round(len(sound) / 8_000)


@pytest.mark.hostile
async def test_a_wait_document_is_asked_again_until_it_says_leave() -> None:
    async with twiml_server() as server:
        waits = ["<Say>You are first.</Say>", '<Pause length="2" />', "<Leave />"]
        server.answers["/hold"] = lambda _: f"<Response>{waits.pop(0)}</Response>"
        server.say("/incoming-call", '<Enqueue action="B/after" waitUrl="B/hold">pb-D1</Enqueue>')
        server.say("/after", "<Hangup />")
        call = await placed(server)
        asked = server.forms("/hold")
        assert [form["QueuePosition"] for form in asked] == ["1", "1", "1"]
        assert asked[0]["QueueTime"] == "0"
        assert int(asked[2]["QueueTime"]) >= 2
        (form,) = server.forms("/after")
        assert (form["QueueResult"], form["QueueSid"]) == ("leave", asked[0]["QueueSid"])
        assert Kind.QUEUED in kinds(call)


@pytest.mark.hostile
async def test_whoever_leaves_a_queue_otherwise_is_told_of_too() -> None:
    async with twiml_server() as server:
        server.say("/incoming-call", '<Enqueue action="B/after" waitUrl="B/hold">pb-D1</Enqueue>')
        server.say("/hold", '<Pause length="2" />')
        server.say("/go", "<Hangup />")
        for result in ("hangup", "redirected"):
            call = calling(server)
            placing = asyncio.create_task(call.place(f"{server.base}/incoming-call"))
            await until(lambda call=call: call.sid in [form["CallSid"] for form in server.forms("/hold")])
            if result == "hangup":
                call.hang_up()
            else:
                calls = server.client().calls(call.sid)
                await asyncio.to_thread(calls.update, url=f"{server.base}/go")
            await placing
            assert server.forms("/after")[-1]["QueueResult"] == result


ROOM = (
    '<Dial action="B/after"><Conference participantLabel="{}" startConferenceOnEnter="true" beep="false" '
    'endConferenceOnExit="{}" statusCallback="B/room" statusCallbackEvent="start end join leave" '
    'waitUrl="B/hold">pb-D1</Conference></Dial>'
)


async def in_a_room(server: TwimlServer) -> tuple[PhoneCall, Any, asyncio.Task[Any]]:
    """A caller and a callee who were brought together, the callee first."""
    server.say("/callee", ROOM.format("callee", "true"))
    server.say("/incoming-call", ROOM.format("caller", "true"))
    server.say("/hold", '<Say loop="0">Please hold.</Say>')
    server.say("/after", "<Hangup />")
    phone = server.api.phone(T, "silent", answers_after_ms=0, rings_after_ms=0)
    client = server.client()
    create = lambda: client.calls.create(to=T, from_="+15550002222", url=f"{server.base}/callee")  # noqa: E731
    await asyncio.to_thread(create)
    await until(lambda: server.forms("/hold"))
    caller = calling(server)
    placing = asyncio.create_task(caller.place(f"{server.base}/incoming-call"))
    await until(
        lambda: [form["StatusCallbackEvent"] for form in server.forms("/room")].count("conference-start")
    )
    return caller, phone, placing


@pytest.mark.hostile
async def test_a_room_starts_with_two_and_both_hear_each_other() -> None:
    async with twiml_server() as server:
        caller, phone, placing = await in_a_room(server)
        phone.say("Good evening.")
        await until(lambda: caption_of(bytes(caller.person.heard)) == "Good evening.")
        caller.say(spoken("And to you."))
        await until(lambda: (caption_of(phone.heard) or "").endswith("And to you."))
        phone.hang_up()
        await placing
        await server.api.network.postman.all_delivered()
        told = server.forms("/room")
        assert [(form["StatusCallbackEvent"], form.get("ParticipantLabel")) for form in told] == [
            ("participant-join", "callee"), ("participant-join", "caller"), ("conference-start", "caller"),
            ("participant-leave", "callee"), ("participant-leave", "caller"), ("conference-end", None),
        ]  # fmt: skip
        assert (told[3]["ReasonParticipantLeft"], told[3]["ParticipantCallStatus"]) == (
            "participant_hung_up", "completed",
        )  # fmt: skip
        assert told[4]["ReasonParticipantLeft"] == "moderator_ended_conference"
        assert told[5]["CallSidEndingConference"] == phone.leg.sid
        assert {(form["FriendlyName"], form["ConferenceSid"], form["AccountSid"]) for form in told} == {
            ("pb-D1", f"CF{1:032x}", AC)
        }
        after = server.forms("/after")
        assert after[-1]["DialCallStatus"] == "answered"
        assert "DialCallSid" not in after[-1]


@pytest.mark.hostile
async def test_whoever_rest_takes_out_of_a_room_ends_it_by_its_flag() -> None:
    async with twiml_server() as server:
        caller, phone, placing = await in_a_room(server)
        server.say("/go", "<Hangup />")
        calls = server.client().calls(caller.sid)
        await asyncio.to_thread(calls.update, url=f"{server.base}/go")
        await placing
        await phone.over()
        left = [form for form in server.forms("/room") if form["StatusCallbackEvent"] == "participant-leave"]
        assert left[0]["ReasonParticipantLeft"] == "participant_updated_via_api"
        assert left[0]["ParticipantLabel"] == "caller"


@pytest.mark.hostile
async def test_rest_mutes_holds_announces_and_ends_a_room() -> None:
    async with twiml_server() as server:
        caller, phone, placing = await in_a_room(server)
        server.say("/announce", "<Say>One more minute.</Say>")

        def asked() -> None:
            client = server.client()
            (room,) = client.conferences.list(friendly_name="pb-D1")
            people = client.conferences(room.sid).participants
            assert {one.label for one in people.list()} == {"caller", "callee"}
            assert people("callee").fetch().call_sid == phone.leg.sid
            assert people("callee").update(muted=True).muted
            assert people("caller").update(announce_url=f"{server.base}/announce").hold is False

        await asyncio.to_thread(asked)
        phone.say("Nobody hears this.")
        await until(lambda: (caption_of(phone.said) or "").endswith("Nobody hears this."))
        await until(lambda: (caption_of(bytes(caller.person.heard)) or "").endswith("One more minute."))
        assert "Nobody" not in (caption_of(bytes(caller.person.heard)) or "")
        rooms = server.client().conferences
        ended = await asyncio.to_thread(lambda: rooms("pb-D1").update(status="completed"))
        assert ended.reason_conference_ended == "conference-ended-via-api"
        await placing
        await server.api.network.postman.all_delivered()
        left = [form for form in server.forms("/room") if form["StatusCallbackEvent"] == "participant-leave"]
        assert {form["ReasonParticipantLeft"] for form in left} == {"conference_ended_via_api"}


@pytest.mark.hostile
async def test_what_is_not_simulated_says_why() -> None:
    async with twiml_server() as server:
        for verb, why in (
            ("<Pay />", "cards are not taken"),
            ('<Start><Stream url="wss://x" /></Start>', "one direction"),
            ("<Refer><Sip>sip:b@example.com</Sip></Refer>", "13801"),
            ("<Sing />", "does not know"),
        ):
            server.say("/incoming-call", verb)
            call = await placed(server)
            assert kinds(call) == [Kind.ASKED, Kind.FAILED]
            assert why in call.steps[-1].detail
