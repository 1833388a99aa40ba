"""Many short calls, one after the other and some at once, and what of them stays behind.

    python -m scripts.soak --calls 10000 --at-once 40

Bridge, model and phones are one process, so what is measured is what all of them leave. A call is a signed
webhook, a stream, a greeting that is heard to its end, and a hang-up. Exits 1 if a call failed or something
stayed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import uvloop

from bridge.doubles.agents import Parrot
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import Phone, PhoneOptions
from bridge.doubles.realtime import RealtimeServer
from bridge.doubles.tones import marked
from bridge.server import service
from bridge.server.routes import create_app
from bridge.settings.settings import load_settings
from bridge.simulators.carrier import CarrierSimulator
from bridge.simulators.servers import EmbeddedUpstream
from scripts.own_memory import rss_bytes

TOKEN = "an-invented-token-of-thirty-two-"  # noqa: S105
GREETING = marked(9, 60)
PATIENCE_S = 20.0
MOST_GROWTH_BYTES = 5_000_000
WARM_UP = 5_000
"""By then what is remembered of calls that are over is nearly full: 4,096 intents, 2,048 conversations, many
of 10,000 spent tokens of a hundred bytes."""


class Census(NamedTuple):
    """What there is of something that calls use up."""

    rss_bytes: int
    descriptors: int
    tasks: int
    threads: int
    calls: int


class Result(NamedTuple):
    """How it went. `before` was counted after the warm-up, `after` at the end."""

    calls: int
    failed: int
    seconds: float
    before: Census
    after: Census

    @property
    def faults(self) -> list[str]:
        """What should not be so; none, and the soak is passed."""
        found = [f"{self.failed} calls failed"] if self.failed else []
        grown = self.after.rss_bytes - self.before.rss_bytes
        if grown >= MOST_GROWTH_BYTES:
            found.append(f"memory has grown by {grown / 1e6:.1f} MB")
        for what in ("descriptors", "tasks", "threads"):
            before, after = getattr(self.before, what), getattr(self.after, what)
            if after > before:
                found.append(f"{after} {what} instead of {before}")
        if self.after.calls:
            found.append(f"{self.after.calls} calls are still registered")
        return found

    def table(self) -> str:
        """In Markdown."""
        grown = (self.after.rss_bytes - self.before.rss_bytes) / 1e6
        rows = [
            ("calls", f"{self.calls:,}"),
            ("failed", str(self.failed)),
            ("seconds", f"{self.seconds:.0f}"),
            ("memory after warm-up, at the end", f"{self.before.rss_bytes / 1e6:.1f} MB, {grown:+.1f} MB"),
        ]
        rows += [
            (what, f"{getattr(self.before, what)}, {getattr(self.after, what)}")
            for what in ("descriptors", "tasks", "threads")
        ]
        rows.append(("calls registered at the end", str(self.after.calls)))
        return "\n".join(["| what | result |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows)])


async def soak(calls: int, at_once: int, warm_up: int) -> Result:
    """So many calls after `warm_up` others, `at_once` of them at a time."""
    upstream = EmbeddedUpstream(
        lambda: RealtimeServer(Parrot(GREETING), ServerOptions(latency_ms=5, speed=50)), keep=False
    )
    sock = service.listen("127.0.0.1", 0)
    base = f"http://127.0.0.1:{sock.getsockname()[1]}"
    settings = load_settings(
        demo=True, env_file=None, upstream="embedded", public_url=base, twilio_auth_token=TOKEN,
        disclosure=False, max_calls=2 * at_once,
    )  # fmt: skip
    async with upstream.serve() as url:
        made = service.Service(settings, upstream_url=url, watched=False)
        async with service.serving(create_app(settings, made.registry, made.awake), sock):
            numbers = itertools.count(1)
            await _place(f"{base}/incoming-call", warm_up, at_once, numbers)
            before = await _settled(made, None)
            began_s = time.monotonic()
            failed = await _place(f"{base}/incoming-call", calls, at_once, numbers)
            seconds = time.monotonic() - began_s
            after = await _settled(made, before)
        made.close()
    return Result(calls, failed, seconds, before, after)


async def _place(url: str, calls: int, at_once: int, numbers: itertools.count[int]) -> int:
    """Place them; how many failed."""
    left = iter(range(calls))
    failed = 0

    async def caller() -> None:
        nonlocal failed
        for _ in left:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await _call(url, next(numbers))
            except Exception as error:  # noqa: BLE001  whatever it was, it is a call that failed
                failed += 1
                if failed <= 5:
                    sys.stderr.write(f"a call failed: {error!r}\n")

    await asyncio.gather(*(caller() for _ in range(at_once)))
    return failed


async def _call(url: str, number: int) -> None:
    options = PhoneOptions(first_media_ms=20, keep_sound=False)
    call = await CarrierSimulator(call_sid=f"CA{number:032x}", auth_token=TOKEN, options=options).call(url)
    phone = call.machine
    if not isinstance(phone, Phone):
        raise TypeError("a call without a phone")
    while phone.played_bytes < len(GREETING) and not call.closed.done():  # noqa: ASYNC110  it has no event
        await asyncio.sleep(0.02)
    if call.closed.done() or phone.refused:
        raise RuntimeError(f"{call.closed}, refused: {phone.refused}")
    call.send(phone.hang_up(call.now_ms()))
    await call.closed


async def _settled(made: service.Service, before: Census | None) -> Census:
    """Counted when the last sockets are gone; waits five seconds at most for the figures of before."""
    for _ in range(100):
        await asyncio.sleep(0.05)
        now = Census(
            0, _descriptors(), len(asyncio.all_tasks()), threading.active_count(), len(made.registry)
        )
        if not now.calls and (before is None or all(map(int.__le__, now[1:], before[1:]))):
            break
    gc.collect()
    return now._replace(rss_bytes=rss_bytes())


def _descriptors() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


def main() -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=40)
    parser.add_argument("--warm-up", type=int, default=WARM_UP)
    asked = parser.parse_args()
    result = uvloop.run(soak(asked.calls, asked.at_once, asked.warm_up))
    sys.stdout.write(f"{result.table()}\n")
    for fault in result.faults:
        sys.stderr.write(f"{fault}\n")
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
