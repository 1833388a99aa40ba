"""What was given out once is remembered for thirty days, whatever becomes of the process."""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bridge.server.store.used_calls import AGAIN_S, GRACE_S, KEPT_S, UsedCalls
from tests.hand_clock import Clock

CALL, OTHER = "CA" + "1" * 32, "CA" + "2" * 32
ENTRY_BYTES = 12


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "used-calls"


def test_each_stream_of_a_call_is_used_once(clock: Clock) -> None:
    used = UsedCalls(None, clock)
    used.use(CALL)
    assert used.has(CALL)
    assert not used.has(CALL, 2)
    assert not used.has(OTHER)
    used.use(CALL, 2)
    assert used.has(CALL, 2)
    used.close()


@pytest.mark.parametrize("again", [False, True])
def test_what_was_given_out_is_used_a_minute_later(clock: Clock, path: Path, again: bool) -> None:
    used = UsedCalls(path, clock)
    used.expect(CALL)
    assert not used.has(CALL)
    if again:
        used = UsedCalls(path, clock)
    clock.now_s += GRACE_S - 1
    assert not used.has(CALL)
    clock.now_s += 1
    assert used.has(CALL)
    clock.now_s += KEPT_S - 3_600
    assert used.has(CALL)
    assert UsedCalls(path, clock).has(CALL)


def test_what_was_opened_is_used_at_once(clock: Clock, path: Path) -> None:
    used = UsedCalls(path, clock)
    used.expect(CALL)
    used.use(CALL)
    for one in (used, UsedCalls(path, clock)):
        assert one.has(CALL)


def test_a_clock_set_back_frees_nothing(clock: Clock, path: Path) -> None:
    used = UsedCalls(path, clock)
    used.use(CALL)
    used.expect(OTHER)
    clock.now_s -= 3_600
    for one in (used, UsedCalls(path, clock)):
        assert one.has(CALL)
        assert one.has(OTHER)


def test_an_entry_has_twelve_bytes_and_no_id(clock: Clock, path: Path) -> None:
    used = UsedCalls(path, clock)
    used.use(CALL)
    raw = path.read_bytes()
    assert len(raw) == ENTRY_BYTES
    assert CALL.encode() not in raw
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("torn", range(1, ENTRY_BYTES))
def test_a_cut_entry_is_passed_over(clock: Clock, path: Path, torn: int) -> None:
    used = UsedCalls(path, clock)
    used.use(CALL)
    used.use(OTHER)
    os.truncate(path, 2 * ENTRY_BYTES - torn)
    after = UsedCalls(path, clock)
    assert after.has(CALL)
    assert not after.has(OTHER)
    after.use(OTHER)
    after.use(OTHER, 2)
    used.use(CALL, 3)  # whoever had it open writes on
    again = UsedCalls(path, clock)
    assert all(again.has(*name) for name in [(CALL,), (OTHER,), (OTHER, 2), (CALL, 3)])  # type: ignore[arg-type]
    assert path.stat().st_size % ENTRY_BYTES == 0


def test_two_processes_know_of_each_other_s(clock: Clock, path: Path) -> None:
    one, other = UsedCalls(path, clock), UsedCalls(path, clock)
    one.use(CALL)
    assert other.has(CALL)
    other.use(OTHER)
    assert one.has(OTHER)
    one.expect(CALL, 2)
    assert not other.has(CALL, 2)
    clock.now_s += GRACE_S
    assert other.has(CALL, 2)


def test_it_is_bounded_in_number_and_age(clock: Clock, path: Path) -> None:
    one, other = UsedCalls(path, clock, most=100), UsedCalls(path, clock, most=100)
    for call in range(1_000):
        one.use(f"CA{call}")
        assert len(one) <= 200
    assert sum(file.stat().st_size for file in path.parent.iterdir()) <= 200 * ENTRY_BYTES
    for known in (one, other, UsedCalls(path, clock, most=100)):
        assert all(known.has(f"CA{call}") for call in range(900, 1_000))
    other.use(OTHER)
    assert one.has(OTHER)
    for day in range(4):
        clock.now_s += KEPT_S + 1
        one.use(f"CA{day}", 2)
    assert not UsedCalls(path, clock).has(OTHER)
    assert {file.name for file in path.parent.iterdir()} == {"used-calls", "used-calls.old"}


