"""Recorded callers against an old and a new agent: what is found, what is spent, what is written."""

from __future__ import annotations

import functools
import signal
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bridge.cli import app
from bridge.doubles.agents import Asked, Output
from bridge.errors import ConfigError
from bridge.experiments.budget import Budget, Purse
from bridge.experiments.shadow import Experiment, Gathered, Job, Outcome, Recorded, compare, estimate, gather
from bridge.experiments.shadow_facts import Run
from bridge.experiments.shadow_live import NotRun
from bridge.experiments.shadow_models import carried_out, model_of
from bridge.experiments.shadow_report import headline, written_json, written_junit, written_page
from bridge.experiments.shadow_run import Arm, Embedded, run_embedded
from bridge.experiments.verdict import Word
from bridge.recording import SUFFIX
from bridge.recording.masking import masked
from bridge.recording.script_reader import caller_script
from tests.experiments.kit import AGENT, Restaurant, recorded_call
from tests.experiments.shadow_variants import VARIANTS, Variant

FEW = 7
"""Calls of the quick form; tests/hostile/test_shadow_of_fifty.py has fifty."""


@functools.cache
def few() -> Gathered:
    scripts = (caller_script(recorded_call(seed, turns=1)) for seed in range(FEW))
    return Gathered([Recorded(f"call-{number}", script) for number, script in enumerate(scripts)])


def shadowed(variant: Variant, gathered: Gathered, **how: Any) -> Outcome:
    """The variant against the agent as it was."""

    def run(job: Job) -> Run:
        if job.arm.name == "control" and "budget" not in how:
            return control_run(job.call.name)
        mind = variant.mind if job.arm.name == "new" else lambda _seed: Restaurant()
        return run_embedded(job.call.name, job.call.script, job.arm, Embedded(mind), job.seed, job.purse)

    arms = Arm("control", AGENT), Arm("new", variant.agent)
    return compare(Experiment(gathered, arms, **how), run)


@functools.cache
def control_run(name: str) -> Run:
    [call] = [one for one in few().calls if one.name == name]
    return run_embedded(name, call.script, Arm("control", AGENT), Embedded(lambda _seed: Restaurant()))


def worse_in(outcome: Outcome) -> list[str]:
    return [one.metric.name for one in outcome.verdicts if one.word is Word.WORSE]


def test_a_planted_change_is_found_and_told() -> None:
    outcome = shadowed(VARIANTS[1], few(), exact=True)
    assert worse_in(outcome) == ["figures_told", "figures_as_control"]
    assert outcome.exit_code == 1
    assert headline(outcome) == "worse in 7 calls: figures repeated, figures as control"
    suite = ET.fromstring(written_junit(outcome)).find("testsuite")
    assert suite is not None
    assert [case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None] == [
        "figures repeated",
        "figures as control",
    ]
    page = written_page(outcome)
    assert "worse in 7 calls" in page
    for private in ("Monday", "people", "restaurant", "12.50", "13.90"):
        assert private not in page + written_json(outcome, estimate(few().calls, 1, 1)) + written_junit(
            outcome
        )


@pytest.mark.virtual
def test_an_unchanged_agent_is_green_and_a_rerun_equal_to_the_byte() -> None:
    first, again = (shadowed(Variant("unchanged", ""), few()) for _ in range(2))
    assert first.exit_code == 0
    assert {one.word for one in first.verdicts} == {Word.SAME, Word.NOT_JUDGED}
    expected = estimate(few().calls, 1, 1)
    assert written_json(first, expected) == written_json(again, expected)
    assert first.spent_usd == pytest.approx(expected.usd, rel=0.2)


def test_one_call_of_a_model_with_dice_proves_nothing() -> None:
    outcome = shadowed(Variant("unchanged", ""), Gathered(few().calls[:1]))
    assert headline(outcome) == "cannot tell from 1 call: 6 or more would"
    assert 'class="good"' not in written_page(outcome)
    assert headline(shadowed(Variant("unchanged", ""), Gathered(few().calls[:1]), exact=True)) == (
        "not worse in 1 call"
    )


def test_a_cap_of_money_holds() -> None:
    each = few().calls[0].usd
    stopped = shadowed(Variant("unchanged", ""), few(), budget=Budget(each * 3))
    assert 0 < stopped.spent_usd <= each * 3
    assert len(stopped.pairs) == 1
    assert stopped.exit_code == 3
    assert {one.word for one in stopped.verdicts} <= {Word.CANNOT_TELL, Word.NOT_JUDGED}
    assert "stopped after 1 of 7 calls" in headline(stopped)
    nothing = shadowed(Variant("unchanged", ""), few(), budget=Budget(each / 2))
    assert (nothing.spent_usd, len(nothing.pairs), nothing.exit_code) == (0, 0, 3)
    assert "no call was run" in written_junit(nothing)


@pytest.mark.virtual
def test_a_run_that_would_cost_more_than_is_left_is_cut_short() -> None:
    """A chatty agent: its call ends before the money does."""
    call = few().calls[0]
    budget = Budget(call.usd * 6)
    variant = Variant("long answers", "", mind=lambda _seed: Restaurant(wordy=9))
    outcome = shadowed(variant, Gathered([call]), budget=budget)
    assert outcome.exit_code == 3
    assert outcome.spent_usd <= call.usd * 6
    assert outcome.spent_usd < shadowed(variant, Gathered([call])).spent_usd


