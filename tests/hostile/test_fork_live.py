"""A recorded call goes on from a moment with a model in a second process, in real time."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from bridge import cli
from bridge.experiments.live_fork import public
from bridge.experiments.shadow_run import Arm, config_of
from bridge.recording import Recording, replay
from bridge.recording.caller_script import Kind
from bridge.recording.masking import masked
from bridge.recording.script_reader import caller_script
from tests.experiments.kit import AGENT, recorded_call
from tests.hostile.by_turn import ByTurn, in_a_process

pytestmark = pytest.mark.hostile

WITHOUT = AGENT.replace(tools=[])
UNKNOWN = AGENT.replace(model="a-model-of-tomorrow")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with in_a_process() as url:
        yield url


@pytest.fixture
def call(tmp_path: Path) -> Path:
    return written(tmp_path / "call.call.jsonl", recorded_call(1, turns=2, mind=ByTurn()))


def written(file: Path, lines: list[str]) -> Path:
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def fork(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, ["fork", *map(str, arguments)])  # type: ignore[return-value]


def turn_s(call: Path, number: int) -> float:
    """When the caller began that turn."""
    acts = caller_script(call.read_text(encoding="utf-8").splitlines()).acts
    return [act.at_ms for act in acts if act.kind is Kind.SAYS][number] / 1000


def test_the_caller_meets_the_model_there_and_the_run_is_a_recording(url: str, call: Path) -> None:
    at_s = turn_s(call, 1)
    began_s = time.monotonic()
    result = fork(call, "--at", at_s, "--upstream", url, "--repeat", 2, "--with-sound", "--json")
    took_s = time.monotonic() - began_s
    assert result.exit_code == 0, (result.output, result.exception)
    assert "2 runs" in result.stderr
    found = json.loads(result.stdout)
    assert found["agree"] == "2 of 2"
    assert found["carried"]["items"] >= 3
    [*_, last] = found["after"]
    assert "nine to five" in last["now"]["heard"]
    assert last["now"]["felt_ms"] == pytest.approx(last["then"]["felt_ms"], abs=400)
    recorded = caller_script(call.read_text(encoding="utf-8").splitlines())
    left_s = recorded.end_ms / 1000 - at_s
    assert left_s * 0.7 < took_s < 2 * left_s + 8, "both at once, as long as the rest of the call"
    for name in found["recordings"]:
        lines = Path(name).read_text(encoding="utf-8").splitlines()
        assert replay(lines, strict=True).difference is None
        header = Recording(lines).header
        assert header.forked is not None
        assert (header.forked.model, header.forked.at_ms) == (url, found["at_ms"])
        assert header.upstream == "openai"
        said = [act for act in caller_script(lines).acts if act.kind is Kind.SAYS]
        assert len(said) == 1
        assert said[0].sound


def test_an_agent_of_today_answers_from_there(url: str, call: Path) -> None:
    result = fork(
        call, "--at", turn_s(call, 0), "--upstream", url, "--agent", f"{__name__}:WITHOUT", "--json"
    )
    assert result.exit_code == 0, (result.output, result.exception)
    found = json.loads(result.stdout)
    assert found["after"][0]["then"]["tools"]
    assert not any(turn["now"]["tools"] for turn in found["after"] if turn["now"])


def test_money_holds(url: str, call: Path) -> None:
    """The rest of the call cost more than this."""
    result = fork(call, "--at", turn_s(call, 0), "--upstream", url, "--max-usd", "0.000001")
    assert result.exit_code == 3
    assert "not run" in result.output
    assert not list(call.parent.glob("*.fork-*"))


def test_a_vendor_is_not_paid_without_a_word(call: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    result = fork(call, "--at", turn_s(call, 0), "--upstream", "openai")
    assert result.exit_code != 0
    assert "this spends money" in str(result.exception)
    assert "USD by the recorded call's own prices" in result.output


def test_a_limit_of_money_wants_a_price(call: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a model whose price is not known everything would seem to be free."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    unknown = f"{__name__}:UNKNOWN"
    result = fork(call, "--at", turn_s(call, 0), "--upstream", "openai", "--yes", "--agent", unknown)
    assert "no price of this model is known" in str(result.exception)
    given = ["shadow", str(call), "--agent", unknown, "--against", "openai", "--yes"]
    shadow = CliRunner().invoke(cli.app, given)
    assert "no price of this model is known" in str(shadow.exception)


def test_no_model_is_no_result(call: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    result = fork(call, "--at", turn_s(call, 0), "--upstream", f"ws://127.0.0.1:{port}/v1/realtime")
    assert result.exit_code == 3
    assert "could not be reached" in result.output
    assert not list(call.parent.glob("*.fork-*"))


def test_what_a_model_can_not_hear_is_refused(url: str, tmp_path: Path) -> None:
    lines = recorded_call(1, turns=1, mind=ByTurn(), sound=False)
    silent = written(tmp_path / "silent.call.jsonl", lines)
    assert "no sound" in str(fork(silent, "--at", "6", "--upstream", url).exception)
    hidden = written(tmp_path / "masked.call.jsonl", masked(recorded_call(1, turns=1, mind=ByTurn())))
    assert "masked" in str(fork(hidden, "--at", "6", "--upstream", url).exception)
    assert "virtual time" in str(fork(silent, "--at", "6", "--upstream", url, "--exact").exception)


def test_an_address_is_written_without_its_secrets() -> None:
    assert public("wss://me:secret@example.com:8443/v1/realtime?api-key=abc#x") == (
        "wss://example.com:8443/v1/realtime"
    )
    assert public("openai") == "openai"


def test_other_vendors_are_priced_as_theirs(call: Path) -> None:
    script = caller_script(call.read_text(encoding="utf-8").splitlines())
    _, config = config_of(script, Arm("as recorded"), "xai")
    assert any(not name.startswith("transcription_") for name in config.prices)
