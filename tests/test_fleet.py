"""A process among others, with their store in memory: what it asks, and what it does by the answers."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from bridge.core import messages as m
from bridge.runner.pulse import Pulse
from bridge.runner.vendor_sessions import VendorSessions
from bridge.server.draining import AT_ONCE, hand_over
from bridge.server.fleet import Asked, Fleet
from bridge.server.fleet.heartbeat import BEAT_S
from bridge.server.gates import StreamTokens
from bridge.server.outbound.record import Record
from bridge.server.store import EmbeddedStore
from bridge.server.store.claims import (
    LEASE_MS,
    Beat,
    Limit,
    Process,
    RingAnswer,
    Spent,
    Status,
    StoreError,
    Written,
)
from bridge.server.store.commands import EmbeddedCommands
from bridge.server.store.embedded_claims import EmbeddedClaims
from bridge.server.store.intents import ENDED, HANDOVER
from bridge.server.store.sealing import Clear
from bridge.server.store.shared_claims import SharedClaims
from tests.agents import virtual_time

pytestmark = pytest.mark.runs_with(function=virtual_time.run)
CALL, ACCOUNT = f"CA{1:032x}", f"AC{1:032x}"


class Carried:
    """A call, as far as a fleet looks at one."""

    def __init__(self, silent_s: float = 0.0) -> None:
        self.call = self
        self.phase = m.Phase.LIVE
        self.carrier_silent_s = silent_s

    def now_ms(self) -> int:
        return 0

    def carried(self, _now_ms: int) -> m.CallSnapshot:
        return m.CallSnapshot(items=(m.SnapshotItem("user", "Hello."),))


class Calls:
    """A registry with the calls that a test has put in."""

    draining = False
    max_calls = 2

    def __init__(self) -> None:
        self.waiting: set[str] = set()
        self.carried: dict[str, Any] = {}
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def runner(self, call_sid: str) -> Any:
        return self.carried.get(call_sid)

    def let_go(self, call_sid: str, by: str = "") -> None:
        self.taken_by = by
        self.waiting.discard(call_sid)

    def waits_for(self, call_sid: str) -> bool:
        return call_sid in self.waiting


class Store(EmbeddedClaims):
    """Says nothing while it is `absent`."""

    absent = False

    async def ping(self) -> None:
        if self.absent:
            raise StoreError("timeout", "it is silent")

    async def beat(self, *args: Any, **named: Any) -> Beat:
        await self.ping()
        return await super().beat(*args, **named)

    async def check(self, *args: Any) -> frozenset[str]:
        await self.ping()
        return await super().check(*args)


class Machine:
    """One process: its fleet, its calls, its own memory."""

    def __init__(self, claims: Store, commands: EmbeddedCommands, name: str, **given: Any) -> None:
        loop = asyncio.get_running_loop()
        self.spent = 0
        self.shared_store = claims
        process = Process(name, f"inst-{name}-{id(self)}")
        shared = SharedClaims(claims, process, Clear(), clock=loop.time)
        shared.spent = lambda: Spent("2026-11-29", {"": self.spent})
        address = f"https://{name}.example.com"
        self.fleet = Fleet(shared, whole=Limit("", **given), commands=commands, said=Status(address=address))
        self.calls, self.store = Calls(), EmbeddedStore(None)
        self.fleet.belongs_to(self.calls, self.store, Pulse())

    async def claims(self, call_sid: str = CALL, stream: int = 1, *, goes_on: bool = False) -> str:
        """The gate that turns the stream away, empty for none."""
        gate = await self.fleet.claim(call_sid, ACCOUNT, stream, goes_on=goes_on)
        return "" if gate is None else gate.gate


async def two(**given: Any) -> tuple[Machine, Machine]:
    loop = asyncio.get_running_loop()
    claims, commands = Store(lambda: round(loop.time() * 1000) + 1), EmbeddedCommands()
    both = Machine(claims, commands, "one", **given), Machine(claims, commands, "two", **given)
    for machine in both:
        await machine.fleet.open()
    await asyncio.sleep(BEAT_S + 0.1)
    return both


async def closed(*machines: Machine) -> None:
    for machine in machines:
        await machine.fleet.close()


def leave(machine: Machine, call_sid: str = CALL) -> None:
    """The call is to go on elsewhere."""
    machine.calls.carried[call_sid] = Carried()
    machine.store.intents.note(call_sid, HANDOVER)
    assert machine.fleet.observer is not None
    machine.fleet.observer.call_did(call_sid, m.Ended(m.Reason.HANDED_OVER), 0)


async def test_a_process_that_stands_alone_is_asked_nothing() -> None:
    fleet = Fleet()
    fleet.belongs_to(Calls(), EmbeddedStore(None), Pulse())
    await fleet.open()
    assert await fleet.ring(CALL, ACCOUNT) is None
    assert await fleet.claim(CALL, ACCOUNT, 1, goes_on=True) is None
    assert await fleet.after(CALL, ACCOUNT, 1) == Asked()
    assert (fleet.reasons, fleet.observer, fleet.machine) == ([], None, "")
    assert fleet.better_elsewhere(["money", "full"]) == ["money", "full"]
    await fleet.close()


async def test_a_webhook_that_comes_again_elsewhere_finds_who_has_dialled() -> None:
    one, other = await two()
    first = await one.fleet.ring(CALL, ACCOUNT)
    again = await other.fleet.ring(CALL, ACCOUNT)
    assert first is not None
    assert again is not None
    assert (first.answer, again.answer, again.machine) == (RingAnswer.FIRST, RingAnswer.ELSEWHERE, "one")
    assert other.fleet.address(again.machine) == "https://one.example.com"
    assert other.fleet.address("gone") == ""
    await closed(one, other)


async def test_a_stream_that_comes_elsewhere_lets_the_warm_model_go() -> None:
    one, other = await two()
    await one.fleet.ring(CALL, ACCOUNT)
    one.calls.waiting.add(CALL)
    assert await other.claims() == ""
    await asyncio.sleep(0.1)
    assert not one.calls.waiting
    assert one.calls.taken_by == "two"
    await closed(one, other)


async def test_a_token_is_good_once_on_all_machines() -> None:
    one, other = await two()
    assert await one.claims() == ""
    assert await other.claims() == "token"
    assert await one.claims() == ""  # the same stream, asked again
    await closed(one, other)


async def test_a_call_is_learnt_from_the_machine_that_handed_it_over() -> None:
    one, other = await two()
    assert await one.claims() == ""
    one.store.intents.began(CALL)
    leave(one)
    await one.fleet.written([CALL])
    assert await other.fleet.after(CALL, ACCOUNT, 1) == Asked()
    assert (other.store.intents.peek(CALL), other.store.intents.streams(CALL)) == (HANDOVER, 1)
    assert await one.fleet.after(CALL, ACCOUNT, 1) == Asked(again=True, machine="two"), (
        "asked again elsewhere"
    )
    assert await other.fleet.after(CALL, ACCOUNT, 1) == Asked(again=True)
    assert await other.claims(stream=2, goes_on=True) == ""
    old = await one.fleet.after(CALL, ACCOUNT, 1)
    assert old.fault is not None, "a captured question"
    await closed(one, other)


async def test_a_hand_over_that_is_not_written_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next machine knows less than was said, and says so to caller and model, as after a crash."""
    one, other = await two()
    assert await one.claims() == ""

    async def silent(*_: object) -> Written:
        raise StoreError("timeout", "it is silent")

    for write in ("turn", "end"):
        monkeypatch.setattr(one.shared_store, write, silent)
    leave(one)
    await one.fleet.written([CALL])
    await other.fleet.after(CALL, ACCOUNT, 1)
    assert other.store.intents.peek(CALL) is None
    await closed(one, other)


