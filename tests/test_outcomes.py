"""What came of calls, read without a replay: against the replay, as a page, and as an index."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridge import cli
from bridge.ops.recorded import recorded
from bridge.ops.recorded_index import RecordedIndex, Wanted
from bridge.ops.retention import older_than, purge, purge_sound
from bridge.picture import tell
from bridge.recording.bounds import MOST_BYTES
from bridge.recording.outcome import outcome
from tests.picture.calls import titled

REPLAYS = sorted((Path(__file__).parent / "replays").glob("*.call.jsonl"))


def off_by(ms: int, lines: list[str]) -> list[str]:
    """The recording of a call in which the model was told so much more than was heard."""
    return [line.replace('"audio_end_ms":700', f'"audio_end_ms":{700 + ms}') for line in lines]


def lines_of(name: str) -> list[str]:
    (file,) = [one for one in REPLAYS if one.name == f"{name}.call.jsonl"]
    return file.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("event", ["Interrupt", "HangUp"])
def test_what_user_code_or_an_operator_cuts_is_no_barge_in(event: str) -> None:
    lines = lines_of("barge-in-twice")
    told = next(at for at, line in enumerate(lines) if '"conversation.item.truncate"' in line)
    began = max(at for at in range(told) if '"to":' not in lines[at][:24])  # the step that has cut it
    cut = {"t": json.loads(lines[began])["t"], "event": {"is": event}}
    lines[began] = json.dumps(cut, separators=(",", ":"))
    assert outcome(line.encode() for line in lines).barge_ins == 1


@pytest.mark.parametrize(
    "name",
    [
        "barge-in-two-items",
        "barge-in-twice",
        "caller-hangs-up-mid-speech",
        "sound-of-ours-cut",
        "tool-filler",
    ],
)
def test_it_says_what_a_replay_says(name: str) -> None:
    lines = lines_of(name)
    story, came = tell(lines), outcome(line.encode() for line in lines)
    errors = [cut.error_ms for cuts in story.barge_ins.values() for cut in cuts if cut.error_ms is not None]
    assert came.barge_ins == len(story.barge_ins)
    assert came.largest_error_ms == (max(errors, key=abs) if errors else None)
    assert (came.tools, came.tools_failed) == (story.stats.tools, sum(tool.failed for tool in story.tools))
    assert (came.ended, came.torn) == (story.ended, "")


def test_faults_are_in_words_and_a_torn_recording_says_so() -> None:
    came = outcome(line.encode() for line in lines_of("model-lost-mid-speech"))
    assert came.faults == ["the model's session was closed", "the model was lost: 1006"]
    lines = lines_of("barge-in-twice")
    assert outcome(line.encode() for line in lines[:-3]).torn == "it stops before the call ends"
    cut = [*lines[:-3], '{"truncated":"disk full"}']
    assert outcome(line.encode() for line in cut).torn == "it was cut short: disk full"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    usual = lines_of("barge-in-two-items")
    for number, lines in enumerate(
        [usual, off_by(160, usual), off_by(-40, usual), lines_of("model-lost-mid-speech"), usual[:-2]]
    ):
        written = "\n".join(
            [*titled(lines, caller=f"+1…0{number}", at=f"2026-11-2{number}T14:03:00+00:00"), ""]
        )
        (tmp_path / f"2026112{number}T140300Z-0000000{number}.call.jsonl").write_text(
            written, encoding="utf-8"
        )
    (tmp_path / "20261128T000000Z-torn.call.jsonl").write_text("{", encoding="utf-8")
    return tmp_path


def test_a_folder_is_a_page_with_the_worst_call_on_top(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "calls.html"
    result = CliRunner().invoke(cli.app, ["show", str(folder), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "6 calls, 2 with a truncation error, 2 with a fault, 1 can't be read" in result.stdout
    page = out.read_text(encoding="utf-8")
    order = [page.index(f"0000000{number}</code>") for number in (1, 2, 3, 4, 0)]
    assert order == sorted(order), "by error; then the one that cannot be read; then faults; then the newest"
    assert page.index("00000002</code>") < page.index("-torn</code>") < page.index("00000003</code>")
    assert '<b class="wrong">160 ms</b>' in page
    assert "+1…01 → desk" in page
    assert "it can&#x27;t be read" in page
    assert len(page.encode()) < 3_000 * 6 + 20_000, "a thousand are less than 3 MB"
    told = json.loads(CliRunner().invoke(cli.app, ["show", str(folder), "--out", str(out), "--json"]).stdout)
    assert told["calls"] == 6


def names(index: RecordedIndex, **wanted: object) -> list[str]:
    return [one.name[-1] for one in index.search(Wanted(**wanted)).found]  # type: ignore[arg-type]


def test_calls_are_searched_newest_first(folder: Path) -> None:
    index = RecordedIndex(lambda: [folder])
    assert names(index) == ["n", "4", "3", "2", "1", "0"]
    assert names(index, off=True) == ["1"]
    assert names(index, fault=True) == ["n", "4", "3"]
    assert names(index, since="2026-11-21", until="2026-11-22") == ["2", "1"]
    assert names(index, words="+1…02 DESK") == ["2"]
    assert names(index, agent="desk", end="hung up") == ["3", "2", "1", "0"]
    assert names(index, words="nowhere") == []


def test_a_call_that_lasts_is_not_finished(folder: Path) -> None:
    index = RecordedIndex(lambda: [folder])
    page = index.search(Wanted(), live=["CA0000000000000000000000000000000000000004"])
    assert [one.name[-1] for one in page.found] == ["n", "3", "2", "1", "0"]


def test_pages_follow_each_other_and_a_search_reads_only_so_many_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = RecordedIndex(lambda: [folder])
    first = index.search(Wanted(), most=4)
    rest = index.search(Wanted(), after=first.after, most=4)
    assert [one.name[-1] for one in (*first.found, *rest.found)] == ["n", "4", "3", "2", "1", "0"]
    assert (first.looked_at, rest.after) == (4, "")
    monkeypatch.setattr("bridge.ops.recorded_index.MOST_READ", 2)
    fresh = RecordedIndex(lambda: [folder])
    looked = fresh.search(Wanted(off=True))
    assert (looked.found, looked.looked_at, looked.of) == ([], 2, 6)
    while looked.after and not looked.found:
        looked = fresh.search(Wanted(off=True), after=looked.after)
    assert [one.name[-1] for one in looked.found] == ["1"]


def test_a_file_is_read_once_until_it_changes_and_forgotten_when_it_is_gone(folder: Path) -> None:
    index = RecordedIndex(lambda: [folder])
    index.search(Wanted())
    index.search(Wanted(fault=True))
    assert index.read == 6
    file = next(folder.glob("*00000001.call.jsonl"))
    os.utime(file, ns=(1, 1))
    index.search(Wanted())
    assert index.read == 7
    file.unlink()
    assert "1" not in names(index)


@pytest.mark.parametrize(
    "name", ["../x", "..", "", "/etc/passwd", "20261120T140300Z-00000000.call.jsonl", "\0"]
)
def test_a_name_that_is_not_listed_is_no_file(folder: Path, name: str) -> None:
    assert RecordedIndex(lambda: [folder]).find(name) is None


def test_a_file_of_a_name_that_no_text_has_is_listed_too(tmp_path: Path) -> None:
    lines = "\n".join([*lines_of("tool-filler"), ""]).encode()
    for name in (b"20261201T000000Z-\xff.call.jsonl", b".20261202T000000Z-a.call.jsonl"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(lines)
    index = RecordedIndex(lambda: [tmp_path])
    (one,) = index.search(Wanted()).found
    assert one.name == "20261201T000000Z-\ufffd"
    assert index.find(one.name) == one.path
    assert one.recorded is not None


def test_a_file_larger_than_any_call_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "20261201T000000Z-a.call.jsonl"
    with path.open("wb") as file:
        file.write("\n".join([*lines_of("tool-filler"), ""]).encode())
        file.truncate(MOST_BYTES + 1)
    (one,) = RecordedIndex(lambda: [tmp_path]).search(Wanted()).found
    assert one.recorded is None
    assert "larger than" in one.unreadable


def test_a_tool_that_fails_with_more_than_a_sentence_has_failed_everywhere() -> None:
    said, failed = r"{\"state\": \"on its way\"}", r"{\"error\": {\"code\": 5}}"
    lines = [line.replace(said, failed) for line in lines_of("tool-filler")]
    assert outcome(line.encode() for line in lines).tools_failed == 1


def test_a_pipe_or_a_link_in_the_folder_holds_nothing_up(tmp_path: Path) -> None:
    """To open a pipe takes until another program writes to it."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    elsewhere = tmp_path / "20261203T000000Z-c.call.jsonl"
    for path in (elsewhere, folder / "20261130T000000Z-a.call.jsonl"):
        path.write_text("\n".join([*lines_of("tool-filler"), ""]), encoding="utf-8")
    os.mkfifo(folder / "20261201T000000Z-b.call.jsonl")
    (folder / elsewhere.name).symlink_to(elsewhere)
    (folder / "20261202T000000Z-d.call.jsonl").mkdir()
    later = datetime.now(UTC) + timedelta(days=40)
    assert [one.name for one in recorded(folder)] == ["20261130T000000Z-a"]
    assert [path.name for path in older_than(folder, 30, later)] == ["20261130T000000Z-a.call.jsonl"]
    assert list(older_than(folder, 10**12, later)) == [], "more days than a date has"
    assert purge_sound(folder, 30, later) == 0
    assert purge(folder, 30, later) == 1
    assert elsewhere.exists()
