"""`Commands` between the workers of one machine: their supervisor passes questions and answers on.

How messages travel is the caller's business (`bridge/server/workers/lines.py`). The supervisor remembers no
question: each message says whose it is.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol

from bridge.server.store.commands import ANSWER_MS, MOST_WAITING, OLD_MS, NoAnswer, Obey, bounded

logger = logging.getLogger(__name__)

LINES: Final = frozenset({"asked", "answered"})
"""What a worker hears of commands."""


class Tell(Protocol):
    """Sends one message: what it is about, and its fields as JSON has them."""

    def __call__(self, do: str, **fields: Any) -> None: ...


class SocketCommands:
    """`tell` sends a message to the supervisor; `hear` is given those that come of it. `clock` has to be the
    same in all processes of the machine, as that of `time.monotonic` is.
    """

    def __init__(self, tell: Tell, clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._clock = clock
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[str | None]] = {}
        self._obeying: tuple[str, Obey] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, machine: str, command: bytes, within_ms: int = ANSWER_MS) -> bytes:
        """As `Commands` says."""
        text = bounded(command).decode("latin-1")
        number = next(self._numbers)
        self._waiting[number] = waiting = asyncio.get_running_loop().create_future()
        self._tell("ask", n=number, machine=machine, command=text, at_s=self._clock())
        answer: str | None = None
        try:
            answer = await asyncio.wait_for(waiting, within_ms / 1000)
        except TimeoutError:
            pass
        finally:
            del self._waiting[number]
        if answer is None:
            raise NoAnswer(machine)
        return answer.encode("latin-1")

    async def obey(self, machine: str, answer: Obey) -> None:
        """As `Commands` says."""
        self._obeying = obeying = machine, answer
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            if self._obeying is obeying:
                self._obeying = None

    async def close(self) -> None:
        """The line is its owner's to close."""

    def hear(self, message: Mapping[str, Any]) -> None:
        """One of `LINES`."""
        if message["do"] == "answered":
            waiting = self._waiting.get(message["n"])
            if waiting is not None and not waiting.done():
                waiting.set_result(message["answer"])
        else:
            task = asyncio.ensure_future(self._answer(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, asked: Mapping[str, Any]) -> None:
        machine, obey = self._obeying or ("", None)
        age_ms = (self._clock() - asked["at_s"]) * 1000
        said = None
        if obey is not None and machine == asked["machine"] and age_ms <= OLD_MS:
            if len(self._tasks) > MOST_WAITING:
                logger.warning("more than %d commands wait: one is not obeyed", MOST_WAITING)
            else:
                with suppress(ValueError):  # an answer that is too long is not sent
                    said = bounded(await obey(asked["command"].encode("latin-1"))).decode("latin-1")
        self._tell("answer", by=asked["by"], n=asked["n"], answer=said)


class Exchange:
    """The supervisor's part: who is asked, by the names of machines. `tell(worker, do, **fields)` sends one
    message; `worker_of` is the worker that has the name of that machine and reads what it is told.
    """

    def __init__(self, tell: Callable[..., None], worker_of: Callable[[str], str | None]) -> None:
        self._tell = tell
        self._worker_of = worker_of

    def hear(self, worker: str, message: Mapping[str, Any]) -> None:
        """A question of that worker, or its answer."""
        number = message["n"]
        if message["do"] == "answer":
            self._tell(message["by"], "answered", n=number, answer=message["answer"])
            return
        machine = message["machine"]
        asked = self._worker_of(machine)
        if asked is None:
            self._tell(worker, "answered", n=number, answer=None)
        else:
            command, at_s = message["command"], message["at_s"]
            self._tell(asked, "asked", by=worker, n=number, machine=machine, command=command, at_s=at_s)
