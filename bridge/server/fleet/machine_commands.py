"""What one machine may tell another, and an operator all of them.

A command is JSON, `{"op": …}` with what the op wants; the answer is `{"ok": …}` or `{"error": "…"}`. Those of
private ops, which hold what was said, go through the store encrypted or not at all; between workers of one
machine they pass its supervisor's memory as they are (`Clear`).
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from bridge.server.store.commands import ANSWER_MS, MOST_BYTES, Commands, NoAnswer
from bridge.server.store.sealing import Clear, OnDisk, Sealing

logger = logging.getLogger(__name__)

Op: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Any]]
UNKNOWN: Final = "no such command"
NO_CALL: Final = "no such call here"
NO_KEY: Final = "without BRIDGE_STORE_KEY no word goes from one machine to another"


class Refused(Exception):
    """The machine answered that it will not; the message says why."""


class MachineCommands:
    """Asks other machines, and answers what this one is asked. `ops` are the commands that it knows; those
    that are named in `private` are encrypted by `sealing`.
    """

    def __init__(
        self,
        machine: str,
        commands: Commands,
        ops: Mapping[str, Op] | None = None,
        sealing: Sealing | None = None,
    ) -> None:
        self.machine = machine
        self.ops = dict(ops or {})
        self.private: set[str] = set()
        self._commands = commands
        self._sealing = OnDisk() if sealing is None else sealing

    async def ask(self, machine: str, op: str, *, within_ms: int = ANSWER_MS, **wanted: Any) -> Any:
        """The answer of that machine; this one is asked without the store. Raises Refused for a machine that
        says no, and for a private op without a key; NoAnswer for one that says nothing, StoreError.
        """
        command = json.dumps({"op": op, **wanted}).encode()
        if machine == self.machine:
            said = await self._obey(command, private=True)
        elif op in self.private:
            said = await self._ask_sealed(machine, command, within_ms)
        else:
            said = await self._commands.ask(machine, command, within_ms)
        answer = json.loads(said)
        if "error" in answer:
            raise Refused(str(answer["error"]))
        return answer.get("ok")

    async def _ask_sealed(self, machine: str, command: bytes, within_ms: int) -> bytes:
        sealed = self._sealing.seal(f"q:{machine}", command)
        if sealed is None:
            raise Refused(NO_KEY)
        said = await self._commands.ask(machine, sealed, within_ms)
        answer = self._sealing.open(_reply_to(sealed), said)
        if answer is None:
            raise NoAnswer(machine)  # it has no key, or another one
        return answer

    async def obey(self) -> None:
        """Answer what comes; returns never."""
        await self._commands.obey(self.machine, self.answer)

    async def close(self) -> None:
        """Let go of the way to the others."""
        await self._commands.close()

    async def answer(self, command: bytes) -> bytes:
        """The answer to one command, whatever it holds: who may write into the store may be wrong."""
        if command.startswith(b"{"):
            return await self._obey(command, private=isinstance(self._sealing, Clear))
        plain = self._sealing.open(f"q:{self.machine}", command)
        if plain is None:
            return _answer(error=UNKNOWN)
        said = await self._obey(plain, private=True)
        return self._sealing.seal(_reply_to(command), said) or _answer(error=UNKNOWN)

    async def _obey(self, command: bytes, *, private: bool) -> bytes:
        try:
            wanted = json.loads(command)
            name = wanted.pop("op")
            op = self.ops[name]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return _answer(error=UNKNOWN)
        if name in self.private and not private:
            return _answer(error=UNKNOWN)
        try:
            return _answer(ok=await op(wanted))
        except Refused as refused:
            return _answer(error=str(refused))
        except Exception:
            logger.exception("a command failed")
            return _answer(error="it failed; the machine's log says why")


def _reply_to(sealed: bytes) -> str:
    """The place of the answer to that command, and to no other."""
    return f"r:{hashlib.blake2b(sealed, digest_size=16).hexdigest()}"


def _answer(**said: Any) -> bytes:
    """As JSON; a list that is too long for an answer loses its end."""
    text = _json(said)
    while len(text) > MOST_BYTES and isinstance(said.get("ok"), list):
        said["ok"] = said["ok"][: len(said["ok"]) // 2]
        text = _json(said)
    return text


def _json(said: Any) -> bytes:
    """Letters as they are: escaped, one of four bytes would take twelve."""
    return json.dumps(said, ensure_ascii=False).encode(errors="replace")
