"""Each implementation of `Claims`, and what a test does to its store behind its back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from bridge.server.store.claims import Claims
from bridge.server.store.embedded_claims import EmbeddedClaims, _Call


class Engine(Protocol):
    """One store."""

    async def connect(self) -> Claims:
        """Another process's way to it."""
        ...

    async def set_back(self, call_sid: str, machine: str, inst: str, epoch: int) -> None:
        """Later claims of that call are lost."""
        ...

    async def lose_all(self) -> None: ...

    async def lapse(self, machine: str) -> None:
        """That machine's lease is over."""
        ...


class Embedded:
    def __init__(self) -> None:
        self.claims = EmbeddedClaims()

    async def connect(self) -> Claims:
        return self.claims

    async def set_back(self, call_sid: str, machine: str, inst: str, epoch: int) -> None:
        call = self.claims._calls.get(call_sid)
        assert isinstance(call, _Call)
        call.owner, call.inst, call.epoch, call.seq = machine, inst, epoch, 0

    async def lose_all(self) -> None:
        self.claims.__init__(self.claims._now_ms)  # type: ignore[misc]

    async def lapse(self, machine: str) -> None:
        self.claims._leases[machine].until_ms = self.claims._now_ms()


@asynccontextmanager
async def embedded() -> AsyncIterator[Engine]:
    yield Embedded()


Opened = Callable[[], AbstractAsyncContextManager[Engine]]
ENGINES: dict[str, Opened] = {"embedded": embedded}
"""Others add theirs here."""
