"""Machines are restarted one after another while callers talk, barge in and have tools run for them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridge.doubles.agents import Asked, Output, Speech, ToolCall
from bridge.doubles.tones import marked
from bridge.simulators.phone import Kind, PhoneCall
from tests.calls import ROOT, KeepingServer
from tests.processes.machines import Machines, loud_at_ms, machines, run_long
from tests.processes.rig import WORDS, phone, says, silence, speak, until

pytestmark = [pytest.mark.redis, pytest.mark.runs_with(function=run_long)]

CALLS = int(os.environ.get("TEST_CALLS", "20"))
RESTARTS = 3
MOST_TURNS = 44
DRAIN_S = 9
"""Six of them for turn boundaries."""
AGENT = '''
import os
from bridge import Agent, tool

@tool
def count(turn: str) -> str:
    """Counts."""
    with open(os.environ["COUNTED"], "a") as file:
        file.write(turn + "\\n")
    return "counted"

agent = Agent("Count.", tools=[count])
'''


PRICES = """
read_on = 2026-11-20

[[price]]
model = "gpt-transcribe"
minute = "0"
"""
"""Transcribing costs nothing: the model's double says no seconds of it that could be added up."""


class Counting:
    """Has each turn of the caller's counted by a tool, and then says its number at some length, so that
    callers barge in. `asked` are the tools that it has asked for.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []

    def answer(self, asked: Asked) -> list[Output]:
        turns = sum(item.role == "user" for item in asked.items)
        if not turns:
            return [Speech(number(0), "Hello.")]
        if asked.tool_output is not None:
            return [Speech(number(turns), f"That is turn {turns}.")]
        self.asked.append(f"{len(self.asked)}")
        return [ToolCall("count", {"turn": self.asked[-1]})]


def number(turns: int) -> bytes:
    return marked(16 + turns, 700)


def billed_micro_usd(here: Machines) -> float:
    """What the model bills for what it says that it has read and made, by the price list."""
    servers = [session.machine for session in here.site.upstream.sessions]
    return sum(_cost(usage) for one in servers if isinstance(one, KeepingServer) for usage in one.usage)


def _cost(usage: dict[str, Any]) -> float:
    """USD per million tokens are micro-USD per token: gpt-realtime-2.1."""
    read, made = usage["input_token_details"], usage["output_token_details"]
    cached = read["cached_tokens_details"]
    total = 4 * (read["text_tokens"] - cached["text_tokens"]) + 0.4 * cached["text_tokens"]
    total += 32 * (read["audio_tokens"] - cached["audio_tokens"]) + 0.4 * cached["audio_tokens"]
    return total + 24 * made["text_tokens"] + 64 * made["audio_tokens"]


def heard_numbers(call: PhoneCall) -> list[int]:
    """The numbers that the caller heard, in order, over all streams; a number counts once for each stream."""
    return [found for at in range(len(call.streams)) for found in numbers_of(phone(call, at).heard)]


def numbers_of(heard: bytes) -> list[int]:
    """Those of which 50 ms were heard on end, in order. Found by `find`: the phones stand still meanwhile."""
    found = {turns: heard.find(400 * bytes([17 + turns])) for turns in range(MOST_TURNS)}
    return sorted((turns for turns, at in found.items() if at >= 0), key=found.__getitem__)


@pytest.mark.parametrize("callers", [CALLS, pytest.param(100, marks=pytest.mark.long)])
async def test_rolling_restarts_lose_no_call(
    tmp_path: Path, record_property: Callable[[str, object], None], callers: int
) -> None:
    """Each call moves at the end of a turn, or in time: no word is said twice, no tool runs twice, and what
    the day has cost is what the model bills.
    """
    (tmp_path / "count_agent.py").write_text(AGENT)
    (tmp_path / "prices.toml").write_text(PRICES)
    counted, mind, chance = tmp_path / "counted", Counting(), random.Random(1)
    settings = {
        "BRIDGE_AGENT": "count_agent:agent",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        "COUNTED": str(counted),
        "BRIDGE_DRAIN_SECONDS": str(DRAIN_S),
        "BRIDGE_PRICES": str(tmp_path / "prices.toml"),
    }
    async with machines(mind, tmp_path) as here:
        serving = [await here.start(name, **settings) for name in ("m0", "m1")]
        calls = [await _dialled(here) for _ in range(callers)]
        # A machine that is busy may turn the first stream away, and have the next.
        await until(lambda: all(loud_at_ms(c, len(c.streams) - 1) is not None for c in calls), 60, "heard")
        talking = asyncio.create_task(_talk(calls, chance))
        for restart in range(RESTARTS):
            fresh = await here.start(f"m{restart + 2}", **settings)
            old, serving = serving[0], [*serving[1:], fresh]
            old.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.2)  # a balancer sees `/readyz`
            here.leave(old)
            assert await old.ended(DRAIN_S + 3) == 0
        talking.cancel()
        await asyncio.sleep(3)
        assert not any(call.over for call in calls), "no call is lost"
        moved = [(call, at) for call in calls for at in range(1, len(call.streams))]
        assert len(moved) >= callers, "every call was moved"
        gaps_ms = sorted(gap_ms(call, at) for call, at in moved)
        record_property("without_a_stream_ms", gaps_ms)
        assert gaps_ms[len(gaps_ms) * 95 // 100 - 1] < 1_500, gaps_ms
        last = {id(call): max(heard_numbers(call), default=0) for call in calls}
        speak(calls)
        with contextlib.suppress(AssertionError):
            await until(lambda: not silent(calls, last), 15)
        assert not silent(calls, last), str(silent(calls, last))
        assert not any(says(call, "restored", at) for call, at in moved), "none was cut off"
        logged = [line for one in here.started for line in one.logged if '"moved: ' in line]
        assert logged
        assert not [line for line in logged if "(crash)" in line], "each was handed over, wherever it came"
        twice = [call for call in calls if max(Counter(heard_numbers(call)).values()) > 1]
        record_property("moves", len(moved))
        assert not twice, [heard_numbers(call) for call in twice]
        await here.site.hung_up()
        await asyncio.sleep(0.5)
        for one in serving:
            one.process.terminate()
            assert await one.ended(10) == 0
        ran = Counter(counted.read_text().split())
        assert ran
        assert max(ran.values()) == 1, "no tool ran twice"
        spent = here.spent_micro_usd()
        assert abs(spent - billed_micro_usd(here)) <= len(mind.asked) * 2 + 100, (
            spent,
            billed_micro_usd(here),
        )


def silent(calls: list[PhoneCall], last: dict[int, int]) -> list[list[int]]:
    """What those calls have heard that have heard no higher number since."""
    return [heard_numbers(c) for c in calls if max(heard_numbers(c), default=0) <= last[id(c)]]


def gap_ms(call: PhoneCall, at: int) -> int:
    """How long the call was without a stream before that one."""
    over_ms = [step.at_ms for step in call.steps if step.kind is Kind.STREAM_OVER]
    return call.streams[at][0] - over_ms[at - 1]


async def _dialled(here: Machines) -> PhoneCall:
    """One more caller, a moment after the last: all at once, a machine that is busy takes only some."""
    await asyncio.sleep(0.05)
    return here.site.dial(silence(600) + WORDS)


async def _talk(calls: list[PhoneCall], chance: random.Random) -> None:
    """Each caller speaks now and then, sometimes into what is being said."""
    while True:
        speak([call for call in calls if not call.over and chance.random() < 0.08])
        await asyncio.sleep(0.3)
