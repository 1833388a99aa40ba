"""Calls out, in memory and in a journal of this machine: what was asked for, and how far it is.

A record is written before the carrier is asked, so that no crash makes two calls of one. It is kept for a day
after it was asked for, which is as long as an idempotency key lives.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from bridge.server.outbound.progress import merged
from bridge.server.outbound.record import Record
from bridge.server.store.journal import Journal
from bridge.server.store.owners import Owners

logger = logging.getLogger(__name__)

KEPT_S: Final = 24 * 3600
MOST: Final = 20_000


class OutboundRecords:
    """Records by their ref. `path` None keeps them in memory only. Lives on one event loop."""

    def __init__(self, path: Path | None, now: Callable[[], float] = time.time) -> None:
        self.told: Callable[[Record], None] = lambda _record: None
        """Called for each record that begins or changes here."""
        self._foreign: set[str] = set()  # refs of calls that another machine places
        self._now = now
        self._records: dict[str, Record] = {}  # the oldest first
        self._by_sid: dict[str, str] = {}
        self._by_key: dict[tuple[str, str], str] = {}
        self._path = path
        self._journal = None if path is None else Journal(path, "calls out")
        self._owners: Owners | None = None
        self._opened = self._unowned = False
        self._catch_up()
        self._compact(2 * len(self._records) + 100)

    def __len__(self) -> int:
        return len(self._records)

    @property
    def me(self) -> str:
        """Name this process among those with the same journal."""
        return "" if self._journal is None else self._journal.by

    def put(self, record: Record) -> None:
        """Keep what is known of it now. In the file when this returns, though not yet on the disk."""
        self._keep(record)
        self.told(record)
        if self._journal is not None and record.ref not in self._foreign:
            self._answer_for()
            self._opened = True
            self._journal.append(_line(record))
            self._compact(8 * MOST)

    def learn(self, seen: Record) -> None:
        """What another machine knows of a call out. One that this machine did not know is not in its file: it
        is not for this machine to go on with, were the other one gone.
        """
        known = self.get(seen.ref)
        if known is None:
            self._foreign.add(seen.ref)
        self._keep(seen if known is None else merged(known, seen))

    async def durable(self) -> None:
        """Wait until the disk has what was put; where it cannot, memory has."""
        if self._journal is not None:
            await asyncio.to_thread(self._journal.sync)

    def get(self, ref: str) -> Record | None:
        """The record of that ref, None for one that is unknown or was forgotten."""
        self._catch_up()
        return self._records.get(ref)

    def of_call(self, call_sid: str) -> Record | None:
        """The one that has become this call."""
        self._catch_up()
        return self._records.get(self._by_sid.get(call_sid, ""))

    def of_key(self, key: str, idem: str) -> Record | None:
        """The one that was asked for with this idempotency key, by the holder of that API key."""
        self._catch_up()
        return self._records.get(self._by_key.get((key, idem), ""))

    def of_day(self) -> Iterator[Record]:
        """All that were asked for within the last 24 hours."""
        self._catch_up()
        since_s = self._now() - KEPT_S
        return (record for record in list(self._records.values()) if record.asked_s > since_s)

    def inherited(self) -> list[Record]:
        """Those that are not done and whose process has gone: they are this process's from now on."""
        self._catch_up()
        mine: list[Record] = []
        others = [one for one in self._records.values() if not one.done and one.owner != self.me]
        for record in [one for one in others if one.ref not in self._foreign]:
            self._answer_for()
            if self._owners is not None:
                self._owners.inherit(record.owner, partial(self._take_over, record, mine))
        return mine

    def close(self) -> None:
        """Let the files go; they stay for the next process."""
        if self._owners is not None:
            self._owners.close()
        if self._journal is not None:
            self._journal.close()

    def _answer_for(self) -> None:
        """From now on this process goes on with what it has begun."""
        if self._owners is None and self._path is not None and not self._unowned:
            try:
                self._owners = Owners(self._path.parent / "owners", self.me)
            except OSError as error:
                self._unowned = True  # said once
                logger.warning("calls out of a process that is killed are not gone on with: %s", error)

    def _take_over(self, seen: Record, mine: list[Record]) -> None:
        self._catch_up()
        record = self._records.get(seen.ref, seen)
        if not record.done and record.owner == seen.owner:  # else another process was here before
            mine.append(msgspec.structs.replace(record, owner=self.me))
            self.put(mine[-1])

    def _keep(self, record: Record) -> None:
        self._records[record.ref] = record
        if record.call_sid:
            self._by_sid[record.call_sid] = record.ref
        if record.idem:
            self._by_key[record.key, record.idem] = record.ref
        while self._records:
            oldest = next(iter(self._records.values()))
            if len(self._records) <= MOST and self._now() - oldest.asked_s <= KEPT_S:
                break
            self._forget(oldest)

    def _forget(self, record: Record) -> None:
        self._foreign.discard(record.ref)
        del self._records[record.ref]
        self._by_sid.pop(record.call_sid, None)
        if self._by_key.get((record.key, record.idem)) == record.ref:
            del self._by_key[record.key, record.idem]

    def _catch_up(self) -> None:
        if self._journal is None or self._path is None:
            return
        if self._opened:
            self._remember(self._journal.news())
        elif self._path.exists():  # it is created by the first call
            self._opened = True
            self._remember(self._journal.read())

    def _remember(self, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            try:
                record = msgspec.convert(line, Record, strict=True)
            except msgspec.ValidationError:
                continue  # of another version
            known = self._records.get(record.ref)
            self._keep(record if known is None else merged(known, record))

    def _compact(self, over_lines: int) -> None:
        if self._journal is not None and self._journal.lines > over_lines:
            self._catch_up()
            self._journal.rewrite([_line(record) for record in self._records.values()])


def _line(record: Record) -> dict[str, Any]:
    line: dict[str, Any] = msgspec.to_builtins(record)
    return line
