"""The calls out of one service: asked for, bound to the carrier's calls, moved by its callbacks, taken back.

Each is named by a ref that stands in the URLs which the carrier asks. The first proven request with a ref, or
the answer to ours, binds it to a CallSid; any other call with that ref is a second one, and is ended.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from bridge.agents.calling_out import GIVEN
from bridge.agents.placed import CONTEXT
from bridge.errors import CallRefused
from bridge.ops.metrics import Metrics
from bridge.server.outbound.progress import moved
from bridge.server.outbound.record import Outcome, Record, State, new_ref
from bridge.server.outbound.rules import DAY_S, Broken, Rules
from bridge.server.store import CallsOut
from bridge.server.twilio_rest import CarrierRest
from bridge.settings.settings import Settings

logger = logging.getLogger(__name__)

MOST_OPEN: Final = 1_000
"""Calls that may wait or be under way, of all who ask."""
MOST_ENDED: Final = 1_000
"""CallSids that were ended here, and need not be again."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A call that is asked for. `to` and `from_` as people write them; `agent` "" is the service's own."""

    to: str
    from_: str = ""
    agent: str = ""
    context: dict[str, str] = {}
    consent: str = ""
    ring_s: int = 30


class Accepted(NamedTuple):
    """The record of a call that was asked for; `replayed` says that it was before."""

    record: Record
    replayed: bool


