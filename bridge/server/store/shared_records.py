"""Detours and calls out that several machines have to do with: what each knows of one, beside each other.

The carrier's callbacks reach any machine. So one that is asked about a detour or a call out looks first at
what the others have written of it, puts that beside what it knows, and decides by both. Each machine writes
its own view, so none can undo another's.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Final, TypeVar

import msgspec

from bridge.server.outbound.record import Record
from bridge.server.store import Store
from bridge.server.store.claims import RingAnswer
from bridge.server.store.detours import DetourRecord
from bridge.server.store.shared_claims import MOST_WAITING, WEBHOOK_MS, SharedClaims

T = TypeVar("T")

_encode: Final = msgspec.json.Encoder().encode


class SharedRecords:
    """Mirrors what `store` notes into the claims from now on, and brings into it what others have noted."""

    def __init__(self, shared: SharedClaims, store: Store) -> None:
        self._shared = shared
        self._store = store
        self._refused: dict[str, int] = {}  # requests that this machine has refused, and how often
        store.detours.told = self._detour
        store.calls_out.told = self._call_out

    async def learn_detour(self, detour_id: str, budget_ms: int = WEBHOOK_MS) -> None:
        """What the others know of that detour."""
        for seen in await self._views(f"d:{_digest(detour_id)}", DetourRecord, budget_ms):
            if seen.detour_id == detour_id:
                self._store.detours.learn(seen)

    async def learn_call_out(self, ref: str, budget_ms: int = WEBHOOK_MS) -> None:
        """What the others know of that call out."""
        for seen in await self._views(f"o:{_digest(ref)}", Record, budget_ms):
            if seen.ref == ref:
                self._store.calls_out.learn(seen)

    async def learn_request(self, key: str, idem: str) -> bool:
        """The call out that was asked for on any machine with that idempotency key. False where another one
        was asked first, a moment ago, and has neither written a call nor refused one: it may still place one.
        """
        asked = _digest(key, idem)
        attempt = await self._refusals(asked)
        # The first one has this attempt, as with a webhook.
        rung = await self._shared.ring(f"i-{asked}-{attempt}", "asked", "")
        await self._follow(f"oi:{asked}")
        first = rung is None or rung.answer is not RingAnswer.ELSEWHERE
        return first or self._store.calls_out.of_key(key, idem) is not None

    def request_refused(self, key: str, idem: str) -> None:
        """No call was written for that request: any machine may answer it when it is asked again."""
        asked = _digest(key, idem)
        if self._shared.sealing.seal(f"or:{asked}", b"") is None:
            return  # the others would not know, and would count attempts otherwise
        count = self._refused.pop(asked, 0) + 1
        self._refused[asked] = count
        if len(self._refused) > MOST_WAITING:
            del self._refused[next(iter(self._refused))]
        self._shared.put_record(f"or:{asked}", f"{self._shared.process.inst} {count}".encode())

    async def _refusals(self, asked: str) -> int:
        """How often that request was refused, on all machines; of this one as it knows itself."""
        counts = {}
        for view in await self._shared.records(f"or:{asked}", WEBHOOK_MS):
            inst, _, count = view.decode(errors="replace").partition(" ")
            counts[inst] = int(count) if count.isdecimal() else 0
        mine = self._shared.process.inst
        counts[mine] = max(counts.get(mine, 0), self._refused.get(asked, 0))
        return sum(counts.values())

    async def learn_call(self, call_sid: str) -> None:
        """The call out that has become this call."""
        await self._follow(f"oc:{call_sid}")

    async def _follow(self, pointer: str) -> None:
        refs = await self._shared.records(pointer, WEBHOOK_MS)
        await asyncio.gather(*(self.learn_call_out(ref.decode()) for ref in set(refs)))

    async def _views(self, key: str, kind: type[T], budget_ms: int) -> list[T]:
        found = []
        for view in await self._shared.records(key, budget_ms):
            try:
                found.append(msgspec.json.decode(view, type=kind))
            except msgspec.DecodeError:
                continue  # of another version
        return found

    def _detour(self, record: DetourRecord) -> None:
        self._shared.put_record(f"d:{_digest(record.detour_id)}", _encode(record))

    def _call_out(self, record: Record) -> None:
        ref = record.ref.encode()
        self._shared.put_record(f"o:{_digest(record.ref)}", _encode(record))
        if record.call_sid:
            self._shared.put_record(f"oc:{record.call_sid}", ref)
        if record.idem:
            self._shared.put_record(f"oi:{_digest(record.key, record.idem)}", ref)


def _digest(*parts: str) -> str:
    """Of what stands in URLs that the carrier asks, or was chosen by a program: neither is in a key."""
    return hashlib.blake2b("\0".join(parts).encode(errors="surrogatepass"), digest_size=16).hexdigest()
