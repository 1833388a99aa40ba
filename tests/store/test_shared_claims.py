"""How long the store is waited for, what happens while it is away, and what is written when it is back."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bridge.core.messages import CallSnapshot
from bridge.server.store.claims import (
    Claim,
    ClaimAnswer,
    Lease,
    Limit,
    Process,
    Ring,
    RingAnswer,
    Spent,
    Status,
    StoreError,
)
from bridge.server.store.embedded_claims import EmbeddedClaims
from bridge.server.store.sealing import Clear
from bridge.server.store.shared_claims import MOST_WAITING, SharedClaims
from bridge.server.store.store_link import Unwatched
from tests.store.virtual_loop import virtually

pytestmark = pytest.mark.runs_with(function=virtually)

CA1 = f"CA{1:032x}"
OTHER = f"CA{2:032x}"
A, B = Process("a", "a1"), Process("b", "b1")
HANG = "hang"


class Faulty(EmbeddedClaims):
    """`fault` is what every command meets: nothing, `HANG`, or the kind of a StoreError. Commands that hang
    are executed when that is over, as a server's are that was frozen.
    """

    def __init__(self) -> None:
        super().__init__(lambda: 1_700_000_000_000 + round(asyncio.get_running_loop().time() * 1000))
        self.fault = ""
        self.faulty_writes = ""
        self.commands: list[str] = []
        self._thawed = asyncio.Event()
        self._late: set[asyncio.Task[object]] = set()

    def thaw(self) -> None:
        self.fault = ""
        self._thawed.set()


def _meets(name: str) -> None:
    inner = getattr(EmbeddedClaims, name)

    async def met(self: Faulty, *arguments: object, **named: object) -> object:
        self.commands.append(name)
        if self.fault == HANG:

            async def late() -> object:
                await self._thawed.wait()
                return await inner(self, *arguments, **named)

            task = asyncio.ensure_future(late())
            self._late.add(task)
            return await asyncio.shield(task)
        fault = self.fault or (self.faulty_writes if name != "ping" else "")
        if fault:
            raise StoreError(fault, f"{fault}!")
        await asyncio.sleep(0)
        return await inner(self, *arguments, **named)

    setattr(Faulty, name, met)


for _name in (
    "ping",
    "beat",
    "ring",
    "claim",
    "note",
    "turn",
    "end",
    "intend",
    "after",
    "look",
    "check",
    "words",
):
    _meets(_name)


class Watch(Unwatched):
    def __init__(self) -> None:
        self.failed: Counter[str] = Counter()
        self.ups: list[bool] = []
        self.ghosts = self.restored = 0

    def store_failed(self, kind: str, /) -> None:
        self.failed[kind] += 1

    def store_up(self, up: bool, /) -> None:
        self.ups.append(up)

    def store_ghost(self) -> None:
        self.ghosts += 1

    def store_restored(self) -> None:
        self.restored += 1


class Rig:
    """A process, whose store may fail, and another one of the same store."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.claims = Faulty()
        self.watch = Watch()
        self.micro_usd = 0
        self.lost: list[tuple[str, str]] = []
        self.mine = self._of(A, self.watch)
        self.mine.lost = lambda *told: self.lost.append(told)
        self.others = self._of(B, None)

    def _of(self, process: Process, watch: Watch | None) -> SharedClaims:
        return SharedClaims(
            self.claims,
            process,
            Clear(),
            status=lambda: Status(capacity=9),
            spent=lambda: Spent("today", {"": self.micro_usd}),
            watch=watch,
            clock=self.loop.time,
        )

    async def fall_away(self, fault: str = "connection") -> None:
        self.claims.fault = fault
        for _ in range(3):
            assert await self.mine.ring(CA1, "x", "acct") is None
        assert not self.mine.up

    async def settle(self) -> None:
        await asyncio.sleep(0.05)


@asynccontextmanager
async def rig(*, open_others: bool = True) -> AsyncIterator[Rig]:
    made = Rig()
    await made.mine.open()
    await made.mine.beat()
    if open_others:
        await made.others.open()
        await made.others.beat()
    try:
        yield made
    finally:
        made.claims.thaw()
        made.claims.faulty_writes = ""
        await made.mine.close()
        await made.others.close()
        await asyncio.gather(*made.claims._late, return_exceptions=True)


async def timed(made: Rig, budget_s: float, asking: object) -> None:
    began_s = made.loop.time()
    assert await asking is None  # type: ignore[misc]
    assert made.loop.time() - began_s == pytest.approx(budget_s, abs=0.001)


