"""Recordings on a disk: nobody else reads them, no call waits for them, and what ends one stands in it."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bridge.core import messages as m
from bridge.doubles.agents import Scripted, Speech
from bridge.doubles.tones import tone
from bridge.errors import ConfigError
from bridge.ops import recordings
from bridge.ops.recordings import FLUSH_LINES, Recordings
from bridge.ops.retention import purge, purge_sound
from bridge.recording import Recorder, Recording, describe, replay
from bridge.testing.call import begin as virtual_call
from tests.calls import bridge, hang_up, phone_of, within
from tests.gate import Gate
from tests.loops import Run, run

__all__ = ["run"]

CALL = f"CA{7:032x}"


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Recordings]:
    kept = Recordings(tmp_path / "calls", carrier="twilio", upstream="openai")
    yield kept
    kept.close()


def begin(keeper: Recordings, call_sid: str = CALL) -> Recorder:
    recorder = keeper.recorder(call_sid, m.CallConfig())
    assert recorder is not None
    return recorder


def files(keeper: Recordings) -> list[Path]:
    """What lies in the folder, when everything that was handed over is written."""
    keeper.close()
    return sorted(keeper.folder.iterdir())


def happen(recorder: Recorder, times: int) -> None:
    for now_ms in range(times):
        recorder.happened(now_ms, m.FramesDropped(now_ms))


def test_a_call_leaves_one_file_that_only_its_owner_may_read(keeper: Recordings) -> None:
    recorder = begin(keeper)
    happen(recorder, 200)
    recorder.close()
    (file,) = files(keeper)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(keeper.folder.stat().st_mode) == 0o700
    began, _, tail = file.name.removesuffix(".call.jsonl").partition("-")
    assert tail == "00000007"
    assert abs(datetime.strptime(f"{began}+0000", "%Y%m%dT%H%M%SZ%z").timestamp() - file.stat().st_mtime) < 60
    recording = Recording(file.read_text().splitlines())
    assert len(list(recording.steps())) == 200
    assert recording.ended
    assert recording.header.versions.keys() == {"phonebridge", "python"}
    assert recording.header.at.endswith("+00:00")


def test_a_call_replays_from_its_file(keeper: Recordings) -> None:
    gate = Gate(m.CallConfig(), recorder=begin(keeper))
    gate.begin()
    for frame in range(200):
        gate.media(20 * frame)
    gate.stop(4_000)
    (file,) = files(keeper)
    result = replay(file.read_text().splitlines(), strict=True)
    assert (result.difference, result.ended, result.end_ms) == (None, True, 4_000)


@pytest.mark.parametrize("sound", [False, True])
def test_a_call_over_sockets_replays_from_its_file(run: Run, tmp_path: Path, sound: bool) -> None:
    """The caller falls in while one item plays and the next waits; then hears an answer, and hangs up."""
    keeper = Recordings(tmp_path, carrier="twilio", upstream="embedded", sound=sound)
    story = [Speech(3_000, "a long story"), Speech(8_000, "and how it goes on")]
    server = {"speed": 5, "late_deltas": 3, "cancel_ms": 100}

    async def main() -> None:
        answers = Scripted([story, Speech(400, "Yes?")])
        async with bridge(answers, server=server, recorder=keeper.recorder) as house:
            call = await house.call(b"\xff" * 8 * 700 + tone(300, 300))
            phone = phone_of(call)
            await within(5, lambda: phone.heard.count(3) >= 400 * 8)
            hang_up(call)
            await call.closed

    run(main())
    (file,) = files(keeper)
    lines = file.read_text().splitlines()
    assert any('"type":"conversation.item.truncate"' in line for line in lines)
    for strict in (True, False):
        result = replay(lines, strict=strict)
        assert result.difference is None, describe(result.difference)
    assert result.ended
    assert result.outputs == lines


def test_two_streams_of_one_call_in_one_second_are_two_files(
    keeper: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Noon(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            assert tz is UTC
            return datetime(2026, 7, 14, 12, 0, 0, tzinfo=UTC)

    monkeypatch.setattr(recordings, "datetime", Noon)
    monkeypatch.setattr(recordings, "SAME_NAME", 2)
    for _ in range(3):
        begin(keeper, "CA../../x").close()
    names = [file.name for file in files(keeper)]
    assert names == ["20260714T120000Z-CAx-2.call.jsonl", "20260714T120000Z-CAx.call.jsonl"]


def test_lines_are_handed_over_by_the_call_at_64_or_when_they_are_old(
    keeper: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: list[str] = []
    monkeypatch.setattr(keeper, "_put", lambda _file, text: put.append(text))
    now_s = 100.0
    monkeypatch.setattr(recordings.time, "monotonic", lambda: now_s)  # type: ignore[attr-defined]
    recorder = begin(keeper)
    happen(recorder, FLUSH_LINES - 2)
    assert put == []
    happen(recorder, 1)
    assert [text.count("\n") for text in put] == [FLUSH_LINES]
    happen(recorder, 1)
    now_s = 101.9
    happen(recorder, 1)
    assert len(put) == 1
    now_s = 102.0
    happen(recorder, 1)
    assert [text.count("\n") for text in put] == [FLUSH_LINES, 3]
    recorder.happened(0, m.Say("s1", "x" * 40_000))
    assert len(put) == 3


def full_after(monkeypatch: pytest.MonkeyPatch, size_bytes: int, error: int) -> None:
    """A disk that takes so many bytes; room that is given back may be used again."""
    write = os.write

    def write_while_there_is_room(descriptor: int, data: memoryview) -> int:
        room = size_bytes - os.fstat(descriptor).st_size
        if room <= 0:
            raise OSError(error, os.strerror(error))
        return write(descriptor, data[:room])

    monkeypatch.setattr(recordings.os, "write", write_while_there_is_room)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("error", "why"),
    [(errno.ENOSPC, "disk full"), (errno.EDQUOT, "disk full"), (errno.EIO, "Input/output error")],
)
def test_a_full_disk_ends_that_recording_with_a_line_that_says_so(
    keeper: Recordings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: int,
    why: str,
) -> None:
    full_after(monkeypatch, 10_000, error)
    recorder = begin(keeper)
    happen(recorder, 2_000)
    recorder.close()
    (file,) = files(keeper)
    *_, last = lines = file.read_text().splitlines()
    assert json.loads(last) == {"truncated": why}
    assert len(lines) > 60
    result = replay(lines)
    assert (result.truncated, result.ended, result.torn) == (why, False, False)
    assert [record.getMessage() for record in caplog.records] == [
        f"recording {file.name.removesuffix('.call.jsonl')} ends before its call: {why}"
    ]


def test_a_disk_without_room_for_even_that_leaves_whole_lines(
    keeper: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = begin(keeper)
    happen(recorder, 200)
    (file,) = files(keeper)
    size_bytes = file.stat().st_size
    full_after(monkeypatch, size_bytes + 5, errno.ENOSPC)
    happen(recorder, 200)
    recorder.close()
    (file,) = files(keeper)
    assert file.stat().st_size == size_bytes
    assert replay(file.read_text().splitlines()).difference is None


def test_a_disk_without_room_for_its_header_leaves_no_recording(
    keeper: Recordings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full_after(monkeypatch, 10, errno.ENOSPC)
    recorder = begin(keeper)
    happen(recorder, 200)
    recorder.close()
    assert files(keeper) == []
    assert "disk full" in caplog.text


def test_a_disk_too_slow_for_its_header_leaves_no_recording(
    keeper: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "MOST_WAITING_CHARACTERS", 10)
    recorder = begin(keeper)
    happen(recorder, 200)
    recorder.close()
    assert files(keeper) == []


def test_a_folder_that_is_gone_loses_the_recording_and_not_the_call(keeper: Recordings) -> None:
    keeper.folder.rmdir()
    recorder = begin(keeper)
    happen(recorder, 200)
    recorder.close()
    keeper.close()
    assert not keeper.folder.exists()


def test_a_slow_disk_holds_up_no_call_and_ends_the_recording_that_was_too_much(
    keeper: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, free = os.write, threading.Event()
    monkeypatch.setattr(recordings.os, "write", lambda to, data: free.wait(10) and write(to, data))  # type: ignore[attr-defined]
    monkeypatch.setattr(recordings, "MOST_WAITING_CHARACTERS", 25_000)  # two headers and some
    loud, other = begin(keeper), begin(keeper, f"CA{8:032x}")
    happen(loud, 5_000)  # returns, though not a byte can be written
    happen(other, 3)
    loud.close()
    free.set()
    other.close()
    cut, whole = files(keeper)
    *_, last = lines = cut.read_text().splitlines()
    assert json.loads(last) == {"truncated": "the disk is too slow"}
    assert 20 < len(lines) < 1_000
    assert replay(lines).truncated == "the disk is too slow"
    assert len(whole.read_text().splitlines()) == 5


def test_a_call_that_outlives_the_process_has_its_recording_until_then(keeper: Recordings) -> None:
    recorder = begin(keeper)
    happen(recorder, 3)
    (file,) = files(keeper)
    happen(recorder, 300)
    recording = Recording(file.read_text().splitlines())
    assert (len(list(recording.steps())), recording.ended, recording.torn) == (3, False, False)


def test_a_killed_process_leaves_what_was_written(tmp_path: Path) -> None:
    program = f"""
