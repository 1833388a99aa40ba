"""What two machines may conclude from what they do at the same store: twenty sequences, the same for each
implementation.
"""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from bridge.server.store.claims import (
    AfterAnswer,
    AfterRequest,
    Claim,
    ClaimAnswer,
    ClaimRequest,
    Claims,
    Fence,
    Lease,
    Limit,
    Owned,
    Process,
    Ring,
    RingAnswer,
    Spent,
    Status,
    Words,
)
from tests.store.engines import ENGINES, Opened, on_redis

A, B = Process("a", "a1"), Process("b", "b1")
ACCOUNT = "acct"
DAY = "2026-11-29"
ROUNDS = 20


@pytest.fixture(params=[*ENGINES, pytest.param("redis", marks=pytest.mark.redis)])
def opened(request: pytest.FixtureRequest) -> Opened:
    if request.param == "redis":
        return on_redis(request.getfixturevalue("redis_url"))
    return ENGINES[request.param]


def sid(number: int) -> str:
    return f"CA{number:032x}"


CA1 = sid(1)


async def beat(claims: Claims, *processes: Process) -> None:
    for process in processes:
        await claims.beat(process, Status())


async def claim(claims: Claims, process: Process, nonce: str, call_sid: str = CA1, **more: object) -> Claim:
    wanted = {"account": ACCOUNT, "day": DAY} | more
    return await claims.claim(ClaimRequest(call_sid=call_sid, process=process, nonce=nonce, **wanted))  # type: ignore[arg-type]


async def answer(claims: Claims, process: Process, nonce: str, call_sid: str = CA1, **more: object) -> str:
    return (await claim(claims, process, nonce, call_sid, **more)).answer.name


def owned(process: Process, epoch: int, seq: int, intent: str = "", nonce: str = "n1") -> Owned:
    return Owned(
        call_sid=CA1,
        process=process,
        epoch=epoch,
        seq=seq,
        intent=intent,
        noted=bool(intent),
        nonce=nonce,
        account=ACCOUNT,
    )


def asked(process: Process, nonce: str, fresh: str, *, draining: bool = False) -> AfterRequest:
    return AfterRequest(
        call_sid=CA1, process=process, nonce=nonce, fresh=fresh, account=ACCOUNT, draining=draining
    )


def spent(micro_usd: int) -> Spent:
    return Spent(DAY, {"": micro_usd})


async def b_owns(claims: Claims) -> int:
    """V3's beginning: rung by A, claimed by B. Returns the epoch."""
    await beat(claims, A, B)
    await claims.ring(CA1, A, "n1", ACCOUNT)
    found = await claim(claims, B, "n1")
    assert found.answer is ClaimAnswer.OK
    return found.epoch


async def test_v1_a_machine_has_one_process(opened: Opened) -> None:
    async with opened() as engine:
        claims = await engine.connect()
        first = await claims.beat(A, Status(calls=2, capacity=50, version="1"))
        again = await claims.beat(A, Status(calls=3, capacity=50, draining=True, address="x:1", config="c"))
        twin = await claims.beat(Process("a", "zz"), Status())
        assert (first.lease, again.lease, twin.lease) == (Lease.NEW, Lease.HELD, Lease.TAKEN)
        assert twin.taken_by == "a1"
        (machine,) = again.machines
        assert machine.process == A
        assert machine.status == Status(calls=3, capacity=50, draining=True, address="x:1", config="c")
        assert 9_000 < machine.lease_ms <= 10_000
        assert abs(again.now_ms - first.now_ms) < 1_000


async def test_v2_a_retried_webhook_dials_nothing(opened: Opened) -> None:
    async with opened() as engine:
        claims = await engine.connect()
        await beat(claims, A, B)
        assert await claims.ring(CA1, A, "n1", ACCOUNT) == Ring(RingAnswer.FIRST, "n1", "a")
        assert await claims.ring(CA1, B, "n2", ACCOUNT) == Ring(RingAnswer.ELSEWHERE, "n1", "a")
        assert await claims.ring(CA1, A, "n3", ACCOUNT) == Ring(RingAnswer.MINE, "n1", "a")
        assert await claims.ring(CA1, A, "n4", "another account") == Ring(RingAnswer.SPENT)


async def test_v3_a_token_is_good_once(opened: Opened) -> None:
    async with opened() as engine:
        claims = await engine.connect()
        await beat(claims, A, B)
        await claims.ring(CA1, A, "n1", ACCOUNT)
        first, again = await claim(claims, B, "n1"), await claim(claims, B, "n1")
        assert (first.answer, again.answer) == (ClaimAnswer.OK, ClaimAnswer.MINE)
        assert first.epoch == again.epoch > 1_700_000_000_000
        assert first.warm == again.warm == A
        assert await answer(claims, A, "n1") == "USED"
        assert await answer(claims, B, "n1", sid(2)) == "USED"


