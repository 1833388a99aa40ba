"""`phonebridge replay`: recordings told apart, accepted, shortened, masked, and brought to their point."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from bridge import cli
from bridge.cli.replay import span_ms
from bridge.core.call import Call
from bridge.core.messages import Action, CallConfig, Event, TruncateItem
from bridge.errors import ConfigError
from bridge.recording import Parts, Recording
from bridge.recording import replay as replayed
from bridge.recording.editing import minimized, trimmed, written
from bridge.recording.masking import mask_words, masked
from tests.long_form import some_of

FOLDER = Path(__file__).parent / "replays"
CALLS = sorted(file.name.removesuffix(".call.jsonl") for file in FOLDER.glob("*.call.jsonl"))
SOME = some_of(CALLS, every=3, others=[pytest.mark.hostile])


def recording(name: str) -> list[str]:
    return (FOLDER / f"{name}.call.jsonl").read_text(encoding="utf-8").splitlines()


def changed(lines: list[str], old: str, new: str) -> list[str]:
    """The first `old` of what we sent is another."""
    at = next(number for number, line in enumerate(lines) if old in line and line.startswith('{"to"'))
    return [*lines[:at], lines[at].replace(old, new), *lines[at + 1 :]]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, ["replay", *map(str, arguments)])  # type: ignore[return-value]


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """A recording of a version that truncated at something else."""
    file = tmp_path / "bad.call.jsonl"
    lines = changed(recording("barge-in-two-items"), '"audio_end_ms":700', '"audio_end_ms":760')
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


# --- telling apart ------------------------------------------------------------------------------------------


def test_the_same_and_the_first_difference(bad: Path) -> None:
    good = FOLDER / "barge-in-two-items.call.jsonl"
    assert run(good).exit_code == 0
    result = run(good, bad)
    assert result.exit_code == 1
    assert re.search(rf"same +{re.escape(str(good))}", result.stdout)
    assert re.search(rf"differs +{re.escape(str(bad))}\nline \d+, 2,700 ms into the call", result.stdout)
    assert re.search(r"expected .*\"audio_end_ms\":760", result.stdout)
    assert re.search(r"got .*\"audio_end_ms\":700", result.stdout)


def test_what_is_strict(tmp_path: Path) -> None:
    """A mark with another name bears no truth, but is not the same frame."""
    file = tmp_path / "x.call.jsonl"
    lines = changed(recording("barge-in-two-items"), '"mark":{"name":"1"}', '"mark":{"name":"1a"}')
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert run(file).exit_code == 0
    assert run(file, "--strict").exit_code == 1


def test_what_was_found_as_json(bad: Path) -> None:
    result = run(bad, "--json")
    (told,) = json.loads(result.stdout)
    assert (told["file"], told["same"], told["call_ms"]) == (str(bad), False, 2_700)
    assert told["difference"]["at_ms"] == 2_700
    assert '"audio_end_ms":760' in told["difference"]["expected"]


def test_a_recording_without_its_end_is_named(tmp_path: Path) -> None:
    file = tmp_path / "x.call.jsonl"
    lines = recording("barge-in-two-items")
    file.write_text("\n".join([*lines[:60], '{"truncated":"disk full"}']) + "\n", encoding="utf-8")
    assert "its end is missing: it was cut short: disk full" in run(file).stdout
    file.write_text("\n".join([*lines[:60], lines[60][:20]]), encoding="utf-8")
    assert "its end is missing: torn" in run(file).stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["no-such.call.jsonl"], "can't be read"),
        (["empty.call.jsonl"], "no recording"),
        (["good.call.jsonl", "--trim", "5"], "A:B in seconds"),
        (["good.call.jsonl", "--trim", "1:2", "--mask"], "at a time"),
        (["good.call.jsonl", "--out", "x"], "--out says where"),
        (["bad.call.jsonl", "--mask"], "does not replay"),
    ],
)
def test_wrong_use_is_one_line_and_exit_2(
    arguments: list[str], complaint: str, bad: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(bad.parent)
    Path("empty.call.jsonl").touch()
    Path("good.call.jsonl").write_text("\n".join(recording("carrier-lost")) + "\n", encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["phonebridge", "replay", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "phonebridge:" in line]
    assert complaint in line


@pytest.mark.parametrize(
    ("text", "span"),
    [("1:2", (1_000, 2_000)), ("1.5:", (1_500, None)), (":40", (0, 40_000)), (":", (0, None))],
)
def test_a_span_of_seconds(text: str, span: tuple[int, int | None]) -> None:
    assert span_ms(text) == span


@pytest.mark.parametrize("text", ["", "3", "2:1", "a:b", "-1:2", "1:1"])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(ConfigError, match="A:B in seconds"):
        span_ms(text)


# --- accepting ----------------------------------------------------------------------------------------------


def test_a_wanted_change_is_accepted_and_the_recording_replays(bad: Path) -> None:
    result = run(bad, "--accept")
    assert result.exit_code == 0
    assert "accepted" in result.stdout
    assert run(bad, "--strict").exit_code == 0
    before = bad.read_text(encoding="utf-8")
    assert '"audio_end_ms":700' in before
    assert run(bad, "--accept").exit_code == 0
    assert bad.read_text(encoding="utf-8") == before
    assert [file.name for file in bad.parent.iterdir()] == ["bad.call.jsonl"], "nothing is left behind"


# --- delta debugging ----------------------------------------------------------------------------------------


def test_the_shortest_inputs_that_still_differ(bad: Path) -> None:
    result = run(bad, "--minimize")
    assert result.exit_code == 1
    small = bad.with_name("bad.minimal.call.jsonl")
    assert small.stat().st_mode & 0o777 == 0o600
    lines = small.read_text(encoding="utf-8").splitlines()
    steps = list(Recording(lines).steps())
    assert len(steps) < 20 < len(list(Recording(bad.read_text(encoding="utf-8").splitlines()).steps()))
    assert run(small).exit_code == 1
    difference = replayed(lines).difference
    assert difference is not None
    assert '"audio_end_ms":760' in (difference.expected or "")
    header = Recording(lines).header
    for number in range(len(steps)):
        fewer = replayed(written(header, [*steps[:number], *steps[number + 1 :]])).difference
        same = fewer and (fewer.expected, fewer.got) == (difference.expected, difference.got)
        assert not same, "no step can be left out"


class Eager(Call):
    """The version that the bad recording is of: it believed that the caller heard 60 ms more."""

    def receive(self, event: Event, now_ms: int) -> list[Action]:
        return [
            TruncateItem(action.item_id, action.part, action.heard_ms + 60, action.epoch)
            if isinstance(action, TruncateItem)
            else action
            for action in super().receive(event, now_ms)
        ]


def test_what_was_minimized_replays_once_the_difference_is_mended(bad: Path) -> None:
    lines = minimized(bad.read_text(encoding="utf-8").splitlines())
    assert lines is not None
    assert replayed(lines, parts=Parts(call=Eager)).difference is None


def test_what_a_bug_raises_is_minimized_too() -> None:
    class Broken(Call):
        def receive(self, event: Event, now_ms: int) -> list[Action]:
            actions = super().receive(event, now_ms)
            if any(isinstance(action, TruncateItem) for action in actions):
                raise ZeroDivisionError("a bug")
            return actions

    def broken(config: CallConfig) -> Call:
        return Broken(config)

    parts = Parts(call=broken)
    left: list[int] = []
    lines = minimized(recording("barge-in-two-items"), parts=parts, progress=left.append)
    assert lines is not None
    assert left[-1] < 10
    difference = replayed(lines, parts=parts).difference
    assert difference is not None
    assert difference.got == "ZeroDivisionError raised: a bug"


def altered(name: str, how: str, number: int) -> list[str]:
    """The recording with one of its outputs twice, left out, or exchanged with the next but two."""
    lines = recording(name)
    outputs = [at for at, line in enumerate(lines) if line.startswith('{"to":')]
    at = outputs[number]
    if how == "twice":
        return [*lines[:at], lines[at], *lines[at:]]
    if how == "left out":
        return [*lines[:at], *lines[at + 1 :]]
    other = outputs[(number + 3) % len(outputs)]
    lines[at], lines[other] = lines[other], lines[at]
    return lines


@pytest.mark.parametrize(
    ("name", "how", "number", "strict"),
    [
        ("starved-line", "twice", 5, False),
        ("starved-line", "twice", 12, False),
        ("silent-caller", "twice", 4, True),  # it is expected twice, and comes once
        ("silent-caller", "left out", 13, True),  # others like it were expected before
        ("responses-that-fail", "exchanged", 27, True),
        ("starved-line", "left out", 8, True),  # what comes after the difference cannot be read
        ("transfer-after-the-last-word", "exchanged", 8, False),
    ],
)
def test_every_difference_is_minimized(
    name: str, how: str, number: int, strict: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.recording.editing.MOST_REPLAYED", 200)
    lines = altered(name, how, number)
    whole = replayed(lines, strict=strict).difference
    assert whole is not None
    small = minimized(lines, strict=strict)
    assert small is not None
    still = replayed(small, strict=strict).difference
    assert still is not None
    assert (still.expected, still.got) == (whole.expected, whole.got)


def test_where_nothing_can_be_left_out_it_is_said_why(bad: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording that does not differ any more when it is written anew."""
    fresh = recording("barge-in-two-items")
    monkeypatch.setattr("bridge.recording.editing.written", lambda _header, _steps: fresh)
    monkeypatch.setattr("bridge.recording.editing._up_to", lambda *_: fresh)
    result = run(bad, "--minimize")
    assert result.exit_code != 0
    told = " ".join(f"{result.output} {result.exception}".split())
    assert "depends on how the recording is written" in told
    assert "nothing differs" not in told


