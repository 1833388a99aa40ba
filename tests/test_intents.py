"""A goodbye stays a goodbye and a crash stays a crash, whoever asks, how often, and in which process."""

from __future__ import annotations

import json
import logging
import os
import stat
import sys
import time
from pathlib import Path

import pytest

from bridge.core.messages import Ended, Reason
from bridge.server.call_control import CallControl
from bridge.server.store import intents as intents_module
from bridge.server.store import journal
from bridge.server.store.intents import (
    ENDED,
    HANDOVER,
    KEPT_CALLS,
    Intents,
    Next,
    Situation,
    Step,
    next_step,
    returned_words,
)
from tests.hand_clock import Clock

CALL = "CA" + "1" * 32
PLAIN = Situation(targets={"billing", "office"}, fallback="office")
DRAINING = PLAIN._replace(draining=True)
MUTE = PLAIN._replace(can_answer=False)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "intents.jsonl"


# -- the next step


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"DialCallStatus": "completed"}, "completed"),
        ({"DialCallStatus": "completed", "DialBridged": "true"}, "completed"),
        ({"DialCallStatus": "completed", "DialBridged": "false"}, "no-answer"),
        ({"DialCallStatus": "busy", "DialBridged": "false"}, "busy"),
        ({}, ""),
    ],
)
def test_a_target_that_was_joined_to_nobody_was_not_reached(fields: dict[str, str], status: str) -> None:
    """A mailbox that hung up, or a person who declined: the caller is not hung up on for it."""
    assert intents_module.dialled(fields) == status


@pytest.mark.parametrize(
    ("intent", "now", "step"),
    [
        # what we wanted
        (ENDED, PLAIN, Step(Next.HANG_UP)),
        (ENDED, DRAINING, Step(Next.HANG_UP)),
        ("transfer:billing", PLAIN, Step(Next.DIAL, "billing")),
        ("transfer:billing", DRAINING, Step(Next.DIAL, "billing")),
        (HANDOVER, PLAIN, Step(Next.RESUME)),
        (HANDOVER, DRAINING, Step(Next.WAIT)),
        # what nobody wanted
        (None, PLAIN, Step(Next.RESUME)),
        (None, DRAINING, Step(Next.WAIT)),
        (None, PLAIN._replace(can_answer=False), Step(Next.FALLBACK, "office")),
        (None, PLAIN._replace(can_answer=False, fallback=None), Step(Next.APOLOGISE)),
        # a target that is gone from the settings
        ("transfer:attic", PLAIN, Step(Next.FALLBACK, "office")),
        ("transfer:attic", PLAIN._replace(fallback=None), Step(Next.APOLOGISE)),
        # how dialling went
        ("transfer:billing", PLAIN._replace(dial_status="completed"), Step(Next.HANG_UP)),
        ("transfer:billing", PLAIN._replace(dial_status="answered"), Step(Next.HANG_UP)),
        (
            "transfer:billing",
            PLAIN._replace(dial_status="no-answer"),
            Step(Next.RETURN, "billing", "no_answer"),
        ),
        ("transfer:billing", PLAIN._replace(dial_status="busy"), Step(Next.RETURN, "billing", "busy")),
        ("transfer:office", PLAIN._replace(dial_status="failed"), Step(Next.RETURN, "office", "failed")),
        ("transfer:office", PLAIN._replace(dial_status="canceled"), Step(Next.RETURN, "office", "canceled")),
        ("transfer:office", PLAIN._replace(dial_status="odd"), Step(Next.RETURN, "office", "failed")),
        (None, PLAIN._replace(dial_status="busy"), Step(Next.RETURN, "", "busy")),
        (ENDED, PLAIN._replace(dial_status="busy"), Step(Next.HANG_UP)),
        ("returned:busy:billing", PLAIN, Step(Next.RETURN, "billing", "busy")),  # asked again
        ("returned:busy:billing", PLAIN._replace(dial_status="busy"), Step(Next.RETURN, "billing", "busy")),
        # and no model to come back to
        ("transfer:billing", MUTE._replace(dial_status="busy"), Step(Next.FALLBACK, "office")),
        ("transfer:office", MUTE._replace(dial_status="busy"), Step(Next.UNREACHED)),
        ("transfer:billing", MUTE._replace(dial_status="busy", fallback=None), Step(Next.UNREACHED)),
        ("transfer:billing", DRAINING._replace(dial_status="busy"), Step(Next.WAIT)),
        ("returned:busy:billing", DRAINING, Step(Next.WAIT)),
        # nobody is on the line any more
        (None, PLAIN._replace(call_status="completed"), Step(Next.HANG_UP)),
        (HANDOVER, DRAINING._replace(call_status="canceled"), Step(Next.HANG_UP)),
        (None, PLAIN._replace(call_status="in-progress"), Step(Next.RESUME)),
    ],
)
def test_what_follows(intent: str | None, now: Situation, step: Step) -> None:
    assert next_step(intent, now) == step