async def test_v4_a_call_that_had_a_stream_is_spent(opened: Opened) -> None:
    async with opened() as engine:
        claims = await engine.connect()
        await b_owns(claims)
        assert await claims.ring(CA1, A, "n5", ACCOUNT) == Ring(RingAnswer.SPENT)


async def test_v5_a_resume_counts_once(opened: Opened) -> None:
    async with opened() as engine:
        claims = await engine.connect()
        epoch = await b_owns(claims)
        assert (await claims.note(owned(B, epoch, 1, "handover"))).fence is Fence.OK
        first, again = [await claims.after(asked(B, "n1", fresh)) for fresh in ("n9", "n10")]
        assert (first.answer, first.intent, first.resumes) == (AfterAnswer.OK, "handover", 0)
        assert (first.nonce, first.machine, first.epoch, first.owner) == ("n9", "b", epoch, "b")
        assert (again.answer, again.resumes, again.nonce) == (AfterAnswer.AGAIN, 1, "n9")


async def test_v6_a_later_claim_makes_questions_about_earlier_streams_old(opened: Opened) -> None:
    async with opened() as engine:
        claims = await engine.connect()
        epoch = await b_owns(claims)
        await claims.after(asked(A, "n1", "n9"))
        took = await claim(claims, A, "n9", stream=2)
        assert (took.answer, took.owner, took.warm) == (ClaimAnswer.TOOK, "b", A)
        assert took.epoch > epoch
        assert (await claims.after(asked(B, "n1", "n11"))).answer is AfterAnswer.OLD
        known = await claims.look(CA1)
        assert known is not None
        assert (known.owner, known.streams, known.intent, len(known.resumed_ms)) == ("a", 2, "", 1)


async def a_took(claims: Claims) -> tuple[int, int]:
    """V6's end. Returns B's epoch and A's."""
    epoch = await b_owns(claims)
    return epoch, (await claim(claims, A, "n9", stream=2)).epoch


async def test_v7_a_ghost_writes_nothing(opened: Opened) -> None:
    async with opened() as engine:
        claims = await engine.connect()
        was, now = await a_took(claims)
        for written in (
            await claims.note(owned(B, was, 1, "ended")),
            await claims.turn(owned(B, was, 2), b"ghost", spent(100)),
            await claims.end(owned(B, was, 3, "ended"), None, spent(100), keep=False),
        ):
            assert (written.fence, written.epoch, written.owner) == (Fence.GHOST, now, "a")
        known = await claims.look(CA1)
        assert known is not None
        assert (known.intent, known.conversation) == ("", None)
        assert (await claims.turn(owned(A, now, 1), b"mine", spent(3))).day_micro_usd == 3
        assert await claims.check(B, {CA1: was, sid(7): 1}) == {CA1}
        assert await claims.check(A, {CA1: now}) == frozenset()


async def test_v7_of_two_owners_with_one_epoch_the_one_that_the_store_knows_writes(opened: Opened) -> None:
    """As after a failover, which may give one moment out twice."""
    async with opened() as engine:
        claims = await engine.connect()
        epoch = await b_owns(claims)
        twin = await claims.turn(owned(A, epoch, 9), b"twin", spent(1))
        assert (twin.fence, twin.owner) == (Fence.GHOST, "b")
        assert await claims.check(A, {CA1: epoch}) == {CA1}
        assert await claims.check(B, {CA1: epoch}) == frozenset()


async def test_v8_a_write_that_the_store_has_lost_is_written_back(opened: Opened) -> None:
    async with opened() as engine:
        claims = await engine.connect()
        was, now = await a_took(claims)
        await engine.set_back(CA1, "b", "b1", was)
        assert (await claims.turn(owned(A, now, 1, nonce="n9"), b"mine", spent(1))).fence is Fence.RESTORED
        known = await claims.look(CA1)
        assert known is not None
        assert (known.owner, known.epoch, known.conversation) == ("a", now, b"mine")
        assert (await claims.turn(owned(B, was, 4), b"ghost", spent(1))).fence is Fence.GHOST
        assert (await claims.after(asked(A, "n9", "n12"))).answer is AfterAnswer.OK


