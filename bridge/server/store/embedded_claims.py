"""Claims in the memory of one process. No method awaits anything, so each is atomic on its loop.

What the scripts of `RedisClaims` do on a server, written out in Python. Its calls outlive the process in the
files of `EmbeddedStore`; leases, tokens and counts need not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bridge.server.store.claims import (
    CALL_KEPT_MS,
    CONVERSATION_KEPT_MS,
    DAY_KEPT_MS,
    ENDED_KEPT_MS,
    LEASE_MS,
    MACHINE_KEPT_MS,
    REDEEMED_KEPT_MS,
    RESUME_WINDOW_MS,
    RING_KEPT_MS,
    After,
    AfterAnswer,
    AfterRequest,
    Beat,
    Claim,
    ClaimAnswer,
    ClaimRequest,
    Fence,
    Known,
    Lease,
    Limit,
    Machine,
    Owned,
    Process,
    Ring,
    RingAnswer,
    Spent,
    Status,
    Words,
    Written,
)
from bridge.server.store.expiring import Expiring
from bridge.server.store.intents import ENDED, HANDOVER, TRANSFER

MOST_CALLS: Final = 20_000
"""Calls in memory, the latest. `UsedCalls` remembers more of them in its file."""


@dataclass(slots=True)
class _Call:
    owner: str = ""
    inst: str = ""
    epoch: int = 0
    seq: int = 0
    intent: str = ""
    nonce: str = ""
    account: str = ""
    groups: tuple[str, ...] = ()
    streams: int = 0
    resumed_ms: tuple[int, ...] = ()
    waits: int = 0
    returns: int = 0
    answered: str = ""  # the nonce that `after` was last asked about
    given: str = ""  # ...and what it gave
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class _Warm:
    process: Process
    nonce: str
    account: str


@dataclass(slots=True)
class _Lease:
    process: Process
    status: Status
    until_ms: int


@dataclass(slots=True)
class _Day:
    by_inst: dict[str, int] = field(default_factory=dict)


class EmbeddedClaims:
    """`now_ms` is the wall clock, milliseconds since 1970. Lives on one event loop."""

    def __init__(self, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._now_ms = now_ms
        self._leases: dict[str, _Lease] = {}
        self._live: dict[str, dict[str, tuple[str, ...]]] = {}  # by inst: groups by CallSid
        self._calls: Expiring[_Call] = Expiring(now_ms, MOST_CALLS)
        self._warm: Expiring[_Warm] = Expiring(now_ms, MOST_CALLS)
        self._redeemed: Expiring[tuple[str, str]] = Expiring(now_ms, MOST_CALLS)
        self._conversations: Expiring[bytes] = Expiring(now_ms, MOST_CALLS)
        self._spent: Expiring[_Day] = Expiring(now_ms, MOST_CALLS)
        self._slots: dict[str, int] = {}
        self._records: Expiring[dict[str, bytes]] = Expiring(now_ms, MOST_CALLS)

    # --- machines ----------------------------------------------------------------------------------------

    async def beat(
        self,
        process: Process,
        status: Status,
        day: str = "",
        calls: Mapping[str, Sequence[str]] | None = None,
        lease_ms: int = LEASE_MS,
    ) -> Beat:
        """See `Claims.beat`."""
        now_ms, before = self._now_ms(), self._leases.get(process.machine)
        held = before is not None and before.until_ms > now_ms
        if before is not None and held and before.process != process:
            return Beat(Lease.TAKEN, taken_by=before.process.inst, now_ms=now_ms)
        self._leases[process.machine] = _Lease(process, status, now_ms + lease_ms)
        self._forget_machines(now_ms)
        if calls is not None:
            self._live[process.inst] = {call_sid: tuple(groups) for call_sid, groups in calls.items()}
        machines = tuple(one for one in await self.machines() if one.live)
        return Beat(
            Lease.HELD if held else Lease.NEW,
            own_calls=len(self._live.get(process.inst, ())),
            fleet_calls=self._count(""),
            machines=machines,
            day_micro_usd=self._total(day, ""),
            now_ms=now_ms,
        )

    async def leave(self, process: Process) -> None:
        """See `Claims.leave`."""
        lease = self._leases.get(process.machine)
        if lease is not None and lease.process == process:
            del self._leases[process.machine]
        self._live.pop(process.inst, None)

    async def machines(self) -> tuple[Machine, ...]:
        """See `Claims.machines`."""
        now_ms = self._now_ms()
        leases = sorted(self._leases.items())
        return tuple(Machine(one.process, one.status, one.until_ms - now_ms) for _name, one in leases)

    def _forget_machines(self, now_ms: int) -> None:
        for name, lease in list(self._leases.items()):
            if now_ms - lease.until_ms > MACHINE_KEPT_MS:
                del self._leases[name]
                self._live.pop(lease.process.inst, None)

    def _is_live(self, machine: str) -> bool:
        lease = self._leases.get(machine)
        return lease is not None and lease.until_ms > self._now_ms()

    def _count(self, group: str) -> int:
        insts = [one.process.inst for name, one in self._leases.items() if self._is_live(name)]
        live = [self._live.get(inst, {}) for inst in insts]
        return sum(len(calls) if not group else sum(group in one for one in calls.values()) for calls in live)

    def _total(self, day: str, group: str) -> int:
        total = self._spent.get(f"{day}:{group}") if day else None
        return sum(total.by_inst.values()) if total else 0

    # --- the door ----------------------------------------------------------------------------------------

    async def ring(self, call_sid: str, process: Process, nonce: str, account: str = "") -> Ring:
        """See `Claims.ring`."""
        call, warm = self._calls.get(call_sid), self._warm.get(call_sid)
        if call is not None and call.intent == ENDED:
            return Ring(RingAnswer.ENDED)
        if (call is not None and call.epoch) or (warm is not None and warm.account != account):
            return Ring(RingAnswer.SPENT)
        if warm is not None and warm.process == process:
            return Ring(RingAnswer.MINE, warm.nonce, process.machine)
        if (
            warm is not None
            and warm.process.machine != process.machine
            and self._is_live(warm.process.machine)
        ):
            return Ring(RingAnswer.ELSEWHERE, warm.nonce, warm.process.machine)
        nonce = nonce if warm is None else warm.nonce
        self._warm.put(call_sid, _Warm(process, nonce, account), RING_KEPT_MS)
        return Ring(RingAnswer.FIRST, nonce, process.machine)

    async def claim(self, wanted: ClaimRequest) -> Claim:
        """See `Claims.claim`."""
        process, call_sid = wanted.process, wanted.call_sid
        lease = self._leases.get(process.machine)
        if lease is None or lease.process != process or not self._is_live(process.machine):
            return Claim(ClaimAnswer.NO_LEASE)
        call, ringing = self._calls.get(call_sid) or _Call(), self._warm.get(call_sid)
        warm = None if ringing is None else ringing.process
        if call.intent == ENDED or call.intent.startswith(TRANSFER):
            return Claim(ClaimAnswer.OVER, intent=call.intent)
        redeemed = self._redeemed.get(wanted.nonce)
        if redeemed == (process.inst, call_sid) and (call.inst, call.nonce) == (process.inst, wanted.nonce):
            return Claim(ClaimAnswer.MINE, call.epoch, warm=warm)
        if redeemed is not None:
            return Claim(ClaimAnswer.USED)
        account = ringing.account if ringing is not None else call.account
        if account and wanted.account != account:
            return Claim(ClaimAnswer.ACCOUNT)
        if not call.epoch and (refused := self._over_limits(wanted.limits, wanted.day)) is not None:
            return refused
        before = call.owner if call.epoch and call.inst != process.inst else ""
        self._live.get(call.inst, {}).pop(call_sid, None)
        groups = tuple(limit.group for limit in wanted.limits if limit.group)
        self._own(call, wanted, groups)
        self._redeemed.put(wanted.nonce, (process.inst, call_sid), REDEEMED_KEPT_MS)
        return Claim(ClaimAnswer.TOOK if before else ClaimAnswer.OK, call.epoch, owner=before, warm=warm)

    def _own(self, call: _Call, wanted: ClaimRequest, groups: tuple[str, ...]) -> None:
        call.owner, call.inst = wanted.process.machine, wanted.process.inst
        call.epoch, call.seq = max(call.epoch + 1, self._now_ms()), 0
        call.intent, call.waits = "", 0
        call.nonce, call.groups = wanted.nonce, groups
        call.account = wanted.account or call.account
        call.streams = max(call.streams, wanted.stream)
        self._keep(wanted.call_sid, call)
        self._live.setdefault(call.inst, {})[wanted.call_sid] = groups

    def _over_limits(self, limits: Sequence[Limit], day: str) -> Claim | None:
        for limit in limits:
            if limit.most_calls is not None and self._count(limit.group) >= limit.most_calls:
                return Claim(ClaimAnswer.FULL, group=limit.group)
            money = limit.most_micro_usd
            if money is not None and self._total(day, limit.group) >= money:
                return Claim(ClaimAnswer.MONEY, group=limit.group)
        return None

    # --- an owner's writes -------------------------------------------------------------------------------

    async def note(self, call: Owned) -> Written:
        """See `Claims.note`."""
        fence, known = self._fenced(call)
        if fence in (Fence.OK, Fence.RESTORED):
            known.intent = call.intent
            self._keep(call.call_sid, known)
        return Written(fence, known.epoch, known.owner)

    async def turn(self, call: Owned, conversation: bytes | None, spent: Spent) -> Written:
        """See `Claims.turn`."""
        fence, known = self._fenced(call)
        if fence in (Fence.OK, Fence.RESTORED):
            known.intent = call.intent if call.noted else known.intent
            self._keep(call.call_sid, known)
            self._write(call, conversation, spent)
        return Written(fence, known.epoch, known.owner, self._total(spent.day, ""))

    async def words(self, process: Process, calls: Sequence[Words]) -> frozenset[str]:
        """See `Claims.words`."""
        left = set()
        for one in calls:
            known = self._calls.get(one.call_sid)
            mine = known is not None and (known.epoch, known.inst) == (one.epoch, process.inst)
            if known is None or not mine or known.seq >= one.seq:
                left.add(one.call_sid)
                continue
            known.seq = one.seq
            self._keep(one.call_sid, known)
            self._conversations.put(one.call_sid, one.conversation, CONVERSATION_KEPT_MS)
        return frozenset(left)

    async def end(self, call: Owned, conversation: bytes | None, spent: Spent, *, keep: bool) -> Written:
        """See `Claims.end`."""
        fence, known = self._fenced(call)
        if fence in (Fence.OK, Fence.RESTORED):
            known.intent = call.intent if call.noted else known.intent
            self._keep(call.call_sid, known)
            self._write(call, conversation, spent)
            self._live.get(call.process.inst, {}).pop(call.call_sid, None)
            if not keep:
                self._conversations.drop(call.call_sid)
        return Written(fence, known.epoch, known.owner, self._total(spent.day, ""))

    def _fenced(self, mine: Owned) -> tuple[Fence, _Call]:
        """Whether the owner's write is let through, and the call as it is to be kept then."""
        call = self._calls.get(mine.call_sid) or _Call()
        inst = mine.process.inst
        if call.epoch > mine.epoch or (call.epoch == mine.epoch and call.inst != inst):
            return Fence.GHOST, call
        if call.epoch == mine.epoch:
            if call.seq >= mine.seq:
                return Fence.STALE, call
            call.seq = mine.seq
            return Fence.OK, call
        call.owner, call.inst, call.epoch, call.seq = mine.process.machine, inst, mine.epoch, mine.seq
        call.intent, call.nonce, call.account = mine.intent, mine.nonce, mine.account
        call.groups, call.streams = mine.groups, max(call.streams, mine.stream)
        return Fence.RESTORED, call

    def _keep(self, call_sid: str, call: _Call) -> None:
        call.at_ms = self._now_ms()
        self._calls.put(call_sid, call, ENDED_KEPT_MS if call.intent == ENDED else CALL_KEPT_MS)

    def _write(self, call: Owned, conversation: bytes | None, spent: Spent) -> None:
        if conversation is not None:
            self._conversations.put(call.call_sid, conversation, CONVERSATION_KEPT_MS)
        for group, micro_usd in spent.micro_usd.items() if spent.day else ():
            day = self._spent.get(f"{spent.day}:{group}") or _Day()
            # A late write of another call may know less.
            day.by_inst[call.process.inst] = max(day.by_inst.get(call.process.inst, 0), micro_usd)
            self._spent.put(f"{spent.day}:{group}", day, DAY_KEPT_MS)

    # --- writes of others --------------------------------------------------------------------------------

    async def intend(
        self, call_sid: str, intent: str, *, epoch: int | None = None, returns: int = 0
    ) -> Written:
        """See `Claims.intend`."""
        call = self._calls.get(call_sid) or _Call()
        if epoch is not None and call.epoch > epoch:
            return Written(Fence.GHOST, call.epoch, call.owner)
        call.intent, call.returns = intent, max(call.returns, returns)
        self._keep(call_sid, call)
        return Written(Fence.OK, call.epoch, call.owner)

    async def after(self, asked: AfterRequest) -> After:
        """See `Claims.after`."""
        call, now_ms = self._calls.get(asked.call_sid) or _Call(), self._now_ms()
        if (call.nonce and call.nonce != asked.nonce) or (call.account and call.account != asked.account):
            return After(AfterAnswer.OLD, epoch=call.epoch, owner=call.owner)
        recent = tuple(at_ms for at_ms in call.resumed_ms if at_ms > now_ms - RESUME_WINDOW_MS)
        again = call.answered == asked.nonce
        call.waits += asked.draining
        over = call.intent == ENDED or call.intent.startswith(TRANSFER)
        machine = nonce = ""
        if not over and (again or not asked.draining):
            nonce = call.given if again else asked.fresh
            machine = self._dials_next(asked, nonce)
        if nonce and not again:
            call.answered, call.given = asked.nonce, asked.fresh
            call.resumed_ms = (*recent, now_ms) if call.intent in ("", HANDOVER) else recent
        call.nonce, call.account = asked.nonce, asked.account
        self._keep(asked.call_sid, call)
        answer = AfterAnswer.AGAIN if again else AfterAnswer.OK
        return After(answer, call.intent, len(recent), call.waits, nonce, machine, call.epoch, call.owner)

    def _dials_next(self, asked: AfterRequest, nonce: str) -> str:
        """The machine that dials the model for the stream of that nonce: the one that was asked first, while
        it lives. Empty for none: this one is draining.
        """
        warm = self._warm.get(asked.call_sid)
        if warm is not None and warm.nonce == nonce and warm.process != asked.process:
            machine = warm.process.machine
            if machine != asked.process.machine and self._is_live(machine):
                return machine
        if asked.draining:
            return ""
        self._warm.put(asked.call_sid, _Warm(asked.process, nonce, asked.account), RING_KEPT_MS)
        return asked.process.machine

    # --- questions ---------------------------------------------------------------------------------------

    async def look(self, call_sid: str) -> Known | None:
        """See `Claims.look`."""
        call, conversation = self._calls.get(call_sid), self._conversations.get(call_sid)
        if call is None:
            return None if conversation is None else Known(conversation=conversation)
        return Known(
            intent=call.intent,
            streams=call.streams,
            resumed_ms=call.resumed_ms,
            waits=call.waits,
            returns=call.returns,
            owner=call.owner,
            epoch=call.epoch,
            at_ms=call.at_ms,
            conversation=conversation,
        )

    async def check(self, process: Process, epochs: Mapping[str, int]) -> frozenset[str]:
        """See `Claims.check`."""
        lost = set()
        for call_sid, epoch in epochs.items():
            call = self._calls.get(call_sid)
            if call is not None and (call.epoch, call.inst != process.inst) > (epoch, False):
                lost.add(call_sid)
        return frozenset(lost)

    async def pace(self, account: str, interval_ms: int, burst: int) -> int:
        """See `Claims.pace`."""
        now_ms = self._now_ms()
        while self._slots and next(iter(self._slots.values())) <= now_ms:
            del self._slots[next(iter(self._slots))]
        taken_until_ms = max(self._slots.pop(account, 0), now_ms)
        wait_ms = max(0, taken_until_ms - now_ms - (burst - 1) * interval_ms)
        self._slots[account] = taken_until_ms + (0 if wait_ms else interval_ms)
        return wait_ms

    async def put_record(self, key: str, writer: str, record: bytes, kept_ms: int) -> None:
        """See `Claims.put_record`."""
        self._records.put(key, {**(self._records.get(key) or {}), writer: record}, kept_ms)

    async def records(self, key: str) -> Mapping[str, bytes]:
        """See `Claims.records`."""
        return self._records.get(key) or {}

    async def ping(self) -> None:
        """It answers always."""

    async def close(self) -> None:
        """There is nothing to let go of."""
