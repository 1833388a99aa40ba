"""Recordings that an enemy made: each is refused in one line with exit 2, or replayed, in little time."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridge import Agent, cli, tool
from bridge.cli.words import printable
from bridge.doubles.agents import ToolCall
from bridge.errors import ConfigError
from bridge.experiments.callers_run import arguments_of
from bridge.experiments.fork import turns_after
from bridge.picture import tell
from bridge.picture.chart import chart
from bridge.picture.facts import facts
from bridge.picture.page import page
from bridge.recording import Recording, bounds, describe, editing, replay
from bridge.recording.bounds import MOST_STEPS
from bridge.recording.editing import minimized, trimmed
from bridge.recording.facts import facts_of
from bridge.recording.masking import masked
from bridge.recording.printable import printable_json
from bridge.recording.script_reader import caller_script
from bridge.testing import begin
from tests.hostile_values import CALLS, DEEP, RAW, lines_of, places, with_value
from tests.long_form import some_of

GOOD = lines_of(next(call for call in CALLS if call.name.startswith("greeting-heard")))
RUN = next(number for number, line in enumerate(GOOD) if '"run":"' in line)


def replayed(lines: list[str]) -> None:
    found = replay(lines)
    if found.difference is not None:
        describe(found.difference)
    assert found.outputs


def shown(lines: list[str]) -> None:
    story = tell(lines)
    json.dumps(chart(story))
    facts(story)


READERS: list[Callable[[list[str]], Any]] = [
    replayed,
    lambda lines: replay(lines, strict=True),
    shown,
    masked,
    caller_script,
    lambda lines: trimmed(lines, 1_000, 3_000),
    minimized,
]


def read_by_all(lines: list[str]) -> None:
    """Only a ConfigError may come of it."""
    for read in READERS:
        try:
            read(lines)
        except ConfigError:
            continue


@pytest.mark.parametrize("seed", some_of(range(6), every=3))
def test_every_field_with_every_value(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editing, "MOST_REPLAYED", 500)
    chance = random.Random(seed)
    for _ in range(10):
        lines = lines_of(chance.choice(CALLS))
        number = chance.choice([0, *[chance.randrange(len(lines)) for _ in range(3)]])
        place = chance.choice(list(places(json.loads(lines[number]))))
        bad = with_value(lines[number], place, chance.choice(RAW))
        read_by_all([*lines[:number], bad, *lines[number + 1 :]])


def test_arguments_of_a_tool_that_are_nested_without_end(tmp_path: Path) -> None:
    """More than json reads, and no more than a model may give."""

    @tool
    def book(day: str) -> str:
        """Book."""
        return day

    call = begin(Agent("You book.", greeting="", tools=[book]))
    call.model.answers(ToolCall("book", '{"day":' + "[" * 30_000))
    call.caller.says("Book it.", ms=400)
    call.wait(6_000)
    with pytest.raises(pytest.fail.Exception):
        call.expect.tool_called("book", day="friday")
    lines = lines_of(call.save(tmp_path / "nested.call.jsonl"))
    call.close()
    [turn, *_] = turns_after(facts_of(lines), 0)
    assert turn.tools[0].startswith('book({"day":[[')
    assert arguments_of('{"day":' + "[" * 30_000)[""].startswith('{"day":[')


@pytest.mark.parametrize("seed", some_of(range(4), every=4))
def test_lines_that_are_missing_doubled_torn_and_another_call_s(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(editing, "MOST_REPLAYED", 500)
    chance = random.Random(seed)
    for _ in range(8):
        lines, other = lines_of(chance.choice(CALLS)), lines_of(chance.choice(CALLS))
        for _ in range(chance.choice([1, 3, 20])):
            at = chance.randrange(len(lines))
            put: list[list[str]] = [
                [],
                [lines[at]] * 2,
                [lines[at][: chance.randrange(len(lines[at]) + 1)]],
                [chance.choice(other), lines[at]],
                [lines[0], lines[at]],
                [lines[at].replace('"carrier"', '"upstream"')],
            ]
            lines[at : at + 1] = chance.choice(put)
            lines = lines or [""]
        read_by_all(lines)


def line_at(number: int, **fields: Any) -> list[str]:
    """The good recording with this line in the place of a run."""
    line = {"t": json.loads(GOOD[number])["t"], **fields}
    return [*GOOD[:number], json.dumps(line), *GOOD[number + 1 :]]


@pytest.mark.parametrize(
    "lines",
    [
        [GOOD[0], DEEP, GOOD[1]],
        line_at(RUN, run=" ".join(["20"] * (MOST_STEPS + 1))),
        line_at(RUN, run=" ".join(["0", *["20m8000000"] * 60])),
        line_at(RUN, run=" ".join(["999999999999999"] * 2)),
        line_at(RUN, times=10**9, to="session", action={"is": "CallBegan"}),
        line_at(RUN, **{"from": "carrier", "frame": {"x": [{"payload": "<8388608>"}] * 99}}),
        line_at(RUN, **{"from": "os:system", "frame": {}}),
        line_at(RUN, event={"is": "Play", "say_id": "p", "sound": {"audio": "<160>", "size_bytes": 10**13}}),
        line_at(RUN, event={"is": "CallerAudio", "audio": "////", "size_bytes": 10**13}),
        line_at(RUN, event={"is": "HandOver", "within_ms": 10**400}),
        [*GOOD[:-1], GOOD[RUN]],
    ],
    ids=["deep", "steps", "sound", "clock", "times", "elided", "door", "play", "frame", "number", "back"],
)  # fmt: skip
def test_more_than_any_call_has_is_refused_by_all(lines: list[str]) -> None:
    with pytest.raises(ConfigError):
        for _ in Recording(lines).steps():
            pass


@pytest.mark.parametrize(
    "change",
    [
        {"bytes_per_ms": 0},
        {"bytes_per_ms": 10**9},
        {"phrases": {"filler": {"audio": "<10000000000>", "size_bytes": 10**10}}},
        {"phrases": {str(number): {"audio": "<8000000>", "size_bytes": 8_000_000} for number in range(99)}},
        {"session": {"extra": {"x": 10**400}}},
    ],
    ids=["zero", "format", "size", "many", "number"],
)
def test_a_header_that_no_call_has_is_refused(change: dict[str, Any]) -> None:
    header = json.loads(GOOD[0])
    header["config"] |= change
    for read in READERS:
        with pytest.raises(ConfigError):
            read([json.dumps(header), *GOOD[1:]])


@pytest.mark.parametrize("carrier", ["os:system", "../../etc/passwd", "", "__class__"])
def test_names_are_names_of_the_tables(carrier: str) -> None:
    for field in ("carrier", "upstream"):
        lines = [json.dumps(json.loads(GOOD[0]) | {field: carrier}), *GOOD[1:]]
        for read in READERS:
            with pytest.raises(ConfigError, match="does not know"):
                read(lines)


# --- the command ------------------------------------------------------------------------------------------


def complaint(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    """What the command says on its way to exit 2."""
    monkeypatch.setattr("sys.argv", ["phonebridge", *words])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(bounds.MOST_BYTES + 1)


MAKERS: dict[str, Callable[[Path], object]] = {
    "a folder": lambda path: path.mkdir(),
    "a pipe": _fifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "nothing": lambda path: path.touch(),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\0\1"),
    "halves of pairs": lambda path: path.write_bytes(b'{"x":"\xed\xa0\x80"}'),
    "zipped": lambda path: path.write_bytes(gzip.compress(b"\0" * 10_000_000)),
    "huge": _sparse,
    "many lines": lambda path: path.write_text("{}\n" * (bounds.MOST_STEPS + 2)),
    "a loop": lambda path: path.symlink_to(path),
    "escapes": lambda path: path.write_text('{"format":1,"carrier":"\\u001b[2J\\n\\u202e","upstream":"x"}'),
}


@pytest.mark.parametrize("small", some_of([True, False], every=2))
# `show` makes a table of the calls in a folder.
@pytest.mark.parametrize(
    ("command", "what"),
    [
        (command, what)
        for command in (("replay",), ("replay", "--mask"), ("show",))
        for what in MAKERS
        if (command, what) != (("show",), "a folder")
    ],
)
def test_what_is_no_recording_is_one_line(
    what: str,
    command: tuple[str, ...],
    small: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the real bounds, and with those of small files."""
    if small:
        monkeypatch.setattr(bounds, "MOST_BYTES", 1_000_000)
        monkeypatch.setattr(bounds, "MOST_STEPS", 1_000)
    monkeypatch.chdir(tmp_path)
    MAKERS[what](tmp_path / "x.call.jsonl")
    line = complaint(capsys, monkeypatch, *command, "x.call.jsonl")
    assert line.startswith("phonebridge: x.call.jsonl")
    assert printable(line) == line
    assert [path.name for path in tmp_path.iterdir()] == ["x.call.jsonl"]


