"""A recorded call goes on otherwise: what was before is the same, and the caller keeps to their anchors."""

from __future__ import annotations

import base64
import json
import random
import wave
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from bridge import Agent, cli
from bridge.core import messages as m
from bridge.doubles.agents import Asked, Output, Speech, ToolCall
from bridge.doubles.tones import tone
from bridge.errors import ConfigError
from bridge.experiments.exact_fork import ExactForking
from bridge.experiments.fork import Fork, Forking, ForkRun
from bridge.experiments.shadow_run import Arm
from bridge.recording import Recording, replay
from bridge.recording.caller_script import Anchor, Kind
from bridge.recording.make_test import make_test
from bridge.recording.marks import marks_of
from bridge.recording.masking import masked
from bridge.recording.moments import walk_through
from bridge.recording.script_reader import caller_script
from bridge.recording.steps import Step
from bridge.testing.call import begin
from tests.experiments.jittered import AGENT, jittered_call, seeds
from tests.live_call import LiveCall


class Books:
    """A model that books where it can, and says that it cannot where it has no tool for it."""

    def answer(self, asked: Asked) -> Sequence[Output]:
        if asked.tool_output is not None:
            return [Speech(1_200, f"Done: {asked.tool_output}.")]
        if any(one.get("name") == "book" for one in asked.session.get("tools", [])):
            return [ToolCall("book", {"day": "Tuesday", "people": 2})]
        return [Speech(2_500, "I can not book a table for you, I am sorry.")]


BOOKS = Books()
WITHOUT = Agent("You book nothing.", name="nothing")


def forked(lines: list[str], asked_ms: int, arm: Arm, times: int = 1) -> tuple[Forking, Fork]:
    return fork_at(Forking.of(lines, asked_ms), arm, times)


def fork_at(forking: Forking, arm: Arm, times: int = 1) -> tuple[Forking, Fork]:
    return forking, forking.compared([forking.run(arm, Books()) for _ in range(times)])


def told(run: ForkRun) -> list[tuple[str, str]]:
    """What the model was told when it began, as the recording has it: role and text, or call and output."""
    items: list[tuple[str, str]] = []
    for step in Recording(run.lines).steps():
        for output in step.outputs:
            frame = output.frame
            if output.door == "upstream" and isinstance(frame, str) and "conversation.item.create" in frame:
                item = json.loads(frame)["item"]
                texts = [part.get("text", "") for part in item.get("content", [])]
                items.append(
                    (item.get("role", ""), "".join(texts) or item.get("output") or item.get("name", ""))
                )
        if any(isinstance(output.action, m.CallerSpoke) for output in step.outputs):
            break
    return items


@pytest.mark.virtual
@pytest.mark.parametrize("seed", seeds(10, 2))
def test_what_was_before_is_carried_and_the_caller_keeps_to_the_anchors(seed: int) -> None:
    lines = jittered_call(seed)
    script = caller_script(lines)
    dice, last = random.Random(seed), Forking.of(lines, script.end_ms)
    assert last.differs == ""
    for asked_ms in [dice.randint(8_000, script.end_ms) for _ in range(20)]:
        forking, found = fork_at(last.at(asked_ms), Arm("as recorded"))
        [run] = found.runs
        assert found.at_ms <= asked_ms
        carried = forking.moment.carried.items
        words = [(item.role, item.text) for item in carried if item.text]
        told_words = [one for one in told(run) if one in words]
        assert told_words == words
        assert replay(run.lines, strict=True).difference is None
        again = forking.run(Arm("as recorded"), Books())
        assert again.lines == run.lines
        first = next((act for act in forking.acts if act.kind is Kind.SAYS), None)
        if first is not None and forking.acts[0] is first:
            now = next(act for act in caller_script(run.lines).acts if act.kind is Kind.SAYS)
            began_ms = run.facts.stats.began_ms or 0
            assert abs(now.at_ms - began_ms - (first.at_ms - found.at_ms)) <= 10
            assert first.anchor is Anchor.PAUSE


def test_an_agent_without_the_tool_says_that_it_can_not_book() -> None:
    lines = jittered_call(1)
    tool_ms = next(
        mark.at_ms for mark in marks_of(Forking.of(lines, 20_000).call.facts) if mark.kind == "tool"
    )
    _, usual = forked(lines, tool_ms, Arm("as recorded"), times=2)
    assert usual.agree == "2 of 2"
    [*_, last] = usual.after
    assert last.then is not None
    assert last.now is not None
    assert last.then.tools == last.now.tools == ("book(day='Tuesday', people=2)",)
    assert "booked for 2 on Tuesday" in last.now.heard
    _, other = forked(lines, tool_ms, Arm("nothing", WITHOUT))
    [*_, last] = other.after
    assert last.now is not None
    assert (last.now.tools, last.now.heard) == ((), "I can not book a table for you, I am sorry.")


