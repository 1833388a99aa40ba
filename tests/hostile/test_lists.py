"""A list of numbers against a simulated carrier, in a process of its own that is killed on the way."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import random
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Final

import pytest

from bridge.doubles.call_resource import CallFacts
from bridge.simulators import rest_api
from bridge.simulators.call_facts import facts_of
from bridge.simulators.leg import Leg
from bridge.simulators.phones import SecondPhone
from bridge.simulators.rest_api import LOST, CarrierApi

from .kit import ACCOUNT, ROOT, TOKEN, free_port

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(1_500)]

NUMBER: Final = "+15550100002"
ENDS: Final[dict[str, tuple[str, ...]]] = {
    "human": ("completed",),
    "machine": ("completed",),
    "busy": ("busy",),
    "no_answer": ("no_answer",),
    "declines": ("declined",),
    "unreachable": ("no_answer",),
    "invalid": ("invalid",),
    "failed": ("failed",),
    "21211": ("invalid",),
}
"""What each kind of phone makes of a call; 21211 is refused by the API."""
RETRY_S: Final = 300
AGENT: Final = 'from bridge import Agent\nagent = Agent("Say hello.", greeting="Hello.")\n'


def kinds(count: int) -> dict[str, str]:
    """A kind for each number: all of them, shuffled; few that fail, or the list would be paused."""
    chance = random.Random(count)
    names = [*ENDS, "human", "busy", "no_answer", "machine", "declines", "human"]
    drawn = [names[n % len(names)] for n in range(count)]
    chance.shuffle(drawn)
    return {f"+1555010{1000 + n:04}": kind for n, kind in enumerate(drawn)}


@pytest.fixture(autouse=True)
def _real_dates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network's time goes fifty times as fast; the dates that its API tells are real ones."""
    made: dict[str, datetime] = {}

    def facts(leg: Leg) -> CallFacts:
        at = made.setdefault(leg.sid, datetime.now(UTC))
        return dataclasses.replace(facts_of(leg), date_created=format_datetime(at))

    monkeypatch.setattr(rest_api, "facts_of", facts)