class OutboundCalls:
    """All of them. Lives on the loop of the calls. `full` says in a word why none can be taken now."""

    def __init__(
        self,
        settings: Settings,
        rest: CarrierRest,
        store: CallsOut,
        rules: Rules,
        metrics: Metrics,
        *,
        full: Callable[[], str | None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.rest = rest
        self.store = store
        self.rules = rules
        self.clock = clock
        self.full = full
        self.knows_agent: Callable[[str], bool] = lambda name: not name
        self.accepted: Callable[[str], None] = lambda _ref: None
        """Called with the ref of each new call, so that it is placed."""
        self.moved: list[Callable[[Record, Record], None]] = []
        """Told of each change: before and after."""
        self._metrics = metrics
        self._watching: dict[str, list[asyncio.Queue[Record]]] = {}
        self._in_flight: set[tuple[str, str]] = set()
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._tasks: set[asyncio.Task[Any]] = set()

    # --- asked for ---------------------------------------------------------------------------------------

    async def accept(
        self,
        wanted: Wanted,
        *,
        key: str = "",
        idem: str = "",
        digest: str = "",
        begins: Callable[[str], None] = lambda _ref: None,
    ) -> Accepted:
        """Take a call that is asked for: written down when this returns, placed soon after. The same `idem`
        of the same `key` gives the same call. `begins` is told the ref of a new one. Raises CallRefused.
        """
        if idem:
            if (key, idem) in self._in_flight:
                words = "the request with this Idempotency-Key is still being answered"
                raise CallRefused(409, "in_progress", words, 1)
            known = self.store.of_key(key, idem)
            if known is not None:
                if known.digest != digest:
                    words = "this Idempotency-Key was used for another request"
                    raise CallRefused(409, "idempotency_conflict", words)
                return Accepted(known, replayed=True)
        record = self._checked(wanted, key, idem, digest)
        self._in_flight.add((key, idem))
        try:
            self.store.put(record)
            await self.store.durable()
        finally:
            self._in_flight.discard((key, idem))
        begins(record.ref)
        self.accepted(record.ref)
        return Accepted(record, replayed=False)

    def check(self, wanted: Wanted) -> Record:
        """The record that such a call would get now; nothing is written or placed. Raises CallRefused."""
        return self._checked(wanted, "", "", "")

    def _checked(self, wanted: Wanted, key: str, idem: str, digest: str) -> Record:
        """The record of such a call, if it may be placed now."""
        reason = self.full()
        if reason is not None:
            raise CallRefused(503, reason, f"no call can be placed now: {reason}", 5)
        numbers, of_day = self.rules.numbers, list(self.store.of_day())
        usual = self.settings.call_from[0] if self.settings.call_from else ""
        to, from_ = (
            None if numbers is None else numbers.read(text) for text in (wanted.to, wanted.from_ or usual)
        )
        record = Record(
            ref=new_ref(),
            to=wanted.to if to is None else to.e164,
            from_=wanted.from_ if from_ is None else from_.e164,
            asked_s=self.clock(),
            agent=wanted.agent,
            context=wanted.context,
            consent=wanted.consent,
            ring_s=wanted.ring_s,
            key=key,
            idem=idem,
            digest=digest,
            owner=self.store.me,
        )
        broken = self.rules.broken(record, of_day)
        if broken is None and wanted.agent != GIVEN and not self.knows_agent(wanted.agent):
            broken = Broken("agent", f"no agent is called {wanted.agent[:40]!r} here")
        if broken is not None:
            raise CallRefused(422, broken.rule, broken.words, broken.wait_s)
        self._check_room(key, of_day)
        return record

    def _check_room(self, key: str, of_day: list[Record]) -> None:
        settings, mine = self.settings, [one for one in of_day if one.key == key]
        if sum(not one.done for one in of_day) >= MOST_OPEN:
            raise CallRefused(429, "full", f"{MOST_OPEN} calls wait already", 30)
        if not key:
            return
        if sum(not one.done for one in mine) >= settings.key_calls:
            words = f"the key {key} has {settings.key_calls} calls at once (BRIDGE_KEY_CALLS)"
            raise CallRefused(429, "key_calls", words, 5)
        frees_s = int(min((one.asked_s for one in mine), default=0.0) + DAY_S - self.clock()) + 1
        if len(mine) >= settings.key_calls_a_day:
            words = f"the key {key} has asked for {len(mine)} calls within a day (BRIDGE_KEY_CALLS_A_DAY)"
            raise CallRefused(429, "key_calls_a_day", words, frees_s)
        spent = sum(one.cost_micro_usd for one in mine) / 1_000_000
        if settings.key_day_cost is not None and spent >= settings.key_day_cost:
            words = f"the calls of the key {key} have cost {spent:.2f} USD within a day (BRIDGE_KEY_DAY_COST)"
            raise CallRefused(429, "key_day_cost", words, frees_s)

    # --- the carrier's word ------------------------------------------------------------------------------

    def bind(self, ref: str, call_sid: str, account_sid: str) -> Record | None:
        """A call of the carrier's came with that ref. Its record, or None for a call that should not be: the
        ref is unknown, has another call, or was given up. That one is ended. A call without a ref was not
        placed by us, such as a caller's whose number tells its status here, too: None, and it goes on.
        """
        if not ref:
            return None
        record = self.store.get(ref)
        if record is not None and record.call_sid == call_sid:
            return record
        if record is None or record.call_sid or record.done:
            self._end_second(record, call_sid, account_sid)
            return None
        bound = self.change(
            record, call_sid=call_sid, account_sid=account_sid, state=int(max(record.state, State.PLACED))
        )
        if bound.canceled:
            self._spawn(self.rest.cancel(call_sid, account_sid))
        return bound

    def _end_second(self, record: Record | None, call_sid: str, account_sid: str) -> None:
        if call_sid in self._ended:
            return
        self._ended[call_sid] = None
        if len(self._ended) > MOST_ENDED:
            self._ended.popitem(last=False)
        self._metrics.rejected("duplicate_call")
        about = {"call_sid": call_sid}
        if record is None:
            logger.warning("a call with a ref that is not known here is ended", extra=about)
        else:
            logger.warning("duplicate_call: a second call of one request is ended", extra=about)
            self.change(record, duplicates=record.duplicates + 1)
        self._spawn(self.rest.cancel(call_sid, account_sid))

    def told(self, record: Record, fields: Mapping[str, str]) -> Record:
        """The carrier says this of the call."""
        return self._keep(record, moved(record, fields, self.clock()))

    def settle(self, record: Record, outcome: Outcome, reason: str = "", stop: str = "") -> Record:
        """The call is done, and no callback says so."""
        if record.done:
            return record
        logger.info("= a call out is over: %s %s", outcome.value, reason, extra=_about(record))
        ended = {"state": int(State.DONE), "outcome": outcome.value, "ended_s": self.clock()}
        return self.change(record, **ended, reason=reason, stop=stop)

    def change(self, record: Record, **what: Any) -> Record:
        """The record with this changed, kept and told."""
        return self._keep(record, msgspec.structs.replace(record, **what))

    def _keep(self, before: Record, after: Record) -> Record:
        if after == before:
            return before
        self.store.put(after)
        if after.state != before.state:
            word = State(after.state).word
            logger.info("= call out: %s %s", word, after.outcome, extra=_about(after))
        for tell in self.moved:
            tell(before, after)
        for queue in self._watching.get(after.ref, ()):
            queue.put_nowait(after)
        return after

    # --- taken back --------------------------------------------------------------------------------------

    async def cancel(self, ref: str) -> Record | None:
        """Take a call back: it is not placed, or rings no longer, or is hung up. None for an unknown ref."""
        record = self.store.get(ref)
        if record is None or record.done:
            return record
        if record.state == State.QUEUED:
            return self.settle(record, Outcome.CANCELED)
        record = self.change(record, canceled=True)
        if not record.call_sid:
            return record  # when it is known which call it is, that one is cancelled
        if record.state >= State.ANSWERED:
            await self.rest.hang_up(record.call_sid, record.account_sid or None)
        else:
            await self.rest.cancel(record.call_sid, record.account_sid or None)
        return self.store.get(ref)

    # --- looked at ---------------------------------------------------------------------------------------

    def fields(self, call_sid: str) -> Mapping[str, str]:
        """What a resolver and a handler see of a call that we placed, besides what the carrier says."""
        record = self.store.of_call(call_sid)
        if record is None:
            return {}
        given = {f"{CONTEXT}{name}": value for name, value in record.context.items()}
        return given | {
            "direction": "outbound",
            "ref": record.ref,
            "agent": record.agent,
            "From": record.from_,
            "To": record.to,
        }

    async def watch(self, ref: str) -> AsyncIterator[Record]:
        """The record as it is, and each time that it changes, until it is done."""
        queue: asyncio.Queue[Record] = asyncio.Queue()
        self._watching.setdefault(ref, []).append(queue)
        try:
            record = self.store.get(ref)
            while record is not None:
                yield record
                if record.done:
                    return
                record = await queue.get()
        finally:
            self._watching[ref].remove(queue)
            if not self._watching[ref]:
                del self._watching[ref]

    def close(self) -> None:
        """Stop what waits for the carrier."""
        for task in self._tasks:
            task.cancel()

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _about(record: Record) -> dict[str, str]:
    return {"call_sid": record.call_sid} if record.call_sid else {}
