"""Placing a call once: requests without an answer, refusals, callbacks that never come, processes that go."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest

from bridge.server.new_calls import NOT_REACHED, Advice, Ambiguous, ListedCall, Placed, Refused, refusal
from bridge.server.outbound import placing
from bridge.server.outbound.pacing import Breaker, Bucket
from bridge.server.outbound.progress import again_after_s, merged, moved, outcome_of
from bridge.server.outbound.record import Outcome, Record, State
from bridge.server.store.outbound import OutboundRecords
from tests.outbound.kit import CA1, CA2, CONSENT, NUMBER, PERSON, Office, Rest, office, out, quick, run, until

LOST = Ambiguous("no answer within 4 s")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)


async def done(one: Office, ref: str) -> Record:
    await until(lambda: one.record(ref).done)
    return one.record(ref)


# -- nobody knows


def test_a_call_that_the_carrier_lists_is_not_asked_for_again() -> None:
    async def call() -> None:
        async with office() as one:
            one.rest.answers, one.rest.listed = [LOST], [None, (ListedCall(CA1, "ringing"),)]
            ref = (await one.place()).ref
            await until(lambda: one.record(ref).call_sid == CA1)
            await asyncio.sleep(0.05)
            assert (len(one.rest.created), one.rest.lists) == (1, 2)

    run(call())


def test_where_the_carrier_knows_nothing_it_is_asked_once_more_with_the_same_ref() -> None:
    async def call() -> None:
        async with office() as one:
            one.rest.answers = [LOST, Placed(CA1)]
            ref = (await one.place()).ref
            await until(lambda: one.record(ref).call_sid == CA1)
            assert [wanted.ref for wanted in one.rest.created] == [ref, ref]
            assert one.rest.created[0] == one.rest.created[1]

    run(call())


def test_two_lost_answers_are_the_end_of_it_and_a_late_call_is_cancelled() -> None:
    async def call() -> None:
        async with office() as one:
            one.rest.answers = [LOST, LOST]
            ref = (await one.place()).ref
            record = await done(one, ref)
            assert (record.outcome, len(one.rest.created)) == ("failed", 2)
            assert "it is unknown whether it was placed" in record.reason
            await one.status(ref, "initiated", 0, 30)
            await until(lambda: one.rest.canceled == [CA1])

    run(call())


def test_a_carrier_that_cannot_be_asked_gets_no_second_request() -> None:
    async def call() -> None:
        async with office() as one:
            one.rest.answers, one.rest.listed = [LOST], [None] * placing.LISTS
            record = await done(one, (await one.place()).ref)
            assert (record.outcome, len(one.rest.created)) == ("failed", 1)

    run(call())


def test_of_two_calls_that_are_listed_one_is_ended() -> None:
    async def call() -> None:
        async with office() as one:
            one.rest.answers = [LOST]
            one.rest.listed = [(ListedCall(CA1, "ringing"), ListedCall(CA2, "queued"))]
            ref = (await one.place()).ref
            await until(lambda: one.rest.canceled == [CA2])
            assert one.record(ref).call_sid == CA1

    run(call())


def test_a_call_taken_back_while_nobody_knows_is_cancelled_when_it_is_found() -> None:
    async def call() -> None:
        async with office() as one:
            one.rest.answers = [LOST]
            ref = (await one.place()).ref
            await one.posted()
            await one.calls.cancel(ref)
            await one.status(ref, "initiated", 0, 3)
            await until(lambda: one.rest.canceled == [CA1])
            assert len(one.rest.created) == 1

    run(call())


# -- refused


@pytest.mark.parametrize(
    ("status", "code", "outcome", "stop"),
    [
        (400, 21211, "invalid", ""),
        (400, 21215, "refused", "stop_country"),
        (401, 20003, "refused", "stop"),
        (400, 29999, "failed", ""),
    ],
)
def test_a_refusal_is_final_and_was_no_attempt(status: int, code: int, outcome: str, stop: str) -> None:
    async def call() -> None:
        async with office() as one:
            one.rest.answers = [refusal(status, code)]
            record = await done(one, (await one.place()).ref)
            assert (record.outcome, record.stop, record.was_posted) == (outcome, stop, False)
            assert str(code) in record.reason
            paused_s = one.outbound.placing.breaker.wait_s(asyncio.get_running_loop().time())
            assert (paused_s > 0) == bool(stop)

    run(call())


def test_too_many_requests_are_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def call() -> None:
        async with office() as one:
            waits: list[float] = []
            sleep = asyncio.sleep

            async def soon(seconds: float) -> None:
                waits.append(seconds)
                await sleep(min(seconds, 0.01))

            monkeypatch.setattr(asyncio, "sleep", soon)
            busy = Refused(429, 20429, "too many", Advice.WAIT)
            one.rest.answers = [busy, busy, Placed(CA1)]
            ref = (await one.place()).ref
            await until(lambda: one.record(ref).call_sid == CA1)
            assert len(one.rest.created) == 3
            assert len([wait for wait in waits if 1 <= wait <= 30 and wait != placing.INHERIT_S]) == 2
            assert one.record(ref).posts == 1

    run(call())


def test_who_is_told_to_wait_too_often_learns_why(monkeypatch: pytest.MonkeyPatch) -> None:
    async def call() -> None:
        async with office() as one:
            sleep = asyncio.sleep
            monkeypatch.setattr(asyncio, "sleep", lambda seconds: sleep(min(seconds, 0.01)))
            one.rest.answers = [NOT_REACHED] * placing.MOST_REFUSALS
            record = await done(one, (await one.place()).ref)
            assert record.outcome == Outcome.FAILED.value
            assert record.reason == "the carrier's API cannot be reached, asked 5 times"

    run(call())


# -- callbacks that never come


def test_a_call_whose_last_callback_is_lost_is_looked_up() -> None:
    async def call() -> None:
        async with office() as one:
            ref = (await one.place(ring_s=0)).ref
            await one.posted()
            one.rest.ways[CA1] = ListedCall(CA1, "no-answer")
            one.at(60)
            assert (await done(one, ref)).outcome == "no_answer"

    run(call())


def test_a_call_whose_stream_is_over_is_looked_up_soon() -> None:
    async def call() -> None:
        async with office() as one:
            ref = (await one.place()).ref
            await one.posted()
            await one.answered(ref, 5)
            one.rest.ways[CA1] = ListedCall(CA1, "completed", None, 17)
            await asyncio.sleep(0.1)
            assert not one.record(ref).done
            one.outbound.placing.stream_over(one.record(ref))
            record = await done(one, ref)
            assert (record.outcome, record.talk_s) == ("completed", 17)

    run(call())


# -- how calls move


def _events() -> list[dict[str, str]]:
    return [
        {"CallStatus": "initiated", "Timestamp": "Fri, 15 Jan 2027 08:00:00 +0000"},
        {"CallStatus": "ringing", "Timestamp": "Fri, 15 Jan 2027 08:00:02 +0000", "StirStatus": "A"},
        {"CallStatus": "in-progress", "Timestamp": "Fri, 15 Jan 2027 08:00:07 +0000"},
        {
            "CallStatus": "completed", "Timestamp": "Fri, 15 Jan 2027 08:01:01 +0000", "CallDuration": "54",
            "SipResponseCode": "200",
        },
    ]  # fmt: skip


def test_callbacks_in_any_order_doubled_or_lost_never_move_a_call_back() -> None:
    first = Record(ref="r", to=PERSON, from_=NUMBER, asked_s=0.0, state=int(State.PLACED))
    ends: dict[str, Record] = {}
    for order in itertools.permutations([*range(4), 3]):
        record, states, outcomes = first, [], []
        for number in order:
            record = moved(record, _events()[number], 1e9)
            states.append(record.state)
            outcomes.append(record.outcome)
        assert states == sorted(states)
        assert len(set(outcomes) - {""}) == 1
        ends[repr(record)] = record
    assert len(ends) == 1  # whatever the order: all of it is known
    (end,) = ends.values()
    assert (end.ring_ms, end.talk_s, end.stir) == (5_000, 54, "A")


@pytest.mark.parametrize(
    ("status", "code", "outcome", "again_s"),
    [
        ("completed", 200, "completed", None),
        ("busy", 486, "busy", 600),
        ("failed", 600, "busy", 600),
        ("no-answer", 480, "no_answer", 3_600),
        ("no-answer", 487, "no_answer", 3_600),
        ("no-answer", 0, "no_answer", 3_600),
        ("busy", 603, "declined", None),
        ("no-answer", 607, "declined", None),
        ("failed", 608, "declined", None),
        ("failed", 404, "invalid", None),
        ("failed", 484, "invalid", None),
        ("failed", 604, "invalid", None),
        ("failed", 403, "failed", None),
        ("failed", 503, "failed", 300),
        ("failed", 504, "failed", 300),
        ("failed", 500, "failed", None),
        ("canceled", 487, "canceled", None),
    ],
)
def test_what_a_status_with_its_sip_code_means(
    status: str, code: int, outcome: str, again_s: int | None
) -> None:
    assert outcome_of(status, code).value == outcome
    record = Record(ref="r", to=PERSON, from_=NUMBER, asked_s=0.0, outcome=outcome, sip_code=code)
    assert again_after_s(record) == again_s
    if code == 503:
        assert [again_after_s(record, failures) for failures in range(3)] == [300, 300, None]


# -- what outlives a process


def test_a_killed_process_is_gone_on_with_by_one_other(tmp_path: Path) -> None:
    path = tmp_path / "calls-out.jsonl"
    killed = OutboundRecords(path)
    record = Record(ref="r", to=PERSON, from_=NUMBER, asked_s=killed._now(), owner=killed.me, idem="i")
    killed.put(record)
    second, third = OutboundRecords(path), OutboundRecords(path)
    assert second.inherited() == []  # it lives
    assert killed._owners is not None
    killed._owners.close()  # as the kernel does
    assert [one.ref for one in second.inherited()] == ["r"]
    assert third.inherited() == []
    assert third.of_key("", "i") is not None
    assert second.inherited() == []


def test_who_was_about_to_take_a_call_over_does_not_take_it_from_its_new_owner(tmp_path: Path) -> None:
    path = tmp_path / "calls-out.jsonl"
    killed = OutboundRecords(path)
    record = Record(ref="r", to=PERSON, from_=NUMBER, asked_s=killed._now(), owner=killed.me)
    killed.put(record)
    second, third = OutboundRecords(path), OutboundRecords(path)
    assert killed._owners is not None
    killed._owners.close()
    assert third.get("r") is not None  # it has seen who had it, and comes second
    assert len(second.inherited()) == 1
    mine: list[Record] = []
    third._take_over(record, mine)
    assert mine == []
    assert second.get("r") == third.get("r")


def test_a_call_that_was_posted_by_a_killed_process_is_not_posted_blindly(tmp_path: Path) -> None:
    async def first() -> str:
        async with office(journal=tmp_path / "intents.jsonl") as one:

            async def never(_wanted: Any) -> Any:
                await asyncio.sleep(60)

            one.rest.answers = [never]
            ref = (await one.place()).ref
            await one.posted()
            return ref

    async def second(ref: str) -> None:
        rest = Rest(listed=[(ListedCall(CA1, "in-progress"),)])
        async with office(journal=tmp_path / "intents.jsonl", rest=rest) as one:
            await until(lambda: one.record(ref).call_sid == CA1)
            assert (rest.created, rest.lists) == ([], 1)

    run(second(asyncio.run(first())))


def test_a_call_that_waited_is_placed_by_the_next_process(tmp_path: Path) -> None:
    async def first() -> str:
        async with office(journal=tmp_path / "intents.jsonl") as one:
            one.outbound.placing.breaker.stop(asyncio.get_running_loop().time(), "a fault")
            ref = (await one.place()).ref
            await asyncio.sleep(0.02)
            assert one.rest.created == []
            return ref

    async def second(ref: str) -> None:
        async with office(journal=tmp_path / "intents.jsonl") as one:
            assert (await one.posted()).ref == ref

    run(second(asyncio.run(first())))


def test_what_two_processes_know_is_known_together() -> None:
    one = Record(ref="r", to=PERSON, from_=NUMBER, asked_s=1.0, state=int(State.RINGING), rung_s=5.0)
    other = Record(ref="r", to=PERSON, from_=NUMBER, asked_s=1.0, state=int(State.PLACED), stir="A")
    for record in (merged(one, other), merged(other, one)):
        assert (record.state, record.rung_s, record.stir) == (State.RINGING, 5.0, "A")


# -- when


def test_calls_are_spread_over_time() -> None:
    bucket = Bucket(0.9)
    at_s, now_s = [], 100.0
    for _ in range(10):
        now_s += bucket.take(now_s)
        at_s.append(now_s)
    assert at_s[-1] - at_s[0] == pytest.approx(10.0)
    assert bucket.take(now_s + 3600) == 0  # no burst after a quiet hour
    assert bucket.take(now_s + 3600) == pytest.approx(1 / 0.9)


def test_when_calls_fail_they_are_paused() -> None:
    breaker = Breaker()
    for n in range(19):
        breaker.ended(0.0, failed=n % 3 > 0)
    assert breaker.wait_s(0.0) == 0
    breaker.ended(0.0, failed=True)
    assert breaker.wait_s(0.0) == 60
    assert "of the last 20 calls failed" in breaker.reason
    assert breaker.wait_s(61.0) == 0


def test_only_so_many_ring_at_once() -> None:
    async def call() -> None:
        async with office(calls_out=2) as one:
            refs = [(await one.place(to=f"+1555000{n:04}")).ref for n in range(4)]
            await one.posted(2)
            await asyncio.sleep(0.1)
            assert [wanted.ref for wanted in one.rest.created] == refs[:2]
            await one.status(refs[0], "busy", 1, 2, sid=CA1, SipResponseCode="486")
            await one.posted(3)
            assert one.rest.created[-1].ref == refs[2]

    run(call())


def test_rules_are_checked_again_right_before_a_call_is_placed() -> None:
    async def call() -> None:
        async with office() as one:
            one.outbound.placing.breaker.stop(asyncio.get_running_loop().time() - 59.8, "a fault")
            ref = (await one.place()).ref
            one.service.do_not_call.add(PERSON)
            record = await done(one, ref)
            assert (record.outcome, one.rest.created) == ("refused", [])
            assert record.reason.startswith("do_not_call")
            assert Outcome(record.outcome) is Outcome.REFUSED
            assert record.consent == CONSENT

    run(call())


def test_callbacks_may_come_to_another_process_of_the_same_journal(tmp_path: Path) -> None:
    async def call() -> None:
        journal = tmp_path / "intents.jsonl"
        async with office(journal=journal) as one, office(journal=journal) as other:
            ref = (await one.place()).ref
            await one.posted()
            await other.status(ref, "ringing", 1, 2)
            await until(lambda: other.service.registry.waits_for(CA1))
            await other.status(ref, "busy", 2, 5, SipResponseCode="486")
            assert (await done(one, ref)).outcome == "busy"
            await until(lambda: not one.outbound.placing._tasks)  # its place is free again
            assert (len(one.rest.created), other.rest.created) == (1, [])

    run(call())


def test_a_caller_s_status_ends_no_call() -> None:
    async def call() -> None:
        async with office() as one:
            ref = (await one.place()).ref
            await one.posted()
            form = out("in-progress", CA2) | {"Direction": "inbound", "From": PERSON, "To": NUMBER}
            for path in ("/call-status", f"/call-status?ref={ref}&ref={ref}"):
                for status in ("in-progress", "completed"):
                    answer = await one.callback(path, form | {"CallStatus": status})
                    assert answer.status_code == 204
            await asyncio.sleep(0.05)
            assert (one.rest.canceled, one.rest.hung_up) == ([], [])
            assert "duplicate_call" not in one.service.services.metrics.render()
            assert not one.record(ref).done

    run(call())