def test_nobody_wanted_it_three_times_and_then_it_is_enough() -> None:
    assert [next_step(None, PLAIN, resumes=n).then for n in range(4)] == [Next.RESUME] * 3 + [Next.FALLBACK]
    assert next_step(HANDOVER, PLAIN, resumes=3) == Step(Next.RESUME)


def test_waiting_for_another_process_ends_before_the_carrier_ends_it() -> None:
    assert next_step(None, DRAINING, waits=7) == Step(Next.WAIT)
    assert next_step(None, DRAINING, waits=8) == Step(Next.FALLBACK, "office")


# -- one process


def test_an_intent_is_there_however_often_the_carrier_asks() -> None:
    intents = Intents(None)
    assert intents.peek(CALL) is None
    intents.note(CALL, ENDED)
    assert [intents.decide(CALL, PLAIN).then for _ in range(3)] == [Next.HANG_UP] * 3


def test_the_last_intent_counts() -> None:
    intents = Intents(None)
    intents.note(CALL, HANDOVER)
    intents.note(CALL, "transfer:billing")
    assert intents.decide(CALL, PLAIN) == Step(Next.DIAL, "billing")


def test_a_new_stream_makes_the_intent_for_the_last_one_void() -> None:
    intents = Intents(None)
    intents.note(CALL, HANDOVER)
    intents.began(CALL)
    assert intents.peek(CALL) is None


def test_a_call_is_resumed_three_times_in_two_minutes(clock: Clock) -> None:
    intents = Intents(None, clock)
    steps = []
    for _ in range(4):
        intents.began(CALL)
        clock.now_s += 10
        steps.append(intents.decide(CALL, PLAIN))
    assert steps == [Step(Next.RESUME)] * 3 + [Step(Next.FALLBACK, "office")]


def test_later_it_is_resumed_again(clock: Clock) -> None:
    intents = Intents(None, clock)
    for _ in range(10):
        assert intents.decide(CALL, PLAIN) == Step(Next.RESUME)
        clock.now_s += 41
    assert intents.resumes(CALL) == 2


def test_a_call_sent_to_the_fallback_is_sent_there_once() -> None:
    intents = Intents(None)
    unable = PLAIN._replace(can_answer=False)
    assert intents.decide(CALL, unable) == Step(Next.FALLBACK, "office")
    assert intents.decide(CALL, PLAIN) == Step(Next.DIAL, "office")  # asked again: a retry
    assert intents.decide(CALL, unable._replace(dial_status="no-answer")) == Step(Next.UNREACHED)
    assert intents.decide(CALL, PLAIN) == Step(Next.HANG_UP)


def test_a_call_comes_back_from_a_transfer_however_often_the_carrier_asks(path: Path) -> None:
    intents = Intents(path)
    intents.began(CALL)
    intents.note(CALL, "transfer:billing")
    busy = PLAIN._replace(dial_status="busy")
    assert [intents.decide(CALL, busy) for _ in range(8)] == [Step(Next.RETURN, "billing", "busy")] * 8
    assert Intents(path).decide(CALL, PLAIN) == Step(Next.RETURN, "billing", "busy"), "another process"
    assert returned_words("busy", intents.peek(CALL)) == "transfer to billing: the line is busy"
    intents.began(CALL, 2)
    assert intents.decide(CALL, PLAIN) == Step(Next.RESUME), "the stream is lost, and that is another matter"


def test_a_call_that_was_sent_on_when_it_rang_does_not_come_back_to_a_model_that_it_never_had() -> None:
    intents = Intents(None)
    intents.note(CALL, "transfer:billing")
    assert intents.decide(CALL, PLAIN._replace(dial_status="busy")) == Step(Next.FALLBACK, "office")
    assert intents.decide(CALL, PLAIN._replace(dial_status="busy")) == Step(Next.UNREACHED)


def test_a_call_comes_back_five_times_and_then_it_is_enough(path: Path) -> None:
    steps = []
    for stream in range(1, 8):
        intents = Intents(path)  # in another process, each time
        intents.began(CALL, stream)
        intents.note(CALL, "transfer:office")
        steps.append(intents.decide(CALL, PLAIN._replace(dial_status="no-answer")).then)
    assert steps == [Next.RETURN] * 5 + [Next.UNREACHED] * 2