def test_a_byte_order_mark_and_carriage_returns_are_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "x.call.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*GOOD, ""]).encode())
    monkeypatch.setattr("sys.argv", ["phonebridge", "replay", "--strict", str(file)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 0


def test_words_of_a_recording_do_not_paint_the_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "x.call.jsonl"
    evil = "\\u001b[2J\\u0007\\u202e\\u009b[link=x]"
    file.write_text("\n".join([*GOOD[:20], f'{{"truncated":"{evil}"}}', ""]))
    for command in (["replay", str(file)], ["show", str(file), "--out", str(tmp_path / "x.html")]):
        monkeypatch.setattr("sys.argv", ["phonebridge", *command])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert stopped.value.code == 0
        said = capsys.readouterr().out
        assert "\\x1b[2J\\x07\\u202e\\x9b[link=x]" in said.replace("\n", "")
        assert not {"\x07", "\u202e", "\x9b"} & set(said)


def test_a_full_disk_leaves_what_was_there_and_nothing_beside_it(tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands for the disk: a write beyond it fails as one on a full disk does."""
    file = tmp_path / "x.call.jsonl"
    file.write_text("\n".join(GOOD))
    script = (
        "import resource, signal, sys; from bridge import cli; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "sys.argv = ['phonebridge', 'replay', '--mask', 'x.call.jsonl']; cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "can't be written: File too large" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["x.call.jsonl"]
    assert file.read_text() == "\n".join(GOOD)


@pytest.mark.parametrize("name", ["two\nlines", "esc\x1b[2J", "turned\u202eround", "\r\n", "p\u2029q"])
@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("command", [("replay",), ("replay", "--mask"), ("show", "--out", "page.html")])
def test_a_file_s_name_is_one_line(
    name: str,
    there: bool,
    command: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path(f"{name}.call.jsonl")
    if there:
        file.write_text("\n".join([*GOOD, ""]))
    if command[0] == "show":
        command = ("show", "--out", f"{name}.html")
    monkeypatch.setattr("sys.argv", ["phonebridge", *command, str(file)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == (0 if there else 2)
    told = "".join(capsys.readouterr()).split("\n")
    assert all(printable(line) == line for line in told)
    about = [line for line in told if printable(name)[:8] in line]
    assert len(about) == (2 if there and "--mask" in command else 1)


def test_words_of_a_recording_do_not_turn_its_page_around() -> None:
    evil = "\x1b[2J\u202e\u2066\x9b\x07"
    lines = [line.replace("Hello, how", f"Hello {json.dumps(evil)[1:-1]} how") for line in GOOD]
    assert lines != GOOD
    drawn = page(tell(lines), f"x{evil}")
    assert not {"\x1b", "\u202e", "\u2066", "\x9b", "\x07"} & set(drawn)
    assert drawn.count("\\x1b[2J\\u202e\\u2066\\x9b\\x07") >= 2
    chart = json.dumps(printable_json({"a": [evil, 1], evil: None}))
    assert "u202e" not in chart.replace("\\\\u202e", "")
