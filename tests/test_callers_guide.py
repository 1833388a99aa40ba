"""The guide "Simulated callers in CI": its scenarios pass, its workflow is that of examples, and it runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.experiments.callers import Plan, in_virtual_time, jobs
from bridge.experiments.callers_run import Kind
from bridge.experiments.scenario import MEASURES, load, read_toml
from tests.calls import ROOT
from tests.test_guides import blocks

GUIDE = ROOT / "docs" / "guides" / "simulated-callers.md"
EXAMPLES = ROOT / "examples" / "callers"
NEW_AGENT = ROOT / "bridge" / "cli" / "new_agent"


def test_the_guide_shows_the_examples():
    first, network, mind, rubric = blocks(GUIDE, "toml")
    shown = read_toml(first, "guide")
    (example,) = (one for one in load(EXAMPLES) if one.name == shown.name)
    assert (shown.caller, shown.expect) == (example.caller, example.expect)
    read_toml(f'name = "s"\n[caller]\nlines = ["x"]\n{network}\n{rubric}', "guide")
    assert read_toml(f'name = "s"\n{mind}', "guide").caller.lines is None
    workflow = (EXAMPLES / "workflow.yml").read_text()
    (block,) = blocks(GUIDE, "yaml")
    assert block.partition("\n")[2] == workflow


def test_the_guide_names_every_kind_and_measure():
    text = GUIDE.read_text(encoding="utf-8")
    for name in (*MEASURES, *Kind):
        assert f"`{name}`" in text, name


def test_the_scenarios_of_python_are_made(tmp_path: Path):
    made, mind = blocks(GUIDE, "python")
    (tmp_path / "days.py").write_text(made)
    days = ["Monday", "Saturday", "Sunday"]
    assert [one.name for one in load(tmp_path)] == [f"asks for {day}" for day in days]
    names: dict[str, object] = {}
    exec(mind, names)
    assert callable(names["impatient"])


def test_the_workflow_has_the_steps_of_a_job():
    """Each step uses an action with a version, or runs a line. Nothing is indented by tabs."""
    text = (EXAMPLES / "workflow.yml").read_text()
    assert "\t" not in text
    steps = re.findall(r"^      - (uses|run): (\S.*)$", text, re.MULTILINE)
    assert len(steps) == 5
    for kind, what in steps:
        assert kind == "run" or re.fullmatch(r"actions/[a-z-]+@v\d+", what)
    assert re.findall(r"^(\S+):", text, re.MULTILINE) == ["name", "on", "permissions", "jobs"]


@pytest.mark.hostile
def test_the_example_scenarios_pass_with_a_new_agent(tmp_path: Path):
    """The workflow's own line, in a folder as `init` makes it."""
    shutil.copy(NEW_AGENT / "agent.py", tmp_path)
    shutil.copytree(EXAMPLES, tmp_path / "callers", ignore=shutil.ignore_patterns("*.yml"))
    workflow = (EXAMPLES / "workflow.yml").read_text()
    (line,) = re.findall(r"run: phonebridge (.+)$", workflow, re.MULTILINE)
    summary = tmp_path / "summary.md"
    ran = subprocess.run(
        [sys.executable, "-m", "bridge", *line.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "GITHUB_STEP_SUMMARY": str(summary)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "9 of 9 runs passed" in ran.stdout
    assert "9 of 9 runs passed" in summary.read_text()
    wanted = re.findall(r"^            (\S+)$", workflow, re.MULTILINE)
    assert all((tmp_path / name).exists() for name in wanted)
    assert len(wanted) == 2


def test_one_of_the_examples_passes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(NEW_AGENT))
    monkeypatch.delitem(sys.modules, "agent", raising=False)
    (scenario,) = load(EXAMPLES / "order.toml")
    (run,) = in_virtual_time(Plan(agent="agent:agent"), jobs([scenario], 1), 1)
    sys.modules.pop("agent", None)
    assert run.failures == []
