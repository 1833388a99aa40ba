"""All notices that wait, and the threads that carry them: one that writes them down, one for each address."""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, TypeAlias

from .delivery import GONE, Address
from .spool import MOST, Notice, Spool, Waiting, folder_of

logger = logging.getLogger(__name__)

AFTER_S: Final = (5, 30, 120, 600, 3_600, 3 * 3_600, 8 * 3_600, 24 * 3_600)
"""How long after each attempt comes the next, the first for the first; ± `SPREAD`."""
SPREAD: Final = 0.2
GIVE_UP_S: Final = sum(AFTER_S)
ADOPT_S: Final = 30.0
"""How often notices are looked for that another process has left behind."""
MOST_IN_MEMORY: Final = 1_000
"""Notices that are kept where the disk takes none."""
CLOSE_S: Final = 2.0

Outcome: TypeAlias = Literal["delivered", "failed", "dropped", "given_up"]
Count: TypeAlias = Callable[[Outcome], None]


class Outbox:
    """Notices for these addresses. `put` may be called from any thread, and returns at once. `count` is told
    what became of each attempt, from any thread.

    Notices of one call arrive in their order, each at least once; an id is the same in all attempts. An
    address that answers 410 gets no more until the process starts again.
    """

    def __init__(
        self, addresses: Sequence[Address], folder: Path | None, count: Count = lambda _outcome: None
    ) -> None:
        self._ways = [_Way(address, Spool(folder_of(folder, address.url)), count) for address in addresses]

    @property
    def waiting(self) -> int:
        """Notices that have not arrived, of all addresses."""
        return sum(way.waiting for way in self._ways)

    def start(self) -> None:
        """Start to deliver, with what an earlier process has left. Idempotent."""
        for way in self._ways:
            way.start()

    def put(self, notice_id: str, call: str, body: str) -> None:
        notice = Notice(notice_id, call, time.time(), body)
        for way in self._ways:
            way.put(notice)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Write down what is in memory, and end. What has not arrived is tried by the next process."""
        ends_s = time.monotonic() + timeout_s
        for way in self._ways:
            way.close()
        for way in self._ways:
            way.join(ends_s - time.monotonic())


class _Way:
    """The notices of one address. The writer's thread fills `_waiting`, the carrier's empties it."""

    def __init__(self, address: Address, spool: Spool, count: Count) -> None:
        self._address = address
        self._spool = spool
        self._count = count
        self._new: queue.SimpleQueue[Notice | None] = queue.SimpleQueue()
        self._waiting: list[Waiting] = []
        self._changed = threading.Condition()
        self._closed = self._gone = False
        self._threads: list[threading.Thread] = []
        self._random = random.Random()  # noqa: S311  to spread attempts, not to hide anything

    @property
    def waiting(self) -> int:
        return len(self._waiting) + self._new.qsize()

    def start(self) -> None:
        if self._threads:
            return
        for work in (self._write, self._carry):
            thread = threading.Thread(target=work, name="notices", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no thread left on this machine
                logger.exception("notices wait for the next start")
                return
            self._threads.append(thread)

    def put(self, notice: Notice) -> None:
        if not self._gone:
            self._new.put(notice)

    def close(self) -> None:
        self._new.put(None)
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def join(self, timeout_s: float) -> None:
        for thread in self._threads:
            thread.join(max(0.0, timeout_s))
        self._spool.close()

    # --- the writer ----------------------------------------------------------------------------------------

    def _write(self) -> None:
        left = self._spool.load()
        with self._changed:
            self._waiting[:0] = left
            self._changed.notify_all()
        while True:
            try:
                notice = self._new.get(timeout=ADOPT_S)
            except queue.Empty:
                more = self._spool.adopt()
            else:
                if notice is None:
                    return
                more = [self._spool.put(notice)]
            with self._changed:
                self._waiting += more
                self._make_room()
                if self._gone:  # they were under way when it was switched off
                    self._give_up_all()
                self._changed.notify_all()

    def _make_room(self) -> None:
        """The oldest go first, of those in memory alone and of all."""
        memory = [one for one in self._waiting if one.path is None]
        too_many = memory[: max(0, len(memory) - MOST_IN_MEMORY)]
        for one in [*too_many, *self._waiting[: max(0, len(self._waiting) - MOST)]]:
            with suppress(ValueError):  # it is in both lists
                self._waiting.remove(one)
                self._spool.arrived(one)
                self._count("dropped")

    # --- the carrier ---------------------------------------------------------------------------------------

    def _carry(self) -> None:
        while (waiting := self._next()) is not None:
            answer = self._address.deliver(waiting.notice)
            waiting.attempts += 1
            if answer.arrived:
                self._over(waiting, "delivered")
            elif answer.status == GONE:
                self._switch_off()
            elif time.time() - waiting.notice.since_s >= GIVE_UP_S:
                logger.warning("notice %s is given up: %s", waiting.notice.id, answer)
                self._over(waiting, "given_up")
            else:
                self._again(waiting, answer.retry_after_s, str(answer))

    def _next(self) -> Waiting | None:
        """The first notice that is due and is not behind another one of its call; None at the end."""
        with self._changed:
            while not self._closed:
                now_s, soonest_s = time.monotonic(), None
                calls: set[str] = set()
                for one in self._waiting:
                    if one.notice.call in calls:
                        continue
                    if one.due_s <= now_s:
                        return one
                    calls.add(one.notice.call)
                    soonest_s = one.due_s if soonest_s is None else min(soonest_s, one.due_s)
                self._changed.wait(None if soonest_s is None else soonest_s - now_s)
        return None

    def _over(self, waiting: Waiting, outcome: Literal["delivered", "given_up"]) -> None:
        (self._spool.arrived if outcome == "delivered" else self._spool.give_up)(waiting)
        with self._changed, suppress(ValueError):  # it was dropped meanwhile
            self._waiting.remove(waiting)
        self._count(outcome)

    def _again(self, waiting: Waiting, asked_s: float | None, why: str) -> None:
        usual_s = AFTER_S[min(waiting.attempts, len(AFTER_S)) - 1]
        after_s = max(asked_s or 0.0, usual_s * self._random.uniform(1 - SPREAD, 1 + SPREAD))
        waiting.due_s = time.monotonic() + after_s
        level = logging.WARNING if waiting.attempts == 1 else logging.DEBUG
        logger.log(level, "notice %s did not arrive: %s; again in %.0f s", waiting.notice.id, why, after_s)
        self._count("failed")

    def _switch_off(self) -> None:
        """HTTP 410: the receiver wants no more."""
        logger.warning("an address of BRIDGE_NOTICES answered 410: it gets no more notices")
        with self._changed:
            self._gone = True
            self._give_up_all()

    def _give_up_all(self) -> None:
        gone, self._waiting = self._waiting, []
        for one in gone:
            self._spool.give_up(one)
            self._count("given_up")
