"""Simulated callers against an agent in virtual time: equal twice, and with nothing hidden in any file."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridge.cli import app
from bridge.errors import ConfigError
from bridge.experiments.callers import Job, Plan, in_virtual_time, jobs, one, secrets_of
from bridge.experiments.callers_report import exit_code, rows, verdict
from bridge.experiments.callers_run import Kind, Run
from bridge.experiments.scenario import Scenario, load, read_toml
from bridge.experiments.workers import red_exit
from bridge.recording import replay
from tests.experiments.test_report import check_junit

AGENT = "tests.experiments.bakery:agent"
NAME = "asks when it is open"
TOML = f"""
name = "{NAME}"
[caller]
voice = "tones"
lines = ["When are you open on Saturday?"]
[caller.habits]
interrupts = {{ at_word = 3, turn = 1 }}
[[expect]]
tool = "opening_hours"
arguments = {{ day = "saturday" }}
[[expect]]
heard = "eight to twelve"
[[expect]]
told_within_ms = 50
[[expect]]
measure = "felt_p95_ms"
most = 1500
"""


def runs_of(text: str, times: int = 1) -> list[Run]:
    return in_virtual_time(Plan(agent=AGENT), jobs([read_toml(text, "s.toml")], times), 1)


def test_a_caller_interrupts_at_the_word_and_gets_an_answer():
    (run,) = runs_of(TOML)
    assert run.failures == []
    assert run.ended == "the caller hung up"
    assert [line.words for line in run.conversation[:2]] == [
        "Good day, this",
        "When are you open on Saturday?",
    ]
    assert run.measures["told_error_ms"] == 0
    assert run.measures["turns"] == 1


def test_another_agent_is_red_for_its_own_reason():
    (run,) = in_virtual_time(
        Plan(agent="tests.experiments.bakery:no_hours"), jobs([read_toml(TOML, "s.toml")], 1), 1
    )
    assert {failure.kind for failure in run.failures} == {Kind.TOOL_MISSING, Kind.WORDS_MISSING}


def test_mumbled_words_are_not_understood():
    (run,) = runs_of(TOML.replace("interrupts = { at_word = 3, turn = 1 }", "mumbles = 1.0"))
    assert Kind.TOOL_MISSING in {failure.kind for failure in run.failures}


def test_a_caller_in_a_noisy_place_with_a_bad_line_is_understood():
    network = (
        '[network]\nloss = 0.02\ndelay_ms = 60\njitter_ms = 30\nnoise = { file = "cafe", snr_db = 15 }\n'
    )
    (run,) = runs_of(TOML.replace("[[expect]]", network + "[[expect]]", 1))
    assert run.failures == []
    assert run.notes


def test_a_line_without_an_end_is_a_limit():
    (run,) = runs_of(TOML.replace("[[expect]]", "[limits]\nseconds = 3\n[[expect]]", 1))
    assert Kind.LIMIT in {failure.kind for failure in run.failures}


def test_a_mind_of_the_user_s_is_asked():
    text = TOML.replace(
        'lines = ["When are you open on Saturday?"]', 'mind = "tests.experiments.bakery:mind"'
    )
    (run,) = runs_of(text + "[[expect]]\nreached_goal = true\n")
    assert run.failures == []
    assert [line.words for line in run.conversation if line.who == "caller"] == [
        "When are you open on Saturday?"
    ]


def test_a_mind_that_fails_is_a_fault_of_the_run():
    text = TOML.replace(
        'lines = ["When are you open on Saturday?"]', 'mind = "tests.experiments.bakery:broken"'
    )
    (run,) = runs_of(text)
    assert [failure.kind for failure in run.failures] == [Kind.HARNESS]
    assert exit_code(rows([run])) == 3


def test_a_flaky_scenario_is_told_with_its_interval():
    (good,) = runs_of(TOML)
    bad = Run(scenario=NAME, run=2, seed=1, failures=[*in_virtual_time(
        Plan(agent="tests.experiments.bakery:no_hours"), jobs([read_toml(TOML, "s.toml")], 1), 1
    )[0].failures])  # fmt: skip
    found = rows([good, bad])
    assert found[0].flaky
    assert verdict(found) == "1 of 2 runs passed, 1 scenario flaky"
    assert [round(bound, 3) for bound in found[0].interval] == [0.095, 0.905]
    assert exit_code(found) == 1
    assert exit_code(found, 0.5) == 0


def test_the_command_writes_what_it_says_and_no_hidden_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    planted = ["sk-planted-key-9931", "tok-planted-4417", "+15550107733", "774411", "Mx Planted"]
    spaced = "7 7 4 4 1 1"
    monkeypatch.setenv("PLANTED_KEY", planted[0])
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    scenarios = tmp_path / "scenarios"
    scenarios.mkdir()
    call = f'[call]\nparameters = {{ From = "{planted[2]}", name = "{planted[4]}" }}\n'
    keys = '[caller]\nvoice = "tones"\nlines = ["I want to check the code, please."]\n[caller.habits]\n'
    keys += f'keys = [{{ after = "which code", digits = "{planted[3]}" }}]\n'
    (scenarios / "a.toml").write_text('name = "types a code"\n' + call + keys)
    out = tmp_path / "out"
    arguments = ["callers", "run", str(scenarios), "--agent", "tests.experiments.bakery:leaky", "--runs", "1"]
    arguments += ["--junit", str(out / "j.xml"), "--json", str(out / "r.json"), "--html", str(out / "html")]
    arguments += ["--judge", "http://127.0.0.1:1/v1?key_env=PLANTED_KEY", "--token", planted[1]]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    told = json.loads((out / "r.json").read_text())
    assert told["scenarios"][0]["calls"][0]["tools"][0]["name"] == "check_code"
    check_junit((out / "j.xml").read_text())
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent != scenarios]
    assert {path.suffix for path in files} == {".xml", ".json", ".html", ".wav", ".jsonl", ".md"}
    for path in files:
        content = path.read_bytes()
        for secret in (*planted, spaced, '"digit":"7"', '"digit":"4"'):
            assert secret.encode() not in content, (path.name, secret)
    (recording,) = tmp_path.rglob("*.call.jsonl")
    assert replay(recording.read_text().splitlines()).difference is None
    assert not any(secret in result.output for secret in planted)


@pytest.mark.virtual
def test_two_runs_of_the_command_are_equal_to_the_byte(tmp_path: Path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "one.toml").write_text(TOML.replace("turn = 1", "chance = 0.5"))
    made = []
    for name in "ab":
        out = tmp_path / name
        command = ["callers", "run", str(tmp_path / "s"), "--agent", AGENT, "--runs", "2", "--parallel", "1"]
        command += ["--junit", str(out / "j.xml"), "--json", str(out / "r.json"), "--html", str(out / "html")]
        result = CliRunner().invoke(app, command)
        assert result.exit_code in (0, 1), result.output
        made.append({path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()})
    assert made[0] == made[1]


def test_wrong_use_says_what_is_wanted(tmp_path: Path):
    scenarios = tmp_path / "one.toml"
    scenarios.write_text(TOML)
    for arguments in (
        [],
        ["--agent", AGENT, "--server", "ws://127.0.0.1:1"],
        ["--agent", AGENT, "--ears", "a:b"],
    ):
        result = CliRunner().invoke(app, ["callers", "run", str(scenarios), *arguments])
        assert isinstance(result.exception, ConfigError)
    with pytest.raises(ConfigError, match="no scenario"):
        load(tmp_path / "nowhere")


def test_python_makes_scenarios(tmp_path: Path):
    (tmp_path / "made.py").write_text(
        "from bridge.experiments.scenario import CallerTable, Scenario\n"
        "def one() -> Scenario:\n    return Scenario(name='one', caller=CallerTable(lines=['Hello.']))\n"
        "def two() -> list[Scenario]:\n"
        "    return [Scenario(name='two', caller=CallerTable(lines=['Hello.']))]\n"
        "def helper(name: str) -> Scenario:\n    raise AssertionError\n"
    )
    assert [scenario.name for scenario in load(tmp_path)] == ["one", "two"]


@pytest.mark.parametrize(
    ("file", "text"), [("a.toml", "name = " + "[" * 5_000), ("a.py", "import sys\nsys.exit(0)\n")]
)
def test_a_file_of_scenarios_that_cannot_be_read_is_named(tmp_path: Path, file: str, text: str):
    (tmp_path / file).write_text(text)
    with pytest.raises(ConfigError, match=file):
        load(tmp_path)


def test_seeds_depend_on_name_and_run_alone():
    first, second = read_toml(TOML, "s"), read_toml(TOML.replace(NAME, "other"), "s")
    alone, together = jobs([first], 2), jobs([second, first], 2)
    assert [job.seed for job in alone] == [job.seed for job in together if job.scenario.name == NAME]
    assert len({job.seed for job in together}) == 4


def test_keys_that_are_named_are_secrets(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOME_KEY", "sk-1234")
    mind = 'mind = { url = "http://127.0.0.1:1/v1", model = "m", key_env = "SOME_KEY" }'
    scenario = read_toml(f'name = "s"\n[caller]\ngoal = "g"\n{mind}', "s")
    assert secrets_of([scenario], "", "NOT_SET") == ("sk-1234",)


def test_one_run_is_one_job():
    scenario: Scenario = read_toml(TOML, "s")
    assert one(Plan(agent=AGENT), Job(scenario, 1, 7)).seed == 7


def refuses(*_given: object) -> str:
    """A function of the user's that fails in its own way."""
    raise AttributeError("planted")


