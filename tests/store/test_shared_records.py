"""Two machines that have to do with the same detour or call out: each knows what the other has noted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from bridge.core.messages import DetourResult, TransferOutcome
from bridge.server.outbound.record import Record, State
from bridge.server.store import EmbeddedStore
from bridge.server.store.claims import Process
from bridge.server.store.detours import DetourRecord, merged
from bridge.server.store.embedded_claims import EmbeddedClaims
from bridge.server.store.sealing import Clear, KeyRing, Sealing, Withheld
from bridge.server.store.shared_claims import SharedClaims
from bridge.server.store.shared_records import SharedRecords
from tests.store.virtual_loop import virtually

pytestmark = pytest.mark.runs_with(function=virtually)

CA1 = f"CA{1:032x}"
DETOUR = DetourRecord(detour_id="d1", call_sid=CA1, since_ms=5, caller="+15550100", name="desk")
CALL = Record(ref="r1", to="+15550101", from_="+15550102", asked_s=2e9, key="shop", idem="order 7", owner="x")


class Machine:
    def __init__(
        self, claims: EmbeddedClaims, name: str, sealing: Sealing, journal: Path | None = None
    ) -> None:
        self.shared = SharedClaims(claims, Process(name, f"{name}1"), sealing)
        self.store = EmbeddedStore(journal)
        self.records = SharedRecords(self.shared, self.store)


async def two(sealing: Sealing | None = None, journal: Path | None = None) -> tuple[Machine, Machine]:
    loop = asyncio.get_running_loop()
    claims = EmbeddedClaims(lambda: round(loop.time() * 1000))
    made = [Machine(claims, "a", sealing or Clear()), Machine(claims, "b", sealing or Clear(), journal)]
    for one in made:
        await one.shared.open()
    return made[0], made[1]


async def close(*machines: Machine) -> None:
    for one in machines:
        await one.shared.close()
        one.store.close()


async def test_a_detour_is_known_on_the_other_machine() -> None:
    a, b = await two()
    a.store.detours.begin(DETOUR)
    a.store.detours.change("d1", away_at_ms=7, leg_sid="CA9", leg_sequence=1, leg_status="ringing")
    await asyncio.sleep(0.01)
    assert b.store.detours.find("d1") is None
    await b.records.learn_detour("d1")
    assert b.store.detours.find("d1") == a.store.detours.find("d1")
    b.store.detours.change("d1", leg_sequence=2, leg_status="in-progress", answered_at_ms=9, key="1")
    a.store.detours.change("d1", accepted_at_ms=12)
    await asyncio.sleep(0.01)
    await a.records.learn_detour("d1")
    await b.records.learn_detour("d1")
    both = a.store.detours.find("d1")
    assert both == b.store.detours.find("d1")
    assert both is not None
    assert (both.leg_status, both.answered_at_ms, both.accepted_at_ms, both.key) == (
        "in-progress",
        9,
        12,
        "1",
    )
    await close(a, b)


def test_of_two_outcomes_the_first_one_known_stays() -> None:
    talked, failed = (DetourResult(one) for one in (TransferOutcome.CONNECTED, TransferOutcome.FAILED))
    one, other = (msgspec.structs.replace(DETOUR, result=result) for result in (talked, failed))
    assert merged(one, other).result == talked
    assert merged(DETOUR, other).result == failed
    earlier = msgspec.structs.replace(DETOUR, leg_sequence=1, leg_status="ringing")
    later = msgspec.structs.replace(DETOUR, leg_sequence=3, leg_status="completed")
    assert merged(later, earlier) == merged(earlier, later) == later


async def test_a_call_out_is_known_on_the_other_machine(tmp_path: Path) -> None:
    journal = tmp_path / "intents.jsonl"
    a, b = await two(journal=journal)
    a.store.calls_out.put(CALL)
    await asyncio.sleep(0.01)
    await b.records.learn_request("shop", "order 7")
    assert b.store.calls_out.of_key("shop", "order 7") == CALL
    await b.records.learn_request("shop", "order 8")
    assert b.store.calls_out.of_key("shop", "order 8") is None
    b.store.calls_out.put(msgspec.structs.replace(CALL, call_sid=CA1, state=int(State.RINGING), rung_s=3.0))
    await asyncio.sleep(0.01)
    await a.records.learn_call(CA1)
    found = a.store.calls_out.of_call(CA1)
    assert found is not None
    assert (found.state, found.rung_s, found.owner) == (State.RINGING, 3.0, "x")
    # It is not for that machine to go on with, now or after it has been started again.
    assert b.store.calls_out.inherited() == []
    await close(a, b)
    after = EmbeddedStore(journal)
    assert after.calls_out.inherited() == []
    after.close()


async def test_numbers_are_encrypted_and_without_a_key_are_not_stored() -> None:
    pytest.importorskip("cryptography")
    for sealing, stored in ((KeyRing([bytes(32)]), True), (Withheld(), False)):
        a, b = await two(sealing)
        a.store.detours.begin(DETOUR)
        a.store.calls_out.put(CALL)
        await asyncio.sleep(0.01)
        kept = repr([(key, one) for key, one in a.shared.claims._records._entries.items()])  # type: ignore[attr-defined]
        assert "+1555" not in kept
        assert "order" not in kept
        await b.records.learn_detour("d1")
        await b.records.learn_call_out("r1")
        assert (b.store.detours.find("d1") == DETOUR) is stored
        assert (b.store.calls_out.get("r1") == CALL) is stored
        await close(a, b)


async def test_what_waits_for_the_store_is_bounded_and_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    from bridge.server.store import shared_claims

    monkeypatch.setattr(shared_claims, "MOST_WAITING", 10)
    a, b = await two()
    a.shared.link.up = False
    for number in range(50):
        a.shared.put_record(f"d:{number % 20}", b"%d" % number)
    assert len(a.shared._records) == 10
    a.shared.link.up = True
    a.shared.put_record("d:1", b"last")
    await asyncio.sleep(0.01)
    assert await b.shared.records("d:1") == [b"last"]
    assert await b.shared.records("d:9") == [b"49"]
    await close(a, b)


async def test_one_machine_alone_answers_a_request_that_comes_to_two_at_once() -> None:
    a, b = await two()
    for one in (a, b):
        await one.shared.beat()
    may = await asyncio.gather(*(one.records.learn_request("shop", "order 7") for one in (a, b)))
    assert sorted(may) == [False, True]
    first, other = (a, b) if may[0] else (b, a)
    assert await first.records.learn_request("shop", "order 7"), "asked again there"
    assert await other.records.learn_request("shop", "order 8"), "another request"
    first.store.calls_out.put(CALL)
    await asyncio.sleep(0.01)
    assert await other.records.learn_request("shop", "order 7")
    assert other.store.calls_out.of_key("shop", "order 7") == CALL
    await close(a, b)


async def test_a_request_that_was_refused_may_be_answered_by_any_machine() -> None:
    """And again by one alone, however often, whichever has refused it, and before that is written."""
    a, b = await two()
    for one in (a, b):
        await one.shared.beat()
    for refuses, other in ((a, b), (a, b), (b, a)):
        assert await refuses.records.learn_request("shop", "order 7")
        assert not await other.records.learn_request("shop", "order 7")
        refuses.records.request_refused("shop", "order 7")
        await asyncio.sleep(0.01)
        assert await other.records.learn_request("shop", "order 7")
        other.records.request_refused("shop", "order 7")
        await asyncio.sleep(0.01)
    a.records.request_refused("shop", "order 8")
    assert await a.records.learn_request("shop", "order 8")
    await asyncio.sleep(0.01)
    assert not await b.records.learn_request("shop", "order 8"), "the first machine is at it again"
    a.store.calls_out.put(msgspec.structs.replace(CALL, idem="order 8"))
    await asyncio.sleep(0.01)
    assert await b.records.learn_request("shop", "order 8")
    assert b.store.calls_out.of_key("shop", "order 8") is not None
    await close(a, b)


async def test_without_a_key_a_refused_request_stays_with_its_machine() -> None:
    a, b = await two(Withheld())
    for one in (a, b):
        await one.shared.beat()
    assert await a.records.learn_request("shop", "order 7")
    a.records.request_refused("shop", "order 7")
    await asyncio.sleep(0.01)
    assert await a.records.learn_request("shop", "order 7")
    assert not await b.records.learn_request("shop", "order 7")
    await close(a, b)


async def test_a_request_is_answered_by_the_other_machine_when_the_first_is_gone() -> None:
    a, b = await two(Withheld())
    await a.shared.beat()
    assert await a.records.learn_request("shop", "order 7")
    await asyncio.sleep(11)
    assert await b.records.learn_request("shop", "order 7")
    await close(a, b)
