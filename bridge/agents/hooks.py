"""Hooks: the user's functions that are told something and answer nothing, as `on_end`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from bridge.agents.loop import Late, Loop, run
from bridge.agents.loops import CallLoop
from bridge.agents.tool_runner import log_failure
from bridge.agents.user_code import CALL_SID

logger = logging.getLogger("bridge.user")

HOOK_MS: Final = 10_000
"""How long one may take."""
_running: set[asyncio.Task[None]] = set()


async def tell(loop: Loop, name: str, hook: Callable[[], Any]) -> None:
    """Run it on this user loop. Never raises: what it raises, and that it is late, is logged."""
    try:
        await run(loop, hook, HOOK_MS)
    except Late as error:
        logger.error("%s: %s; it is at:\n%s", name, error, error.where)  # noqa: TRY400
    except Exception as error:  # noqa: BLE001  user code
        log_failure(name, error)


def start(loop: CallLoop, name: str, hook: Callable[[], Any]) -> None:
    """The same for a call that has no user side, in a task of its own."""

    async def told() -> None:
        CALL_SID.set(loop.call_sid)
        await tell(loop, name, hook)

    task = asyncio.get_running_loop().create_task(told(), name=name)
    _running.add(task)
    task.add_done_callback(_running.discard)