def quits(*_given: object) -> str:
    """A function of the user's that would end the command, and call it a success."""
    sys.exit("planted")


def test_no_function_of_the_users_ends_the_command_as_a_success(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    ended: list[int] = []

    def ends(status: int) -> None:
        ended.append(status)
        raise AttributeError("it would be over")

    monkeypatch.setattr(os, "_exit", ends)
    with red_exit():
        for status in (0, 1):
            with pytest.raises(AttributeError):
                os._exit(status)
            assert ("has ended this process" in capfd.readouterr().err) == (status == 0)
    assert ended == [3, 1]
    assert os._exit is ends


SCENARIO_WITHOUT_EXPECTATIONS = """
name = "s"
[caller]
voice = "tones"
"""


@pytest.mark.parametrize(
    "caller",
    [
        'voice = "tests.experiments.test_callers_virtual:refuses"\nlines = ["Hello."]',
        'voice = "tones"\nmind = "tests.experiments.test_callers_virtual:refuses"',
        'voice = "tones"\nmind = "tests.experiments.test_callers_virtual:quits"',
        'voice = "tests.experiments.test_callers_virtual:quits"\nlines = ["Hello."]',
    ],
)
def test_what_a_function_of_the_users_raises_is_of_the_harness(caller: str):
    (run,) = runs_of(f'name = "s"\n[caller]\n{caller}')
    assert [one.kind for one in run.failures] == [Kind.HARNESS]
    assert "planted" in run.failures[0].got


def test_a_caller_without_a_word_hears_the_greeting():
    (run,) = runs_of(SCENARIO_WITHOUT_EXPECTATIONS + "lines = []")
    assert run.failures == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ('voice = "wav:nowhere"', "nowhere"),
        ('voice = "url:nothing"', "http"),
        ('voice = "tones"\n[network]\nnoise = { file = "nowhere.wav" }', "nowhere.wav"),
        ('voice = "tones"\nmind = "nowhere:mind"', "nowhere"),
    ],
)
def test_what_cannot_be_had_is_told_of_its_file_before_any_call(tmp_path: Path, given: str, said: str):
    (tmp_path / "a.toml").write_text(TOML)
    lines = "" if "mind" in given else 'lines = ["a"]'
    (tmp_path / "b.toml").write_text(f'name = "b"\n[caller]\n{lines}\n{given}')
    with pytest.raises(ConfigError, match=said) as raised:
        in_virtual_time(Plan(agent=AGENT, out=tmp_path / "out"), jobs(load(tmp_path), 1), 1)
    assert str(tmp_path / "b.toml") in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_what_proves_something_in_a_server_s_address_is_in_no_report(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(TOML)
    out = tmp_path / "r.json"
    server = "http://someone:pw-planted@127.0.0.1:1/hook?key=q-planted"
    command = ["callers", "run", str(tmp_path / "s.toml"), "--server", server, "--runs", "1"]
    result = CliRunner().invoke(app, [*command, "--json", str(out)])
    assert result.exit_code == 3
    assert "planted" not in out.read_text() + result.output
