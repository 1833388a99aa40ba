"""A deploy: a process is told to go while its callers talk. Nobody is lost, and hardly anybody notices."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from bridge.core.messages import HandOver, SnapshotItem
from bridge.doubles.agents import Asked, Output, Speech
from bridge.doubles.tones import marked
from bridge.recording import replay
from bridge.recording.header import read_header
from bridge.server.draining import drain
from bridge.server.fleet import Fleet
from bridge.simulators.phone import Kind, PhoneCall
from tests.agents import virtual_time
from tests.processes.rig import (
    ALONE_OR_WORKERS,
    WORDS,
    Clerk,
    answer,
    first_sound_s,
    lived_through,
    phone,
    run,
    says,
    silence,
    site,
    speak,
    until,
)

pytestmark = pytest.mark.runs_with(function=run)

CALLS = 20
DRAIN_S = int(os.environ.get("TEST_DRAIN_SECONDS", "14"))
"""Two seconds for calls to end by themselves, nine for turn boundaries, three to spare; with 25, what they
have by default, it is thirteen seconds.
"""


class _NeverEmpty:
    """An exchange whose one call lasts; it notes when it was told what, in seconds."""

    def __init__(self) -> None:
        self.draining = False
        self.services = SimpleNamespace(fleet=Fleet())
        self.told: list[tuple[float, int]] = []

    async def drained(self, timeout_s: float) -> bool:
        assert self.draining
        await asyncio.sleep(timeout_s)
        return False

    def call_sids(self) -> list[str]:
        return ["CA1"]

    def feed(self, _call_sid: str, event: HandOver) -> None:
        self.told.append((asyncio.get_running_loop().time(), event.within_ms))


def test_calls_have_half_of_25_seconds_to_end_and_nine_more_to_reach_the_end_of_a_turn() -> None:
    async def main() -> None:
        registry = _NeverEmpty()
        await drain(registry, 25)  # type: ignore[arg-type]
        assert registry.told == [(13.0, 8_500)]
        assert asyncio.get_running_loop().time() == 22.0

    virtual_time.run(main())


@pytest.mark.hostile
@pytest.mark.alone
@ALONE_OR_WORKERS
async def test_nobody_is_lost_in_a_deploy(
    arguments: tuple[str, ...], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    async with site(Clerk(), tmp_path) as here:
        settings = {
            "BRIDGE_DRAIN_SECONDS": str(DRAIN_S),
            "BRIDGE_RECORDINGS": str(tmp_path / "recordings"),
            "BRIDGE_INSTRUCTIONS": "Count.",
        }
        old, new = await asyncio.gather(*(here.server(*arguments, **settings) for _ in range(2)))
        here.balancer.put(old.base)
        calls = [here.dial(silence(600) + WORDS) for _ in range(CALLS)]
        await until(lambda: all(c.streams and answer(1) in phone(c).heard for c in calls), 20, "answers")
        await asyncio.sleep(0.3)

        told_s = time.monotonic()
        old.process.send_signal(signal.SIGTERM)
        await until(lambda: any("SIGTERM" in line for line in old.logged), 2, "the signal")
        assert await asyncio.to_thread(status, f"{old.base}/readyz") == 503
        assert await asyncio.to_thread(status, f"{old.base}/healthz") == 200
        late = await here.handset().webhook(f"{old.base}/incoming-call", {"CallStatus": "ringing"})
        assert [verb.tag for verb in late] == ["Say", "Hangup"]
        resumed = await here.handset().webhook(f"{old.base}/after-stream", {"CallStatus": "in-progress"})
        assert [verb.tag for verb in resumed] == ["Say", "Pause", "Redirect"]
        next_step = resumed.findtext("Redirect") or ""
        assert next_step.startswith(f"{here.balancer.base}/after-stream?stream=")
        old.process.send_signal(signal.SIGTERM)
        here.balancer.put(new.base)  # it has seen /readyz
        done, going_on = calls[0], calls[1:]
        done.hang_up()
        await until(lambda: done.over, 2, "the one that ends by itself")
        assert all(len(call.streams) == 1 for call in calls)

        handed = "the others are handed over"
        await until(lambda: all(len(c.streams) == 2 for c in going_on), DRAIN_S - 2, handed)
        assert await old.ended(5) == 0
        record_property("ended_after_s", round(time.monotonic() - told_s, 2))
        speak(going_on)
        await until(lambda: all(answer(2) in phone(c).heard for c in going_on), 12, "they go on")
        assert not any(call.over for call in going_on)
        assert not any(says(call, "restored", 1) for call in going_on), "nobody was cut off"
        assert all(answer(0) not in phone(call).heard for call in going_on), "nobody is greeted again"
        assert all(lived_through(call) == HANDED_OVER for call in going_on)
        gaps_ms = [call.streams[1][0] - over_ms(call) for call in going_on]
        record_property("without_a_stream_ms", sorted(gaps_ms))
        assert max(gaps_ms) < 2_000
        await here.hung_up()
        new.process.terminate()
        assert await new.ended(10) == 0
    both_replay(tmp_path / "recordings", len(calls), len(going_on))


HANDED_OVER = [Kind.ASKED, Kind.STREAM, Kind.STREAM_OVER, Kind.ASKED, Kind.STREAM]


def over_ms(call: PhoneCall) -> int:
    return next(step.at_ms for step in call.steps if step.kind is Kind.STREAM_OVER)


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def both_replay(folder: Path, firsts: int, seconds: int) -> None:
    """Two recordings of each call that was handed over; the second begins with what the first left."""
    found = [path.read_text().splitlines() for path in sorted(folder.glob("*.call.jsonl"))]
    headers = [read_header(lines[0]) for lines in found]
    carried = [header.config.carried for header in headers]
    assert carried.count(None) == firsts
    taken_over = [one for one in carried if one is not None]
    assert len(taken_over) == seconds
    for one in taken_over:
        assert [item.role for item in one.items] == ["assistant", "user", "assistant"]
        assert one.items[2] == SnapshotItem("assistant", "That is turn 1.")
    handed = [line for lines in found for line in lines if "HandedOver" in line and '"carried"' in line]
    assert len(handed) == seconds
    for lines in found:
        replayed = replay(lines)
        assert replayed.difference is None, replayed.difference
        assert replayed.ended


class Storyteller:
    """Talks for a minute whatever happens."""

    def answer(self, _asked: Asked) -> list[Output]:
        return [Speech(marked(9, 60_000), "Once upon a time.")]


@pytest.mark.hostile
async def test_a_call_without_a_turn_boundary_is_handed_over_in_time_all_the_same(tmp_path: Path) -> None:
    """In the middle of a story; the next process is told how much of it was heard, and goes on with it."""

    async with site(Storyteller(), tmp_path) as here:
        old, new = await asyncio.gather(here.server(BRIDGE_DRAIN_SECONDS="3"), here.server())
        here.balancer.put(old.base)
        calls = [here.dial() for _ in range(3)]
        await until(lambda: all(c.streams and phone(c).heard.count(9) for c in calls), 10, "the story")
        here.balancer.put(new.base)
        old.process.send_signal(signal.SIGTERM)
        await until(lambda: all(len(c.streams) == 2 for c in calls), 5, "handed over")
        assert await old.ended(5) == 0
        await until(lambda: all(first_sound_s(c, 1) for c in calls), 5, "and the story goes on")
        assert not any(says(call, "restored", 1) for call in calls)
