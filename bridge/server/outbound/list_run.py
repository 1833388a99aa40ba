"""Calling the numbers of a list: in order, some at once, again where that may help, and a pause where all
fail.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from bridge.errors import BridgeError, CallRefused
from bridge.server.outbound.calls import Wanted
from bridge.server.outbound.handles import CallResult, PlacedCall, Source
from bridge.server.outbound.lists import ListState, Row
from bridge.server.outbound.pacing import Breaker, Bucket
from bridge.server.outbound.progress import TRUNK_CODES, again_after_s
from bridge.server.outbound.record import Outcome, Record

MOST_ATTEMPTS: Final = 3
KEY_S: Final = 23 * 3600
"""For a day the same key gives the same call; a call that was asked for earlier cannot be found any more."""
MACHINE_AGAIN_S: Final = 3600
"""After a machine answered and no message was left."""
LOOK_S: Final = 5.0
SOON_S: Final = 60
"""A service that is full for this long at most is waited for, with `once` too."""
PASSING: Final = ("call_hours", "at_once", "attempts")
"""Rules that forbid a call for a while."""
REFUSED_AGAIN_S: Final = 3600


class Clock(NamedTuple):
    """Seconds since 1970, and how they are waited for."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class ListRun:
    """One run. `once` ends it when nothing is due now; else it waits for what is due later. `told` is called
    with each row that has moved. `paused` says in words why it ended early, "" if it did not.
    """

    def __init__(
        self,
        rows: list[Row],
        state: ListState,
        source: Source,
        *,
        cps: float,
        at_once: int,
        once: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.rows = rows
        self.paused = ""
        self._state = state
        self._source = source
        self._at_once = at_once
        self._once = once
        self.told: Callable[[Row], None] = lambda _row: None
        self._now, self._sleep = clock or Clock()
        self._bucket = Bucket(cps)
        self._breaker = Breaker()
        self._fault: BaseException | None = None
        self._live: dict[asyncio.Task[None], Row] = {}

    async def run(self) -> None:
        """Until all is done, or `paused`. What is under way then is waited for."""
        self._state.restore(self.rows)
        try:
            while not self._stops and (row := await self._next()) is not None:
                if row.state != "placed":  # else it was asked for before, and takes no turn
                    await self._sleep(self._bucket.take(self._now()))
                if not self._stops:
                    task = asyncio.create_task(self._call(row))
                    self._live[task] = row
                    task.add_done_callback(self._gone)
            while self._live and self._fault is None:
                await asyncio.wait(self._live, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in self._live:
                task.cancel()
        if self._fault is not None:
            raise self._fault

    @property
    def _stops(self) -> bool:
        return bool(self.paused) or self._fault is not None

    def _gone(self, task: asyncio.Task[None]) -> None:
        self._live.pop(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._fault = self._fault or fault  # a full disk, or a bug: nothing more is asked for
            for other in self._live:
                other.cancel()

    async def _next(self) -> Row | None:
        """The next row, when there is room for it; None when none is left."""
        while not self._stops:
            live = set(self._live.values())
            waiting = [row for row in self.rows if not row.final and row not in live]
            due = [row for row in waiting if row.due_s <= self._now()]
            if due and len(self._live) < self._at_once:
                # What was asked for before, then what is due again, then the others in their order.
                return min(due, key=lambda row: (row.state != "placed", row.state != "again"))
            if self._live:
                await asyncio.wait(self._live, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            elif not waiting or (self._once and all(row.state == "again" for row in waiting) and not due):
                return None
            else:
                await self._sleep(max(0.0, min(row.due_s for row in waiting) - self._now()))
        return None

    async def _call(self, row: Row) -> None:
        """One attempt, or what was begun of it."""
        if row.state == "placed" and self._now() - row.at_s > KEY_S:
            self._moved(row, "done", {"outcome": "failed", "reason": "its outcome is no longer known"})
            return
        if row.state != "placed":
            row.attempt += 1
            row.asks += 1
            row.at_s = self._now()
            self._moved(row, "placed", {})
            await asyncio.to_thread(self._state.sync)
        wanted = Wanted(to=row.to, from_=row.from_, agent=row.agent, context=row.context, consent=row.consent)
        try:
            told = await self._source.place(wanted, self._state.key(row))
            self._ended(row, await PlacedCall(self._source, told).done())
        except CallRefused as refused:
            self._refused(row, refused)
        except BridgeError as error:
            self.paused = str(error)  # it stays `placed`, and is looked up when this goes on

    def _refused(self, row: Row, refused: CallRefused) -> None:
        """It was not placed, so it was no attempt."""
        row.attempt -= 1
        told = {"rule": refused.rule, "reason": refused.words}
        if refused.status in (401, 403, 404, 400):
            self._moved(row, "queued", {})
            self.paused = str(refused)
        elif refused.wait_s is None:
            self._moved(row, "skipped", told)
        else:
            row.due_s = self._now() + refused.wait_s
            busy = refused.status in (429, 503) and refused.wait_s <= SOON_S
            self._moved(row, "queued" if busy else "again", told)

    def _ended(self, row: Row, result: CallResult) -> None:
        told: dict[str, Any] = {"outcome": result.outcome, "id": result.ref}
        facts = ("reason", "answered_by", "message", "sip_code", "stir", "ring_ms", "talk_s", "cost")
        told |= {name: value for name in facts if (value := getattr(result, name))}
        if result.stop:
            self.paused = result.reason
        if result.outcome == "refused":
            row.attempt -= 1  # no call was placed
        again_s = self._again_s(row, result)
        row.failures += result.outcome == "failed"
        if again_s is not None and row.attempt < MOST_ATTEMPTS:
            row.due_s = self._now() + again_s
            self._moved(row, "again", told)
        else:
            self._moved(row, "done", told)
        if result.outcome != "refused":
            failed = result.outcome == "failed" or result.sip_code in TRUNK_CODES
            self._breaker.ended(0.0, failed=failed)
            if self._breaker.wait_s(0.0):
                self.paused = self._breaker.reason

    def _again_s(self, row: Row, result: CallResult) -> int | None:
        """When to call again: never after a person, or a message that was left."""
        if result.outcome == "refused":
            waits = bool(result.stop) or result.reason.startswith(PASSING)
            return REFUSED_AGAIN_S if waits else None
        if result.outcome == "completed":
            return MACHINE_AGAIN_S if result.by_machine and not result.message else None
        known = Record(
            ref=result.ref, to="", from_="", asked_s=0.0, outcome=Outcome(result.outcome).value,
            sip_code=result.sip_code,
        )  # fmt: skip
        return again_after_s(known, row.failures)

    def _moved(self, row: Row, state: str, told: dict[str, Any]) -> None:
        row.state, row.told = state, told
        self._state.keep(row)
        self.told(row)

    # --- told at the end -----------------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """Counts by outcome, what it has cost, how long it rang (median), and why it was paused."""
        rings = sorted(row.told["ring_ms"] for row in self.rows if row.told.get("ring_ms"))
        left = [row for row in self.rows if not row.final]
        return {
            "numbers": len(self.rows),
            "done": sum(row.state == "done" for row in self.rows),
            "skipped": sum(row.state == "skipped" for row in self.rows),
            "left": len(left),
            "outcomes": dict(Counter(row.outcome or row.state for row in self.rows).most_common()),
            "attempts": sum(row.attempt for row in self.rows),
            "cost_usd": round(sum(row.told.get("cost", 0.0) for row in self.rows), 4),
            "ring_p50_ms": rings[len(rings) // 2] if rings else None,
            "paused": self.paused,
        }
