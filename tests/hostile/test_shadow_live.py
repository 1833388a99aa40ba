"""Shadow calls in real time, against a model in a second process."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge import tool
from bridge.experiments.budget import Budget
from bridge.experiments.shadow import Experiment, Gathered, Outcome, Recorded
from bridge.experiments.shadow_live import LiveModel, NotRun, run_live
from bridge.experiments.shadow_models import carried_out, costs, has_dice, model_of
from bridge.experiments.shadow_run import Arm
from bridge.recording.caller_script import Kind
from bridge.recording.script_reader import caller_script
from tests.experiments.kit import AGENT, recorded_call
from tests.hostile.by_turn import ByTurn, in_a_process

pytestmark = pytest.mark.hostile

CALLS = 3
LATE_MS = 75
"""A turn begins at most this late or early, seen from the first one; measured: 11."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with in_a_process() as url:
        yield url


@pytest.fixture(scope="module")
def calls() -> Gathered:
    lines = (recorded_call(seed, turns=2, mind=ByTurn()) for seed in range(CALLS))
    return Gathered([Recorded(f"call-{seed}", caller_script(one)) for seed, one in enumerate(lines)])


@pytest.fixture(scope="module")
def outcome(url: str, calls: Gathered) -> Outcome:
    """The recorded configuration against an agent that has lost its tool."""
    arms = Arm("control"), Arm("new", AGENT.replace(tools=[]))
    model = model_of(url)
    assert has_dice(model)
    assert not costs(model)
    began_s = time.monotonic()
    found = carried_out(Experiment(calls, arms), model, parallel=8)
    longest_s = max(call.script.end_ms for call in calls.calls) / 1000
    assert time.monotonic() - began_s < 1.5 * longest_s + 5
    return found


def test_the_callers_keep_their_moments(outcome: Outcome) -> None:
    assert outcome.whole
    for pair in outcome.pairs:
        [run] = pair.runs[0]
        recorded = [act.at_ms for act in pair.call.script.acts if act.kind is Kind.SAYS]
        began = [began_ms for began_ms, _ in run.acts]
        # Dialling takes a moment here, and none in the recordings: it moves the whole call.
        errors_ms = [now - began[0] - (then - recorded[0]) for now, then in zip(began, recorded, strict=True)]
        assert max(map(abs, errors_ms)) <= LATE_MS
        assert run.length_ms - began[0] == pytest.approx(pair.call.script.end_ms - recorded[0], abs=300)


def test_the_control_is_the_recorded_call_again(outcome: Outcome) -> None:
    for pair in outcome.pairs:
        assert pair.control["tools_equal"] == 1
        assert pair.control["figures_told"] == 1
        assert pair.control["completed"] == 1
        cuts = pair.call.script.stats.barge_ins
        if all(one.received_ms - one.heard_ms > 150 for one in cuts):  # else the answer may just be over
            assert pair.control["barge_ins"] == len({one.at_ms for one in cuts})


def test_a_dropped_tool_is_seen(outcome: Outcome) -> None:
    assert [pair.new["tools_equal"] for pair in outcome.pairs] == [0] * CALLS


def test_no_model_is_no_result(calls: Gathered) -> None:
    call, nowhere = calls.calls[0], model_of("ws://127.0.0.1:9/v1/realtime")
    assert isinstance(nowhere, LiveModel)
    with pytest.raises(NotRun, match="could not be reached"):
        asyncio.run(run_live(call.name, call.script, Arm("control"), nowhere))


def test_live_tools_run_beside_the_calls(url: str, calls: Gathered) -> None:
    ran: list[str] = []

    @tool
    def book(day: str, people: int) -> str:
        """Book a table."""
        time.sleep(0.3)
        ran.append(f"{people} on {day}")
        return "booked"

    call, model = calls.calls[0], model_of(url)
    assert isinstance(model, LiveModel)
    arm = Arm("new", AGENT.replace(tools=[book]), live=True)
    run = asyncio.run(run_live(call.name, call.script, arm, model))
    assert ran == ["2 on Monday"]
    assert (run.unanswered, run.tool_errors, run.completed) == (0, 0, True)


def test_money_holds_with_calls_at_once(url: str) -> None:
    call = Recorded("short", caller_script(recorded_call(1, turns=1, mind=ByTurn())))
    experiment = Experiment(
        Gathered([call]), (Arm("control"), Arm("new", AGENT)), repeats=2, budget=Budget(call.usd * 2.9)
    )
    found = carried_out(experiment, model_of(url), 8)
    assert not found.whole
    assert found.exit_code == 3
    assert 1 <= len(experiment.runs) <= 2
    assert found.spent_usd <= call.usd * 2.9


def test_ctrl_c_says_what_was_spent(url: str, tmp_path: Path) -> None:
    (tmp_path / "a.call.jsonl").write_text("\n".join(recorded_call(2, turns=2, mind=ByTurn())))
    command = [sys.executable, "-m", "bridge", "shadow", str(tmp_path), "--against", url]
    with subprocess.Popen(
        [*command, "--agent", "tests.experiments.kit:AGENT"],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    ) as run:  # fmt: skip
        assert run.stdout is not None
        assert "6 runs" in run.stdout.readline()
        time.sleep(5)
        run.send_signal(signal.SIGINT)
        output = run.stdout.read()
    assert run.returncode == 130, output
    assert "stopped by Ctrl-C" in output
    spent = re.search(r"([\d.]+) USD spent", output)
    assert spent is not None
    assert float(spent[1]) > 0