@pytest.mark.virtual
def test_what_can_not_be_forked_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = jittered_call(0)
    with pytest.raises(ConfigError, match="no quiet moment"):
        Forking.of(lines, 200)
    with pytest.raises(ConfigError, match="masked"):
        Forking.of(masked(lines), 20_000)
    from tests.experiments.test_make_test import told_200_ms_more

    told_200_ms_more(monkeypatch)
    assert Forking.of(lines, 17_000).differs == ""
    assert Forking.of(lines, 40_000).differs.startswith("17.98 s")


def test_a_call_with_a_duplex_model_is_not_forked_without_its_sound() -> None:
    live = LiveCall(Speech(1_500, "Hello."), Speech(2_000, "We close at ten."))
    live.at(4_000).says("When do you close?")
    live.at(9_000)
    live.call.from_phone(live.call.phone.hang_up(live.call.now_ms))
    with pytest.raises(ConfigError, match="wants its sound"):
        Forking.of(live.lines, 8_000)


# --- to the millisecond -------------------------------------------------------------------------------------


@pytest.mark.virtual
@pytest.mark.parametrize("seed", seeds(10, 2))
def test_the_same_call_goes_on_from_any_moment(seed: int) -> None:
    lines = jittered_call(seed)
    end_ms = caller_script(lines).end_ms
    dice, last = random.Random(seed), ExactForking.of(lines, end_ms)
    assert last.differs == ""
    for at_ms in [dice.randint(3_000, end_ms - 500) for _ in range(20)]:
        forking = last.at(at_ms)
        run = forking.run(Books())
        before = [step for step in Recording(lines).steps() if step.t_ms <= at_ms]
        now = [step for step, _ in zip(Recording(run.lines).steps(), before, strict=False)]
        assert [in_short(step) for step in now] == [in_short(step) for step in before]
        assert replay(run.lines, strict=True).difference is None
        assert run.facts.stats.recoveries == 1
        assert run.facts.ended is not None
        assert forking.run(Books()).lines == run.lines


def in_short(step: Step) -> tuple[object, ...]:
    """All of a step but its place in the file."""
    outputs = [(one.door, one.frame, one.action, one.epoch) for one in step.outputs]
    return step.t_ms, step.door, step.frame, step.epoch, step.event, outputs


def test_a_call_of_a_rehearsal_goes_on_as_well() -> None:
    """Its model speaks as OpenAI's does; that of another vendor has no double here."""
    header, *rest = jittered_call(0, 2)
    parrot = header.replace('"upstream":"openai"', '"upstream":"parrot"')
    run = ExactForking.of([parrot, *rest], 7_000).run(Books())
    assert replay(run.lines, strict=True).difference is None
    with pytest.raises(ConfigError, match="gpt-live"):
        ExactForking.of([header.replace('"upstream":"openai"', '"upstream":"gpt-live"'), *rest], 7_000)


def test_what_was_sent_and_not_played_is_in_the_new_phone() -> None:
    """The caller hears the rest of the filler of a call whose model is lost."""
    call = begin()
    sound = m.Sound(base64.b64encode(tone(4_000)).decode(), 32_000, "Please hold the line.")
    call.at(1_000).wish(m.Play("hold", sound))
    call.at(2_500)
    call.wait(6_000).close()
    run = ExactForking.of(call.lines, 2_500).run(Books())
    [heard] = [
        action
        for step in Recording(run.lines).steps()
        for output in step.outputs
        if isinstance(action := output.action, m.Heard)
    ]
    assert (heard.say_id, heard.heard_ms, heard.cut) == ("hold", 4_000, False)


@pytest.mark.virtual
def test_an_exact_fork_is_no_place_for_another_agent(tmp_path: Path) -> None:
    file = tmp_path / "call.call.jsonl"
    file.write_text("\n".join(jittered_call(1)) + "\n", encoding="utf-8")
    refused = run(file, "--at", "20", "--exact", "--agent", f"{__name__}:WITHOUT")
    assert "--exact goes on with the recorded agent" in str(refused.exception)
    result = run(file, "--at", "16.5", "--exact", "--upstream", f"{__name__}:BOOKS")
    assert result.exit_code == 0, (result.output, result.exception)
    assert result.output.startswith("16.50 exactly")


