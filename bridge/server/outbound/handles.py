"""A call out as Python code sees it: its states as they come, and what became of it.

call = await bridge.call("+1555…", consent="order form, 2026-11-02", context={"name": "Ann"})
async for status in call:
print(status.state)
result = await call.done()
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bridge.agents.agent import Agent
from bridge.server.outbound.calls import Wanted
from bridge.server.outbound.record import MACHINES

Told = Mapping[str, Any]
"""What is told of a call, as `GET /calls/{id}` tells it."""


class Source(Protocol):
    """Where calls are placed: in this process, or at a server. `place` raises CallRefused. `news` waits for
    something else than `seen`, {} for nothing yet; None where the call is known no longer.
    """

    async def place(self, wanted: Wanted, idem: str, agent: Agent | None = None, /) -> Told: ...
    async def check(self, wanted: Wanted, /) -> Told: ...
    async def news(self, ref: str, seen: Told) -> Told | None: ...
    async def cancel(self, ref: str) -> None: ...


@dataclass(frozen=True, slots=True)
class CallStatus:
    """How far a call is: `queued`, `placed`, `ringing`, `answered`, `done`. `told` has everything known."""

    state: str
    told: Told


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResult:
    """What became of a call.

    `outcome` is `completed`, `busy`, `no_answer`, `declined`, `invalid`, `failed`, `canceled` or `refused`;
    `reason` says more where there is more. `completed` says that it was answered, and `answered_by` by whom,
    as far as that was found out: `by_machine` is true for a machine of any kind. `message` is `left` or
    `partial` where one was left. `ring_ms` and `talk_s` are how long it rang and lasted, `sip_code` and
    `stir` the network's word, `cost` what the model has cost, in US dollars. `transcript` has lines of `who`
    and `said`, as heard. `stop` says that an operator has to change something before other calls can be
    placed.
    """

    ref: str
    outcome: str
    reason: str = ""
    answered_by: str = ""
    message: str = ""
    call_sid: str = ""
    sip_code: int = 0
    stir: str = ""
    ring_ms: int | None = None
    talk_s: int = 0
    cost: float = 0.0
    transcript: tuple[Mapping[str, str], ...] = ()
    stop: str = ""

    @property
    def by_machine(self) -> bool:
        """Whether a machine answered, as far as is known."""
        return self.answered_by.startswith(MACHINES)

    @classmethod
    def of(cls, told: Told) -> CallResult:
        """From what is told of a call that is done."""
        same = ("outcome", "reason", "answered_by", "message", "call_sid", "sip_code", "stir", "ring_ms")
        given = {name: told[name] for name in (*same, "talk_s", "stop") if name in told}
        lines = tuple(told.get("transcript", ()))
        return cls(ref=told["id"], cost=told.get("cost_usd", 0.0), transcript=lines, **given)


class PlacedCall:
    """One call that was asked for. `ref` is its id. `async for status in call` gives each state as it comes,
    the present one first, until it is done; one that passes quickly may be left out.
    """

    def __init__(self, source: Source, told: Told) -> None:
        self.ref: str = told["id"]
        self._source = source
        self._told = told

    async def __aiter__(self) -> AsyncIterator[CallStatus]:
        seen = self._told
        yield CallStatus(seen["state"], seen)
        while seen["state"] != "done":
            before = seen["state"]
            seen = await self._next(seen)
            if seen["state"] != before:
                yield CallStatus(seen["state"], seen)

    async def done(self) -> CallResult:
        """Wait for its end: what became of it."""
        while self._told["state"] != "done":
            await self._next(self._told)
        return CallResult.of(self._told)

    async def cancel(self) -> None:
        """Take it back: it is not placed, or rings no longer, or is hung up. Idempotent."""
        await self._source.cancel(self.ref)

    async def _next(self, seen: Told) -> Told:
        told = await self._source.news(self.ref, seen)
        if told is None:
            told = {"id": self.ref, "state": "done", "outcome": "failed", "reason": "it is known no longer"}
        self._told = told
        return told
