"""What one machine may tell another, and an operator all of them: which calls it has, and to drain.

A command is JSON, `{"op": …}` with what the op wants; the answer is `{"ok": …}` or `{"error": "…"}`.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, TypeAlias

from bridge.server.calls import CallRegistry
from bridge.server.store.commands import ANSWER_MS, MOST_BYTES, Commands

logger = logging.getLogger(__name__)

Op: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Any]]
UNKNOWN: Final = "no such command"
NO_CALL: Final = "no such call here"


class Refused(Exception):
    """The machine answered that it will not; the message says why."""


class MachineCommands:
    """Asks other machines, and answers what this one is asked. `ops` are the commands that it knows."""

    def __init__(self, machine: str, commands: Commands, ops: Mapping[str, Op]) -> None:
        self.machine = machine
        self.ops = dict(ops)
        self._commands = commands

    async def ask(self, machine: str, op: str, *, within_ms: int = ANSWER_MS, **wanted: Any) -> Any:
        """The answer of that machine; this one is asked without the store. Raises Refused for a machine that
        says no, NoAnswer for one that says nothing, StoreError.
        """
        command = json.dumps({"op": op, **wanted}).encode()
        if machine == self.machine:
            said = await self.answer(command)
        else:
            said = await self._commands.ask(machine, command, within_ms)
        answer = json.loads(said)
        if "error" in answer:
            raise Refused(str(answer["error"]))
        return answer.get("ok")

    async def obey(self) -> None:
        """Answer what comes; returns never."""
        await self._commands.obey(self.machine, self.answer)

    async def answer(self, command: bytes) -> bytes:
        """The answer to one command, whatever it holds: who may write into the store may be wrong."""
        try:
            wanted = json.loads(command)
            op = self.ops[wanted.pop("op")]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return _answer(error=UNKNOWN)
        try:
            return _answer(ok=await op(wanted))
        except Refused as refused:
            return _answer(error=str(refused))
        except Exception:
            logger.exception("a command failed")
            return _answer(error="it failed; the machine's log says why")


def _answer(**said: Any) -> bytes:
    """As JSON; a list that is too long for an answer loses its end."""
    text = json.dumps(said).encode()
    while len(text) > MOST_BYTES and isinstance(said.get("ok"), list):
        said["ok"] = said["ok"][: len(said["ok"]) // 2]
        text = json.dumps(said).encode()
    return text


def operators_ops(
    registry: CallRegistry,
    drain: Callable[[], Coroutine[Any, Any, None]],
    moves: Callable[[], list[dict[str, Any]]],
) -> dict[str, Op]:
    """What `phonebridge fleet` asks. `drain` lets calls end and hands over those that are left; `moves` are
    the latest calls that came from other machines.
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
        return {"calls": len(registry)}

    async def moved(_wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
        return moves()

    return {"calls": calls, "drain": start, "undrain": stop, "moves": moved}


def _call(registry: CallRegistry, call_sid: str) -> dict[str, Any]:
    runner = registry.runner(call_sid)
    seconds = 0 if runner is None else runner.now_ms() // 1000
    return {"call_sid": call_sid, "seconds": seconds, "away": runner is not None and runner.away}
