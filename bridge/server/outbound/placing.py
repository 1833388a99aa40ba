"""Placing calls: one request each, in turn, and what is done when it is unknown whether it arrived.

A request without an answer is not repeated blindly. The carrier's callbacks are waited for, then its list of
calls is asked; only if neither knows of a call it is asked for once more, with the same ref, so that a second
call would be known as one.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from bridge.server.new_calls import Advice, Ambiguous, Created, NewCall, Placed, Refused
from bridge.server.outbound.calls import OutboundCalls
from bridge.server.outbound.pacing import SHARE, Breaker, Bucket
from bridge.server.outbound.progress import TRUNK_CODES
from bridge.server.outbound.record import Outcome, Record, State
from bridge.server.store.intents import OVER_STATUSES

logger = logging.getLogger(__name__)

AMBIGUOUS_S: Final = 10.0
"""How long a callback is waited for after a request without an answer."""
MOST_POSTS: Final = 2
MOST_REFUSALS: Final = 5
"""Of one request that the carrier is too busy for."""
LISTS: Final = 6
LIST_AGAIN_S: Final = 5.0
SKEW_S: Final = 60
"""Between the carrier's clock and ours."""
LOST_S: Final = 20.0
"""After a phone should have stopped ringing, its last callback was lost."""
LOOK_AGAIN_S: Final = 30.0
AFTER_STREAM_S: Final = 10.0
LOOKS: Final = 20
TIME_LIMIT_EXTRA_S: Final = 30
INHERIT_S: Final = 5.0
READY_S: Final = 1.0
POLL_S: Final = 2.0


SharedWait: TypeAlias = Callable[[float], Awaitable[float]]


async def _no_wait(_every_s: float) -> float:
    return 0.0


