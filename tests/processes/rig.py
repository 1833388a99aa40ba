"""Several `phonebridge serve` of one address, behind a balancer, with callers who follow their TwiML.

The model's server, the balancer and the phones are here; what is under test runs in processes of its own, and
only those are ended by signals.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bridge import sounds
from bridge.doubles.agents import Agent, Asked, Output, Speech
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import Phone, PhoneOptions
from bridge.doubles.tones import marked, tone
from bridge.simulators.carrier import CarrierSimulator
from bridge.simulators.phone import Kind, PhoneCall
from bridge.simulators.servers import EmbeddedUpstream
from tests.calls import ACCOUNT, TOKEN, KeepingServer, Served, served
from tests.processes.balancer import Balancer

WORDS = tone(400, 500)
SILENT = b"\xff"


def run(work: Coroutine[Any, Any, None], seconds: float = 60) -> None:
    """A minute long at most. Not on uvloop: where a connection is given up while it is made, it forgets the
    transport.
    """

    async def main() -> None:
        async with asyncio.timeout(seconds):
            await work

    asyncio.run(main())


def answer(turns: int) -> bytes:
    """What the clerk says when the caller has had so many turns: no other sound is like it."""
    return marked(16 + turns, 300)


class Clerk:
    """Counts the caller's turns in the conversation as it is known to this session, and says the number."""

    def answer(self, asked: Asked) -> list[Output]:
        turns = sum(item.role == "user" for item in asked.items)
        return [Speech(answer(turns), f"That is turn {turns}.")]


def silence(ms: int) -> bytes:
    return SILENT * (8 * ms)


@dataclass
class Site:
    """One address and who is behind it."""

    balancer: Balancer
    upstream: EmbeddedUpstream
    folder: Path
    calls: list[PhoneCall] = field(default_factory=list)
    _tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    async def server(self, *arguments: str, **settings: str) -> Served:
        """One more server, not in the pool yet. All of them share a folder for their journal."""
        usual = {
            "PUBLIC_URL": self.balancer.base,
            "TWILIO_AUTH_TOKEN": TOKEN,
            "BRIDGE_UPSTREAM": "openai",
            "BRIDGE_UPSTREAM_URL": self.upstream.url,
            "BRIDGE_JOURNAL": str(self.folder / "intents.jsonl"),
        }
        return await self._stack.enter_async_context(served(None, *arguments, **{**usual, **settings}))

    def handset(self, speech: bytes = b"") -> CarrierSimulator:
        public = self.balancer.base
        options = PhoneOptions(keep_sound=True)
        return CarrierSimulator(
            speech, account_sid=ACCOUNT, auth_token=TOKEN, public_url=public, options=options
        )

    def dial(self, speech: bytes = b"") -> PhoneCall:
        """A caller who says that; the test goes on meanwhile."""
        call = PhoneCall(self.handset(speech), pace=0.2)
        self.calls.append(call)
        self._tasks.append(asyncio.create_task(call.place(f"{self.balancer.base}/incoming-call")))
        return call

    async def hung_up(self) -> None:
        """All callers who are still there hang up."""
        for call in self.calls:
            if not call.over:
                call.hang_up()
        await asyncio.gather(*self._tasks)


@contextlib.asynccontextmanager
async def site(mind: Agent, folder: Path, **server: Any) -> AsyncIterator[Site]:
    """Balancer and model while the block runs; servers are started by the test."""
    options = ServerOptions(**{"latency_ms": 50, "speed": 10, **server})
    upstream = EmbeddedUpstream(lambda: KeepingServer(mind, options))
    async with upstream.serve(), Balancer().serve() as balancer:
        here = Site(balancer, upstream, folder)
        async with here._stack:
            try:
                yield here
            finally:
                await here.hung_up()


ALONE_OR_WORKERS = pytest.mark.parametrize(
    "arguments", [(), pytest.param(("--workers", "2"), marks=pytest.mark.long)], ids=["alone", "workers"]
)
"""One process, or a supervisor and two workers, as what `site(…).server` starts."""


def kill(server: Served) -> None:
    """The machine is gone: the process, and its workers if it has some."""
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children")
    workers = map(int, children.read_text().split()) if children.exists() else []
    for each in (pid, *workers):
        os.kill(each, signal.SIGKILL)


def streams(call: PhoneCall) -> int:
    return len(call.streams)


def phone(call: PhoneCall, number: int = -1) -> Phone:
    """The phone of that stream of the call's, the latest if none is said."""
    machine = call.streams[number][1].machine
    assert isinstance(machine, Phone)
    return machine


def speak(calls: list[PhoneCall]) -> None:
    """They all say the words, now."""
    for call in calls:
        simulation = call.streams[-1][1]
        simulation.send(phone(call).say(WORDS, simulation.now_ms()))


def first_sound_s(call: PhoneCall, number: int) -> float | None:
    """When that stream was first heard, on the clock of `time.monotonic`; None if not yet."""
    if len(call.streams) <= number:
        return None
    at_ms, _ = call.streams[number]
    spans = phone(call, number).heard_spans
    return call.began_s + (at_ms + spans[0].at_ms) / 1000 if spans else None


def says(call: PhoneCall, phrase: str, number: int, ms: int = 400) -> bool:
    """Whether that stream began with that bundled phrase, up to `ms`. Gaps are this machine's."""
    begin = sounds.load(phrase).strip(SILENT)[: ms * 8].replace(SILENT, b"")
    return phone(call, number).heard.replace(SILENT, b"").startswith(begin)


def lived_through(call: PhoneCall) -> list[Kind]:
    return [step.kind for step in call.steps]


async def until(condition: Callable[[], Any], seconds: float, what: str = "") -> float:
    """Waits until that holds; how long it took."""
    began_s = time.monotonic()
    while not condition():
        assert time.monotonic() - began_s < seconds, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.01)
    return time.monotonic() - began_s