@pytest.mark.parametrize(
    ("outcome", "intent", "words"),
    [
        ("no_answer", "returned:no_answer:desk", "transfer to desk: no one answered (30 s)"),
        ("failed", "returned:failed:desk", "transfer to desk: the number could not be reached"),
        ("canceled", "returned:canceled:desk", "transfer to desk: it was cancelled before anybody answered"),
        ("busy", "returned:busy:", "transfer: the line is busy"),
        ("what a stranger says", None, "transfer: the number could not be reached"),
        ("busy", None, "transfer: the line is busy"),
    ],
)
def test_what_the_model_is_told_of_it(outcome: str, intent: str | None, words: str) -> None:
    assert returned_words(outcome, intent) == words


def test_waits_are_counted_until_a_stream_begins() -> None:
    intents = Intents(None)
    assert [intents.decide(CALL, DRAINING).then for _ in range(9)] == [Next.WAIT] * 8 + [Next.FALLBACK]
    intents.began(CALL)
    assert intents.decide(CALL, DRAINING) == Step(Next.WAIT)


def test_intents_are_forgotten_after_a_day_and_the_oldest_when_there_are_many(clock: Clock) -> None:
    intents = Intents(None, clock)
    intents.note(CALL, ENDED)
    clock.now_s += 24 * 3600
    assert intents.peek(CALL) == ENDED
    clock.now_s += 1
    assert intents.peek(CALL) is None
    for call in range(KEPT_CALLS + 10):
        intents.note(f"CA{call}", ENDED)
    assert len(intents) == KEPT_CALLS
    assert intents.peek("CA9") is None
    assert intents.peek("CA10") == ENDED


@pytest.mark.parametrize("intent", [None, HANDOVER])
def test_after_a_final_status_no_stream_is_opened(intent: str | None, path: Path) -> None:
    """Whoever asks again as if the call went on: what the carrier signed before is signed still."""
    intents = Intents(path)
    intents.began(CALL)
    if intent is not None:
        intents.note(CALL, intent)
    assert intents.decide(CALL, PLAIN._replace(call_status="completed")) == Step(Next.HANG_UP)
    for one in (intents, Intents(path)):
        assert one.decide(CALL, PLAIN._replace(call_status="in-progress")) == Step(Next.HANG_UP)
        assert not one.has_begun(CALL)


@pytest.mark.parametrize(
    ("intent", "then"),
    [(None, ENDED), (HANDOVER, ENDED), ("transfer:billing", "transfer:billing"), (ENDED, ENDED)],
)
def test_after_a_stop_only_what_was_intended_is_answered(intent: str | None, then: str) -> None:
    """`stop` says that the caller has left, or is elsewhere: there is nobody to be handed over."""
    control = CallControl(Intents(None))
    control.intents.began(CALL)
    if intent is not None:
        control.note(CALL, intent)
    control.ended(CALL, Ended(Reason.CALLER_HUNG_UP))
    assert control.intents.peek(CALL) == then
    assert control.intents.decide(CALL, PLAIN).then in (Next.HANG_UP, Next.DIAL)


def test_a_question_that_is_asked_again_is_no_second_resume() -> None:
    intents = Intents(None)
    assert intents.decide(CALL, PLAIN) == Step(Next.RESUME)
    for _ in range(10):
        assert intents.decide(CALL, PLAIN._replace(retried=True)) == Step(Next.RESUME)
    assert intents.resumes(CALL) == 1


# -- the journal


def test_another_process_knows_how_many_streams_there_were(path: Path, clock: Clock) -> None:
    before = Intents(path, clock)
    assert before.streams(CALL) == 0
    before.began(CALL)
    before.began(CALL, 3)
    before.began(CALL, 2)  # of another process, and later
    before.note("CA2", ENDED)
    for after in (Intents(path, clock), Intents(path, clock)):  # the second reads what the first rewrote
        assert after.streams(CALL) == 3
        assert after.has_begun(CALL)
        assert after.streams("CA2") == 0


