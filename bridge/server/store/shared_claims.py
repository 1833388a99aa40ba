"""A process's claims: the calls that it owns, and the rules by which it asks the store and waits for it.

What a caller waits for is asked at once, within a budget. What no caller waits for (turns, intents, ends)
goes through one writer: of what waits for a call only the newest is written, so there is never more of it
than calls. What cannot be written stays until it can be.

One file, for all of it works on one table: the calls that are held, and what is due of each.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

import msgspec

from bridge.core.messages import CallSnapshot
from bridge.server.store.claims import (
    LEASE_MS,
    After,
    AfterRequest,
    Beat,
    Claim,
    ClaimAnswer,
    ClaimRequest,
    Claims,
    Fence,
    Known,
    Lease,
    Limit,
    Process,
    Ring,
    Spent,
    Status,
    Words,
    Written,
)
from bridge.server.store.due_writes import Due, Held
from bridge.server.store.sealing import Sealing
from bridge.server.store.store_link import ANSWER_MS, StoreLink, StoreWatch, Unwatched

WEBHOOK_MS: Final = 100
START_MS: Final = 150
AFTER_STREAM_MS: Final = 250
HAND_OVER_MS: Final = 250
CHECK_MS: Final = 150
MOST_WAITING: Final = 4_096
"""Calls that are over, or not owned, whose last write waits for the store; the latest."""
RECORD_KEPT_MS: Final = 24 * 3_600_000
MOST_WORDS: Final = 50
"""Calls whose words go in one command."""
MOST_AT_ONCE: Final = 4
"""Writes under way, each of another call: a store that is 100 ms away takes forty a second."""

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(CallSnapshot).decode


class SharedClaims:
    """`status` and `spent` say how this process is now. `lost(call_sid, owner)` is called for each call that
    turns out to be another machine's: its sockets are to be closed without a word; `restored(call_sid)` for
    one that the store had lost, and what was said in it. Lives on one event loop.
    """

    def __init__(
        self,
        claims: Claims,
        process: Process,
        sealing: Sealing,
        *,
        status: Callable[[], Status] = Status,
        spent: Callable[[], Spent] = Spent,
        watch: StoreWatch | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.claims = claims
        self.process = process
        self.sealing = sealing
        self.status, self.spent = status, spent
        self.lost: Callable[[str, str], None] = lambda _call_sid, _owner: None
        self.restored: Callable[[str], None] = lambda _call_sid: None
        self.latest: Beat | None = None
        """The last beat that was answered."""
        self.day_micro_usd = 0
        """What all machines have spent today, as of the last answer."""
        self._watch: StoreWatch = Unwatched() if watch is None else watch
        self.link = StoreLink(claims.ping, self._beat, self._wake, watch, clock)
        self._clock = clock
        self._offset_ms = 0.0
        self._held: dict[str, Held] = {}
        self._due: dict[str, Due] = {}  # what has waited longest first
        self._records: dict[str, bytes] = {}  # by key, likewise
        self._awry = False
        self._something = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    @property
    def up(self) -> bool:
        """Whether the store is asked at all."""
        return self.link.up

    @property
    def held(self) -> Mapping[str, int]:
        """The epoch of each call that this process carries, 0 for one that the store has not heard of."""
        return {call_sid: held.epoch for call_sid, held in self._held.items()}

    @property
    def known_calls(self) -> int:
        """The calls of all machines: those of the others as of the last beat, and those that are here now."""
        latest = self.latest
        return len(self._held) + (0 if latest is None else latest.fleet_calls - latest.own_calls)

    @property
    def is_stale(self) -> bool:
        """Whether the store has said nothing for as long as a lease lasts."""
        return self.link.silent_s() * 1000 > LEASE_MS

    def is_ahead(self, call_sid: str) -> bool:
        """Whether this process knows more of the call than the store: it carries it, or has yet to write."""
        return call_sid in self._held or call_sid in self._due

    def wall_s(self) -> float:
        """Seconds since 1970 as the store counts them; as this machine does while it has not been told."""
        return time.time() if self.latest is None else (self._clock() * 1000 + self._offset_ms) / 1000

    def local_s(self, at_ms: int) -> float:
        """A moment of the store's clock, in seconds of this machine's wall clock."""
        return time.time() - self._clock() + (at_ms - self._offset_ms) / 1000

    async def open(self) -> None:
        """Begin. Raises StoreError where the store says that the settings are wrong; one that does not answer
        is away.
        """
        await self.link.open()
        self._writer = asyncio.get_running_loop().create_task(self._write(), name="store writer")

    async def close(self) -> None:
        """Write what waits, a quarter of a second long at most, and give the lease back."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
            await self.link.ask("flush", ANSWER_MS, self._flush)
            await self.link.ask("leave", ANSWER_MS, lambda: self.claims.leave(self.process))
        await self.link.close()
        await self.claims.close()

    # --- what a caller waits for -------------------------------------------------------------------------

    async def ring(self, call_sid: str, nonce: str, account: str) -> Ring | None:
        """`Claims.ring`. None: decide alone."""
        return await self.link.ask(
            "ring", WEBHOOK_MS, lambda: self.claims.ring(call_sid, self.process, nonce, account)
        )

    async def claim(
        self,
        call_sid: str,
        nonce: str,
        *,
        account: str = "",
        stream: int = 1,
        limits: tuple[Limit, ...] = (),
        day: str = "",
    ) -> Claim | None:
        """`Claims.claim`; the call is carried here from now on, if it may be. None: decide alone. Then the
        call counts as carried, and is claimed when the store is back; `end` it if it is turned away.
        """
        wanted = ClaimRequest(
            call_sid=call_sid,
            process=self.process,
            nonce=nonce,
            account=account,
            stream=stream,
            limits=limits,
            day=day,
        )
        found = await self.link.ask("claim", START_MS, lambda: self._claim(wanted))
        if found is not None and found.answer is ClaimAnswer.NO_LEASE:
            found = None  # another process has this machine's name: with the next beat it has another one
        if found is None or found.answer.owned:
            held = Held(wanted, self._clock(), 0 if found is None else found.epoch)
            self._held[call_sid] = held
            self._due.pop(call_sid, None)
            if found is None:
                self._due[call_sid] = Due(held)
                self._wake()
        return found

    async def after(
        self, call_sid: str, nonce: str, fresh: str, account: str, *, draining: bool = False
    ) -> After | None:
        """`Claims.after`. None: decide by what this machine knows."""
        asked = AfterRequest(
            call_sid=call_sid,
            process=self.process,
            nonce=nonce,
            fresh=fresh,
            account=account,
            draining=draining,
        )
        return await self.link.ask("after", AFTER_STREAM_MS, lambda: self.claims.after(asked))

    async def look(self, call_sid: str, budget_ms: int = AFTER_STREAM_MS) -> Known | None:
        """`Claims.look`. None: nothing is known, or the store does not answer."""
        return await self.link.ask("look", budget_ms, lambda: self.claims.look(call_sid))

    async def records(self, key: str, budget_ms: int = AFTER_STREAM_MS) -> list[bytes]:
        """`Claims.records` that can be read; none where the store does not answer."""
        found = await self.link.ask("record", budget_ms, lambda: self.claims.records(key))
        opened = (self.sealing.open(key, one) for one in (found or {}).values())
        return [one for one in opened if one is not None]

    async def hand_over(self, call_sid: str, intent: str, conversation: CallSnapshot | None) -> bool:
        """Write intent and conversation before the carrier's socket is closed. Whether both are written."""
        held = self._held.get(call_sid)
        if held is None:
            return False
        held.intent, held.conversation = intent, conversation or held.conversation
        due = self._due.pop(call_sid, None) or Due(held)
        due.noted, due.turned = True, True
        return await self._write_one(call_sid, due)

    async def words(self, conversations: Mapping[str, CallSnapshot]) -> set[str]:
        """Write what was said in each of these calls, in one command. Returns those of which it is not
        written: their next `turn` says why.
        """
        left, batch = set(conversations), []
        for call_sid, conversation in conversations.items():
            held = self._held.get(call_sid)
            if held is None or not held.epoch or call_sid in self._due:
                continue
            held.conversation = conversation
            sealed = self._sealed(held)
            if sealed is not None:
                batch.append(Words(call_sid, held.epoch, held.next_seq(), sealed))
        while batch:
            now, batch = batch[:MOST_WORDS], batch[MOST_WORDS:]
            lost = await self.link.ask("words", HAND_OVER_MS, partial(self.claims.words, self.process, now))
            if lost is not None:
                left -= {one.call_sid for one in now} - lost
        return left

    async def check(self) -> frozenset[str] | None:
        """Which calls this process has lost; `lost` is called for each. None: the store does not say."""
        epochs = {call_sid: epoch for call_sid, epoch in self.held.items() if epoch}
        found = await self.link.ask("check", CHECK_MS, lambda: self.claims.check(self.process, epochs))
        for call_sid in found or ():
            self._is_lost(call_sid, "")
        return found

    async def pace(self, account: str, interval_ms: int, burst: int) -> int | None:
        """`Claims.pace`. None: keep the distance of this machine alone."""
        return await self.link.ask("pace", ANSWER_MS, lambda: self.claims.pace(account, interval_ms, burst))

    # --- what nothing waits for --------------------------------------------------------------------------

    def note(self, call_sid: str, intent: str, returns: int = 0, *, epoch: int | None = None) -> None:
        """Why the call's stream is about to end, or what follows, empty for nothing. Of a call that is not
        carried here `epoch` is the one that this was decided for, as `after` answered it.
        """
        held, due = self._held.get(call_sid), self._due.get(call_sid)
        if held is None and due is not None and due.held is not None:
            due.held.intent, due.noted = intent, True  # its end is not written yet
        elif held is None:
            self._put(call_sid, Due(intent=intent, returns=returns, epoch=epoch))
        elif held.intent != intent:
            held.intent = intent
            self._add(call_sid, held).noted = True

    def turn(self, call_sid: str, conversation: CallSnapshot) -> None:
        """What was said so far, at the end of a turn."""
        held = self._held.get(call_sid)
        if held is not None:
            held.conversation = conversation
            self._add(call_sid, held).turned = True

    def end(self, call_sid: str, *, keep: bool, conversation: CallSnapshot | None = None) -> None:
        """The call's stream is over here. `keep` what was said, for the call may go on."""
        held = self._held.pop(call_sid, None)
        if held is not None:
            due = self._add(call_sid, held)
            if conversation is not None:
                held.conversation, due.turned = conversation, True
            due.ended, due.keep = True, keep

    def put_record(self, key: str, record: bytes) -> None:
        """`Claims.put_record`, encrypted; of what waits under a key the newest is written."""
        self._records.pop(key, None)
        self._records[key] = record
        if len(self._records) > MOST_WAITING:
            del self._records[next(iter(self._records))]
        self._wake()

    def _add(self, call_sid: str, held: Held) -> Due:
        due = self._due.get(call_sid)
        if due is None or due.held is not held:
            due = Due(held)
        self._put(call_sid, due)
        return due

    def _put(self, call_sid: str, due: Due) -> None:
        self._due[call_sid] = due
        idle = len(self._due) - len(self._held)
        if idle > MOST_WAITING:
            oldest = next(call_sid for call_sid in self._due if call_sid not in self._held)
            del self._due[oldest]
        self._wake()

    # --- the lease ---------------------------------------------------------------------------------------

    async def beat(self) -> Beat | None:
        """Renew the lease; to be done each 3 s. None: the store is away. TAKEN: another process has this
        name; go on with another one (`rename`).
        """
        return await self.link.ask("beat", ANSWER_MS, self._beat)

    def rename(self, machine: str) -> None:
        """From now on this process is that machine."""
        self.process = replace(self.process, machine=machine)

    async def _beat(self) -> Beat:
        counted = {call_sid: held.groups for call_sid, held in self._held.items() if held.epoch}
        calls = counted if self._awry or self.latest is None else None
        found = await self.claims.beat(self.process, self.status(), self.spent().day, calls)
        if found.lease is Lease.TAKEN:
            return found
        self._offset_ms = found.now_ms - self._clock() * 1000
        # Claims and ends that are under way make a difference too; the beat after this one puts it right.
        self._awry = found.own_calls != len(counted)
        self.latest, self.day_micro_usd = found, found.day_micro_usd
        new = found.lease is Lease.NEW
        if new and self._awry:  # the lease lapsed, or the store has lost what it had
            await self.claims.beat(self.process, self.status(), self.spent().day, counted)
            self._awry = False
        for call_sid, held in list(self._held.items()):
            if new or not held.epoch:
                self._add(call_sid, held).noted = True
        return found

    async def _claim(self, wanted: ClaimRequest) -> Claim:
        found = await self.claims.claim(wanted)
        if found.answer is ClaimAnswer.NO_LEASE:
            await self._beat()
            found = await self.claims.claim(wanted)
        return found

    # --- the writer --------------------------------------------------------------------------------------

    def _wake(self) -> None:
        self._something.set()

    async def _write(self) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            await self._flush()

    async def _flush(self) -> None:
        while self._due and self.link.up:
            batch = [(one, self._due.pop(one)) for one in list(self._due)[:MOST_AT_ONCE]]
            await asyncio.gather(*(self._write_one(call_sid, due) for call_sid, due in batch))
        while self._records and self.link.up:
            key = next(iter(self._records))
            await self._write_record(key, self._records.pop(key))

    async def _write_record(self, key: str, record: bytes) -> None:
        sealed = self.sealing.seal(key, record)
        if sealed is None:
            return

        async def put() -> bool:
            await self.claims.put_record(key, self.process.inst, sealed, RECORD_KEPT_MS)
            return True

        if await self.link.ask("record", ANSWER_MS, put) is None:
            self._records.setdefault(key, record)

    async def _write_one(self, call_sid: str, due: Due) -> bool:
        """Whether it is written. What is not waits again, unless something newer does."""
        try:
            written = await self.link.ask(due.op, HAND_OVER_MS, lambda: self._step(call_sid, due))
        except asyncio.CancelledError:
            self._again(call_sid, due)
            raise
        if written is None:
            self._again(call_sid, due)
            return False
        if due.held is not None:
            self._was_written(call_sid, due.held, written)
        return written.fence is not Fence.GHOST

    def _was_written(self, call_sid: str, held: Held, written: Written) -> None:
        self.day_micro_usd = written.day_micro_usd or self.day_micro_usd
        if written.fence is Fence.RESTORED:
            self._watch.store_restored()
            self.restored(call_sid)
        elif written.fence is Fence.GHOST and self._held.get(call_sid) in (held, None):
            self._is_lost(call_sid, written.owner)

    def _is_lost(self, call_sid: str, owner: str) -> None:
        self._due.pop(call_sid, None)
        if self._held.pop(call_sid, None) is not None:
            self._awry = True  # it may have been counted again as this machine's
            self._watch.store_ghost()
            self.lost(call_sid, owner)

    def _again(self, call_sid: str, due: Due) -> None:
        newer = self._due.get(call_sid)
        if newer is None:
            if due.held is None or due.ended or self._held.get(call_sid) is due.held:  # else its end says all
                self._put(call_sid, due)
        elif newer.held is due.held:
            newer.turned |= due.turned
            newer.noted |= due.noted

    async def _step(self, call_sid: str, due: Due) -> Written:
        """One command, of all that waits for that call the one that says most."""
        held = due.held
        if held is None:
            intent, returns = due.intent, due.returns
            return await self.claims.intend(call_sid, intent, epoch=due.epoch, returns=returns)
        if not held.epoch and (lost := await self._claim_late(held)) is not None:
            return lost
        view, sealed = held.next(self.process, noted=due.noted), self._sealed(held) if due.turned else None
        spent = self.spent()
        counted = {group: spent.micro_usd[group] for group in ("", *held.groups) if group in spent.micro_usd}
        spent = Spent(spent.day, counted)
        if due.ended:
            return await self.claims.end(view, sealed, spent, keep=due.keep)
        if due.turned:
            return await self.claims.turn(view, sealed, spent)
        if due.noted:
            return await self.claims.note(view)
        return Written(Fence.OK, held.epoch, self.process.machine)

    async def _claim_late(self, held: Held) -> Written | None:
        """Claim a call that came while the store was away. GHOST where another machine has claimed it since;
        None for a call that is this process's.
        """
        asked = replace(held.asked, process=self.process, limits=(), day="")
        known = await self.claims.look(asked.call_sid)
        since_ms = held.since_s * 1000 + self._offset_ms
        if known is not None and known.owner != self.process.machine and known.epoch > since_ms:
            return Written(Fence.GHOST, known.epoch, known.owner)
        found = await self._claim(asked)
        if not found.answer.owned:
            return Written(Fence.GHOST if found.answer is ClaimAnswer.USED else Fence.STALE, 0, found.owner)
        held.epoch, held.seq = found.epoch, 0
        return None

    def _sealed(self, held: Held) -> bytes | None:
        """What was said in that call, for the store; None where that is not known, or kept from it."""
        said = held.conversation
        return None if said is None else self.sealing.seal(f"t:{held.asked.call_sid}", _encode(said))

    def conversation(self, call_sid: str, known: Known) -> CallSnapshot | None:
        """What was said in that call; None where that is not known, or cannot be read."""
        if known.conversation is None:
            return None
        plain = self.sealing.open(f"t:{call_sid}", known.conversation)
        try:
            return None if plain is None else _decode(plain)
        except msgspec.DecodeError:
            return None  # of another version
