"""Raises the number of calls to a server, step by step, and measures each step.

Callers and models are processes of their own, so that the server is measured and not the bench; this one
gives the orders. All three read the same monotonic clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from ..errors import BridgeError
from .server_cpu import cpu_s, listening, machine_cpu_s
from .steps import Generator, Step, Way

AHEAD_S: Final = 0.2
START_S: Final = 20.0


class WorkerGone(BridgeError):
    """One of the bench's own processes ended; the message says what it said last."""


class Worker:
    """One of our processes: gets orders, gives figures."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(
        self, order: dict[str, int], heard: Callable[[dict[str, Any]], None] = lambda _told: None
    ) -> dict[str, Any]:
        """Its answer. `heard` gets what it says before that. Raises WorkerGone."""
        assert self._process.stdin is not None  # noqa: S101  made with a pipe
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        while "so_far" in (told := await self.told()):
            heard(told)
        return told

    async def told(self) -> dict[str, Any]:
        """The next thing it says. Raises WorkerGone."""
        assert self._process.stdout is not None  # noqa: S101  made with a pipe
        line = await self._process.stdout.readline()
        if not line:
            raise WorkerGone(f"a process of the bench ended with status {await self._process.wait()}")
        told: dict[str, Any] = json.loads(line)
        if "failed" in told:
            raise WorkerGone(told["failed"])
        return told

    async def ready(self) -> dict[str, Any]:
        """The first thing it says. Raises WorkerGone, also when it says nothing in time."""
        try:
            async with asyncio.timeout(START_S):
                return await self.told()
        except TimeoutError:
            raise WorkerGone(f"a process of the bench did not start within {START_S:g} s") from None


@contextlib.asynccontextmanager
async def _worker(*arguments: str, **environment: str) -> AsyncIterator[Worker]:
    path = os.pathsep.join(path for path in sys.path if path)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bridge.bench.worker", *arguments,
        env={**os.environ, "PYTHONPATH": path, **environment},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Worker(process)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def serve_models(host: str, port: int, speed: float) -> AsyncIterator[tuple[Worker, int]]:
    """The models, while the block runs; gives the port, too."""
    async with _worker("models", host, str(port), str(speed)) as models:
        yield models, (await models.ready())["port"]


@contextlib.asynccontextmanager
async def make_callers(url: str, token: str | None) -> AsyncIterator[Worker]:
    """The callers, while the block runs."""
    # Not as an argument: those can be read by everybody on the machine.
    secret = {} if token is None else {"BENCH_TOKEN": token}
    async with _worker("callers", url, **secret) as callers:
        await callers.ready()
        yield callers


class Load:
    """Calls to one server. `progress` is told in words what happens."""

    def __init__(self, url: str, callers: Worker, models: Worker, progress: Callable[[str], None]) -> None:
        self._server = listening(url)
        self._callers = callers
        self._models = models
        self._progress = progress

    async def step(self, calls: int, seconds: float, settle_s: float) -> Step:
        """Hold this number of calls for this time, once all have settled. Raises WorkerGone."""
        await self._callers.ask(
            {"calls": calls}, lambda told: self._progress(f"{calls} calls: {told['so_far']} are there")
        )
        self._progress(f"{calls} calls: settling")
        await asyncio.sleep(settle_s)
        from_ns = time.monotonic_ns() + int(AHEAD_S * 1e9)
        to_ns = from_ns + int(seconds * 1e9)
        order = {"from_ns": from_ns, "to_ns": to_ns}
        up, down, cores = await asyncio.gather(
            self._callers.ask(order), self._models.ask(order), self._watch(calls, from_ns, to_ns)
        )
        return Step(
            calls=calls,
            live=up["live"],
            # What leaves at one end comes at the other.
            up=_way(up["sent"], down),
            down=_way(down["sent"], up),
            server_cpu=cores and cores[0],
            others_cpu=cores and round(max(0.0, cores[1] - cores[0] - up["cpu"] - down["cpu"]), 3),
            callers=Generator(up["cpu"], up["late"]["p99_ms"]),
            models=Generator(down["cpu"], down["late"]["p99_ms"]),
            unheard=up["unheard"],
            refused=up["refused"],
        )

    async def _watch(self, calls: int, from_ns: int, to_ns: int) -> tuple[float, float] | None:
        """The server's CPU between these moments, and the whole machine's, in cores."""
        await asyncio.sleep(max(0.0, (from_ns - time.monotonic_ns()) / 1e9))
        server_s, machine_s, began_ns = cpu_s(self._server), machine_cpu_s(), time.monotonic_ns()
        seconds = (to_ns - from_ns) / 1e9
        while (left_s := (to_ns - time.monotonic_ns()) / 1e9) > 0:
            self._progress(f"{calls} calls: measured for {seconds - left_s:.0f} of {seconds:g} s")
            await asyncio.sleep(min(1.0, left_s))
        if not self._server:
            return None
        took_s = (time.monotonic_ns() - began_ns) / 1e9
        server_s, machine_s = cpu_s(self._server) - server_s, machine_cpu_s() - machine_s
        return round(server_s / took_s, 3), round(machine_s / took_s, 3)


def _way(sent: int, other_end: dict[str, Any]) -> Way:
    return Way(sent, other_end["came"], other_end["disordered"], other_end["foreign"], **other_end["delay"])