def test_a_budget_holds_though_calls_at_once_cost_more_than_expected() -> None:
    """Each answer costs 0.3 USD, where 0.1 were expected of the whole call."""
    budget, running = Budget(2.0), list[Purse]()
    while (purse := budget.begin(0.1)) is not None and len(running) < 8:
        running.append(purse)
    for answer in range(1, 20):
        for purse in running:
            if not purse.is_empty:
                purse.paid(answer * 300_000)
    assert all(purse.is_empty for purse in running)
    assert 0.9 < budget.spent_usd <= 2.0 + 0.3 * 7
    before_usd = budget.spent_usd
    budget.end(running[0], running[0].spent_usd)
    assert budget.spent_usd == pytest.approx(before_usd)
    assert budget.begin(0.1) is None


class Interrupted(Restaurant):
    """Ctrl-C in the second call."""

    def answer(self, asked: Asked) -> Sequence[Output]:
        if asked.caller is None:
            CALLED.append("")
        if len(CALLED) == 3 and asked.caller is None:
            signal.raise_signal(signal.SIGINT)
        return super().answer(asked)


CALLED: list[str] = []
interrupted = Interrupted()


def test_ctrl_c_tells_what_was_found_until_then(tmp_path: Path) -> None:
    for seed in range(2):
        file = tmp_path / f"call-{seed}{SUFFIX}"
        file.write_text("\n".join(recorded_call(seed, turns=1)), encoding="utf-8")
    command = ["shadow", str(tmp_path), "--agent", "tests.experiments.kit:AGENT"]
    run = CliRunner().invoke(app, [*command, "--against", f"{__name__}:interrupted"])
    assert run.exit_code == 130
    assert "stopped by Ctrl-C" in run.output
    assert "felt p50 (ms)" in run.output
    assert "stopped after 1 of 2 calls: that tells nothing" in run.output


def test_which_recordings_take_part(tmp_path: Path) -> None:
    def keep(name: str, lines: list[str]) -> None:
        (tmp_path / f"{name}.call.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")

    lines = recorded_call(1, turns=1)
    keep("a", lines)
    keep("b", recorded_call(1, turns=1, sound=False))
    keep("c", recorded_call(1, turns=1, parameters={"reuse": "no"}))
    keep("d", recorded_call(1, turns=1, parameters={"reuse": "yes"}))
    edited = (tmp_path / "d.call.jsonl").read_text(encoding="utf-8")
    (tmp_path / "d.call.jsonl").write_text(edited, encoding="utf-8-sig", newline="\r\n")
    keep("e", masked(lines))
    keep("f", ["no recording"])
    found = gather([tmp_path])
    assert [call.name for call in found.calls] == ["a", "d"]
    assert found.skipped == {
        "without sound": ["b"],
        "without consent": ["c"],
        "masked": ["e"],
        "not to be read": ["f"],
    }
    assert [call.name for call in gather([tmp_path], consent=True).calls] == ["d"]
    keep("d", [line for line in lines if "input_audio_transcription.completed" not in line])
    assert "d" in [call.name for call in gather([tmp_path]).calls]
    assert gather([tmp_path], listens=False).skipped["without words"] == ["d"]
    with pytest.raises(ConfigError, match="no recording"):
        gather([tmp_path / "missing"])


def test_callers_without_sound_write_their_words(tmp_path: Path) -> None:
    for seed in range(1):
        file = tmp_path / f"call-{seed}.call.jsonl"
        file.write_text("\n".join(recorded_call(seed, turns=1, sound=False)) + "\n", encoding="utf-8")
    gathered = gather([tmp_path], text=True)
    assert [act.words for act in gathered.calls[0].script.acts[:1]] == ["please book a table"]
    arms = Arm("control"), Arm("new", AGENT.replace(tools=[]))

    def run(job: Job) -> Run:
        model = Embedded(lambda _seed: Restaurant())
        return run_embedded(job.call.name, job.call.script, job.arm, model)

    outcome = compare(Experiment(gathered, arms), run)
    for pair in outcome.pairs:
        assert (pair.control["tools_equal"], pair.control["figures_told"]) == (1, 1)
        assert (pair.new["tools_equal"], pair.new["completed"]) == (0, 1)


def test_recordings_of_one_name_are_two_calls(tmp_path: Path) -> None:
    for number, folder in enumerate(("monday", "tuesday")):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / f"call{SUFFIX}"
        file.write_text("\n".join(recorded_call(number)), encoding="utf-8")
    gathered = gather([tmp_path / "monday", tmp_path / "tuesday"])
    assert [call.name for call in gathered.calls] == ["call", "call (2)"]


class Fails:
    """A mind with a mistake in it."""

    def answer(self, _asked: object) -> list[object]:
        raise AttributeError("planted")


fails = Fails()


def test_a_mind_that_raises_is_no_verdict() -> None:
    experiment = Experiment(few(), (Arm("old", AGENT), Arm("new", AGENT)))
    with pytest.raises(NotRun, match=r"old: AttributeError: planted"):
        carried_out(experiment, model_of(f"{__name__}:fails"), 1)


@pytest.mark.parametrize("where", ["ws://[::1/x", f"{__name__}:worse_in"])
def test_what_is_no_model_is_a_mistake(where: str) -> None:
    with pytest.raises(ConfigError):
        model_of(where)


def test_a_report_that_cannot_be_written_is_told_before_any_call(tmp_path: Path) -> None:
    (tmp_path / f"call{SUFFIX}").write_text("\n".join(recorded_call(1)), encoding="utf-8")
    junit = tmp_path / "nowhere" / "x.xml"
    command = ["shadow", str(tmp_path), "--agent", "tests.experiments.kit:AGENT", "--junit", str(junit)]
    found = CliRunner().invoke(app, command)
    assert isinstance(found.exception, ConfigError)
    assert "nowhere" in str(found.exception)
    assert "runs" not in found.output
