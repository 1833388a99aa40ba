"""`POST /calls` and what belongs to it: who may ask, for what, and what is answered."""

from __future__ import annotations

import asyncio
from typing import Any

from bridge import Agent
from bridge.settings.calling import CallHours
from tests.outbound.kit import CA1, CONSENT, KEY, NUMBER, PERSON, Office, office, run, until

OTHER_KEY = "fedcba9876543210-of-another"


def test_without_a_key_nothing_is_said_about_calls() -> None:
    async def call() -> None:
        async with office() as one:
            assert (await one.asks(key="x" * 30)).status_code == 401
            assert (await one.told("0" * 32, key="x" * 30)).status_code == 401
            for path in ("/calls", "/calls/00/cancel"):
                assert (await one.client.post(path)).status_code == 401
            # not the carrier's token either
            assert (await one.asks(key="12345")).status_code == 401
            assert one.rest.created == []

    run(call())


def test_off_there_is_no_such_route() -> None:
    from bridge import create_app
    from tests.outbound.kit import settings

    paths = {getattr(route, "path", "") for route in create_app(settings(outbound=False)).routes}
    assert not paths & {"/calls", "/outbound-call", "/amd"}
    assert "/call-status" in paths, "it tells of callers who come in, too"
    paths = {getattr(route, "path", "") for route in create_app(settings(api_keys="")).routes}
    assert "/outbound-call" in paths
    assert "/calls" not in paths


UNREADABLE: list[tuple[Any, str]] = [
    ([], "a JSON object"),
    ({"consent": "x"}, "to has to be"),
    ({"to": 15550001111}, "to has to be a text"),
    ({"to": "+1" * 40}, "at most 40"),
    ({"to": PERSON, "twiml": "<Response/>"}, "'twiml' is unknown"),
    ({"to": PERSON, "context": {"a": 1}}, "object of texts"),
    ({"to": PERSON, "context": {"a b": "1"}}, "no name"),
    ({"to": PERSON, "context": {f"a{n}": "1" for n in range(21)}}, "more than 20"),
    ({"to": PERSON, "context": {"a": "\ud800"}}, "surrogate"),
    ({"to": PERSON, "ring_s": 600}, "5 to 120"),
    ({"to": PERSON, "ring_s": True}, "5 to 120"),
    ({"to": PERSON, "consent": "x" * 501}, "at most 500"),
    ({"to": PERSON, "context": {"a": "x" * 9_000}}, "more than 8192 bytes"),
]


def test_what_cannot_be_read_is_400() -> None:
    async def call() -> None:
        async with office() as one:
            for body, said in UNREADABLE:
                answer = await one.asks(body)
                assert (answer.status_code, said in answer.json()["error"]) == (400, True), answer.text
            assert one.rest.created == []

    run(call())


def test_a_request_needs_an_idempotency_key() -> None:
    async def call() -> None:
        async with office() as one:
            for idem in (None, "", " ", "x" * 256):
                assert (await one.asks(idem=idem)).status_code == 400

    run(call())


def test_a_request_that_another_machine_is_answering_places_no_call() -> None:
    async def elsewhere(_key: str, _idem: str) -> bool:
        return False

    async def call() -> None:
        async with office() as one:
            one.service.services.fleet.learn_request = elsewhere  # type: ignore[method-assign,assignment]
            answer = await one.asks()
            assert (answer.status_code, answer.json()["rule"]) == (409, "in_progress")
            assert answer.headers["retry-after"] == "1"
            assert one.rest.created == []

    run(call())


def test_a_request_that_a_rule_refuses_is_left_to_any_machine() -> None:
    async def call() -> None:
        async with office() as one:
            refused: list[tuple[str, str]] = []
            fleet = one.service.services.fleet
            fleet.request_refused = lambda *asked: refused.append(asked)  # type: ignore[method-assign]
            assert (await one.asks({"to": "911", "consent": CONSENT}, idem="one")).status_code == 422
            assert [idem for _key, idem in refused] == ["one"]
            assert (await one.asks(idem="two")).status_code == 202
            other = await one.asks({"to": PERSON, "consent": "another"}, idem="two")
            assert (other.status_code, other.json()["rule"]) == (409, "idempotency_conflict")
            assert len(refused) == 1

    run(call())


