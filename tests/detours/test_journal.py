"""What is known of a detour: written down before the carrier hears of it, and known to the next process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.core.messages import DetourResult, TransferMode, TransferOutcome
from bridge.server.store.detours import KEPT, KEPT_S, DetourJournal, DetourRecord

FIRST, SECOND = "1" * 32, "2" * 32
BUSY = DetourResult(TransferOutcome.BUSY, rang_ms=2_000, raw={"DialCallStatus": "busy"})
DECLINED = DetourResult(TransferOutcome.DECLINED)


class Clock:
    now_s = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now_s


def record(detour_id: str = FIRST, **more: object) -> DetourRecord:
    usual = {"call_sid": "CA1", "since_ms": 1_000_000_000_000, "name": "billing"}
    return DetourRecord(detour_id=detour_id, **{**usual, **more})  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "detours.jsonl"


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_record_only_moves_forward(on_disk: bool, path: Path) -> None:
    journal = DetourJournal(path if on_disk else None, Clock())
    assert journal.find(FIRST) is None
    assert journal.change(FIRST, key="1") is None
    journal.begin(record())
    journal.begin(record(name="sales"))
    journal.change(FIRST, leg_sid="CAd1", key="2")
    journal.change(FIRST, result=BUSY)
    after = journal.change(FIRST, result=DECLINED, leg_status="completed")
    assert after == record(leg_sid="CAd1", key="2", result=BUSY, leg_status="completed")
    assert journal.find(FIRST) == after
    journal.close()


def test_the_next_process_knows_it(path: Path) -> None:
    """Nothing is closed or flushed: the process was killed."""
    before = DetourJournal(path, Clock())
    before.begin(record(mode=TransferMode.WARM, brief="about an invoice"))
    before.change(FIRST, accepted_at_ms=7, key="")
    before.change(FIRST, result=BUSY)
    known = before.find(FIRST)
    after = DetourJournal(path, Clock())
    assert after.find(FIRST) == known
    assert after.change(FIRST, result=DECLINED) == known


def test_a_process_beside_this_one_knows_it(path: Path) -> None:
    one, other = DetourJournal(path, Clock()), DetourJournal(path, Clock())
    one.begin(record())
    assert other.find(FIRST) == record()
    other.change(FIRST, key="2")
    one.change(FIRST, answered_by="human")
    assert one.find(FIRST) == other.find(FIRST) == record(key="2", answered_by="human")


def test_a_killed_process_loses_nothing(path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from bridge.server.store.detours import DetourJournal, DetourRecord
journal = DetourJournal(Path({str(path)!r}))
journal.begin(DetourRecord(detour_id={FIRST!r}, call_sid="CA1", since_ms=5, name="billing"))
journal.change({FIRST!r}, accepted_at_ms=9)
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program], check=False)
    found = DetourJournal(path).find(FIRST)
    assert found is not None
    assert (found.name, found.accepted_at_ms) == ("billing", 9)


def test_lines_that_are_cut_or_of_another_version_are_passed_over(path: Path) -> None:
    journal = DetourJournal(path, Clock())
    journal.begin(record())
    with path.open("a") as file:
        at_ms = round(Clock.now_s * 1000)
        file.write(json.dumps({"at_ms": at_ms, "detour_id": FIRST, "kind": "carousel"}) + "\n")
        file.write(json.dumps({"at_ms": at_ms, "detour_id": SECOND}) + "\n")
        file.write('{"at_ms": 5, "detour_id": 7}\n[]\n{"at_ms": 1, "det')
    after = DetourJournal(path, Clock())
    assert after.find(FIRST) == record()
    after.begin(record(SECOND))
    assert DetourJournal(path, Clock()).find(SECOND) == record(SECOND)


def test_what_is_old_goes(path: Path) -> None:
    clock = Clock()
    journal = DetourJournal(path, clock)
    journal.begin(record())
    clock.now_s += KEPT_S - 1
    assert journal.find(FIRST) == record()
    clock.now_s += 2
    assert journal.find(FIRST) is None
    journal.begin(record(SECOND))
    assert DetourJournal(path, clock).find(FIRST) is None


def test_there_is_room_for_so_many() -> None:
    journal = DetourJournal(None, Clock())
    for number in range(KEPT + 10):
        journal.begin(record(f"{number:032x}"))
    assert journal.find(f"{9:032x}") is None
    assert journal.find(f"{10:032x}") is not None


def test_the_file_does_not_grow_without_bound(path: Path) -> None:
    journal = DetourJournal(path, Clock())
    journal.begin(record())
    for number in range(150):
        journal.change(FIRST, leg_sequence=number)
    journal.close()
    known = DetourJournal(path, Clock())
    assert len(path.read_text().splitlines()) == 1
    assert known.find(FIRST) == record(leg_sequence=149)
    assert path.stat().st_mode & 0o077 == 0


def test_the_latest_detour_of_a_call() -> None:
    journal = DetourJournal(None, Clock())
    assert journal.of_call("CA1") is None
    journal.begin(record())
    journal.begin(record(SECOND, since_ms=1_000_000_000_001))
    journal.begin(record("3" * 32, call_sid="CA2"))
    journal.change(FIRST, key="1")
    latest = journal.of_call("CA1")
    assert latest is not None
    assert latest.detour_id == SECOND
