"""One worker: its door, its line to the supervisor, and what it asks of all."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from bridge.ops.recent import Pace
from bridge.server.store import Store
from bridge.server.store.claims import StoreError
from bridge.server.store.socket_commands import LINES as COMMANDS
from bridge.server.store.socket_commands import SocketCommands
from bridge.sockets.passing import Door

from .lines import METRICS, READYZ, Lines, line
from .siblings import Siblings

logger = logging.getLogger(__name__)

BEAT_S: Final = 0.25
ASKED_S: Final = 1.0
"""For what all say. The supervisor answers after 0.3 s at the latest."""


@dataclass(frozen=True, slots=True)
class Seat:
    """What a worker is given at its birth: its name, its end of the line to the supervisor, the folder of the
    doors, and the listening socket.
    """

    name: str
    line: socket.socket
    folder: Path
    listener: socket.socket


class Worker(asyncio.Protocol):
    """The process among its siblings. `begin` and all that follows belong to the loop of the calls."""

    def __init__(self, seat: Seat) -> None:
        self.name = seat.name
        self.siblings = Siblings(seat.name, seat.folder, self._names)
        self.commands = SocketCommands(self._send)
        self._seat = seat
        self._lines = Lines()
        self._transport: asyncio.WriteTransport | None = None
        self._door: Door | None = None
        self._beating: asyncio.TimerHandle | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._says: dict[str, Callable[[], str]] = {}
        self._said: dict[str, asyncio.Future[dict[str, str]]] = {}
        self._paces: dict[str, Pace] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending = False
        self._told = asyncio.Event()

    async def begin(self, store: Store, says: dict[str, Callable[[], str]]) -> None:
        """Listen to the supervisor, until it has said who else is there. `says` has what this worker answers
        where all are asked.
        """
        self._says, self.siblings.store = says, store
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, sock=self._seat.line)
        self.siblings.own(store.calls_out.me)
        self._beat(loop)
        await self._told.wait()

    def open(self, adopt: Callable[[socket.socket, bytes], Any]) -> None:
        """Take connections that siblings pass on; `adopt` is a coroutine function."""

        def take(came: socket.socket, read: bytes) -> None:
            task = asyncio.ensure_future(adopt(came, read))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._door = Door(self.siblings.door(self.name), take)

    def ready(self, answered: str) -> None:
        """Calls may come."""
        self._send("ready", answered=answered)

    def drain(self) -> None:
        """Calls that are not here yet go to siblings, if there are any."""
        self.siblings.draining = True
        self._send("draining")

    async def everyone(self, what: str) -> dict[str, str]:
        """What each worker says, by its name; under the empty name, what those have said that are gone. A
        crowd that asks gets what was said a second ago at most, and no worker is asked twice at once. Raises
        StoreError where the supervisor does not answer: what one worker has counted is not the sum.
        """
        known, pace = self._said.get(what), self._paces.setdefault(what, Pace())
        if known is None or (known.done() and not pace.due_s()):
            pace.done()
            known = self._said[what] = asyncio.ensure_future(self._ask(what))
        return await asyncio.shield(known)

    async def _ask(self, what: str) -> dict[str, str]:
        number = next(self._numbers)
        self._waiting[number] = waiting = asyncio.get_running_loop().create_future()
        self._send("want", n=number, what=what)
        try:
            texts: dict[str, str] = await asyncio.wait_for(waiting, ASKED_S)
        except TimeoutError:
            raise StoreError("timeout", "the supervisor is silent") from None
        finally:
            self._waiting.pop(number, None)
        return texts

    async def step(self, op: str, arguments: Sequence[Any]) -> Any:
        """A step of the supervisor's claims (`SocketClaims`). Raises StoreError."""
        if self._transport is None or self._transport.is_closing():
            raise StoreError("connection", "the supervisor is not there")
        number = next(self._numbers)
        self._waiting[number] = waiting = asyncio.get_running_loop().create_future()
        self._send("store", n=number, op=op, args=arguments)
        try:
            return await waiting
        finally:
            self._waiting.pop(number, None)

    def close(self) -> None:
        """Leave: what this worker has counted is told, and no connection is taken any more."""
        self._ending = True
        if self._door is not None:
            self._door.close()
            with suppress(OSError):
                Path(self.siblings.door(self.name)).unlink()
        if self._beating is not None:
            self._beating.cancel()
        if METRICS in self._says:
            self._send("last", text=self._says[METRICS]())
        if self._transport is not None:
            self._transport.close()

    # --- the line ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        for message in self._lines.add(data):
            match message["do"]:
                case "workers":
                    self.siblings.are(message["live"])
                    for name, worker in message.get("names", {}).items():
                        self.siblings.owns(worker, name, owned=True)
                    self._told.set()
                case "own" | "gone":
                    self.siblings.owns(message["worker"], message["name"], message["do"] == "own")
                case "say":
                    self._send("said", n=message["n"], text=self._says[message["what"]]())
                case "got" | "stored":
                    self._answered(message)
                case do if do in COMMANDS:
                    self.commands.hear(message)

    def _answered(self, message: dict[str, Any]) -> None:
        waiting = self._waiting.get(message["n"])
        if waiting is None or waiting.done():
            return
        if "error" in message:
            waiting.set_exception(StoreError("other", message["error"]))
        else:
            waiting.set_result(message["texts"] if message["do"] == "got" else message["answer"])

    def connection_lost(self, _error: Exception | None) -> None:
        """The supervisor has gone. Where the kernel does not say so, this does: calls end as at a SIGTERM."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(StoreError("connection", "the supervisor has gone"))
        self._told.set()
        if not self._ending:
            logger.warning("the supervisor has gone: this worker drains")
            os.kill(os.getpid(), signal.SIGTERM)

    def _names(self, name: str, owned: bool) -> None:
        self._send("own" if owned else "gone", name=name)

    def _send(self, do: str, **fields: Any) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(line(do, **fields))

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        self._send("beat")
        self._beating = loop.call_later(BEAT_S, self._beat, loop)


__all__ = ["METRICS", "READYZ", "Seat", "Worker"]