def test_nothing_is_minimized_where_nothing_differs() -> None:
    assert minimized(recording("barge-in-two-items")) is None
    assert "nothing to minimize" in run(FOLDER / "carrier-lost.call.jsonl", "--minimize").stdout


# --- trimming -----------------------------------------------------------------------------------------------


def test_a_part_of_a_call_with_its_beginning(tmp_path: Path) -> None:
    out = tmp_path / "part.call.jsonl"
    result = run(FOLDER / "tool-filler.call.jsonl", "--trim", "2:6", "--out", out)
    assert result.exit_code == 0
    assert run(out, "--strict").exit_code == 0
    times = [step.t_ms for step in Recording(out.read_text(encoding="utf-8").splitlines()).steps()]
    assert times[0] == 0
    assert all(ms == 0 or 2_000 <= ms < 6_000 for ms in times)


PARTS = ((0, None), (1_200, 2_200)), ((1_500, None), (0, 1_700))


@pytest.mark.parametrize("parts", [PARTS[0], pytest.param(PARTS[1], marks=pytest.mark.hostile)], ids=str)
@pytest.mark.parametrize("name", SOME)
def test_whatever_is_left_of_a_call_replays(name: str, parts: tuple[tuple[int, int | None], ...]) -> None:
    lines = recording(name)
    for from_ms, to_ms in parts:
        left = trimmed(lines, from_ms, to_ms)
        result = replayed(left, strict=True)
        assert result.difference is None
        assert result.outputs == left
    assert trimmed(lines, 0, None)[1:] == lines[1:]


# --- masking ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOME)
def test_a_masked_call_replays_and_ends_as_it_did(name: str) -> None:
    lines = recording(name)
    result = replayed(masked(lines), strict=True)
    assert result.difference is None
    before = replayed(lines).call.stats
    after = result.call.stats
    assert (after.barge_ins, after.turns, after.ended_ms) == (before.barge_ins, before.turns, before.ended_ms)


def test_nobodys_words_are_left(tmp_path: Path) -> None:
    out = tmp_path / "given-away.call.jsonl"
    assert run(FOLDER / "tool-filler.call.jsonl", "--mask", "--out", out).exit_code == 0
    text = out.read_text(encoding="utf-8")
    assert "find_order" in text, "names of tools stay"
    for words in ("Where is my order", "It is on its way", "Let me see", "number", "order?"):
        assert words not in text
    assert "Xxxxx xx xx xxxxx?" in text
    text = "\n".join(masked(recording("keys-become-words")))
    assert '"digit":"4"' not in text
    assert '"digit":"•"' in text


def test_a_mask_keeps_lengths_and_gaps() -> None:
    assert mask_words("Call +1555 ‒ été, naïve Σ!") == "Xxxx +0000 ‒ xxx, xxxxx X!"