async def test_v9_a_write_that_comes_late_or_twice_changes_nothing(opened: Opened) -> None:
    async with opened() as engine:
        claims = await engine.connect()
        epoch = await b_owns(claims)
        first = [await claims.turn(owned(B, epoch, 1), b"1", spent(10)) for _ in range(2)]
        assert [one.fence for one in first] == [Fence.OK, Fence.STALE]
        assert (await claims.turn(owned(B, epoch, 3), b"3", spent(30))).day_micro_usd == 30
        late = await claims.turn(owned(B, epoch, 2), b"2", spent(20))
        assert (late.fence, late.day_micro_usd) == (Fence.STALE, 30)
        known = await claims.look(CA1)
        assert known is not None
        assert known.conversation == b"3"


async def test_words_of_several_calls_are_written_at_once_each_by_its_owner(opened: Opened) -> None:
    """What another owns, or has been written later, or is not there, stays as it is and is named."""
    async with opened() as engine:
        claims = await engine.connect()
        epoch = await b_owns(claims)
        other = (await claim(claims, A, "n2", sid(2))).epoch
        await claims.turn(owned(B, epoch, 4), b"4", spent(10))
        said = [Words(CA1, epoch, 5, b"five"), Words(sid(2), other, 1, b"x"), Words(sid(3), epoch, 1, b"y")]
        assert await claims.words(B, said) == {sid(2), sid(3)}
        assert await claims.words(B, said) == {CA1, sid(2), sid(3)}, "a repeated write changes nothing"
        assert await claims.words(B, [Words(CA1, epoch - 1, 9, b"old")]) == {CA1}
        known, others = await claims.look(CA1), await claims.look(sid(2))
        assert known is not None
        assert others is not None
        assert (known.conversation, others.conversation) == (b"five", None)
        assert (await claims.turn(owned(B, epoch, 5), b"late", spent(10))).fence is Fence.STALE
        assert (await claims.turn(owned(B, epoch, 6), b"six", spent(11))).fence is Fence.OK
        assert await claims.words(B, []) == frozenset()


async def test_v10_a_call_that_has_ended_opens_nothing(opened: Opened) -> None:
    async with opened() as engine:
        claims = await engine.connect()
        epoch = await b_owns(claims)
        await claims.turn(owned(B, epoch, 1), b"words", spent(1))
        done = await claims.end(owned(B, epoch, 2, "ended"), None, spent(2), keep=False)
        assert (done.fence, done.day_micro_usd) == (Fence.OK, 2)
        over = await claim(claims, A, "n6")
        assert (over.answer, over.intent) == (ClaimAnswer.OVER, "ended")
        assert await claims.ring(CA1, A, "n7", ACCOUNT) == Ring(RingAnswer.ENDED)
        known = await claims.look(CA1)
        assert known is not None
        assert (known.intent, known.conversation) == ("ended", None)
        last = await claims.after(asked(A, "n1", "n8"))
        assert (last.answer, last.intent, last.nonce) == (AfterAnswer.OK, "ended", "")


async def test_v11_a_cap_holds_over_all_machines(opened: Opened) -> None:
    async with opened() as engine:
        ways = [await engine.connect() for _ in range(2)]
        await beat(ways[0], A, B)
        for number in range(3):
            await claim(ways[0], A, f"l{number}", sid(100 + number))
        limits = (Limit("", 8), Limit("number", 1_000))
        wanted = [
            claim(ways[number % 2], (A, B)[number % 2], f"c{number}", sid(200 + number), limits=limits)
            for number in range(8)
        ]
        found = await asyncio.gather(*wanted)
        assert Counter(one.answer.name for one in found) == {"OK": 5, "FULL": 3}
        full = Limit("number", 5)
        assert (await claim(ways[0], A, "x1", sid(300), limits=(full,))).group == "number"
        assert await answer(ways[0], A, "x2", sid(301), limits=(Limit("other", 1),)) == "OK"
        seen = await ways[1].beat(B, Status())
        assert seen.fleet_calls == 9


async def test_v12_of_two_claims_with_one_token_one_is_let_in(opened: Opened) -> None:
    async with opened() as engine:
        ways = [await engine.connect() for _ in range(2)]
        await beat(ways[0], A, B)
        for number in range(ROUNDS):
            claims = [
                answer(way, who, f"n{number}", sid(number)) for way, who in zip(ways, (A, B), strict=True)
            ]
            assert sorted(await asyncio.gather(*claims)) == ["OK", "USED"]