FORBIDDEN: list[tuple[dict[str, Any], str]] = [
    ({"to": "+442079460000", "consent": CONSENT}, "country"),
    ({"to": "+19005550100", "consent": CONSENT}, "kind"),
    ({"to": "+870123456789", "consent": CONSENT}, "kind"),
    ({"to": "911", "consent": CONSENT}, "number"),
    ({"to": "+112", "consent": CONSENT}, "number"),
    ({"to": "tel:+15550001111;ext=9", "consent": CONSENT}, "number"),
    ({"to": "somebody", "consent": CONSENT}, "number"),
    ({"to": PERSON, "consent": " "}, "consent"),
    ({"to": PERSON}, "consent"),
    ({"to": PERSON, "consent": CONSENT, "from": "+15559999999"}, "from"),
    ({"to": PERSON, "consent": CONSENT, "agent": "stranger"}, "agent"),
    ({"to": PERSON, "consent": CONSENT}, "call_hours"),
]


def test_a_rule_that_forbids_a_call_is_named() -> None:
    async def call() -> None:
        async with office(Agent("Hi.", name="shop")) as one:
            for body, rule in FORBIDDEN:
                if rule == "call_hours":  # nobody knows the time at an invented number
                    one.calls.settings.call_hours = CallHours()
                answer = await one.asks(body)
                assert (answer.status_code, answer.json()["rule"]) == (422, rule)
            assert one.rest.created == []

    run(call())


def test_numbers_are_read_as_people_write_them() -> None:
    async def call() -> None:
        async with office() as one:
            for text in ("+1 (555) 000-1111", "555.000.1111", "1-555-000-1111"):
                answer = await one.asks({"to": text, "consent": CONSENT}, idem=text.replace(" ", ""))
                assert answer.status_code in (202, 422), answer.text
            assert (await one.posted()).to == PERSON
            # the second and third: that number is being called now
            assert len(one.rest.created) == 1

    run(call())


def test_each_key_knows_of_its_own_calls_only() -> None:
    async def call() -> None:
        async with office(api_keys=f"ops={KEY},shop={OTHER_KEY}") as one:
            ref = (await one.asks()).json()["id"]
            assert (await one.told(ref)).status_code == 200
            assert (await one.told(ref, OTHER_KEY)).status_code == 404
            headers = {"authorization": f"Bearer {OTHER_KEY}"}
            assert (await one.client.post(f"/calls/{ref}/cancel", headers=headers)).status_code == 404
            # the same idempotency key of another program is another request
            other = await one.asks({"to": "+15550001112", "consent": CONSENT}, key=OTHER_KEY)
            assert other.status_code == 202

    run(call())


def test_a_call_is_told_of_from_queue_to_end() -> None:
    async def call() -> None:
        async with office() as one:
            ref = (await one.asks()).json()["id"]
            await one.posted()
            assert (await one.told(ref)).json()["state"] == "placed"
            await one.status(ref, "ringing", 1, 2.0, StirStatus="B")
            assert (await one.told(ref)).json()["state"] == "ringing"
            await one.status(ref, "no-answer", 2, 27, SipResponseCode="480")
            told = (await one.told(ref)).json()
            assert told == {
                "id": ref, "state": "done", "outcome": "no_answer", "call_sid": CA1, "sip_code": 480,
                "stir": "B", "ring_ms": 25_000,
            }  # fmt: skip
            assert PERSON not in str(told)

    run(call())


async def cancels(one: Office, ref: str) -> dict[str, Any]:
    answer = await one.client.post(f"/calls/{ref}/cancel", headers={"authorization": f"Bearer {KEY}"})
    assert answer.status_code == 200
    told: dict[str, Any] = answer.json()
    return told


