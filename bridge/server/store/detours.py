"""Detours of calls, written down before the carrier is told of them.

The carrier's callbacks about a detour reach any of our processes, in any order, and more than once. So a
record has all that an answer is made of, and only moves forward: the first outcome stays. It is in a journal
beside that of the intents, and outlives the process. The keys that are to be played into a line are the
exception: they are in memory only, for they may be a secret.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from bridge.core import messages as m
from bridge.server.store.journal import Journal

KEPT_S: Final = 24 * 3600
KEPT: Final = 4_096


class DetourRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One detour of one call. Moments are milliseconds of the wall clock, 0 for what has not been yet.

    `name` is the target's, by settings; `stream` the number of the stream that the call leaves; `own_number`
    the number that was called, or that we called from. `away_at_ms` is when the carrier had the detour's
    document first, `wanted_back` that a caller on hold is to come. Leg B is the call to the target:
    `asked_at_ms` is when it was asked for a key, `key` what was pressed ("" for none, None for no word yet).
    `room_at_ms` is when it waited in the room of a warm transfer, `joined_at_ms` when the caller joined it
    there, `left_at_ms` when one of them left.
    """

    detour_id: str
    call_sid: str
    since_ms: int
    account_sid: str = ""
    kind: m.DetourKind = m.DetourKind.TRANSFER
    mode: m.TransferMode = m.TransferMode.COLD
    name: str = ""
    brief: str = ""
    accept: str = "1"
    ring_s: int = 25
    after: m.Afterwards = m.Afterwards.HANG_UP
    min_talk_s: int = 10
    stream: int = 1
    own_number: str = ""
    caller: str = ""
    left_stream: bool = False
    away_at_ms: int = 0
    cancelled: str = ""
    wanted_back: bool = False
    leg_sid: str = ""
    leg_status: str = ""
    leg_sequence: int = -1
    sip_code: int = 0
    answered_by: str = ""
    answered_at_ms: int = 0
    asked_at_ms: int = 0
    key: str | None = None
    accepted_at_ms: int = 0
    room_at_ms: int = 0
    joined_at_ms: int = 0
    left_at_ms: int = 0
    result: m.DetourResult | None = None

    @property
    def warm(self) -> bool:
        """Whether the caller stays with the model until the target has accepted."""
        return self.kind is m.DetourKind.TRANSFER and self.mode is m.TransferMode.WARM

    @property
    def away(self) -> bool:
        """Whether the caller has been sent where the detour leads."""
        return self.away_at_ms > 0

    @property
    def accepted(self) -> bool:
        """Whether the target has pressed the key."""
        return self.accepted_at_ms > 0


def merged(known: DetourRecord, seen: DetourRecord) -> DetourRecord:
    """What two machines know of the same detour. The first outcome known stays; moments and sequence numbers
    only rise, and of the leg the later word counts.
    """
    usual = DetourRecord(detour_id="", call_sid="", since_ms=0)
    later = seen.leg_sequence > known.leg_sequence
    changes: dict[str, Any] = {}
    for name in DetourRecord.__struct_fields__:
        here, there, unset = getattr(known, name), getattr(seen, name), getattr(usual, name)
        if there in (here, unset):
            continue
        rises = isinstance(there, int) and not isinstance(there, bool)
        if here == unset or (rises and there > here) or (name == "leg_status" and later):
            changes[name] = there
    return msgspec.structs.replace(known, **changes)