def test_memory_is_bounded_where_there_is_no_file(clock: Clock) -> None:
    used = UsedCalls(None, clock, most=100)
    for call in range(1_000):
        used.expect(f"CA{call}")
        clock.now_s += 1
    assert len(used) <= 201
    assert used.has("CA930")


def test_a_million_entries_are_looked_up_in_no_time(clock: Clock, path: Path) -> None:
    """Compared with an empty memory, not with a clock: nothing is read through."""
    path.parent.mkdir()
    path.write_bytes(random.Random(1).randbytes(1_000_000 * ENTRY_BYTES))
    os.truncate(path, 999_000 * ENTRY_BYTES)
    large, small = UsedCalls(path, clock), UsedCalls(None, clock)
    assert len(large) > 990_000

    def took_s(used: UsedCalls) -> float:
        best_s = 1.0
        for _ in range(5):
            began_s = time.perf_counter()
            for call in range(200):
                used.has(f"CA{call}")
                used.use(f"CA{call}")
            best_s = min(best_s, time.perf_counter() - began_s)
        return best_s

    assert took_s(large) < 30 * took_s(small)


def test_kill_9_loses_nothing(path: Path) -> None:
    program = (
        "import sys, os; from pathlib import Path; from bridge.server.store.used_calls import UsedCalls\n"
        "used = UsedCalls(Path(sys.argv[1])); used.use(sys.argv[2]); used.expect(sys.argv[3])\n"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program, path, CALL, OTHER], check=False).returncode == -9
    used = UsedCalls(path)
    assert used.has(CALL)
    assert not used.has(OTHER)
    assert UsedCalls(path, lambda: time.time() + GRACE_S + 1).has(OTHER)


@pytest.mark.parametrize("kind", ["folder", "link", "full"])
def test_a_file_that_cannot_be_kept_costs_a_line_and_no_call(
    clock: Clock, path: Path, kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.mkdir()
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(path.parent / "elsewhere")
    used = UsedCalls(path, clock)
    if kind == "full":
        monkeypatch.setattr(os, "write", _full)
    for stream in range(1, 5):
        used.use(CALL, stream)
        assert used.has(CALL, stream)
    lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert not (path.parent / "elsewhere").exists()


def _full(_fd: int, _raw: bytes) -> int:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("kind", ["full", "full at once", "folder"])
def test_what_there_was_no_room_for_is_written_when_there_is_some(
    clock: Clock, path: Path, kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    path.parent.mkdir()
    if kind == "folder":
        path.mkdir()
    used = UsedCalls(path, clock)
    if kind == "full":
        used.use(OTHER)
    with monkeypatch.context() as disk:
        if kind != "folder":
            disk.setattr(os, "write", _full)
        for stream in range(1, 2_501):
            clock.now_s += 0.01
            used.use(CALL, stream)
            assert used.has(CALL, stream)
    if kind == "folder":
        path.rmdir()
    used.use(OTHER, 7)
    assert not UsedCalls(path, clock).has(OTHER, 7), "not tried with each entry"
    for stream in range(8, 12):
        clock.now_s += AGAIN_S
        used.use(OTHER, stream)
    again = UsedCalls(path, clock)
    assert all(again.has(CALL, stream) for stream in range(1, 2_501))
    assert all(again.has(OTHER, stream) for stream in range(7, 12))
    assert again.has(OTHER) == (kind == "full")
    assert path.stat().st_size % ENTRY_BYTES == 0
    about = [record.getMessage() for record in caplog.records if "used calls" in record.getMessage()]
    assert [line.partition(",")[0] for line in about if "again" not in line] == [
        "used calls are in memory only"
    ]
    assert len(about) == 2


def test_memory_is_bounded_while_the_disk_is_full(
    clock: Clock, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = UsedCalls(path, clock, most=100)
    monkeypatch.setattr(os, "write", _full)
    for stream in range(1, 1_001):
        used.use(CALL, stream)
    assert used.has(CALL, 1_000)
    assert len(used) <= 202
    assert len(used._unwritten) <= 100


def test_a_file_that_is_removed_begins_again(clock: Clock, path: Path) -> None:
    used = UsedCalls(path, clock)
    used.use(CALL)
    path.unlink()
    used.use(OTHER)
    assert used.has(CALL)
    assert UsedCalls(path, clock).has(OTHER)
