"""The exchange: every call of this process, from the first ring to the last socket.

A call exists from its webhook on: the model is dialled while the phone still rings, and the carrier's stream
claims the waiting call by its CallSid. A stream nobody rang for (another people's simulator, a call resumed
here) gets a call of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from .carriers import Carrier
from .core import messages as m
from .core.call import Call
from .core.messages import Phase
from .core.stats import Stats
from .runner import Recorder, Runner
from .sockets import Socket
from .upstreams import Dial, Upstream

logger = logging.getLogger(__name__)

MAX_WAITING = 50
"""Calls that may wait, dialled, for a carrier that has not opened its stream yet."""


class Observer(Protocol):
    """Whoever wants to know what becomes of calls: logs, metrics, the intent journal, the programmer's side.

    All are told synchronously on the loop that carries the audio, so none may block.
    """

    def call_began(self, call_sid: str, /) -> None: ...
    def call_did(self, call_sid: str, action: m.Action, now_ms: int, /) -> None: ...
    def call_ended(self, call_sid: str, ended: m.Ended, stats: Stats, /) -> None: ...


@dataclass(slots=True)
class Making:
    """How a call is made: its configuration from the webhook's fields, its adapters, the way to the model,
    its recorder.
    """

    config: Callable[[Mapping[str, str]], m.CallConfig]
    carrier: Callable[[], Carrier]
    vendor: Callable[[int], Upstream]
    dial: Callable[[Dial], Awaitable[Socket]]
    recorder: Callable[[str, m.CallConfig], Recorder | None] = lambda _call_sid, _config: None


@dataclass(slots=True, eq=False)
class _Entry:
    call_sid: str
    runner: Runner
    claimed: bool = False
    ended: bool = False


class Exchange:
    """All calls of the process by CallSid. Lives on one event loop."""

    def __init__(self, making: Making, *, max_calls: int = 200, observers: tuple[Observer, ...] = ()) -> None:
        self.max_calls = max_calls
        self.observers = observers
        self.draining = False
        self._making = making
        self._entries: dict[str, _Entry] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def refusal(self) -> str | None:
        """Why no call may come in now: `draining` or `full`; None when one may."""
        if self.draining:
            return "draining"
        return "full" if len(self._entries) >= self.max_calls else None

    def ring(self, call_sid: str, fields: Mapping[str, str]) -> None:
        """The webhook came: dial the model while the phone rings. A retried webhook finds the call waiting
        already.
        """
        waiting = sum(not entry.claimed for entry in self._entries.values())
        if call_sid not in self._entries and waiting < MAX_WAITING:
            self._make(call_sid, fields).runner.feed(m.Ringing())

    def claim(self, call_sid: str, fields: Mapping[str, str]) -> Runner | None:
        """The carrier's stream has started: the waiting call, or a new one. None if the call has a stream
        already, or is a new one and none may come in now.
        """
        entry = self._entries.get(call_sid)
        if entry is None or entry.ended:
            if self.refusal is not None:
                return None
            entry = self._make(call_sid, fields)
        if entry.claimed:
            return None
        entry.claimed = True
        return entry.runner

    def runner(self, call_sid: str) -> Runner | None:
        """The call of that id, while it lives."""
        entry = self._entries.get(call_sid)
        return entry.runner if entry else None

    async def drained(self, timeout_s: float) -> bool:
        """Wait until no call is left; False if some still are after `timeout_s`."""
        try:
            await asyncio.wait_for(self._empty.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def shut_down(self, timeout_s: float = 1.0) -> None:
        """End every call politely, at once, and wait for the sockets to go."""
        self.draining = True
        for entry in list(self._entries.values()):
            entry.runner.feed(m.ShutDown())
        await self.drained(timeout_s)

    def _make(self, call_sid: str, fields: Mapping[str, str]) -> _Entry:
        making = self._making
        config = making.config(fields)
        runner = Runner(
            Call(config),
            making.carrier(),
            making.vendor,
            making.dial,
            observe=lambda action, now_ms: self._did(entry, action, now_ms),
            recorder=making.recorder(call_sid, config),
        )
        entry = self._entries[call_sid] = _Entry(call_sid, runner)
        self._empty.clear()
        runner.closed.add_done_callback(lambda _closed: self._gone(entry))
        for observer in self.observers:
            observer.call_began(call_sid)
        return entry

    def _did(self, entry: _Entry, action: m.Action, now_ms: int) -> None:
        if isinstance(action, m.Noted):
            about = {"call_sid": entry.call_sid}
            logger.warning("%s: %s", action.what, action.detail, extra=about)
        for observer in self.observers:
            observer.call_did(entry.call_sid, action, now_ms)
        if isinstance(action, m.Ended) and not entry.ended:
            entry.ended = True
            for observer in self.observers:
                observer.call_ended(entry.call_sid, action, entry.runner.call.stats)

    def _gone(self, entry: _Entry) -> None:
        if self._entries.get(entry.call_sid) is entry:
            del self._entries[entry.call_sid]
        if not self._entries:
            self._empty.set()

    def phases(self) -> dict[Phase, int]:
        """How many calls are in which phase."""
        counts = dict.fromkeys(Phase, 0)
        for entry in self._entries.values():
            counts[entry.runner.call.phase] += 1
        return counts