async def test_a_store_that_hangs_costs_three_budgets_and_then_nothing() -> None:
    async with rig() as made:
        made.claims.fault = HANG
        await timed(made, 0.100, made.mine.ring(CA1, "n1", "acct"))
        await timed(made, 0.150, made.mine.claim(CA1, "n1", account="acct"))
        await timed(made, 0.250, made.mine.after(CA1, "n1", "n2", "acct"))
        assert not made.mine.up
        for asking in (
            made.mine.ring(CA1, "n1", "acct"),
            made.mine.claim(CA1, "n1"),
            made.mine.after(CA1, "n1", "n2", "acct"),
            made.mine.look(CA1),
            made.mine.check(),
            made.mine.pace("main", 1_000, 1),
            made.mine.beat(),
        ):
            await timed(made, 0.0, asking)
        began_s = made.loop.time()
        assert await made.mine.hand_over(CA1, "handover", CallSnapshot()) is False
        assert made.loop.time() == began_s


async def test_a_burst_that_is_late_at_once_is_one_failure() -> None:
    """A machine that is busy for a moment is late with all that it asked."""
    async with rig() as made:
        made.claims.fault = HANG
        await asyncio.gather(*(made.mine.ring(f"CA{number}", "n", "acct") for number in range(12)))
        assert made.mine.up
        for _ in range(2):
            await made.mine.ring(CA1, "n", "acct")
        assert not made.mine.up


async def test_a_hand_over_waits_a_quarter_of_a_second_at_most() -> None:
    async with rig() as made:
        await made.mine.claim(CA1, "n1", account="acct")
        made.claims.fault = HANG
        began_s = made.loop.time()
        assert await made.mine.hand_over(CA1, "handover", CallSnapshot()) is False
        assert made.loop.time() - began_s == pytest.approx(0.25, abs=0.001)
        made.claims.thaw()
        await made.settle()
        known = await made.others.look(CA1)
        assert known is not None
        assert known.intent == "handover"
        assert made.others.conversation(CA1, known) == CallSnapshot()


@pytest.mark.parametrize("newer", ["hand_over", "words", "end"])
async def test_what_was_late_takes_nothing_back(newer: str) -> None:
    """A turn that was not answered in time is written again, unless more is known by now."""
    async with rig() as made:
        await made.mine.claim(CA1, "n1", account="acct")
        made.claims.fault = HANG
        made.mine.turn(CA1, CallSnapshot(turns=1))
        await made.settle()
        made.claims.fault = ""
        if newer == "words":
            assert await made.mine.words({CA1: CallSnapshot(turns=2)}) == set()
        elif newer == "hand_over":
            assert await made.mine.hand_over(CA1, "handover", CallSnapshot(turns=2))
            made.mine.end(CA1, keep=True)
        else:
            made.mine.end(CA1, keep=False)
        await asyncio.sleep(1)
        known = await made.others.look(CA1)
        assert known is not None
        expected = None if newer == "end" else CallSnapshot(turns=2)
        assert made.others.conversation(CA1, known) == expected


@pytest.mark.parametrize("fault", ["timeout", "connection", "auth", "readonly", "oom", "busy", "other"])
async def test_every_kind_of_failure_is_counted_and_leads_away(fault: str) -> None:
    async with rig() as made:
        await made.fall_away(fault)
        assert made.watch.failed == {fault: 3}
        assert made.watch.ups == [True, False]
        made.claims.fault = ""
        await asyncio.sleep(1.5)
        assert not made.mine.up  # one good ping
        await asyncio.sleep(1.0)
        assert made.mine.up
        assert made.watch.ups == [True, False, True]


async def test_two_failures_are_no_absence() -> None:
    async with rig() as made:
        for _ in range(5):
            made.claims.fault = "timeout"
            for _ in range(2):
                assert await made.mine.look(CA1) is None
            made.claims.fault = ""
            await made.mine.look(CA1)
        assert made.mine.up


async def test_a_store_that_answers_and_takes_no_writes_stays_away(caplog: pytest.LogCaptureFixture) -> None:
    async with rig() as made:
        await made.fall_away("oom")
        assert "it is full" in caplog.text
        caplog.clear()
        made.claims.fault, made.claims.faulty_writes = "", "oom"
        with caplog.at_level(logging.INFO):
            await asyncio.sleep(59)
        assert not made.mine.up
        assert caplog.messages == []  # once a minute
        made.claims.faulty_writes = ""
        await asyncio.sleep(4)
        assert made.mine.up


async def test_the_log_has_a_line_for_each_change(caplog: pytest.LogCaptureFixture) -> None:
    async with rig() as made:
        await made.fall_away()
        await asyncio.sleep(300)
        made.claims.fault = ""
        await asyncio.sleep(5)
        lines = [one.partition(" (")[0].partition(",")[0] for one in caplog.messages]
        assert lines == ["store away: connection", "store back"]