class Placing:
    """Places what `calls` accepts. `base` is PUBLIC_URL. `shared_wait_s(every_s)` says how long to wait yet,
    for all machines place one call each `every_s`; 0 takes the place. `start` on the loop of the calls;
    `close` ends it, and what was not placed yet is left to the next process.
    """

    def __init__(
        self, calls: OutboundCalls, base: str, *, chance: Callable[[], float] = random.random
    ) -> None:
        self.breaker = Breaker()
        self._calls = calls
        self._base = base
        self._chance = chance
        settings = calls.settings
        self.shared_wait_s: SharedWait = _no_wait
        self._bucket = Bucket(SHARE * settings.calls_a_second)
        self._at_once = min(settings.calls_out, settings.max_calls)
        self._places = asyncio.Semaphore(self._at_once)
        self._withheld = 0
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changed: dict[str, asyncio.Event] = {}
        self._stream_over: set[str] = set()
        self._inheriting: asyncio.Task[None] | None = None
        calls.accepted = self.place
        calls.moved.append(self._moved)

    def start(self) -> None:
        """Go on with what a process before this one has left."""
        self._inheriting = asyncio.get_running_loop().create_task(self._inherit(), name="calls out")

    def close(self) -> None:
        """Place no more."""
        for task in [*self._tasks.values(), *([self._inheriting] if self._inheriting else [])]:
            task.cancel()

    def place(self, ref: str) -> None:
        """Place that call, or go on with it."""
        if ref not in self._tasks:
            self._changed[ref] = asyncio.Event()
            task = asyncio.get_running_loop().create_task(self._run(ref), name="call out")
            self._tasks[ref] = task
            task.add_done_callback(lambda _done: self._forget(ref))

    def stream_over(self, record: Record) -> None:
        """The call's stream is over here: its end will be told soon."""
        if record.ref in self._changed:
            self._stream_over.add(record.ref)
            self._changed[record.ref].set()

    def _forget(self, ref: str) -> None:
        del self._tasks[ref], self._changed[ref]
        self._stream_over.discard(ref)

    def _moved(self, before: Record, after: Record) -> None:
        if after.ref in self._changed:
            self._changed[after.ref].set()
        if after.done and not before.done and after.was_posted:
            outcome = Outcome(after.outcome)
            failed = outcome is Outcome.FAILED or after.sip_code in TRUNK_CODES
            self.breaker.ended(self._now(), failed=failed)

    async def _inherit(self) -> None:
        while True:
            for record in self._calls.store.inherited():
                logger.info("= a call out of another process is gone on with")
                self.place(record.ref)
            await asyncio.sleep(INHERIT_S)

    # --- one call ----------------------------------------------------------------------------------------

    async def _run(self, ref: str) -> None:
        try:
            async with self._places:
                if self._record(ref).state <= State.POSTING:
                    await self._place(ref)
                else:
                    await self._look(ref)  # its callbacks were lost while no process ran
                await self._follow(ref)
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("a call out is given up: a bug")
            self._calls.settle(self._record(ref), Outcome.FAILED, "a fault of the bridge's")

    async def _place(self, ref: str) -> None:
        created: Created | None = Ambiguous("another process has asked for it")
        if not self._record(ref).was_posted:
            created = await self._post(ref)
        if not isinstance(created, Ambiguous) or await self._found(ref):
            return
        if self._record(ref).posts < MOST_POSTS:
            created = await self._post(ref)
            if not isinstance(created, Ambiguous) or await self._found(ref):
                return
        reason = f"it is unknown whether it was placed: {created.why}"
        self._calls.settle(self._record(ref), Outcome.FAILED, reason)

    async def _post(self, ref: str) -> Created | None:
        """Ask the carrier for the call, when it is its turn: what it said, None if it was not asked."""
        calls, why = self._calls, ""
        for _ in range(MOST_REFUSALS):
            await self._turn()
            record = self._record(ref)
            if record.done:
                return None
            others = [one for one in calls.store.of_day() if one.ref != ref and (one.done or one.was_posted)]
            broken = calls.rules.broken(record, others)
            if broken is None and record.canceled:
                calls.settle(record, Outcome.CANCELED)
                return None
            if broken is not None:
                calls.settle(record, Outcome.REFUSED, f"{broken.rule}: {broken.words}")
                return None
            record = calls.change(
                record, state=int(State.POSTING), posts=record.posts + 1, posted_s=calls.clock()
            )
            await calls.store.durable()
            created = await calls.rest.create_call(self._new_call(record))
            record = self._record(ref)
            match created:
                case Placed(sid, queue_ms):
                    bound = calls.bind(ref, sid, calls.settings.twilio_account_sid or "")
                    if bound is not None and queue_ms:
                        calls.change(bound, queue_ms=queue_ms)
                case Refused() if not record.call_sid:
                    record = calls.change(record, posts=record.posts - 1)
                    if self._refused(record, created):
                        why = created.meaning
                        await asyncio.sleep(1 + 29 * self._chance() ** 2)
                        continue
            return created
        calls.settle(self._record(ref), Outcome.FAILED, f"{why}, asked {MOST_REFUSALS} times")
        return None

    def _refused(self, record: Record, refused: Refused) -> bool:
        """The carrier refuses it. Whether to try again."""
        reason = f"{refused.meaning} ({refused.code or refused.status})"
        match refused.advice:
            case Advice.WAIT | Advice.FEWER:
                if refused.advice is Advice.FEWER and self._withheld < self._at_once - 1:
                    self._withheld += 1
                    self._spawn_withholding()
                return True
            case Advice.FINAL:
                self._calls.settle(record, Outcome.INVALID, reason)
            case Advice.STOP | Advice.STOP_COUNTRY:
                self.breaker.stop(self._now(), reason)
                self._calls.settle(record, Outcome.REFUSED, reason, stop=refused.advice.name.lower())
            case Advice.BUG:
                self._calls.settle(record, Outcome.FAILED, reason)
        return False

    def _spawn_withholding(self) -> None:
        """One place fewer from now on, once one is free."""
        name = f"withheld {self._withheld}"
        task = asyncio.get_running_loop().create_task(self._withhold(), name=name)
        self._tasks[name] = task
        self._changed[name] = asyncio.Event()
        task.add_done_callback(lambda _done: self._forget(name))

    async def _withhold(self) -> None:
        async with self._places:
            await asyncio.sleep(600)
        self._withheld -= 1

    async def _turn(self) -> None:
        """Wait until a call may be placed: not while this process is full or drains, or all calls fail."""
        while True:
            if self._calls.full() is not None:
                await asyncio.sleep(READY_S)
                continue
            if (paused_s := self.breaker.wait_s(self._now())) > 0:
                await asyncio.sleep(paused_s)
                continue
            every_s = 1 / (SHARE * self._calls.settings.calls_a_second)
            if (wait_s := await self.shared_wait_s(every_s)) > 0:
                await asyncio.sleep(wait_s)
                continue
            await asyncio.sleep(self._bucket.take(self._now()))
            if self._calls.full() is None and not self.breaker.wait_s(self._now()):
                return

    def _new_call(self, record: Record) -> NewCall:
        settings = self._calls.settings
        query = f"?ref={record.ref}"
        return NewCall(
            to=record.to,
            from_=record.from_,
            url=f"{self._base}/outbound-call{query}",
            status_callback=f"{self._base}/call-status{query}",
            amd_callback=f"{self._base}/amd{query}",
            ring_s=record.ring_s,
            time_limit_s=settings.max_call_seconds + TIME_LIMIT_EXTRA_S,
            ref=record.ref,
        )

    # --- when it is unknown ------------------------------------------------------------------------------

    async def _found(self, ref: str) -> bool:
        """Whether it is known by now what became of a request without an answer."""
        await self._until(ref, lambda record: bool(record.call_sid) or record.done, AMBIGUOUS_S)
        for _ in range(LISTS):
            record = self._record(ref)
            if record.call_sid or record.done:
                return True
            since = dt.datetime.fromtimestamp(record.posted_s - SKEW_S, dt.UTC)
            listed = await self._calls.rest.list_calls(record.to, record.from_, since)
            if listed is not None:
                store, account = self._calls.store, self._calls.settings.twilio_account_sid or ""
                for one in listed:
                    if store.of_call(one.sid) is None:
                        self._calls.bind(ref, one.sid, account)  # a second one is ended
                return bool(self._record(ref).call_sid)
            await asyncio.sleep(LIST_AGAIN_S)
        self._calls.settle(self._record(ref), Outcome.FAILED, "it is unknown whether it was placed")
        return True

    # --- to its end --------------------------------------------------------------------------------------

    async def _follow(self, ref: str) -> None:
        """Until it is done. Callbacks can be lost: then the carrier is asked."""
        for _ in range(LOOKS):
            while not (record := self._record(ref)).done:
                patience_s, state = self._patience_s(record), record.state
                waits = ref in self._stream_over
                if not await self._until(
                    ref,
                    lambda now, state=state, waits=waits: (
                        now.state > state or (ref in self._stream_over) > waits
                    ),  # type: ignore[misc]
                    patience_s,
                ):
                    break
            if not record.done:
                await self._look(ref)
            if self._record(ref).done:
                return
            await self._until(ref, lambda now: now.done, LOOK_AGAIN_S)
        self._calls.settle(self._record(ref), Outcome.FAILED, "the carrier does not say what became of it")

    async def _look(self, ref: str) -> None:
        """Ask the carrier how the call is."""
        record = self._record(ref)
        found = await self._calls.rest.look_up(record.call_sid, record.account_sid or None)
        record = self._record(ref)
        if found is None or record.done:
            return
        if found.status in OVER_STATUSES:
            fields = {"CallStatus": found.status, "CallDuration": str(found.talk_s)}
            self._calls.told(record, fields)
        elif not found.status:
            self._calls.settle(record, Outcome.FAILED, "the carrier knows no such call")

    def _patience_s(self, record: Record) -> float:
        """How long the call may stay as it is before the carrier is asked."""
        if record.state < State.ANSWERED:
            waited_s = max(0.0, self._calls.clock() - record.posted_s)
            return max(LOST_S, record.queue_ms / 1000 + record.ring_s + LOST_S - waited_s)
        if record.ref in self._stream_over:
            return AFTER_STREAM_S
        return self._calls.settings.max_call_seconds + TIME_LIMIT_EXTRA_S + LOST_S

    async def _until(self, ref: str, true: Callable[[Record], bool], within_s: float) -> bool:
        """Whether that becomes true of the call within this time."""
        changed, until_s = self._changed[ref], self._now() + within_s
        while not true(self._record(ref)) and (left_s := until_s - self._now()) > 0:
            changed.clear()
            with contextlib.suppress(TimeoutError):
                # Another process may have been told.
                await asyncio.wait_for(changed.wait(), min(left_s, POLL_S))
        return true(self._record(ref))

    def _record(self, ref: str) -> Record:
        record = self._calls.store.get(ref)
        if record is None:  # a day old, and forgotten
            return Record(ref=ref, to="", from_="", asked_s=0.0, state=int(State.DONE), outcome="failed")
        return record

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
