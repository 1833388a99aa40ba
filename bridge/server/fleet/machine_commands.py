"""What one machine may tell another, and an operator all of them.

A command is JSON, `{"op": …}` with what the op wants; the answer is `{"ok": …}` or `{"error": "…"}`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from bridge.server.store.commands import ANSWER_MS, MOST_BYTES, Commands

logger = logging.getLogger(__name__)

Op: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Any]]
UNKNOWN: Final = "no such command"
NO_CALL: Final = "no such call here"


class Refused(Exception):
    """The machine answered that it will not; the message says why."""


class MachineCommands:
    """Asks other machines, and answers what this one is asked. `ops` are the commands that it knows."""

    def __init__(self, machine: str, commands: Commands, ops: Mapping[str, Op] | None = None) -> None:
        self.machine = machine
        self.ops = dict(ops or {})
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

    async def close(self) -> None:
        """Let go of the way to the others."""
        await self._commands.close()

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