async def test_a_wrong_password_is_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    async with rig() as made:
        await made.fall_away("auth")
        await asyncio.sleep(125)
        assert sum("refuses the password" in one for one in caplog.messages) == 3


async def test_a_store_that_is_down_at_start_is_away_at_once() -> None:
    made = Rig()
    made.claims.fault = "connection"
    await made.mine.open()
    assert not made.mine.up
    made.claims.fault = ""
    await asyncio.sleep(2.5)
    assert made.mine.up
    assert made.mine.latest is not None
    assert made.mine.latest.lease is Lease.NEW
    await made.mine.close()


async def test_a_wrong_password_at_start_is_no_weather() -> None:
    made = Rig()
    made.claims.fault = "auth"
    with pytest.raises(StoreError, match="auth"):
        await made.mine.open()
    await made.mine.close()


async def test_words_of_all_calls_are_one_command_and_what_is_not_written_is_named() -> None:
    async with rig() as made:
        for call_sid, nonce in ((CA1, "n1"), (OTHER, "n2")):
            await made.mine.claim(call_sid, nonce, account="acct")
        made.claims.commands = []
        said = {CA1: CallSnapshot(tools=1), OTHER: CallSnapshot(tools=2), "unknown": CallSnapshot()}
        assert await made.mine.words(said) == {"unknown"}
        assert made.claims.commands == ["words"]
        known = await made.others.look(OTHER)
        assert known is not None
        assert made.mine.conversation(OTHER, known) == CallSnapshot(tools=2)
        made.mine.turn(OTHER, CallSnapshot(tools=3))
        await made.settle()
        made.claims.fault = "timeout"
        assert await made.mine.words({CA1: CallSnapshot(tools=9)}) == {CA1}


async def test_of_what_waits_the_newest_is_written() -> None:
    async with rig() as made:
        await made.mine.claim(CA1, "n1", account="acct")
        await made.fall_away()
        for number in range(50):
            made.mine.turn(CA1, CallSnapshot(tools=number))
            made.mine.note(CA1, f"transfer:{number}")
        made.micro_usd = 77
        made.claims.fault, made.claims.commands = "", []
        await asyncio.sleep(2.5)
        await made.settle()
        assert Counter(made.claims.commands) == {"ping": 2, "beat": 1, "turn": 1}
        known = await made.others.look(CA1)
        assert known is not None
        assert known.intent == "transfer:49"
        assert made.others.conversation(CA1, known) == CallSnapshot(tools=49)
        assert made.mine.day_micro_usd == 77


async def test_what_waits_is_bounded() -> None:
    async with rig() as made:
        await made.fall_away()
        for number in range(MOST_WAITING + 500):
            call_sid = f"CA{number:032x}"
            assert await made.mine.claim(call_sid, f"n{number}") is None
            made.mine.end(call_sid, keep=False)
        assert len(made.mine._due) <= MOST_WAITING
        assert made.mine.held == {}


async def test_a_call_that_came_meanwhile_is_claimed_when_the_store_is_back() -> None:
    async with rig() as made:
        await made.fall_away()
        assert await made.mine.claim(CA1, "n1", account="acct", stream=2) is None
        assert made.mine.held == {CA1: 0}
        made.claims.fault = ""
        await asyncio.sleep(2.5)
        assert made.mine.held[CA1] > 0
        assert await made.others.ring(CA1, "n5", "acct") == Ring(RingAnswer.SPENT)
        used = await made.others.claim(CA1, "n1", account="acct")
        assert used is not None
        assert used.answer is ClaimAnswer.USED
        beat = await made.mine.beat()
        assert beat is not None
        await made.mine.beat()
        beat = await made.mine.beat()
        assert beat is not None
        assert beat.own_calls == 1


async def test_a_call_that_another_machine_got_meanwhile_is_lost() -> None:
    async with rig() as made:
        await made.fall_away()
        assert await made.mine.claim(CA1, "n1", account="acct") is None
        await asyncio.sleep(5)
        made.claims.fault = ""
        took = await made.others.claim(CA1, "n2", account="acct")
        assert took is not None
        assert took.answer.owned
        await asyncio.sleep(3)
        assert made.lost == [(CA1, "b")]
        assert made.watch.ghosts == 1
        known = await made.others.look(CA1)
        assert known is not None
        assert known.owner == "b"


async def test_a_call_of_a_machine_that_died_before_is_taken_when_the_store_is_back() -> None:
    async with rig() as made:
        await made.others.claim(CA1, "n1", account="acct")
        await asyncio.sleep(1)
        await made.fall_away()
        assert await made.mine.claim(CA1, "n2", account="acct", stream=2) is None
        made.claims.fault = ""
        await asyncio.sleep(2.5)
        assert made.mine.held[CA1] > 0
        made.others.note(CA1, "ended")
        await made.settle()
        assert made.lost == []