def test_a_journal_without_numbers_says_that_there_was_a_stream(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(json.dumps({"at_ms": int(time.time() * 1000), "call": CALL, "intent": None}) + "\n")
    assert Intents(path).streams(CALL) == 1


def test_another_process_knows_what_this_one_intended(path: Path, clock: Clock) -> None:
    before = Intents(path, clock)
    before.note(CALL, "transfer:billing")
    before.note("CA2", HANDOVER)
    before.began("CA2")
    before.decide("CA2", PLAIN)
    # It is killed here: nothing is closed.
    clock.now_s += 1
    after = Intents(path, clock)
    assert after.decide(CALL, PLAIN) == Step(Next.DIAL, "billing")
    assert after.peek("CA2") is None
    assert after.resumes("CA2") == 1


def test_the_journal_outlives_a_kill(path: Path) -> None:
    import signal
    import subprocess

    program = (
        "import os, signal, sys; from pathlib import Path; from bridge.server.store.intents import Intents\n"
        f"Intents(Path({str(path)!r})).note({CALL!r}, 'ended'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", program], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    assert Intents(path).peek(CALL) == ENDED


def test_the_journal_is_its_owner_s_alone(path: Path) -> None:
    Intents(path).note(CALL, ENDED)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o666)
    Intents(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_holds_names_and_no_more(path: Path, clock: Clock) -> None:
    Intents(path, clock).note(CALL, "transfer:billing")
    [line] = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(line.pop("by")) == 12  # which process wrote it: a number made up at its start
    assert line == {"at_ms": 1_000_000_000_000, "call": CALL, "intent": "transfer:billing"}


@pytest.mark.parametrize(
    "torn",
    [
        b'{"at_ms":1000000000000,"call":"CA',
        b"\xff\xfe\n",
        b"[]\n",
        b'{"call":1,"at_ms":"x"}\n',
        b"\n\n",
        b"{}\n",
        b'{"at_ms":1000000000000,"call":"CA3","intent":7}\n',
    ],
)
def test_a_line_that_a_crash_has_cut_costs_that_line_alone(path: Path, clock: Clock, torn: bytes) -> None:
    Intents(path, clock).note(CALL, ENDED)
    with path.open("ab") as file:
        file.write(torn)
    second = Intents(path, clock)
    assert second.peek(CALL) == ENDED
    second.note("CA2", HANDOVER)
    third = Intents(path, clock)
    assert (third.peek(CALL), third.peek("CA2"), third.peek("CA3")) == (ENDED, HANDOVER, None)


def test_what_is_over_a_day_old_is_not_read(path: Path, clock: Clock) -> None:
    Intents(path, clock).note(CALL, ENDED)
    clock.now_s += 24 * 3600 + 1
    assert len(Intents(path, clock)) == 0


def test_the_file_is_bounded(path: Path, clock: Clock) -> None:
    intents = Intents(path, clock)
    for call in range(3 * KEPT_CALLS):
        intents.note(f"CA{call}", HANDOVER)
        intents.began(f"CA{call}")
    assert len(path.read_bytes().splitlines()) <= 4 * KEPT_CALLS + 1
    assert list(path.parent.iterdir()) == [path]
    after = Intents(path, clock)
    assert len(after) == KEPT_CALLS
    assert len(path.read_bytes().splitlines()) == KEPT_CALLS


def test_when_another_process_rewrites_the_file_nothing_is_lost(path: Path, clock: Clock) -> None:
    one = Intents(path, clock)
    for _ in range(200):
        one.note(CALL, HANDOVER)
    Intents(path, clock)  # reads 200 lines of one call, and writes one
    one.note("CA2", ENDED)
    third = Intents(path, clock)
    assert (third.peek(CALL), third.peek("CA2")) == (HANDOVER, ENDED)


def test_two_processes_beside_each_other_know_of_each_other_s_calls(path: Path, clock: Clock) -> None:
    """The carrier asks either of them what comes next."""
    one, other = Intents(path, clock), Intents(path, clock)
    one.began(CALL)
    one.note(CALL, ENDED)
    other.began("CA2")
    other.note("CA2", "transfer:billing")
    assert other.decide(CALL, PLAIN) == Step(Next.HANG_UP)
    assert one.decide("CA2", PLAIN) == Step(Next.DIAL, "billing")
    one.note("CA3", HANDOVER)
    assert other.decide("CA3", PLAIN) == Step(Next.RESUME)
    other.began("CA3")
    clock.now_s += 1
    assert (one.peek("CA3"), one.resumes("CA3")) == (None, 1)
    one.decide("CA3", PLAIN)
    assert (one.resumes("CA3"), other.resumes("CA3")) == (2, 2)


def test_a_resume_is_counted_once_when_another_process_rewrites_the_file(path: Path, clock: Clock) -> None:
    one = Intents(path, clock)
    one.decide(CALL, PLAIN)
    for _ in range(200):
        one.note("CA2", HANDOVER)
    other = Intents(path, clock)  # reads 200 lines of one call, and writes one
    other.note("CA3", ENDED)
    assert (one.resumes(CALL), one.peek("CA2"), one.peek("CA3")) == (1, HANDOVER, ENDED)


def test_a_line_that_another_process_is_writing_is_read_when_it_is_whole(path: Path, clock: Clock) -> None:
    intents = Intents(path, clock)
    line = json.dumps({"at_ms": 1_000_000_000_000, "call": CALL, "intent": ENDED}).encode()
    with path.open("ab", buffering=0) as file:
        file.write(line[:30])
        assert intents.peek(CALL) is None
        file.write(line[30:] + b"\n")
    assert intents.peek(CALL) == ENDED


def test_a_file_that_somebody_removed_is_made_anew(path: Path, clock: Clock) -> None:
    intents = Intents(path, clock)
    path.unlink()
    intents.note(CALL, ENDED)
    assert Intents(path, clock).peek(CALL) == ENDED


def test_no_link_of_somebody_else_s_is_followed(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    victim = path.parent / "victim"
    victim.write_text("precious")
    path.symlink_to(victim)
    with caplog.at_level(logging.WARNING):
        intents = Intents(path)
        intents.note(CALL, ENDED)
    assert victim.read_text() == "precious"
    assert intents.peek(CALL) == ENDED
    assert len(caplog.records) == 1


def test_a_disk_that_is_full_for_a_while_costs_two_lines_in_the_log_and_no_intent(
    path: Path, clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    intents, beside = Intents(path, clock), Intents(path, clock)

    def full(_file: int, _raw: bytes) -> int:
        raise OSError(28, "No space left on device")

    with caplog.at_level(logging.INFO), monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        intents.note(CALL, ENDED)
        intents.note("CA2", ENDED)
    assert [record.getMessage() for record in caplog.records] == [
        "intents are in memory only, the journal cannot be kept: [Errno 28] No space left on device"
    ]
    assert intents.decide("CA2", PLAIN) == Step(Next.HANG_UP)
    beside.note("CA3", HANDOVER)
    with caplog.at_level(logging.INFO):
        intents.note("CA4", "transfer:billing")
        intents.note("CA5", ENDED)
    assert [record.getMessage() for record in caplog.records[1:]] == ["intents are kept in the journal again"]
    for reader in (beside, intents, Intents(path, clock)):
        kept = [reader.peek(sid) for sid in (CALL, "CA2", "CA3", "CA4", "CA5")]
        assert kept == [ENDED, ENDED, HANDOVER, "transfer:billing", ENDED]
    intents.close()


def test_a_folder_that_comes_back_has_the_journal_again(path: Path, clock: Clock) -> None:
    """A volume that was not mounted yet, for one."""
    path.parent.write_text("in its place")
    intents = Intents(path, clock)
    intents.note(CALL, ENDED)
    path.parent.unlink()
    intents.note("CA2", HANDOVER)
    after = Intents(path, clock)
    assert (after.peek(CALL), after.peek("CA2")) == (ENDED, HANDOVER)


def test_what_waits_for_a_full_disk_is_bounded_and_written_in_pieces(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MOST_UNWRITTEN", 1_000)
    monkeypatch.setattr(journal, "MOST_A_TURN", 100)
    intents, sizes = Intents(path, clock), list[int]()
    real = os.write

    def full(_file: int, raw: bytes) -> int:
        sizes.append(len(raw))
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        for call in range(1_100):
            intents.note(f"CA{call % 50}", HANDOVER)

    def enough(file: int, raw: bytes) -> int:
        sizes.append(len(raw))
        return real(file, raw)

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", enough)
        for _ in range(12):
            intents.note(CALL, ENDED)
    assert max(sizes) < 200 * 100
    assert Intents(path, clock).peek(CALL) == ENDED


def test_no_room_to_write_the_file_anew_leaves_it_as_it_is(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intents_module, "KEPT_CALLS", 100)
    intents, tried = Intents(path, clock), 0

    def no_room(_self: Path, _target: Path) -> Path:
        nonlocal tried
        tried += 1
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", no_room)
        for call in range(600):
            intents.note(f"CA{call % 70}", HANDOVER)
    assert tried == 1
    assert list(path.parent.iterdir()) == [path]
    intents.note(CALL, ENDED)
    assert Intents(path, clock).peek(CALL) == ENDED


def test_half_a_line_written_does_not_spoil_the_next(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    intents = Intents(path, clock)
    real = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda file, raw: real(file, raw[: len(raw) // 2]))
        intents.note(CALL, ENDED)
    intents.note("CA2", ENDED)
    after = Intents(path, clock)
    assert (after.peek(CALL), after.peek("CA2")) == (ENDED, ENDED)