def test_a_call_is_taken_back_wherever_it_stands() -> None:
    async def call() -> None:
        async with office() as one:
            one.calls.full = lambda: None
            ref = (await one.asks()).json()["id"]
            await one.posted()
            await cancels(one, ref)
            assert one.rest.canceled == [CA1]
            assert (await cancels(one, ref))["state"] == "placed"
            await one.status(ref, "no-answer", 1, 3, SipResponseCode="487")
            assert (await one.told(ref)).json()["outcome"] == "canceled"
            assert (await cancels(one, ref))["outcome"] == "canceled"

        async with office() as one:  # answered already
            ref = (await one.asks()).json()["id"]
            await one.posted()
            await one.answered(ref, 5)
            await cancels(one, ref)
            assert one.rest.hung_up == [CA1]

        async with office() as one:  # not placed yet
            one.outbound.placing.breaker.stop(asyncio.get_running_loop().time(), "a fault")
            ref = (await one.asks()).json()["id"]
            assert (await cancels(one, ref))["outcome"] == "canceled"
            await asyncio.sleep(0.05)
            assert one.rest.created == []

    run(call())


def test_what_one_key_may_have() -> None:
    async def call() -> None:
        async with office(key_calls=2, key_calls_a_day=3, calls_out=5) as one:
            for n in range(2):
                assert (
                    await one.asks({"to": f"+155500011{n:02}", "consent": CONSENT}, str(n))
                ).status_code == 202
            full = await one.asks({"to": "+15550001150", "consent": CONSENT}, "2")
            assert (full.status_code, full.json()["rule"]) == (429, "key_calls")
            assert full.headers["retry-after"] == "5"
            await one.posted(2)
            for n, created in enumerate(one.rest.created):
                ref = created.ref
                await one.status(ref, "busy", 1, 2 + n, sid=f"CA{n + 1:032d}", SipResponseCode="486")
            assert (await one.asks({"to": "+15550001150", "consent": CONSENT}, "3")).status_code == 202
            await one.posted(3)
            await one.status(one.rest.created[-1].ref, "busy", 1, 4, sid=f"CA{3:032d}", SipResponseCode="486")
            day = await one.asks({"to": "+15550001151", "consent": CONSENT}, "4")
            assert (day.status_code, day.json()["rule"]) == (429, "key_calls_a_day")
            assert int(day.headers["retry-after"]) > 86_000

        async with office(key_day_cost=0.5) as one:
            record = await one.place(to="+15550001160")
            await one.posted()
            one.calls.change(one.record(record.ref), key="ops", cost_micro_usd=500_000)
            spent = await one.asks()
            assert (spent.status_code, spent.json()["rule"]) == (429, "key_day_cost")

    run(call())


def test_a_number_is_tried_so_often_a_day_and_not_twice_at_once() -> None:
    async def call() -> None:
        async with office(call_attempts=2) as one:
            for n in (1, 2):
                ref = (await one.asks(idem=f"try {n}".replace(" ", ""))).json()["id"]
                at_once = await one.asks(idem="other")
                assert (at_once.status_code, at_once.json()["rule"]) == (422, "at_once")
                await one.posted(n)
                await one.status(ref, "busy", 1, 60.0 * n, sid=f"CA{n:032d}", SipResponseCode="486")
            third = await one.asks(idem="third")
            assert (third.status_code, third.json()["rule"]) == (422, "attempts")
            one.at(86_400 + 120)
            assert (await one.asks(idem="tomorrow")).status_code == 202

    run(call())


def test_while_it_drains_nothing_is_taken_or_placed() -> None:
    async def call() -> None:
        async with office() as one:
            one.service.registry.draining = True
            answer = await one.asks()
            assert (answer.status_code, answer.json()["rule"]) == (503, "draining")
            assert answer.headers["retry-after"] == "5"
            one.service.registry.draining = False
            assert (await one.asks()).status_code == 202
            await until(lambda: len(one.rest.created) == 1)

    run(call())


def test_the_first_answer_is_quick_and_comes_before_the_carrier_is_asked() -> None:
    async def call() -> None:
        async with office() as one:

            async def slow(_wanted: Any) -> Any:
                await asyncio.sleep(30)

            one.rest.answers = [slow]
            async with asyncio.timeout(0.2):
                assert (await one.asks()).status_code == 202
            assert (await one.asks()).status_code == 200
            assert NUMBER not in (await one.asks()).text

    run(call())