async def test_a_ghost_is_told_once_and_writes_nothing_more() -> None:
    async with rig() as made:
        await made.mine.claim(CA1, "n1", account="acct")
        await asyncio.sleep(0.01)
        await made.others.claim(CA1, "n2", account="acct")
        made.mine.turn(CA1, CallSnapshot())
        await made.settle()
        assert made.lost == [(CA1, "b")]
        made.claims.commands = []
        made.mine.turn(CA1, CallSnapshot())
        made.mine.end(CA1, keep=False)
        await made.settle()
        assert made.claims.commands == []


async def test_check_finds_what_was_lost() -> None:
    async with rig() as made:
        await made.mine.claim(CA1, "n1", account="acct")
        await made.mine.claim(CA1[:-1] + "2", "n3", account="acct")
        await asyncio.sleep(0.01)
        await made.others.claim(CA1, "n2", account="acct")
        assert await made.mine.check() == {CA1}
        assert [call_sid for call_sid, _owner in made.lost] == [CA1]
        assert list(made.mine.held) == [CA1[:-1] + "2"]


async def test_an_empty_store_is_filled_again_with_the_next_beat() -> None:
    async with rig() as made:
        limits = (Limit("number", 5),)
        for number in range(3):
            await made.mine.claim(f"CA{number:032x}", f"n{number}", account="acct", limits=limits)
        made.mine.note(CA1, "transfer:desk")
        await made.settle()
        Faulty.__base__.__init__(made.claims, made.claims._now_ms)  # type: ignore[misc]
        again: list[str] = []
        made.mine.restored = again.append
        beat = await made.mine.beat()
        assert beat is not None
        assert beat.lease is Lease.NEW
        await made.settle()
        assert made.watch.restored == 3
        assert sorted(again) == sorted(made.mine.held), "what was said in them is to be written again"
        known = await made.others.look(CA1)
        assert known is not None
        assert known.intent == "transfer:desk"
        await made.others.beat()
        full = await made.others.claim("CA9", "n9", limits=(Limit("number", 3),))
        assert full is not None
        assert full.answer is ClaimAnswer.FULL


async def test_a_claim_without_a_lease_gets_one() -> None:
    async with rig() as made:
        await asyncio.sleep(11)
        found = await made.mine.claim(CA1, "n1", account="acct")
        assert isinstance(found, Claim)
        assert found.answer is ClaimAnswer.OK


async def test_what_is_noted_of_another_machines_call() -> None:
    async with rig() as made:
        claim = await made.others.claim(CA1, "n1", account="acct")
        assert claim is not None
        made.mine.note(CA1, "returned:busy:desk", 1, epoch=claim.epoch - 1)
        await made.settle()
        made.mine.note(CA1, "returned:busy:desk", 1, epoch=claim.epoch)
        await made.settle()
        known = await made.mine.look(CA1)
        assert known is not None
        assert (known.intent, known.returns) == ("returned:busy:desk", 1)


async def test_a_call_is_three_commands_and_a_turn_one() -> None:
    async with rig() as made:
        made.claims.commands = []
        await made.mine.ring(CA1, "n1", "acct")
        await made.mine.claim(CA1, "n1", account="acct")
        for _ in range(4):
            made.mine.turn(CA1, CallSnapshot())
            await made.settle()
        made.mine.note(CA1, "ended")
        made.mine.end(CA1, keep=False)
        made.mine.note(CA1, "ended")
        await made.settle()
        assert Counter(made.claims.commands) == {"ring": 1, "claim": 1, "turn": 4, "end": 1}
        known = await made.mine.look(CA1)
        assert known is not None
        assert known.intent == "ended"


async def test_a_goodbye_is_taken_back() -> None:
    async with rig() as made:
        await made.mine.claim(CA1, "n1", account="acct")
        made.mine.note(CA1, "ended")
        await made.settle()
        made.mine.note(CA1, "")
        made.mine.turn(CA1, CallSnapshot())
        await made.settle()
        known = await made.others.look(CA1)
        assert known is not None
        assert known.intent == ""


async def test_a_late_write_of_a_stopped_server_changes_nothing() -> None:
    async with rig() as made:
        await made.mine.claim(CA1, "n1", account="acct")
        made.claims.fault = HANG
        made.micro_usd = 20
        made.mine.turn(CA1, CallSnapshot())
        await asyncio.sleep(0.3)
        made.micro_usd = 30
        made.claims.thaw()
        made.mine.turn(CA1, CallSnapshot())
        await made.settle()
        assert made.mine.up
        assert made.claims.commands.count("turn") == 3
        assert made.mine.day_micro_usd == 30
        late = await made.claims.turn(made.mine._held[CA1].next(A), None, Spent("today", {"": 20}))
        assert late.day_micro_usd == 30
