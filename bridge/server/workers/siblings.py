"""Which worker a request belongs to: by the worker's name in the path, else by the call that it is about."""

from __future__ import annotations

import re
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote_to_bytes

from bridge.core import messages as m
from bridge.core.stats import Stats
from bridge.server.store import Store

_STREAM: Final = re.compile(rb"/media-stream/([a-z0-9-]{1,40})")
_CALL: Final = re.compile(rb"CA[0-9a-f]{32}")
_FIELD: Final = re.compile(rb"(?:^|[?&])(?:Parent)?CallSid=([^&\s]{1,200})")
"""Other people's simulators have ids of their own."""
_DETOUR: Final = re.compile(rb"/detour/([0-9a-f]{32})(?:/|$)")
_REF: Final = re.compile(rb"(?:^/calls/|[?&]ref=)([A-Za-z0-9_-]{8,64})")
BEGINS: Final = frozenset({b"/incoming-call", b"/outbound-call", b"/calls", b"/phone/session"})
"""What asks for a new call."""


class Siblings:
    """The workers of this machine as this one, `me`, knows them, and which names each answers for: CallSids,
    and the name under which it places calls. An observer of calls; `tell` is given each name that becomes
    this worker's, or is its no longer.
    """

    def __init__(self, me: str, folder: Path, tell: Callable[[str, bool], None]) -> None:
        self.me = me
        self.draining = False
        self.store: Store | None = None
        self._folder = folder
        self._tell = tell
        self._live: dict[str, bool] = {}
        """The others by name; true for one that is draining, or stands still: it gets no new call."""
        self._owners: dict[str, str] = {}
        self._chosen: deque[tuple[float, str]] = deque(maxlen=1_000)

    def door(self, worker: str) -> str:
        """Where that worker takes connections."""
        return str(self._folder / worker)

    def _has_door(self, worker: str) -> bool:
        return Path(self.door(worker)).is_socket()

    # --- what is known -----------------------------------------------------------------------------------

    def are(self, live: dict[str, bool]) -> None:
        """These workers live, this one among them. Names of others are forgotten."""
        self._live = {worker: draining for worker, draining in live.items() if worker != self.me}
        known = {*self._live, self.me}
        self._owners = {name: worker for name, worker in self._owners.items() if worker in known}

    def owns(self, worker: str, name: str, owned: bool) -> None:
        """That worker answers for this name, or no longer does."""
        if owned:
            self._owners[name] = worker
            chosen = next((one for one in self._chosen if one[1] == worker), None)
            if chosen is not None:  # it is counted among the owned now
                self._chosen.remove(chosen)
        elif self._owners.get(name) == worker:
            del self._owners[name]

    def own(self, name: str) -> None:
        """Answer for that name from now on."""
        self.owns(self.me, name, True)
        self._tell(name, True)

    def call_began(self, call_sid: str, /) -> None:
        self.own(call_sid)

    def call_did(self, call_sid: str, action: m.Action, now_ms: int, /) -> None: ...

    def call_ended(self, call_sid: str, _ended: m.Ended, _stats: Stats, /) -> None:
        self.owns(self.me, call_sid, False)
        self._tell(call_sid, False)

    # --- where a request belongs -------------------------------------------------------------------------

    def door_of(self, head: bytes, body: bytes) -> str | None:
        worker = self._worker_of(head, body)
        return None if worker == self.me else self.door(worker)

    def _worker_of(self, head: bytes, body: bytes) -> str:
        target = head.split(b" ", 2)[1] if head.count(b" ", 0, 4_096) > 1 else b""
        path = target.partition(b"?")[0]
        stream = _STREAM.fullmatch(path)
        if stream is not None:
            named = stream[1].decode().rpartition("-")[2]
            # One that has just begun may have answered its first webhook before we are told of it.
            return named if named in self._live or self._has_door(named) else self.me
        names = [*self._names(target, body)]
        for name in names:
            if (owner := self._owners.get(name)) is not None and (owner == self.me or owner in self._live):
                return owner
        return self._freest() if names or path in BEGINS or self.draining else self.me

    def _names(self, target: bytes, body: bytes) -> Iterator[str]:
        """All that may name a call in a request, or a process that places calls."""
        for text in (target, body):
            yield from map(_text, _CALL.findall(text))
            yield from (_text(unquote_to_bytes(found)) for found in _FIELD.findall(text))
        store = self.store
        if store is None:
            return
        for found in _DETOUR.findall(target):
            if (detour := store.detours.find(_text(found))) is not None:
                yield detour.call_sid
        for found in _REF.findall(target):
            if (record := store.calls_out.get(_text(found))) is not None:
                yield from (record.call_sid, record.owner)

    def _freest(self) -> str:
        """The worker with the fewest calls, this one rather than another with as many. A request becomes a
        call some milliseconds after it was sent on, so those of the last second are counted too.
        """
        taking = [worker for worker, closed in self._live.items() if not closed]
        taking = taking if self.draining else [self.me, *taking]
        if len(taking) < 2:
            return taking[0] if taking else self.me
        now_s = time.monotonic()
        while self._chosen and self._chosen[0][0] < now_s - 1.0:
            self._chosen.popleft()
        count = Counter(self._owners.values())
        count.update(worker for _, worker in self._chosen)
        freest = min(taking, key=lambda worker: count[worker])
        self._chosen.append((now_s, freest))
        return freest


def _text(found: bytes) -> str:
    return found.decode("latin-1")
