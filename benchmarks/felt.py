"""How much of what a caller waits for is the bridge's own: `python -m benchmarks.felt --calls 8 --turns 25`.

A real `phonebridge serve` in a process of its own; phones and model here, on one clock, over loopback. A turn
is felt from the last audible frame that the phone sends to the first audible frame that it gets. The vendor's
part, from that frame's arrival at the model to the model's first audible delta, is taken off. What is left is
the bridge on the way up and on the way down, with the kernel's loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import time
from base64 import b64decode
from collections.abc import Callable
from typing import Any

from bridge.cli.bench_server import our_server
from bridge.codecs.audible import is_audible, is_audible_block
from bridge.doubles.agents import Asked, Speech
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import Phone
from bridge.doubles.realtime import RealtimeServer
from bridge.doubles.tones import tone
from bridge.simulators.carrier import CarrierSimulator
from bridge.simulators.servers import EmbeddedUpstream, Simulation

WORD = tone(300)
REPLY_MS = 400
GAP_S = 0.15
BEAT_S = 0.005


class Timed:
    """When the last audible sound left, and when the first one came after it."""

    def __init__(self) -> None:
        self.last_out = self.first_in = 0.0

    def out(self) -> None:
        self.last_out, self.first_in = time.perf_counter(), 0.0

    def came(self) -> None:
        if not self.first_in:
            self.first_in = time.perf_counter()


class TimedPhone(Phone):
    """A phone that notes when its caller was last to be heard, and when they first heard something."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.timed = Timed()

    def wake(self, now_ms: int) -> list[str]:
        frames = super().wake(now_ms)
        if any('"media"' in frame and _audible(frame) for frame in frames):
            self.timed.out()
        return frames

    def receive(self, frame: str | bytes, now_ms: int) -> list[str]:
        if '"media"' in str(frame) and _audible(str(frame)):
            self.timed.came()
        return super().receive(frame, now_ms)


class TimedModel(RealtimeServer):
    """The model: when it last heard the caller, and when it first said something."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.heard_last = self.said_first = 0.0

    def receive(self, frame: str | bytes, now_ms: int) -> list[str]:
        if "input_audio_buffer.append" in str(frame) and is_audible_block(
            b64decode(json.loads(frame)["audio"])
        ):
            self.heard_last, self.said_first = time.perf_counter(), 0.0
        return super().receive(frame, now_ms)

    def emit(self, kind: str, /, **fields: Any) -> None:
        if kind == "response.output_audio.delta" and not self.said_first and is_audible(fields["delta"]):
            self.said_first = time.perf_counter()
        super().emit(kind, **fields)


class Replies:
    """Answers every turn with the same sound."""

    def answer(self, asked: Asked) -> list[Speech]:
        return [Speech(tone(REPLY_MS, 700 + asked.number % 2), "Yes, of course.")]


def _audible(frame: str) -> bool:
    event = json.loads(frame)
    return event["event"] == "media" and is_audible_block(b64decode(event["media"]["payload"])[:160])


async def call(webhook: str, upstream: EmbeddedUpstream, turns: int) -> list[float]:
    """The bridge's own ms in each turn of one call."""
    before = len(upstream.sessions)
    line = await CarrierSimulator(make=TimedPhone).call(webhook)
    await _until(lambda: len(upstream.sessions) > before)
    phone, model = _machines(line, upstream.sessions[before])
    await _heard(phone)  # the greeting
    shares = []
    for _ in range(turns):
        await asyncio.sleep(REPLY_MS / 1000 + GAP_S)
        line.send(phone.say(WORD, line.now_ms()))
        await asyncio.sleep(len(WORD) / 8_000 + 0.1)
        await _heard(phone)
        felt_s = phone.timed.first_in - phone.timed.last_out
        shares.append((felt_s - (model.said_first - model.heard_last)) * 1000)
    line.send(phone.hang_up(line.now_ms()))
    await line.closed
    return shares


def _machines(line: Simulation, session: Simulation) -> tuple[TimedPhone, TimedModel]:
    phone: Any = line.machine
    model: Any = session.machine
    return phone, model


async def _heard(phone: TimedPhone) -> None:
    await _until(lambda: bool(phone.timed.first_in))


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  whatever tells it is a machine without a loop
            await asyncio.sleep(0.005)


async def _beat(late_ms: list[float]) -> None:
    """How late this process is with anything: what it measures is late by as much."""
    while True:
        due_s = time.perf_counter() + BEAT_S
        await asyncio.sleep(BEAT_S)
        late_ms.append((time.perf_counter() - due_s) * 1000)


async def measured(calls: int, turns: int, late_ms: list[float]) -> list[float]:
    """Of so many calls, one begun after the other and then at the same time."""
    beat = asyncio.create_task(_beat(late_ms))
    upstream = EmbeddedUpstream(lambda: TimedModel(Replies(), ServerOptions(speed=5.0)))
    async with upstream.serve() as url, our_server(url) as webhook:
        held = []
        for _ in range(calls):
            number = len(upstream.sessions)
            held.append(asyncio.create_task(call(webhook, upstream, turns)))
            await _until(lambda number=number: len(upstream.sessions) > number)  # type: ignore[misc]
        shares = await asyncio.gather(*held)
        beat.cancel()
        return [share for one in shares for share in one]


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=8)
    parser.add_argument("--turns", type=int, default=25)
    asked = parser.parse_args()
    late_ms: list[float] = []
    shares = asyncio.run(measured(asked.calls, asked.turns, late_ms))
    for what, found in (
        ("turns: the bridge's own share", shares),
        ("beats: this process is late by", late_ms),
    ):
        found.sort()
        p50, p99 = (found[math.ceil(len(found) * part) - 1] for part in (0.5, 0.99))
        sys.stdout.write(f"{len(found)} {what} p50 {p50:.2f} ms, p99 {p99:.2f} ms, most {found[-1]:.2f} ms\n")


if __name__ == "__main__":
    main()
