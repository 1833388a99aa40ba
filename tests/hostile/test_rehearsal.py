"""A rehearsal as a newcomer has it: `serve` with an agent and no key, and `phone` that talks to it."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.calls import served
from tests.test_demo import run

pytestmark = pytest.mark.hostile

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
AGENT = next(one for one in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "agent = Agent(" in one)
"""The agent that README shows."""


def rehearsed(folder: Path, agent: str, *phone: str, **settings: str) -> tuple[int, dict[str, Any], str, str]:
    """One call of the phone's: exit code, its report, what it told, and the server's metrics."""

    async def call() -> tuple[int, dict[str, Any], str, str]:
        path = f"{folder}:{ROOT}"
        usual = {"BRIDGE_INSECURE": "1", "BRIDGE_DISCLOSURE": "0", "BRIDGE_AGENT": agent, "PYTHONPATH": path}
        async with served(**{**usual, **settings}) as bridge:
            command = ["phone", f"{bridge.base}/incoming-call", "--json", "--tail", "2", *phone]
            code, out, err = await asyncio.to_thread(run(*command, folder=folder).ended)
            metrics = await asyncio.to_thread(_get, f"{bridge.base}/metrics")
            bridge.process.terminate()
            await bridge.ended(3)
            return code, json.loads(out), err, metrics

    return asyncio.run(call())


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())


def told(err: str) -> list[str]:
    """The story's lines of either side, without their times."""
    lines = [line.split(" s  ", 1)[1].split(None, 1) for line in err.splitlines() if " s  " in line]
    return [f"{who} {what.partition('”')[0]}" for who, what in lines if who in ("caller", "heard")]


def test_words_reach_the_tools_of_a_new_agent_and_it_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "desk.py").write_text(AGENT, encoding="utf-8")
    turns = ["are you open on sunday", "book a table for two on friday at seven thirty", "yes", "goodbye"]
    says = [part for turn in turns for part in ("--says", turn)]
    code, report, err, metrics = rehearsed(tmp_path, "desk:agent", *says)
    assert code == 0, err
    assert report["ended_by"] == "the server"
    assert told(err) == [
        "heard “Good day, the Olive Tree. This is a rehearsal: a script answers, not a model.",
        "caller “are you open on sunday",
        "heard “On sunday we are open from nine o'clock to five thirty.",
        "caller “book a table for two on friday at seven thirty",
        "heard “Book: friday, 19:30, 2. Right?",
        "caller “yes",
        "heard “booking A7: day friday, time seven thirty, people 2.",
        "caller “goodbye",
        "heard “Goodbye.",
    ]
    assert "phonebridge_cost_usd_total 0.0" in metrics
    assert 'phonebridge_calls_total{reason="we_hung_up"} 1.0' in metrics


def test_keys_reach_a_tool_with_a_process_of_its_own(tmp_path: Path) -> None:
    """An example as it stands, served from its folder; the tool's own question is asked."""
    agent = "examples.own_process:agent"
    code, report, err, _ = rehearsed(
        tmp_path, agent, "--digits", "1", "--says", "find orders", "--says", "cake"
    )
    assert (code, report["ended_by"]) == (0, "the caller"), err
    assert told(err)[1:5] == [
        "caller “find orders", "heard “Which pattern, please?", "caller “cake",
        "heard “order 1018: a poppy-seed cake",
    ]  # fmt: skip
    assert told(err)[5:] == ["caller presses 1", "heard “Which pattern, please?"]


def test_the_parrot_is_had_by_its_name(tmp_path: Path) -> None:
    code, _, err, metrics = rehearsed(
        tmp_path, "examples.prompt:agent", "--says", "are you a parrot", BRIDGE_UPSTREAM="parrot"
    )
    assert code == 0, err
    assert told(err)[-1] == "heard “are you a parrot"
    assert "phonebridge_cost_usd_total 0.0" in metrics


def test_a_call_in_which_nothing_is_heard_is_broken(tmp_path: Path) -> None:
    (tmp_path / "mute.py").write_text(
        "from bridge import Agent\n\n\nasync def nothing(session):\n    await session.input()\n\n\n"
        'agent = Agent("Say nothing.", handler=nothing)\n',
        encoding="utf-8",
    )
    (tmp_path / "silence.ulaw").write_bytes(b"\xff" * 800)
    silent = ["--audio", "silence.ulaw", "--tail", "0.5"]
    code, report, err, _ = rehearsed(tmp_path, "mute:agent", *silent)
    assert (code, report["heard_ms"], report["broken"]) == (1, 0, "nothing was heard")
    assert err.splitlines()[-1] == "phonebridge: nothing was heard"