import pathlib, time
from bridge.core import messages as m
from bridge.ops.recordings import Recordings
folder = pathlib.Path({str(tmp_path)!r})
recorder = Recordings(folder, carrier="twilio", upstream="openai").recorder({CALL!r}, m.CallConfig())
for now_ms in range(10_000):
    recorder.happened(now_ms, m.FramesDropped(now_ms))
while sum(path.stat().st_size for path in folder.iterdir()) < 100_000:
    time.sleep(0.001)
print("written", flush=True)
while True:
    recorder.happened(20_000, m.FramesDropped(1))
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGKILL)
    (file,) = tmp_path.iterdir()
    result = replay(file.read_text().splitlines())
    assert result.steps > 1_000
    assert (result.difference, result.ended) == (None, False)


def test_old_recordings_are_purged_and_nothing_else(tmp_path: Path) -> None:
    now = datetime(2026, 7, 14, tzinfo=UTC)

    def old(name: str, days: int) -> Path:
        path = tmp_path / name
        path.touch()
        os.utime(path, (now.timestamp() - days * 86_400 - 1,) * 2)
        return path

    kept = [old("a.call.jsonl", 29), old("notes.txt", 400)]
    gone = [old("b.call.jsonl", 30), old("c.call.jsonl", 400)]
    assert purge(tmp_path, 30, now) == 2
    assert sorted(tmp_path.iterdir()) == kept
    assert not any(path.exists() for path in gone)
    assert purge(tmp_path / "nowhere", 30, now) == 0


