"""Work that is stopped in the middle: what is done is kept, what runs is ended, nothing is printed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bridge.experiments.workers import Died, never, side_by_side, spread
from tests.calls import ROOT

SCENARIO = """
name = "long {number}"
[caller]
lines = ["When are you open on Saturday?", "And on Sunday?", "And on Saturday?", "And on Sunday?"]
[limits]
turns = 100
seconds = 180
"""


async def test_what_runs_side_by_side_is_cancelled_when_it_is_stopped() -> None:
    ended: list[str] = []

    async def work(name: str, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
            ended.append(name)
        except asyncio.CancelledError:
            ended.append(f"{name} cancelled")
            raise

    await side_by_side([work("a", 0), work("b", 60)], lambda: "a" in ended)
    assert ended == ["a", "b cancelled"]


async def test_what_one_raises_ends_the_others() -> None:
    async def fails() -> None:
        raise LookupError("no")

    others = [asyncio.ensure_future(asyncio.sleep(60)) for _ in range(2)]

    async def waits(one: asyncio.Future[None]) -> None:
        await one

    with pytest.raises(LookupError):
        await side_by_side([waits(others[0]), fails(), waits(others[1])], never)
    assert all(one.cancelled() for one in others)


def double(number: int) -> int:
    if number == 0:
        os._exit(9)
    if number < 0:
        time.sleep(600)
    return 2 * number


@pytest.mark.virtual
def test_a_process_that_dies_takes_one_item_with_it_and_all_end_at_once_when_stopped() -> None:
    found: dict[int, int | Died] = {}
    found.update(spread(double, [[1, 0, 3, -1], [4, -2]], lambda: len(found) == 4))
    assert str(found.pop(0)) == "its process ended with 9"
    assert found == {1: 2, 3: 6, 4: 8}


@pytest.mark.virtual
@pytest.mark.parametrize("some_were_run", [False, True])
def test_ctrl_c_tells_what_was_run_and_nothing_else(some_were_run: bool, tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number}.toml").write_text(SCENARIO.format(number=number))
    out = tmp_path / "out"
    agent = "tests.experiments.bakery:agent"
    command = [sys.executable, "-m", "bridge", "callers", "run", str(tmp_path), "--parallel", "2"]
    command += ["--agent", agent, "--json", str(out / "r.json"), "--html", str(out)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        if some_were_run:
            while len(list(out.glob("*.wav"))) < 3:  # of two processes: one has been told of
                time.sleep(0.05)
                assert run.poll() is None
        else:
            time.sleep(2)  # its processes are about to start
        os.killpg(run.pid, signal.SIGINT)
        said, complained = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "Traceback" not in complained
    assert "Traceback" not in said
    if some_were_run:
        told = json.loads((out / "r.json").read_text())
        calls = [call for row in told["scenarios"] for call in row["calls"]]
        assert 0 < len(calls) < 90
        assert told["exit_code"] == 130
        assert f"interrupted: {len(calls)} of 90 calls were run" in said