class List:
    """The list, the carrier, and the process that calls."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.port = free_port()
        self.kinds = kinds(count)
        self.api = CarrierApi((TOKEN,), pace=0.02, seed=count)
        self.phones: dict[str, SecondPhone] = {}
        for number, kind in self.kinds.items():
            if kind == "21211":
                self.api.refused_numbers[number] = 21211
            else:
                self.phones[number] = self._phone(number, kind)
        rows = "".join(f"{number},list of the test,{kind}\n" for number, kind in self.kinds.items())
        (folder / "numbers.csv").write_text(f"to,consent,kind\n{rows}")
        (folder / "mine.py").write_text(AGENT)

    def _phone(self, number: str, kind: str) -> SecondPhone:
        more: dict[str, Any] = {}
        if kind == "human":
            more = {"hangs_up_after_ms": 4_000, "verdict": (2_000, "human")}
        elif kind == "machine":
            more = {"verdict": (3_000, "machine_end_beep")}
        elif kind == "declines":
            more = {"answers_after_ms": 1_000}
        return self.api.phone(number, kind, **more)

    async def start(self) -> asyncio.subprocess.Process:
        ours = ("BRIDGE_", "TWILIO_", "OPENAI_", "PUBLIC_URL", "PORT", "HOST")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        environment |= {
            "PUBLIC_URL": f"http://127.0.0.1:{self.port}", "PORT": str(self.port), "HOST": "127.0.0.1",
            "TWILIO_AUTH_TOKEN": TOKEN, "TWILIO_ACCOUNT_SID": ACCOUNT, "BRIDGE_UPSTREAM": "embedded",
            "BRIDGE_TWILIO_API_URL": self.api.url, "BRIDGE_OUTBOUND": "1", "BRIDGE_CALL_FROM": NUMBER,
            "BRIDGE_CALL_HOURS": "off", "BRIDGE_JOURNAL": str(self.folder / "state" / "journal"),
            "BRIDGE_DISCLOSURE": "0", "BRIDGE_EARS": "off", "BRIDGE_MAX_CALL_SECONDS": "20",
            "PYTHONPATH": f"{self.folder}{os.pathsep}{ROOT}",
        }  # fmt: skip
        command = [sys.executable, "-m", "bridge", "calls", "run", "numbers.csv", "--agent", "mine:agent"]
        command += ["--cps", "27", "--at-once", "12", "--once", "--json"]
        return await asyncio.create_subprocess_exec(
            *command, cwd=self.folder, env=environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def finish(self, process: asyncio.subprocess.Process, seconds: float) -> dict[str, Any]:
        async with asyncio.timeout(seconds):
            out, said = await process.communicate()
        assert process.returncode in (0, 1), said.decode()
        report: dict[str, Any] = json.loads(out)
        report["said"] = said.decode()
        return report

    def states(self) -> dict[str, dict[str, Any]]:
        raw = (self.folder / "numbers.csv.state.jsonl").read_text()
        lines = [json.loads(line) for line in raw.split("\n") if line.startswith('{"to"')]
        return {line["to"]: line for line in lines}

    def check(self, seconds: float, unheard: dict[str, str] | None = None) -> None:
        """Each number in its row after so many seconds, and none called twice. `unheard` is what a kind may
        become as well where nobody was there to hear the last callback.
        """
        rows = self.states()
        assert set(rows) == set(self.kinds)
        wrong = {
            number: (kind, rows[number]["state"], rows[number]["told"])
            for number, kind in self.kinds.items()
            if rows[number]["told"].get("outcome") not in (*ENDS[kind], (unheard or {}).get(kind, ""))
        }
        assert wrong == {}
        rung = {number: len(phone.legs) for number, phone in self.phones.items()}
        assert rung == {number: rows[number]["attempt"] for number in rung}
        # A list that takes longer than that has its retries: 5 minutes after SIP 503, 10 after busy.
        again = {self.kinds[number] for number, count in rung.items() if count != 1}
        assert again <= ({"failed", "busy"} if seconds > RETRY_S else set())


async def whole(folder: Path, count: int) -> None:
    """A list that nothing disturbs but lost answers and callbacks in disorder."""
    one, began_s = List(folder, count), time.monotonic()
    one.api.network.deliveries.scattered_ms = 3_000
    one.api.network.deliveries.doubled |= {"ringing", "completed"}
    async with one.api.serve():
        process = await one.start()
        report = await one.finish(process, 60 + count)
        assert report["paused"] == "", report["said"]
        one.check(time.monotonic() - began_s)
        assert report["numbers"] == count


async def killed(folder: Path, count: int, kills: int) -> None:
    """The same, with the process killed again and again, and answers of the API that never come."""
    one, began_s = List(folder, count), time.monotonic()
    chance, cut_off = random.Random(7), 0
    async with one.api.serve():
        for n in range(kills):
            process = await one.start()
            one.api.refusals += [LOST] if n % 3 == 0 else []
            # Two seconds to begin; then in the middle of something.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 2.0 + chance.uniform(0.1, 3.0))
            if process.returncode is None:
                cut_off += 1
                process.kill()
            await process.communicate()
        process = await one.start()
        report = await one.finish(process, 180 + count)
        assert report["paused"] == "", report["said"]
        assert cut_off >= kills // 2
        # What the API tells of a call that is over has no SIP code.
        one.check(time.monotonic() - began_s, {"declines": "no_answer", "invalid": "failed"})


async def test_sixty_numbers_of_every_kind_end_in_their_rows(tmp_path: Path) -> None:
    await whole(tmp_path, 60)


async def test_sixty_numbers_are_called_once_by_a_process_that_is_killed_three_times(tmp_path: Path) -> None:
    await killed(tmp_path, 60, 3)


@pytest.mark.long
async def test_sixty_numbers_and_ten_kills(tmp_path: Path) -> None:
    await killed(tmp_path, 60, 10)


@pytest.mark.long
async def test_five_hundred_numbers_end_in_their_rows(tmp_path: Path) -> None:
    await whole(tmp_path, 500)


@pytest.mark.long
async def test_five_hundred_numbers_and_ten_kills(tmp_path: Path) -> None:
    await killed(tmp_path, 500, 10)


def test_every_kind_is_in_the_list() -> None:
    assert set(Counter(kinds(60).values())) == set(ENDS)
