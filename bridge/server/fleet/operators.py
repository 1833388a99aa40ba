"""What `phonebridge fleet` asks of a machine: its calls, the moves of calls to it, and to drain."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from bridge.runner import Runner

from .machine_commands import Op

logger = logging.getLogger(__name__)


class Calls(Protocol):
    """The registry, as this sees it."""

    draining: bool

    def __len__(self) -> int: ...
    def call_sids(self) -> list[str]: ...
    def runner(self, call_sid: str) -> Runner | None: ...


def operators_ops(
    registry: Calls,
    drain: Callable[[], Coroutine[Any, Any, None]],
    moves: Callable[[], list[Any]],
    hurry: Callable[[], None] = lambda: None,
) -> dict[str, Op]:
    """What `phonebridge fleet` asks. `drain` lets calls end and hands over those that are left; `moves` are
    the latest calls that came from other machines. `hurry` lets the others know at once.
    """
    draining: set[asyncio.Task[None]] = set()

    async def calls(_wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Each with how long it lasts, in seconds."""
        return [_call(registry, call_sid) for call_sid in registry.call_sids()]

    async def start(_wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Take no new calls; those that are here end by themselves or go on elsewhere."""
        if not registry.draining:
            logger.warning("told to drain: %d calls are here", len(registry))
            registry.draining = True
            hurry()
            task = asyncio.create_task(drain(), name="drain")
            draining.add(task)
            task.add_done_callback(draining.discard)
        return {"calls": len(registry)}

    async def stop(_wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Take calls again. Calls that were told to hand over go all the same."""
        for task in draining:
            task.cancel()
        if registry.draining:
            logger.warning("told to take calls again")
        registry.draining = False
        hurry()
        return {"calls": len(registry)}

    async def moved(_wanted: Mapping[str, Any]) -> list[Any]:
        return moves()

    return {"calls": calls, "drain": start, "undrain": stop, "moves": moved}


def _call(registry: Calls, call_sid: str) -> dict[str, Any]:
    runner = registry.runner(call_sid)
    seconds = 0 if runner is None else runner.now_ms() // 1000
    return {"call_sid": call_sid, "seconds": seconds, "away": runner is not None and runner.away}
