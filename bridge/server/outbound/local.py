"""Calls of the service in this process, from any thread and loop of it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import msgspec

from bridge.agents.agent import Agent
from bridge.agents.calling_out import GIVEN, AgentsOut
from bridge.server.outbound.calls import OutboundCalls, Wanted
from bridge.server.outbound.handles import Told
from bridge.server.outbound.record import Record

_T = TypeVar("_T")


class LocalCalls:
    """The service lives on `loop`. `vet` raises ConfigError for an agent that cannot work with it."""

    def __init__(
        self,
        calls: OutboundCalls,
        agents: AgentsOut,
        loop: asyncio.AbstractEventLoop,
        transcript: Callable[[str], list[dict[str, str]]],
        vet: Callable[[Agent], None],
    ) -> None:
        self._calls = calls
        self._agents = agents
        self._loop = loop
        self._transcript = transcript
        self._vet = vet

    async def place(self, wanted: Wanted, idem: str, agent: Agent | None = None) -> Told:
        return await self._there(self._place(wanted, idem, agent))

    async def check(self, wanted: Wanted) -> Told:
        """The rules' word on such a call; nothing is placed. Raises CallRefused."""

        async def checked() -> Told:
            record = self._calls.check(wanted)
            return {"to": record.to, "from": record.from_, "agent": record.agent}

        return await self._there(checked())

    async def news(self, ref: str, seen: Told) -> Told | None:
        return await self._there(self._news(ref, seen))

    async def cancel(self, ref: str) -> None:
        await self._there(self._calls.cancel(ref))

    async def _place(self, wanted: Wanted, idem: str, agent: Agent | None) -> Told:
        if agent is not None:
            self._vet(agent)
        digest = hashlib.sha256(msgspec.json.encode(wanted)).hexdigest()
        # An agent that was given for one call is known here only, and not after a restart.
        named = wanted if agent is None else msgspec.structs.replace(wanted, agent=GIVEN)
        accepted = await self._calls.accept(
            named, idem=idem, digest=digest, begins=lambda ref: self._agents.give(ref, agent)
        )
        return self._told(accepted.record)

    async def _news(self, ref: str, seen: Told) -> Told | None:
        async for record in self._calls.watch(ref):
            told = self._told(record)
            if told != seen:
                return told
        return None

    def _told(self, record: Record) -> Told:
        words = self._transcript(record.ref) if record.done else []
        return record.told() | ({"transcript": words} if words else {})

    async def _there(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Done on the service's loop."""
        if asyncio.get_running_loop() is self._loop:
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))