# --- the command --------------------------------------------------------------------------------------------


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, ["fork", *map(str, arguments)])  # type: ignore[return-value]


@pytest.mark.virtual
def test_the_command_writes_recordings_that_say_where_they_come_from(tmp_path: Path) -> None:
    file = tmp_path / "call.call.jsonl"
    file.write_text("\n".join(jittered_call(1)) + "\n", encoding="utf-8")
    agent, mind = f"{__name__}:WITHOUT", f"{__name__}:BOOKS"
    given = (file, "--at", "33", "--agent", agent, "--upstream", mind, "--repeat", "2", "--json")
    result = run(*given)
    assert result.exit_code == 0, (result.output, result.exception)
    found = json.loads(result.stdout)
    assert (found["asked_ms"], found["before"]["same"], found["agree"]) == (33_000, True, "2 of 2")
    assert found["at_ms"] <= 33_000
    assert [Path(one).name for one in found["recordings"]] == [
        "call.fork-1.call.jsonl",
        "call.fork-2.call.jsonl",
    ]
    header = Recording(Path(found["recordings"][0]).read_text(encoding="utf-8").splitlines()).header
    assert header.forked is not None
    assert (header.forked.asked_ms, header.forked.at_ms, header.forked.model) == (
        33_000,
        found["at_ms"],
        mind,
    )
    assert header.config.session.agent
    assert header.config.session.agent.name == "nothing"
    assert run(*given[:-1]).exit_code == 0
    assert len(list(tmp_path.glob("*.fork-*"))) == 4
    shown = run(file, "--at", "33")
    assert "one run: another may differ" in shown.output
    assert "then" in shown.output


@pytest.mark.virtual
def test_a_call_that_differs_before_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.experiments.test_make_test import told_200_ms_more

    file = tmp_path / "call.call.jsonl"
    file.write_text("\n".join(jittered_call(0)) + "\n", encoding="utf-8")
    told_200_ms_more(monkeypatch)
    result = run(file, "--at", "40", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["before"] == {"same": False}
    assert list(tmp_path.iterdir()) == [file]


def test_nothing_runs_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run may have cost money."""
    file = tmp_path / "call.call.jsonl"
    file.write_text("\n".join(jittered_call(0, 2)) + "\n", encoding="utf-8")
    assert "no folder" in str(run(file, "--at", "7", "--out", tmp_path / "none").exception)
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "can't be written" in str(run(file, "--at", "7").exception)


@pytest.mark.virtual
def test_a_piece_can_be_forked_as_well() -> None:
    """It begins with what was carried: so does what is forked from it."""
    call = walk_through(jittered_call(1))
    mark = next(mark for mark in marks_of(call.facts) if mark.kind == "tool")
    piece = make_test(call, mark, keep_words=True)
    _, found = forked(piece.recording, 60_000, Arm("tables", AGENT))
    assert found.items >= 3


@pytest.mark.virtual
def test_another_caller_goes_on_from_the_moment(tmp_path: Path) -> None:
    call = tmp_path / "call.call.jsonl"
    call.write_text("\n".join(jittered_call(0, 2)) + "\n", encoding="utf-8")
    lines = ["When are you open?", "Goodbye."]
    (tmp_path / "c.toml").write_text(
        f'name = "c"\n[caller]\nvoice = "tones"\nlines = {json.dumps(lines)}\n', encoding="utf-8"
    )
    given = ["fork", str(call), "--at", "14", "--json", "--caller"]
    found = json.loads(CliRunner().invoke(cli.app, [*given, str(tmp_path / "c.toml")]).stdout)
    assert [one["caller"] for one in found["after"]][:2] == lines
    assert all(one["now"]["heard"] for one in found["after"][:2])
    with wave.open(str(tmp_path / "c.wav"), "wb") as sink:
        sink.setparams((1, 2, 8_000, 0, "NONE", ""))
        sink.writeframes(bytes(range(250)) * 64)
    found = json.loads(CliRunner().invoke(cli.app, [*given, str(tmp_path / "c.wav")]).stdout)
    assert found["after"][0]["caller"] == ""
    assert found["after"][0]["now"]["heard"]
    refused = CliRunner().invoke(cli.app, [*given, str(call)])
    assert "is no caller" in str(refused.exception)