async def test_calls_leave_a_few_at_a_time_and_each_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred at once kept a busy process for longer than a hand-over waits: none was written in time."""
    one, other = await two(most_calls=50)
    turn, under_way, most, due_ms = one.shared_store.turn, 0, 0, list[int]()
    sids = [f"CA{number:032x}" for number in range(40)]

    async def slow(*given: Any) -> Written:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.05)
        under_way -= 1
        return await turn(*given)

    def leaves(call_sid: str, event: m.HandOver) -> None:
        due_ms.append(event.within_ms)
        leave(one, call_sid)

    monkeypatch.setattr(one.shared_store, "turn", slow)
    for call_sid in sids:
        assert await one.claims(call_sid) == ""
    registry: Any = SimpleNamespace(
        call_sids=lambda: sids, feed=leaves, services=SimpleNamespace(fleet=one.fleet)
    )
    await hand_over(registry, 300)
    await asyncio.sleep(0.1)
    assert most <= AT_ONCE
    assert due_ms[0] == 300
    assert due_ms[-1] == 0, "it has no more time than was said"
    for call_sid in sids:
        await other.fleet.after(call_sid, ACCOUNT, 1)
        assert other.store.intents.peek(call_sid) == HANDOVER
    await closed(one, other)


async def test_calls_talk_on_while_every_other_machine_goes_too() -> None:
    """They were closed at once, and the carrier found nobody to ask: each was lost."""
    one, other = await two()
    left: list[tuple[float, int]] = []
    began_s = asyncio.get_running_loop().time()

    def leaves(_call_sid: str, event: m.HandOver) -> None:
        left.append((asyncio.get_running_loop().time() - began_s, event.within_ms))

    registry: Any = SimpleNamespace(
        call_sids=lambda: [CALL], feed=leaves, services=SimpleNamespace(fleet=one.fleet)
    )
    other.calls.draining = True
    other.fleet.hurry()
    await asyncio.sleep(BEAT_S + 0.1)
    began_s = asyncio.get_running_loop().time()
    await hand_over(registry, 4_000)
    assert [(round(at_s), within_ms) for at_s, within_ms in left] == [(4, 0)], "its time is over"
    other.calls.draining = False
    handing_over = asyncio.ensure_future(hand_over(registry, 60_000))
    other.fleet.hurry()
    await asyncio.sleep(BEAT_S + 0.2)
    assert handing_over.done(), "there is one that stays"
    await closed(one, other)
    assert Fleet().has_successor, "who else there is, is not known"


async def test_a_call_out_that_comes_elsewhere_is_known_as_one_there() -> None:
    placed = Record(ref="r1", to="+15550101", from_="+15550102", asked_s=2e9, agent="host", call_sid=CALL)
    for path in ("after", "claim"):
        one, other = await two()
        assert await one.claims() == ""
        one.store.calls_out.put(placed)
        await asyncio.sleep(0.1)
        if path == "after":
            await other.fleet.after(CALL, ACCOUNT, 1)
        else:
            assert await other.claims(stream=2, goes_on=True) == ""
        found = other.store.calls_out.of_call(CALL)
        assert found is not None
        assert (found.ref, found.agent) == ("r1", "host")
        await closed(one, other)


async def test_a_resume_that_is_asked_about_is_counted_when_it_is_decided() -> None:
    one, other = await two()
    assert await one.claims() == ""
    one.store.intents.began(CALL)
    await asyncio.sleep(0.1)
    await other.fleet.after(CALL, ACCOUNT, 1)
    assert other.store.intents.resumes(CALL) == 0
    await closed(one, other)


@pytest.mark.parametrize("reason", [m.Reason.CALLER_HUNG_UP, m.Reason.CARRIER_LOST])
async def test_what_was_said_goes_with_the_caller(reason: m.Reason) -> None:
    one, other = await two()
    one.calls.carried[CALL] = Carried()
    writes = one.fleet.observer
    assert writes is not None
    assert await one.claims() == ""
    writes.call_did(CALL, m.Spoken("item_1", "Hello.", "Hello.", 600, cut=False), 0)
    await asyncio.sleep(1)
    writes.call_did(CALL, m.Ended(reason), 0)
    await asyncio.sleep(0.1)
    await other.fleet.after(CALL, ACCOUNT, 1)
    assert (other.store.conversations.find(CALL) is None) is (reason is m.Reason.CALLER_HUNG_UP)
    await closed(one, other)


@pytest.mark.parametrize(("silent_s", "ours"), [(1.0, True), (3.0, False)])
async def test_where_the_store_is_away_the_carriers_sound_says_whose_a_call_is(
    silent_s: float, ours: bool
) -> None:
    one, other = await two()
    one.calls.carried[CALL] = Carried(silent_s)
    assert await one.claims() == ""

    one.shared_store.absent = True
    await asyncio.sleep(LEASE_MS / 1000 + 1)
    assert await one.fleet.is_ours(CALL) is ours
    await closed(one, other)


async def test_a_moved_call_that_is_turned_away_is_handed_over_again() -> None:
    one, other = await two()
    assert await one.claims() == ""
    assert one.fleet.shared is not None
    one.fleet.shared.end(CALL, keep=True)
    await asyncio.sleep(0.1)
    await one.fleet.after(CALL, ACCOUNT, 1)
    assert await other.claims(stream=2, goes_on=True) == ""
    await other.fleet.turned_away(CALL, 2)  # it is to go as well
    assert await one.fleet.after(CALL, ACCOUNT, 2) == Asked()
    assert one.store.intents.peek(CALL) == HANDOVER
    assert await one.claims(stream=3, goes_on=True) == ""
    await closed(one, other)


async def test_a_goodbye_is_known_everywhere() -> None:
    one, other = await two()
    assert await one.claims() == ""
    one.store.intents.note(CALL, ENDED)
    await asyncio.sleep(0.1)
    await other.fleet.after(CALL, ACCOUNT, 1)
    assert other.store.intents.peek(CALL) == ENDED
    assert await other.claims(stream=2) == "ended"
    ring = await other.fleet.ring(CALL, ACCOUNT)
    assert ring is not None
    assert ring.answer is RingAnswer.ENDED
    await closed(one, other)


async def test_calls_of_all_machines_together_have_a_limit() -> None:
    one, other = await two(most_calls=3)
    sids = [f"CA{number:032x}" for number in range(5)]
    got = [
        await machine.claims(sid) for sid, machine in zip(sids, [one, other, one, other, one], strict=True)
    ]
    assert got == ["", "", "", "full", "full"]
    await asyncio.sleep(BEAT_S + 0.1)
    assert (one.fleet.reasons, other.fleet.reasons) == (["full"], ["full"])
    for sid in sids[:3:2]:
        assert one.fleet.shared is not None
        one.fleet.shared.end(sid, keep=False)
    await asyncio.sleep(BEAT_S + 0.1)
    assert (one.fleet.reasons, other.fleet.reasons) == ([], [])
    assert await other.claims(sids[4]) == ""
    await closed(one, other)


async def test_calls_of_a_machine_that_died_do_not_count_for_longer_than_its_lease() -> None:
    one, other = await two(most_calls=2)
    assert [await one.claims(f"CA{number:032x}") for number in (1, 2)] == ["", ""]
    assert await other.claims(f"CA{3:032x}") == "full"
    assert one.fleet.heartbeat is not None
    one.fleet.heartbeat.close()  # as if killed
    await asyncio.sleep(10.1)
    assert await other.claims(f"CA{4:032x}") == ""
    await closed(other)


async def test_the_days_money_is_that_of_all_machines() -> None:
    one, other = await two(most_micro_usd=1_000)
    assert await one.claims() == ""
    one.spent = 1_200
    assert one.fleet.shared is not None
    one.fleet.shared.end(CALL, keep=False)
    await asyncio.sleep(BEAT_S + 0.1)
    assert other.fleet.reasons == ["money"]
    assert await other.claims(f"CA{2:032x}") == "money"
    await closed(one, other)


async def test_calls_out_of_all_machines_keep_the_distance_of_one() -> None:
    one, other = await two()
    waits_s = [await machine.fleet.wait_s(ACCOUNT, 2.0) for machine in (one, other, one)]
    assert waits_s[0] == 0
    assert 1.9 < min(waits_s[1:]) <= max(waits_s[1:]) <= 2.0
    await asyncio.sleep(2.0)
    assert await other.fleet.wait_s(ACCOUNT, 2.0) == 0
    assert await one.fleet.wait_s(f"AC{2:032x}", 2.0) == 0, "another account has a distance of its own"
    assert await Fleet().wait_s(ACCOUNT, 2.0) == 0
    await closed(one, other)


async def test_a_name_that_another_process_has_gets_a_suffix(caplog: pytest.LogCaptureFixture) -> None:
    one, other = await two()
    assert one.fleet.shared is not None
    twin = Machine(one.fleet.shared.claims, EmbeddedCommands(), "one")  # type: ignore[arg-type]
    await twin.fleet.open()
    assert twin.fleet.machine != "one"
    assert twin.fleet.machine.startswith("one-")
    assert "another process has the name of this machine" in caplog.text
    await asyncio.sleep(BEAT_S + 0.1)
    assert {*one.fleet.machines} == {"one", "two", twin.fleet.machine}
    sessions = VendorSessions(2)
    sessions.among = lambda: (one.fleet.machine, one.fleet.machines)
    assert sessions.share == 1
    await closed(one, other, twin)


async def test_a_store_that_is_silent_lets_no_more_calls_in_than_the_last_known_cap() -> None:
    one, other = await two(most_calls=4)
    assert [await other.claims(f"CA{number:032x}") for number in (1, 2)] == ["", ""]
    await asyncio.sleep(BEAT_S + 0.1)
    shared = one.fleet.shared
    assert shared is not None
    shared.link.up = False  # in the middle of a burst: their webhooks have passed
    found = [await one.claims(f"CA{number:032x}") for number in range(3, 9)]
    assert found == ["", "", "full", "full", "full", "full"]
    assert await one.claims(f"CA{9:032x}", 2, goes_on=True) == "", "a call that goes on is not new"
    shared.link.up = True
    await closed(one, other)


async def test_machines_whose_clocks_are_an_hour_apart_take_each_other_s_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, other = await two()
    for machine in (one, other):  # the store of these tests began its clock a moment ago, at 0
        assert machine.fleet.wall_s() < 1_000
    before = StreamTokens(b"k" * 32, one.fleet.wall_s).mint(CALL, ACCOUNT)
    monkeypatch.setattr(time, "time", lambda: 3_600 + 1_790_000_000.0)
    assert StreamTokens(b"k" * 32, other.fleet.wall_s).redeem(before, CALL, ACCOUNT) is None
    await closed(one, other)
    assert Fleet().wall_s() > 1_000_000, "that of a machine which stands alone is its own"


async def test_a_clock_that_is_off_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    one, other = await two()  # the store of these tests began its clock a moment ago
    await asyncio.sleep(3 * BEAT_S)
    said = [record for record in caplog.records if "off that of the store" in record.getMessage()]
    assert len(said) == 2, "once by each"
    await closed(one, other)


async def test_a_machine_that_is_no_worse_than_the_others_is_asked_all_the_same() -> None:
    one, other = await two()
    reasons = ["full", "money", "upstream breaker"]
    assert one.fleet.better_elsewhere(["draining", *reasons]) == ["draining", "full"]
    other.calls.count = other.calls.max_calls
    other.fleet.hurry()
    await asyncio.sleep(BEAT_S + 0.1)
    assert one.fleet.better_elsewhere(["draining", "loop lag", *reasons]) == ["draining", "loop lag"]
    other.calls.count, other.calls.draining = 0, True
    other.fleet.hurry()
    await asyncio.sleep(BEAT_S + 0.1)
    assert one.fleet.better_elsewhere(reasons) == []
    await closed(one, other)


async def test_a_call_is_doubted_only_when_the_store_was_silent_for_a_lease() -> None:
    one, other = await two()
    assert await one.claims() == ""
    assert one.fleet.doubt(CALL) is None, "an ordinary call waits for nothing"
    assert Fleet().doubt(CALL) is None
    assert one.fleet.heartbeat is not None
    assert one.fleet.shared is not None
    one.fleet.heartbeat.close()
    await asyncio.sleep(11)
    lost: list[str] = []
    one.fleet.shared.lost = lambda call_sid, _owner: lost.append(call_sid)
    await other.fleet.after(CALL, ACCOUNT, 1)
    assert await other.claims(stream=2, goes_on=True) == ""
    asking = one.fleet.doubt(CALL)
    assert asking is not None
    assert await asking is False
    assert lost == [CALL]
    await closed(other)


async def test_a_machine_with_other_settings_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    one, other = await two()
    other.fleet.said = Status(config="another digest")
    other.fleet.hurry()
    await asyncio.sleep(4 * BEAT_S)
    said = [record.getMessage() for record in caplog.records if "PUBLIC_URL" in record.getMessage()]
    assert sorted(text.split()[1] for text in said) == ["one", "two"], "each names the other"
    assert all(
        record.levelname == "ERROR" for record in caplog.records if "PUBLIC_URL" in record.getMessage()
    )
    await closed(one, other)
