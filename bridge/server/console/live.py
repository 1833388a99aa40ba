"""The calls of this process as viewers see them: plain fields, and a ring of each call's last events.

Off without viewers: then an observer's call costs one look into an empty dictionary. With viewers an event is
kept by reference, and nothing is encoded: `Pump` does that, when it has time.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator
from typing import Final

from bridge.core import messages as m
from bridge.core.call import Call
from bridge.core.stats import Stats
from bridge.runner import Runner
from bridge.server.calls import CallRegistry

RING: Final = 500
STAYS_S: Final = 60.0
"""A call that is over stays in the list."""
MOST_ENDED: Final = 200
_NOT_KEPT: Final = frozenset({m.TranscriptDelta, m.HandedOver, m.ClearPlayout, m.HoldSound})
"""Actions that are told and that no viewer reads: many, or large, or said by another one."""


class LiveCall:
    """One call while a viewer looks. `began_at` in milliseconds of the epoch. `happened` counts the events
    that were ever in the ring, so the oldest one there is number `happened - len(ring)`.
    """

    __slots__ = (
        "began_at", "call", "call_sid", "dirty", "ended", "ended_at", "ended_s", "happened", "listeners",
        "ring", "runner", "whispered",
    )  # fmt: skip

    def __init__(self, call_sid: str, runner: Runner, epoch_ms: int, listeners: Counter[str]) -> None:
        self.call_sid = call_sid
        self.runner = runner
        self.call: Call = runner.call
        self.began_at = epoch_ms - runner.now_ms()
        self.ring: deque[tuple[int, m.Action]] = deque(maxlen=RING)
        self.happened = 0
        self.dirty = True
        self.ended: m.Ended | None = None
        self.ended_at: int | None = None
        self.ended_s = 0.0
        self.listeners = listeners
        self.whispered: set[str] = set()
        """What operators have told the model, to show it as theirs."""

    def now_ms(self) -> int:
        """The call's clock; where it ended, when it is over."""
        ended_ms = self.call.stats.ended_ms
        return self.runner.now_ms() if self.ended is None or ended_ms is None else ended_ms


class LiveCalls:
    """An observer of the registry."""

    def __init__(self, registry: CallRegistry) -> None:
        self._clock = time.monotonic
        self.calls: dict[str, LiveCall] = {}
        self.listeners: Counter[str] = Counter()
        """How many listen, by call."""
        self._registry = registry
        self._on = False
        self._over: deque[LiveCall] = deque()

    # --- viewers come and go -----------------------------------------------------------------------------

    def look(self, on: bool) -> None:
        """Keep what happens from now on, or let go of all of it. Idempotent."""
        if on == self._on:
            return
        self._on = on
        self.calls.clear()
        self._over.clear()
        if on:
            for call_sid in self._registry.call_sids():
                self._enter(call_sid)

    def find(self, call_sid: str) -> LiveCall | None:
        """A call that lives here; without viewers too, and then it is not kept."""
        found = self.calls.get(call_sid)
        if found is not None or self._on:
            return found
        runner = self._registry.runner(call_sid)
        return None if runner is None else LiveCall(call_sid, runner, self.epoch_ms(), self.listeners)

    def forget_old(self) -> list[str]:
        """Let go of calls that ended a minute ago, or were the oldest of too many. Returns which."""
        now_s, gone = self._clock(), []
        while self._over and (now_s - self._over[0].ended_s >= STAYS_S or len(self._over) > MOST_ENDED):
            call = self._over.popleft()
            if self.calls.get(call.call_sid) is call:
                del self.calls[call.call_sid]
                gone.append(call.call_sid)
        return gone

    def epoch_ms(self) -> int:
        return int(time.time() * 1000)

    def __iter__(self) -> Iterator[LiveCall]:
        return iter(list(self.calls.values()))

    def _enter(self, call_sid: str) -> None:
        runner = self._registry.runner(call_sid)
        if runner is not None:
            self.calls[call_sid] = LiveCall(call_sid, runner, self.epoch_ms(), self.listeners)

    # --- as an observer ----------------------------------------------------------------------------------

    def call_began(self, call_sid: str, /) -> None:
        if self._on:
            self._enter(call_sid)

    def call_did(self, call_sid: str, action: m.Action, now_ms: int, /) -> None:
        call = self.calls.get(call_sid)
        if call is None:
            return
        call.dirty = True
        if type(action) not in _NOT_KEPT:
            call.ring.append((now_ms, action))
            call.happened += 1

    def call_ended(self, call_sid: str, ended: m.Ended, _stats: Stats, /) -> None:
        call = self.calls.get(call_sid)
        if call is not None and call.ended is None:
            call.ended, call.ended_at, call.ended_s = ended, self.epoch_ms(), self._clock()
            self._over.append(call)