def test_old_sound_goes_before_the_rest_of_a_recording(tmp_path: Path) -> None:
    call = virtual_call(recording={"sound": True})
    call.model.speaks("Hello.", 1_000)
    call.wait(1_500)
    call.caller.hangs_up()
    call.wait(50)
    now = datetime.now(UTC)
    for name in ("old", "kept", "new"):
        path = tmp_path / f"{name}.call.jsonl"
        path.write_text("\n".join([*call.lines, ""]))
        age_s = 3 * 86_400 if name != "new" else 0
        os.utime(path, (now.timestamp() - age_s, now.timestamp() - age_s))
    (tmp_path / "kept.hold").touch()
    written_ns = (tmp_path / "old.call.jsonl").stat().st_mtime_ns
    assert purge_sound(tmp_path, 2, now) == 1
    old, kept = ((tmp_path / f"{name}.call.jsonl").read_text() for name in ("old", "kept"))
    assert len(old) < len(kept) / 2
    assert replay(old.splitlines()).difference is None
    assert (tmp_path / "old.call.jsonl").stat().st_mtime_ns == written_ns  # its days count on
    assert purge_sound(tmp_path, 2, now) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "kept.call.jsonl", "kept.hold", "new.call.jsonl", "old.call.jsonl"
    ]  # fmt: skip


def test_the_thread_purges_when_it_begins(tmp_path: Path) -> None:
    ancient = tmp_path / "x.call.jsonl"
    ancient.touch()
    os.utime(ancient, (0, 0))
    keeper = Recordings(tmp_path, carrier="twilio", upstream="openai", days=30)
    begin(keeper).close()
    (file,) = files(keeper)
    assert file != ancient


def test_a_folder_that_cannot_be_made_is_told_at_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"BRIDGE_RECORDINGS: .* can't be made"):
        Recordings(tmp_path / "file" / "calls", carrier="twilio", upstream="openai")


def test_a_machine_without_threads_left_has_calls_without_recordings(
    keeper: Recordings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_more(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_more)
    assert keeper.recorder(CALL, m.CallConfig()) is None
    assert "not recorded" in caplog.text


def test_closing_without_a_recording_is_nothing(tmp_path: Path) -> None:
    Recordings(tmp_path, carrier="twilio", upstream="openai").close()


def test_it_is_what_the_exchange_asks_for(keeper: Recordings) -> None:
    ask: Callable[[str, m.CallConfig], object] = keeper.recorder
    assert ask(CALL, m.CallConfig()) is not None