async def test_v13_of_two_claims_with_two_tokens_the_later_wins(opened: Opened) -> None:
    async with opened() as engine:
        ways = [await engine.connect() for _ in range(2)]
        await beat(ways[0], A, B)
        for number in range(ROUNDS):
            call_sid = sid(number)
            found = await asyncio.gather(
                *(
                    claim(way, who, f"{who.inst}{number}", call_sid)
                    for way, who in zip(ways, (A, B), strict=True)
                )
            )
            assert sorted(one.answer.name for one in found) == ["OK", "TOOK"]
            notes = [
                ways[0].note(Owned(call_sid=call_sid, process=who, epoch=one.epoch, seq=1))
                for who, one in zip((A, B), found, strict=True)
            ]
            fences = [one.fence.name for one in await asyncio.gather(*notes)]
            assert {(one.answer.name, fence) for one, fence in zip(found, fences, strict=True)} == {
                ("OK", "GHOST"),
                ("TOOK", "OK"),
            }


async def test_v14_without_a_lease_nothing_is_claimed(opened: Opened) -> None:
    async with opened() as engine:
        claims = await engine.connect()
        assert await answer(claims, A, "n1") == "NO_LEASE"
        await beat(claims, A)
        assert await answer(claims, Process("a", "zz"), "n1") == "NO_LEASE"
        assert await answer(claims, A, "n1") == "OK"


async def test_v15_calls_out_keep_their_distance(opened: Opened) -> None:
    async with opened() as engine:
        claims = await engine.connect()
        waits = [await claims.pace("main", 60_000, 2) for _ in range(4)]
        assert waits[:2] == [0, 0]
        assert all(30_000 < wait_ms <= 60_000 for wait_ms in waits[2:])
        assert await claims.pace("other", 60_000, 2) == 0


async def test_v16_owners_write_back_what_an_empty_store_has_lost(opened: Opened) -> None:
    async with opened() as engine:
        claims = await engine.connect()
        epoch = await b_owns(claims)
        await engine.lose_all()
        back = await claims.beat(B, Status(), calls={CA1: ("number",)})
        assert (back.lease, back.own_calls, back.fleet_calls) == (Lease.NEW, 1, 1)
        turn = await claims.turn(owned(B, epoch, 1), b"words", spent(4))
        assert (turn.fence, turn.day_micro_usd) == (Fence.RESTORED, 4)
        assert await claims.ring(CA1, B, "n3", ACCOUNT) == Ring(RingAnswer.SPENT)
        assert (await claims.end(owned(B, epoch, 2), None, spent(4), keep=True)).fence is Fence.OK
        assert (await claims.beat(B, Status())).own_calls == 0


async def test_v17_the_rightful_owner_wins_after_a_failover(opened: Opened) -> None:
    async with opened() as engine:
        claims = await engine.connect()
        was, now = await a_took(claims)
        await engine.lose_all()
        fences = [
            (await claims.turn(owned(who, epoch, seq), None, spent(1))).fence.name
            for who, epoch, seq in ((B, was, 5), (A, now, 1), (B, was, 6))
        ]
        assert fences == ["RESTORED", "RESTORED", "GHOST"]


async def test_v18_a_call_belongs_to_one_account(opened: Opened) -> None:
    async with opened() as engine:
        claims = await engine.connect()
        await beat(claims, A)
        await claims.ring(CA1, A, "n1", ACCOUNT)
        assert await answer(claims, A, "n1", account="another account") == "ACCOUNT"
        assert await answer(claims, A, "n1") == "OK"
        assert (await claims.after(asked(A, "n1", "n2"))).answer is AfterAnswer.OK
        other = AfterRequest(call_sid=CA1, process=A, nonce="n1", fresh="n3", account="another account")
        assert (await claims.after(other)).answer is AfterAnswer.OLD


async def test_v19_the_days_money_is_that_of_all_machines(opened: Opened) -> None:
    async with opened() as engine:
        claims = await engine.connect()
        epoch = await b_owns(claims)
        total = Spent(DAY, {"": 700, "number": 300})
        assert (await claims.turn(owned(B, epoch, 1), None, total)).day_micro_usd == 700
        other = await claim(claims, A, "n2", sid(2))
        mine = Owned(call_sid=sid(2), process=A, epoch=other.epoch, seq=1)
        assert (await claims.turn(mine, None, spent(400))).day_micro_usd == 1_100
        limits = (Limit("number", None, 301), Limit("", None, 1_100))
        dear = await claim(claims, A, "n3", sid(3), limits=limits)
        assert (dear.answer, dear.group) == (ClaimAnswer.MONEY, "")
        assert await answer(claims, A, "n3", sid(3), limits=(Limit("", None, 1_101),)) == "OK"
        assert await answer(claims, A, "n4", sid(4), limits=limits, day="2026-11-30") == "OK"
        assert (await claims.beat(A, Status(), DAY)).day_micro_usd == 1_100


