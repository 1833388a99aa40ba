"""Timelines of calls out: what the carrier asks and tells, second by second, and what comes of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import pytest

from bridge import Agent, Refuse
from bridge.core import messages as m
from bridge.server import admission
from bridge.server.gates import StreamTokens
from bridge.server.new_calls import Ambiguous, NewCall
from tests.outbound.kit import AC, BASE, CA1, CA2, NUMBER, PERSON, Office, office, out, quick, run, until

STREAM = (
    '<?xml version="1.0" encoding="UTF-8"?><Response><Connect action="B/after-stream?stream=…" method="POST">'
    '<Stream statusCallback="B/stream-status" url="wss://voice.example.com/media-stream">'
    '<Parameter name="token" value="…" /></Stream></Connect></Response>'
)
HANGUP = '<?xml version="1.0" encoding="UTF-8"?><Response><Hangup /></Response>'


def plain(document: str) -> str:
    """The document without what is new each time."""
    document = re.sub(r'(name="token" value=")[^"]+', r"\1…", document.replace(BASE, "B"))
    return re.sub(r'stream=[^"]+', "stream=…", document)


def test_1_a_person_answers() -> None:
    async def call() -> None:
        async with office(Agent("Ask about the delivery.")) as one:
            ref = (await one.place(context={"name": "Ann"})).ref
            asked = await one.posted()
            query = f"?ref={ref}"
            assert (asked.to, asked.from_) == (PERSON, NUMBER)
            assert asked.url == f"{BASE}/outbound-call{query}"
            assert asked.status_callback == f"{BASE}/call-status{query}"
            assert asked.amd_callback == f"{BASE}/amd{query}"
            await one.status(ref, "initiated", 0, 0.4)
            assert not one.service.registry.waits_for(CA1)
            await one.status(ref, "ringing", 1, 2.1, StirStatus="A")
            await until(lambda: one.service.registry.waits_for(CA1))  # the model is dialled
            document = await one.answered(ref, 7.0)
            assert plain(document) == STREAM
            await one.status(ref, "in-progress", 2, 7.0)
            verdicts = fed(one)
            one.at(9.4)
            amd = {
                "AccountSid": AC,
                "CallSid": CA1,
                "AnsweredBy": "human",
                "MachineDetectionDuration": "2380",
            }
            assert (await one.callback(f"/amd{query}", amd)).status_code == 204
            assert verdicts == [m.MachineVerdict("human", 2380)]
            ended = {"CallDuration": "54", "Duration": "1", "SipResponseCode": "200"}
            await one.status(ref, "completed", 3, 61, **ended)
            record = one.record(ref)
            assert (record.outcome, record.sip_code, record.stir) == ("completed", 200, "A")
            assert (record.answered_by, record.talk_s, record.ring_ms) == ("human", 54, 5_000)

    run(call())


def fed(one: Office) -> list[Any]:
    """What is told to the call from now on."""
    runner, told = one.service.registry.runner(CA1), list[Any]()
    assert runner is not None
    runner.feed = told.append  # type: ignore[method-assign,assignment]
    return told


def test_2_busy() -> None:
    async def call() -> None:
        async with office() as one:
            ref = (await one.place()).ref
            await one.posted()
            await one.status(ref, "initiated", 0, 0.4)
            await one.status(ref, "ringing", 1, 0.6)
            await until(lambda: one.service.registry.waits_for(CA1))
            await one.status(ref, "busy", 2, 3.0, CallDuration="0", SipResponseCode="486")
            assert not one.service.registry.waits_for(CA1)  # and is let go
            assert (one.record(ref).outcome, one.record(ref).sip_code) == ("busy", 486)

    run(call())


def test_3_no_answer() -> None:
    async def call() -> None:
        async with office() as one:
            ref = (await one.place()).ref
            await one.posted()
            await one.status(ref, "ringing", 1, 2.0)
            await one.status(ref, "no-answer", 2, 32, SipResponseCode="487", CallDuration="0", Duration="0")
            assert (one.record(ref).outcome, one.record(ref).ring_ms) == ("no_answer", 30_000)

    run(call())


def test_4_callbacks_out_of_order_end_a_call_once() -> None:
    async def call() -> None:
        async with office() as one:
            ref = (await one.place()).ref
            await one.posted()
            seen: list[str] = []
            one.calls.moved.append(lambda _before, after: seen.append(after.outcome) if after.done else None)
            await one.status(ref, "completed", 3, 61, CallDuration="54", SipResponseCode="200")
            await one.status(ref, "ringing", 1, 2.1)
            await one.status(ref, "completed", 3, 61, CallDuration="54", SipResponseCode="200")
            assert not one.service.registry.waits_for(CA1)
            assert one.record(ref).state == 5
            assert set(seen) == {"completed"}
            assert plain(await one.answered(ref, 62)) == HANGUP

    run(call())


def test_5_a_lost_answer_is_no_second_call(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)

    async def call() -> None:
        async with office() as one:

            async def lost(_wanted: NewCall) -> Ambiguous:
                asyncio.get_running_loop().call_later(
                    0.03, lambda: tasks.append(asyncio.ensure_future(told()))
                )
                return Ambiguous("no answer within 4 s")

            async def told() -> None:
                await one.status(ref, "initiated", 0, 4.6)

            tasks: list[Any] = []
            one.rest.answers = [lost]
            ref = (await one.place()).ref
            await until(lambda: one.record(ref).call_sid == CA1)
            await asyncio.sleep(0.25)
            assert len(one.rest.created) == 1
            assert one.rest.lists == 0

    run(call())


def test_6_a_second_call_of_one_request_is_cancelled() -> None:
    async def call() -> None:
        async with office() as one:
            ref = (await one.place()).ref
            await one.posted()
            await one.status(ref, "initiated", 0, 0.4)
            await one.status(ref, "initiated", 0, 0.6, sid=CA2)
            await one.status(ref, "ringing", 1, 0.7, sid=CA2)
            await until(lambda: one.rest.canceled == [CA2])
            assert plain(await one.answered(ref, 3, sid=CA2)) == HANGUP
            record = one.record(ref)
            assert (record.call_sid, record.duplicates) == (CA1, 1)
            metrics = one.service.services.metrics.registry
            assert metrics.get_sample_value("phonebridge_rejects_total", {"gate": "duplicate_call"}) == 1

    run(call())


def test_7_a_replayed_answer_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[StreamTokens] = []

    class Tokens(StreamTokens):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            made.append(self)

    monkeypatch.setattr(admission, "StreamTokens", Tokens)

    async def call() -> None:
        async with office() as one:
            ref = (await one.place()).ref
            await one.posted()
            first = await one.answered(ref, 7.0)
            token = re.findall(r'name="token" value="([^"]+)', first)[0]
            assert made[0].redeem(token, CA1, AC) is None
            one.service.services.control.intents.began(CA1)
            again = await one.answered(ref, 20.0)
            assert plain(again) == plain(first) == STREAM
            assert 'value="spent"' in again

    run(call())


def test_8_a_key_that_is_used_again() -> None:
    async def call() -> None:
        async with office() as one:
            first = await one.asks()
            assert first.status_code == 202
            assert first.json()["state"] == "queued"
            again = await one.asks()
            assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
            assert again.json()["id"] == first.json()["id"]
            other = await one.asks({"to": PERSON, "consent": "another"})
            assert (other.status_code, other.json()["rule"]) == (409, "idempotency_conflict")
            await one.posted()
            await asyncio.sleep(0.05)
            assert len(one.rest.created) == 1

    run(call())


def test_9_quiet_hours() -> None:
    async def call() -> None:
        async with office(call_hours="09:00-20:00") as one:
            numbers: Any = one.outbound.rules.numbers
            numbers.zones = lambda _number: ["America/New_York"]
            one.now_s = 1_799_980_200  # 2027-01-14, 21:30 in New York
            answer = await one.asks()
            assert (answer.status_code, answer.json()["rule"]) == (422, "call_hours")
            assert "21:30" in answer.json()["error"]
            assert answer.headers["retry-after"] == str(11.5 * 3600)[:-2]
            await asyncio.sleep(0.05)
            assert one.rest.created == []
            assert list(one.calls.store.of_day()) == []

    run(call())


def test_the_signatures_are_the_carriers() -> None:
    async def call() -> None:
        async with office() as one:
            path, signature = "/outbound-call?ref=R1", "ijRJAg56ZS9lw4lsWFKZyb4McBM="
            asked = await one.callback(path, out("in-progress"), **{"x-twilio-signature": signature})
            assert (asked.status_code, plain(asked.text)) == (200, HANGUP)  # signed, and nobody's call
            amd = {"AccountSid": AC, "CallSid": CA1, "AnsweredBy": "machine_end_beep"}
            amd["MachineDetectionDuration"] = "9420"
            signature = "YQjHpqKYPf2zBcLIoqYYEAD7GEs="
            told = await one.callback("/amd?ref=R1", amd, **{"x-twilio-signature": signature})
            assert told.status_code == 204
            for path in ("/outbound-call?ref=R1", "/call-status?ref=R1", "/amd?ref=R1"):
                forged = await one.callback(path, out("ringing"), **{"x-twilio-signature": "AAAA"})
                assert forged.status_code == 403

    run(call())


def test_15_a_verdict_after_the_end_is_noted() -> None:
    async def call() -> None:
        async with office() as one:
            ref = (await one.place()).ref
            await one.posted()
            await one.status(ref, "completed", 3, 61, CallDuration="54", SipResponseCode="200")
            amd = {"AccountSid": AC, "CallSid": CA1, "AnsweredBy": "machine_end_other"}
            assert (await one.callback(f"/amd?ref={ref}", amd)).status_code == 204
            assert (one.rest.canceled, one.rest.hung_up) == ([], [])

    run(call())


def test_resolver_and_agent_know_that_we_called() -> None:
    seen: dict[str, str] = {}

    def resolver(fields: Mapping[str, str]) -> Any:
        seen.update(fields)
        return {"greeting": "Hello Ann."}

    async def call() -> None:
        async with office(Agent("Ask about the delivery.", resolver=resolver)) as one:
            ref = (await one.place(context={"name": "Ann", "order": "4711"})).ref
            await one.posted()
            await one.status(ref, "ringing", 1, 2.1)
            await until(lambda: one.service.registry.waits_for(CA1))
            runner = one.service.registry.runner(CA1)
            assert runner is not None
            config = runner.call.config
            assert config.unclaimed_ms == 75_000
            assert config.outbound is not None
            assert "Ask about the delivery." in config.session.instructions
            assert '- order: "4711"' in config.session.instructions

    run(call())
    assert (seen["direction"], seen["To"], seen["From"]) == ("outbound", PERSON, NUMBER)
    assert (seen["context.name"], seen["context.order"]) == ("Ann", "4711")


def test_a_call_that_its_resolver_refuses_rings_no_longer() -> None:
    async def call() -> None:
        async with office(Agent("Hi.", resolver=lambda _fields: Refuse())) as one:
            ref = (await one.place()).ref
            await one.posted()
            await one.status(ref, "ringing", 1, 2.1)
            await until(lambda: one.rest.canceled == [CA1])
            await one.status(ref, "canceled", 2, 2.5, SipResponseCode="487")
            assert one.record(ref).outcome == "canceled"

    run(call())
