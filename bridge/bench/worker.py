"""One end of a load, in a process of its own: `python -m bridge.bench.worker callers URL` or `… models HOST
PORT SPEED`. Orders are lines of JSON on its standard input, and each is answered by one on its output.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from bridge.errors import BridgeError
from bridge.ops import event_loop as loops

from .callers import Callers
from .models import Models
from .window import Window

BEAT_S: Final = 0.01
GRACE_S: Final = 1.0
"""So long after a window's end its last slices may still come."""


class Worker:
    """Takes orders: `calls`, and `measure` from one moment to another."""

    def __init__(self, end: Callers | Models) -> None:
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._orders: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._due_ns = time.monotonic_ns()

    async def work(self) -> None:
        """Until the other side of the pipe is gone."""
        threading.Thread(target=self._read, daemon=True, name="orders").start()
        self._beat()
        while (order := await self._orders.get()) is not None:
            _say(**await self._done(order))

    async def _done(self, order: dict[str, Any]) -> dict[str, Any]:
        if "calls" in order and isinstance(self._end, Callers):
            becoming = asyncio.ensure_future(self._end.become(order["calls"]))
            while not (await asyncio.wait([becoming], timeout=0.2))[0]:
                _say(so_far=len(self._end.live))
            await becoming
            return {"live": len(self._end.live)}
        return await self._measure(order["from_ns"], order["to_ns"])

    async def _measure(self, from_ns: int, to_ns: int) -> dict[str, Any]:
        self._end.window = window = Window(from_ns, to_ns)
        await self._until(from_ns)
        began_s, began_ns = time.process_time(), time.monotonic_ns()
        await self._until(to_ns)
        cpu = (time.process_time() - began_s) / ((time.monotonic_ns() - began_ns) / 1e9)
        await asyncio.sleep(GRACE_S)
        told = {**window.figures(), "cpu": round(cpu, 3)}
        if isinstance(self._end, Callers):
            told |= {
                "live": len(self._end.live),
                "unheard": self._end.unheard,
                "refused": dict(self._end.refused),
            }
        return told

    async def _until(self, moment_ns: int) -> None:
        await asyncio.sleep(max(0.0, (moment_ns - time.monotonic_ns()) / 1e9))

    def _beat(self) -> None:
        """How late this process is with anything: what it measures is late by as much."""
        now_ns = time.monotonic_ns()
        self._end.window.was_due(self._due_ns, now_ns)
        self._due_ns = now_ns + int(BEAT_S * 1e9)
        self._loop.call_later(BEAT_S, self._beat)

    def _read(self) -> None:
        # A thread of its own: event loops can read pipes on some platforms only.
        with contextlib.suppress(RuntimeError):  # the loop was closed first
            for line in sys.stdin:
                self._loop.call_soon_threadsafe(self._orders.put_nowait, json.loads(line))
            self._loop.call_soon_threadsafe(self._orders.put_nowait, None)


@contextlib.asynccontextmanager
async def _end_of(what: str, rest: list[str]) -> AsyncIterator[Callers | Models]:
    if what == "callers":
        callers = Callers(rest[0], os.environ.get("BENCH_TOKEN"))
        callers.run()
        _say(ready=True)
        yield callers
        return
    models = Models(speed=float(rest[2]))
    async with models.serve(rest[0], int(rest[1])) as port:
        _say(port=port)
        yield models


async def _main(what: str, rest: list[str]) -> None:
    try:
        async with _end_of(what, rest) as end:
            loops.settle()
            await Worker(end).work()
    except BridgeError as error:  # the command tells it, in one line
        _say(failed=str(error))


def _say(**told: Any) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def _take_descriptors() -> None:
    """As many as this process may have: a call takes one. The server under test keeps what it was given."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # noqa: PLC0415  not on Windows

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    _take_descriptors()
    with contextlib.suppress(KeyboardInterrupt):  # it is for the command, and comes to all of its processes
        loops.run(_main(sys.argv[1], sys.argv[2:]))
