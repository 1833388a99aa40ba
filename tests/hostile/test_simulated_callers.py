"""Simulated callers at length: equal to the byte over processes, fast enough, and on a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bridge.agents.agent import Agent
from bridge.cli.bench_server import our_server
from bridge.doubles.people.caller import Manner
from bridge.experiments.callers import Job, Plan, jobs, judged_run, model_mind, one
from bridge.experiments.callers_live import Target, in_real_time, serving
from bridge.experiments.callers_run import CallFacts
from bridge.experiments.callers_virtual import Stage
from bridge.experiments.heard import loud_blocks, runs
from bridge.experiments.judge import LATE_MS
from bridge.experiments.scenario import load, read_toml
from tests.calls import ROOT

pytestmark = pytest.mark.hostile
AGENT = "tests.experiments.bakery:agent"
MODEL = "benchmarks.callers_model:TwoItems"
HABITS = [
    "interrupts = { at_word = 3, chance = 0.5 }",
    "interrupts = { at_ms = 900 }",
    "backchannel = { at_word = 3, turn = 1 }",
    "silence = { before_turn = 2, ms = 3000 }",
    "mumbles = 0.5",
    'keys = [{ after = "for you", digits = "1" }]',
]
NETWORKS = ["", '[network]\nloss = 0.02\njitter_ms = 30\nnoise = { file = "cafe", snr_db = 15 }\n']
SPEED_CPU_S = 0.6
"""For a minute of call: 100 calls of two minutes in a minute on two cores."""


@pytest.mark.timeout(300)
def test_twelve_scenarios_three_times_are_equal_twice(tmp_path: Path):
    folder = tmp_path / "scenarios"
    folder.mkdir()
    for number, (network, habit) in enumerate((network, habit) for network in NETWORKS for habit in HABITS):
        lines = '[caller]\nlines = ["When are you open on Saturday?", "And on Sunday?"]\n'
        text = (
            f'name = "{number}"\n{lines}[caller.habits]\n{habit}\n{network}[[expect]]\ntold_within_ms = 100\n'
        )
        (folder / f"{number:02}.toml").write_text(text)
    made = []
    for name in "ab":
        out = tmp_path / name
        command = [sys.executable, "-m", "bridge", "callers", "run", str(folder), "--agent", AGENT]
        command += ["--parallel", "2", "--junit", str(out / "j.xml"), "--json", str(out / "r.json")]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300)
        assert ran.returncode in (0, 1), ran.stderr
        made.append([(out / file).read_bytes() for file in ("j.xml", "r.json")])
    assert made[0] == made[1]
    told = json.loads(made[0][1])
    assert [row["runs"] for row in told["scenarios"]] == [3] * 12
    kinds = {
        fault["kind"] for row in told["scenarios"] for call in row["calls"] for fault in call["failures"]
    }
    assert "harness" not in kinds
    assert "told_wrong" not in kinds


def test_a_minute_of_call_takes_less_than_a_hundredth_of_it():
    questions = ["When are you open on Saturday?", "And on Sunday?"] * 12
    text = f'name = "long"\n[caller]\nlines = {json.dumps(questions)}\n[caller.habits]\n{HABITS[0]}\n'
    scenario = read_toml(text + "[limits]\nturns = 100\nseconds = 120\n", "s")
    plan = Plan(agent=AGENT)
    one(plan, Job(scenario, 0, 0))  # voices are made once
    began_s, seconds = sum(os.times()[:2]), 0.0
    for number in range(1, 6):
        seconds += one(plan, Job(scenario, number, number)).seconds
    assert seconds >= 5 * 90
    assert (sum(os.times()[:2]) - began_s) / (seconds / 60) < SPEED_CPU_S


async def test_callers_of_a_real_server_interrupt_at_the_ms_and_it_tells_what_was_heard():
    folder = ROOT / "benchmarks" / "callers"
    (near,), (far,) = (
        load(folder / "interrupts-the-first-item.toml"),
        load(folder / "interrupts-from-far.toml"),
    )
    difficult = [near, msgspec.structs.replace(near, name="far", network=far.network)]
    text = (
        'name = "slow"\n[caller]\ngoal = "g"\nvoice = "tones"\nmind = "tests.experiments.bakery:slow_mind"\n'
    )
    slow = read_toml(text + "[limits]\nseconds = 30\n[[expect]]\nreached_goal = true\n", "s")
    stage = Stage.of(Agent(), model_mind(MODEL))
    found: dict[str, CallFacts] = {}
    async with serving(stage, 0) as upstream, our_server(upstream.url) as url:
        target, wanted = Target(url, upstream=upstream), jobs([*difficult, slow], 1)
        await in_real_time(
            target, stage, wanted, 4, lambda job, facts: found.update({job.scenario.name: facts})
        )
    for job in wanted:
        facts = found[job.scenario.name]
        if facts.late_p99_ms > LATE_MS:
            continue  # this machine was busy: the run says so itself
        assert judged_run(Plan(agent=""), job, facts).failures == []
        habit = job.scenario.caller.habits.interrupts
        speeches = runs(loud_blocks(facts.heard), 300)
        cuts = [said.start_ms for said in facts.said if said.manner is Manner.INTERRUPTION]
        assert len(cuts) >= (3 if habit else 0)
        for at_ms in cuts:
            began_ms = max(speech.start_ms for speech in speeches if speech.start_ms <= at_ms)
            assert habit is not None
            # A block of loudness is 20 ms; a busy machine may play late.
            assert -20 <= at_ms - began_ms - (habit.at_ms or 0) <= 75


async def test_a_mind_that_never_decides_is_a_fault_of_the_run_and_holds_no_process():
    text = 'name = "stuck"\n[caller]\nvoice = "tones"\nmind = "tests.experiments.bakery:undecided"\n'
    scenario = read_toml(text + "[limits]\nseconds = 4\n", "s")
    stage = Stage.of(Agent(), model_mind(MODEL))
    found: list[CallFacts] = []
    async with serving(stage, 0) as upstream, our_server(upstream.url) as url:
        target = Target(url, upstream=upstream)
        await in_real_time(target, stage, jobs([scenario], 1), 1, lambda _job, facts: found.append(facts))
    assert "had not decided" in found[0].harness


async def test_a_server_that_is_not_there_is_a_fault_of_the_run():
    scenario = read_toml('name = "s"\n[caller]\nlines = ["Hello."]\n', "s")
    found: list[CallFacts] = []
    stage = Stage.of(Agent(), model_mind(MODEL))
    target = Target("ws://127.0.0.1:9")
    await in_real_time(target, stage, jobs([scenario], 1), 1, lambda _job, facts: found.append(facts))
    assert found[0].harness