async def test_v20_a_dead_machines_ring_is_taken_over(opened: Opened) -> None:
    async with opened() as engine:
        claims = await engine.connect()
        await beat(claims, A, B)
        await claims.ring(CA1, A, "n1", ACCOUNT)
        await engine.lapse("a")
        assert await claims.ring(CA1, B, "n2", ACCOUNT) == Ring(RingAnswer.FIRST, "n1", "b")


# --- what else the answers promise ------------------------------------------------------------------------


async def test_dead_machines_are_shown_and_count_no_more(opened: Opened) -> None:
    async with opened() as engine:
        claims = await engine.connect()
        await beat(claims, A, B)
        await claim(claims, A, "n1")
        await engine.lapse("a")
        seen = await claims.beat(B, Status())
        assert ([one.process for one in seen.machines], seen.fleet_calls) == ([B], 0)
        assert [(one.process, one.live) for one in await claims.machines()] == [(A, False), (B, True)]
        assert (await claims.beat(Process("a", "a2"), Status())).lease is Lease.NEW
        assert (await claims.beat(B, Status())).fleet_calls == 0
        await claims.leave(B)
        assert [one.process.inst for one in await claims.machines()] == ["a2"]


async def test_a_draining_machine_counts_waits_and_opens_nothing(opened: Opened) -> None:
    async with opened() as engine:
        claims = await engine.connect()
        epoch = await b_owns(claims)
        waits = [await claims.after(asked(B, "n1", "n9", draining=True)) for _ in range(2)]
        assert [(one.waits, one.nonce, one.machine, one.resumes) for one in waits] == [
            (1, "", "", 0),
            (2, "", "", 0),
        ]
        found = await claims.after(asked(A, "n1", "n8"))
        assert (found.answer, found.nonce, found.machine) == (AfterAnswer.OK, "n8", "a")
        elsewhere = await claims.after(asked(B, "n1", "n7"))
        assert (elsewhere.answer, elsewhere.nonce, elsewhere.machine) == (AfterAnswer.AGAIN, "n8", "a")
        await engine.lapse("a")
        inherited = await claims.after(asked(B, "n1", "n7"))
        assert (inherited.answer, inherited.nonce, inherited.machine) == (AfterAnswer.AGAIN, "n8", "b")
        assert (await claim(claims, B, "n8")).epoch > epoch
        known = await claims.look(CA1)
        assert known is not None
        assert known.waits == 0


async def test_the_intent_of_a_call_that_another_process_owns(opened: Opened) -> None:
    async with opened() as engine:
        claims = await engine.connect()
        was, now = await a_took(claims)
        assert (await claims.intend(CA1, "transfer:desk", epoch=was)).fence is Fence.GHOST
        assert (await claims.intend(CA1, "returned:busy:desk", epoch=now, returns=2)).fence is Fence.OK
        known = await claims.look(CA1)
        assert known is not None
        assert (known.intent, known.returns) == ("returned:busy:desk", 2)
        assert (await claims.intend(CA1, "ended")).fence is Fence.OK
        assert (await claims.turn(owned(A, now, 1), None, spent(0))).fence is Fence.OK
        assert await answer(claims, B, "n20") == "OVER"
        assert (await claims.intend(sid(5), "ended")).epoch == 0
        assert (await claims.ring(sid(5), A, "n1")).answer is RingAnswer.ENDED


async def test_a_call_that_is_not_known_can_be_resumed_once(opened: Opened) -> None:
    async with opened() as engine:
        claims = await engine.connect()
        await beat(claims, A, B)
        assert await claims.look(CA1) is None
        first = await claims.after(asked(A, "n1", "n2"))
        assert (first.answer, first.epoch, first.nonce) == (AfterAnswer.OK, 0, "n2")
        again = await claims.after(asked(B, "n1", "n3"))
        assert (again.answer, again.nonce, again.machine) == (AfterAnswer.AGAIN, "n2", "a")
        assert await answer(claims, A, "n2", stream=2) == "OK"
        assert await answer(claims, B, "n2", stream=2) == "USED"


async def test_each_writer_has_a_record_of_its_own(opened: Opened) -> None:
    async with opened() as engine:
        claims = await engine.connect()
        for writer, record in (("a1", b"1"), ("b1", b"2"), ("a1", b"\x003")):
            await claims.put_record("d:x", writer, record, 60_000)
        assert await claims.records("d:x") == {"a1": b"\x003", "b1": b"2"}
        assert await claims.records("d:y") == {}