class DetourJournal:
    """The detours of this process's calls, and of those before it on this machine. `path` None is for memory
    only. While the journal cannot be written the log says so once, and what is noted is written later.
    """

    def __init__(self, path: Path | None, now: Callable[[], float] = time.time) -> None:
        self.told: Callable[[DetourRecord], None] = lambda _record: None
        """Called for each record that begins or changes here."""
        self._now = now
        self._records: dict[str, DetourRecord] = {}  # by id, those of late last
        self._changed_s: dict[str, float] = {}
        self._journal = None if path is None else Journal(path, "detours")
        if self._journal is not None:
            self._remember(self._journal.read())
            self._compact(2 * len(self._records) + 100)

    def begin(self, record: DetourRecord) -> None:
        """Note a detour, before the carrier hears of it. One that is known already stays as it is."""
        if self.find(record.detour_id) is None:
            self._keep(record, self._now())
            self._write(record.detour_id, msgspec.to_builtins(record))
            self.told(record)

    def find(self, detour_id: str) -> DetourRecord | None:
        """What is known of it, None for nothing. Those of a day ago are forgotten."""
        if self._journal is not None:
            self._remember(self._journal.news())
        changed_s = self._changed_s.get(detour_id, 0.0)
        return self._records.get(detour_id) if self._now() - changed_s <= KEPT_S else None

    def of_call(self, call_sid: str) -> DetourRecord | None:
        """The latest detour of a call, None if it had none."""
        latest = [one for one in self._records.values() if one.call_sid == call_sid]
        return max(latest, key=lambda one: one.since_ms) if latest else None

    def change(self, detour_id: str, **changes: Any) -> DetourRecord | None:
        """The record with these changes, noted; None for a detour that is not known. The first `result`
        stays.
        """
        before = self.find(detour_id)
        if before is None:
            return None
        if before.result is not None:
            changes.pop("result", None)
        after = msgspec.structs.replace(before, **changes)
        if after != before:
            self._keep(after, self._now())
            self._write(detour_id, {name: msgspec.to_builtins(value) for name, value in changes.items()})
            self.told(after)
        return after

    def learn(self, seen: DetourRecord) -> None:
        """What another machine knows of a detour, beside what is known here."""
        known = self.find(seen.detour_id)
        both = seen if known is None else merged(known, seen)
        if both != known:
            self._keep(both, self._now())
            self._write(both.detour_id, msgspec.to_builtins(both))

    def close(self) -> None:
        """Let the journal go; the file stays for the next process."""
        if self._journal is not None:
            self._journal.close()

    def _keep(self, record: DetourRecord, at_s: float) -> None:
        """Make it the latest; the oldest go, by age and by number."""
        self._records.pop(record.detour_id, None)
        self._changed_s.pop(record.detour_id, None)
        self._records[record.detour_id] = record
        self._changed_s[record.detour_id] = at_s
        while len(self._records) > KEPT or at_s - next(iter(self._changed_s.values())) > KEPT_S:
            oldest = next(iter(self._records))
            del self._records[oldest], self._changed_s[oldest]

    def _write(self, detour_id: str, what: dict[str, Any]) -> None:
        if self._journal is not None:
            self._journal.append({**what, "at_ms": round(self._now() * 1000), "detour_id": detour_id})
            self._compact(8 * KEPT)

    def _compact(self, over_lines: int) -> None:
        if self._journal is not None and self._journal.lines > over_lines:
            self._remember(self._journal.news())
            self._journal.rewrite(
                [
                    {**msgspec.to_builtins(record), "at_ms": round(self._changed_s[detour_id] * 1000)}
                    for detour_id, record in self._records.items()
                ]
            )

    def _remember(self, lines: list[dict[str, Any]]) -> None:
        now_s = self._now()
        for line in lines:
            detour_id, at_ms = line.get("detour_id"), line.get("at_ms")
            if not isinstance(detour_id, str) or not isinstance(at_ms, int):
                continue
            at_s = min(at_ms / 1000, now_s)
            if now_s - at_s > KEPT_S:
                continue
            before = self._records.get(detour_id)
            known = {} if before is None else msgspec.to_builtins(before)
            first = {"result": known["result"]} if "result" in known else {}
            try:
                record = msgspec.convert({**known, **line, **first}, DetourRecord)
            except msgspec.ValidationError:
                continue  # written by another version, or cut
            self._keep(record, at_s)
