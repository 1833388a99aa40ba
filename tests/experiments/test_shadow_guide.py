"""docs/guides/shadow.md: its agents, its command, and what it prints."""

from __future__ import annotations

import importlib
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bridge.cli import app
from bridge.doubles.front_desk.agent import FrontDesk
from bridge.doubles.options import ServerOptions
from bridge.doubles.people.caller import Line
from bridge.doubles.tones import murmur
from bridge.experiments.shadow_run import ScriptEars
from bridge.testing import begin
from tests.calls import ROOT
from tests.test_guides import blocks

GUIDE = ROOT / "docs" / "guides" / "shadow.md"
SAYS = ("Order bread, three loaves please", "yes")


def record(file: Path, number: int) -> None:
    """A caller of the bakery, who answers later than the one before."""
    agent = importlib.import_module("agents").agent
    ears = ScriptEars()
    options = ServerOptions(delta_bytes=(1600,), ears=ears)
    call = begin(agent, mind=FrontDesk(), model=options, recording={"sound": True})
    call.model.behaves(transcribe=lambda item: item.words.text() if item.words else None)
    for words in SAYS:
        call.until(lambda: not call.phone.playing(call.now_ms) and call.phone.played_bytes > 0)
        call.wait(400 + 50 * number)
        ears.said(words)
        call.caller.says(murmur(words)[: 8 * 900])
        call.wait(1_800)
    call.wait(3_000)
    call.caller.hangs_up()
    call.save(file)
    call.close()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "agents.py").write_text(blocks(GUIDE, "python")[0], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("agents", None)
    (tmp_path / "recordings").mkdir()
    record(tmp_path / "recordings" / "call-0.call.jsonl", 0)
    return tmp_path


@pytest.mark.virtual
def test_the_guide_is_true(here: Path) -> None:
    for number in range(1, 8):
        record(here / "recordings" / f"call-{number}.call.jsonl", number)
    _, command = blocks(GUIDE, "sh")[0].splitlines()
    run = CliRunner().invoke(app, shlex.split(command)[1:])
    assert run.exit_code == 1, run.output
    told = blocks(GUIDE, "text")[0].strip()
    assert told in run.output
    assert told.split(": ")[0] in (here / "shadow.html").read_text(encoding="utf-8")
    assert 'type="worse"' in (here / "shadow.xml").read_text(encoding="utf-8")


@pytest.mark.usefixtures("here")
def test_the_unchanged_agent_is_not_worse() -> None:
    run = CliRunner().invoke(app, ["shadow", "recordings", "--agent", "agents:agent", "--json"])
    assert run.exit_code == 0, run.output
    assert '"verdict": "not worse in 1 call"' in run.output


@pytest.mark.usefixtures("here")
def test_wrong_use_is_told() -> None:
    def fails(*arguments: str) -> str:
        run = CliRunner().invoke(app, ["shadow", "recordings", "--agent", "agents:agent", *arguments])
        assert run.exception is not None
        return str(run.exception)

    assert "felt_p50_ms" in fails("--tolerance", "waiting=3")
    assert "METRIC=NUMBER" in fails("--tolerance", "felt_p50_ms")
    assert "embedded" in fails("--against", "nothing")
    assert "no recording takes part" in fails("--consent")
    Path("odd.toml").write_text("[[expect]]\nreached_goal = true\n", encoding="utf-8")
    Path("ask.toml").write_text('[[rubric]]\nask = "kind?"\n', encoding="utf-8")
    assert "simulated callers only" in fails("--expect", "odd.toml")
    assert "wants a --judge" in fails("--expect", "ask.toml")
    assert "--expect FILE" in fails("--judge", "module:votes")
    assert "missing.toml" in fails("--expect", "missing.toml")
    judged = ["--expect", "ask.toml", "--max-usd", "1", "--judge"]
    assert "the judge has no price" in fails(*judged, "http://127.0.0.1:1/v1")
    command = [
        "shadow",
        "recordings",
        "--agent",
        "agents:agent",
        *judged,
        "http://127.0.0.1:1/v1?usd=1000,1000",
    ]
    run = CliRunner().invoke(app, command)
    assert run.exit_code == 3
    assert "up to 6 requests to minds and judges, about 5.76 USD" in run.output
    assert "--max-usd 1 allows no more" in run.output
    assert "0.0000 USD spent on votes of the judge" in run.output


VOTES: list[list[Line]] = []


def votes_yes(_ask: str, record: list[Line], _vote: int) -> dict[str, str]:
    VOTES.append(record)
    return {"verdict": "yes", "quote": record[-1].words}


def votes_no(_ask: str, record: list[Line], _vote: int) -> dict[str, str]:
    return {"verdict": "no", "quote": record[0].words}


def test_rules_hold_in_every_call_of_the_new_agent(here: Path) -> None:
    (here / "must.toml").write_text(blocks(GUIDE, "toml")[0], encoding="utf-8")

    def verdict(agent: str, judge: str) -> tuple[int, dict[str, Any]]:
        rules = ["--expect", "must.toml", "--judge", judge]
        command = ["shadow", "recordings", "--agent", agent, *rules, "--json", "--html", "page.html"]
        run = CliRunner().invoke(app, command)
        return run.exit_code, json.loads(run.stdout)

    code, found = verdict("agents:agent", f"{__name__}:votes_yes")
    assert (code, found["verdict"]) == (0, "not worse in 1 call")
    assert [line.words for line in VOTES[0] if line.who == "caller"] == [*SAYS]
    assert VOTES[0][-1].words == "3 loaves are ordered."
    code, found = verdict("agents:agent", f"{__name__}:votes_no")
    assert (code, found["expectations_not_met"]) == (1, {"rubric_no": 1})
    VOTES.clear()
    code, found = verdict("agents:shorter", f"{__name__}:votes_yes")
    assert (code, found["expectations_not_met"]) == (1, {"tool_missing": 1})
    assert found["verdict"].startswith("worse in 1 call: expectations not met (tool_missing in 1)")
    assert len(VOTES) == 3  # of the control alone
    assert '<td class="bad">tool_missing</td>' in (here / "page.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("here")
def test_live_tools_are_named_and_run_only_with_yes() -> None:
    ran: list[int] = []
    agents = importlib.import_module("agents")

    def order_bread(loaves: int) -> None:
        ran.append(loaves)

    agents.order_bread.function = order_bread
    command = ["shadow", "recordings", "--agent", "agents:agent", "--tools", "live"]
    run = CliRunner().invoke(app, command)
    assert "--yes" in str(run.exception)
    assert "new: agents:agent: run for real, in 1 calls: opening_hours, order_bread" in run.output
    assert not ran
    run = CliRunner().invoke(app, [*command, "--yes"])
    assert run.exit_code == 0, run.output
    assert ran == [3]
