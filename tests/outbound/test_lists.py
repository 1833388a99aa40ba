"""Lists of numbers: each ends in its row, none is called once too often, whatever ends the run."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bridge import CallRefused, ConfigError
from bridge.server.outbound.calls import Wanted
from bridge.server.outbound.handles import Told
from bridge.server.outbound.list_run import Clock, ListRun
from bridge.server.outbound.lists import ListState, Row, read_rows

BUSY = {"outcome": "busy", "sip_code": 486}
NO_ANSWER = {"outcome": "no_answer", "sip_code": 480, "ring_ms": 30_000}
PERSON = {"outcome": "completed", "answered_by": "human", "sip_code": 200, "talk_s": 30, "cost_usd": 0.01}
MACHINE = {"outcome": "completed", "answered_by": "voicemail", "sip_code": 200}
MAIL = {**MACHINE, "message": "left"}
DECLINED = {"outcome": "declined", "sip_code": 603}
INVALID = {"outcome": "invalid", "sip_code": 404}
TRUNK = {"outcome": "failed", "sip_code": 503}


class Killed(Exception):
    """The process is gone."""


@dataclass
class Carrier:
    """Places calls as a service does, and outlives runs: each number has its answers, the last for ever. A
    key gives its call again. `dies_after` requests the run is killed, before or after the call is made.
    """

    answers: dict[str, list[dict[str, Any] | CallRefused]]
    now_s: float = 0.0
    calls: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    rung: list[tuple[float, str]] = field(default_factory=list)
    open: int = 0
    most: int = 0
    dies_after: int = -1
    dies_late: bool = False

    async def place(self, wanted: Wanted, idem: str, _agent: Any = None) -> Told:
        self.dies_after -= 1
        if self.dies_after == 0 and not self.dies_late:
            raise Killed
        if idem not in self.calls:
            left = self.answers[wanted.to]
            answer = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(answer, CallRefused):
                raise answer
            self.rung.append((self.now_s, wanted.to))
            self.calls[idem] = (wanted.to, answer)
        if self.dies_after == 0:
            raise Killed
        return {"id": idem, "state": "placed"}

    async def news(self, ref: str, _seen: Told) -> Told | None:
        self.open += 1
        self.most = max(self.most, self.open)
        await asyncio.sleep(0)
        self.open -= 1
        return {"id": ref, "state": "done", **self.calls[ref][1]}

    async def check(self, wanted: Wanted) -> Told:
        return {"to": wanted.to}

    async def cancel(self, ref: str) -> None: ...

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        await asyncio.sleep(0)

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now_s, self.sleep)


def number(n: int) -> str:
    return f"+1555{n:07}"


def ran(path: Path, carrier: Carrier, **how: Any) -> ListRun:
    """One run, to its end or its kill."""
    rows, _ = read_rows(path)
    state = ListState(path.with_name("state.jsonl"))
    one = ListRun(rows, state, carrier, **{"cps": 100, "at_once": 5, "clock": carrier.clock, **how})
    try:
        asyncio.run(one.run())
    finally:
        state.close()
    return one


def written(path: Path, carrier: Carrier) -> Path:
    path.write_text("to,consent\n" + "".join(f"{to},yes\n" for to in carrier.answers))
    return path


def states(run: ListRun) -> dict[str, tuple[str, str, int]]:
    return {row.to: (row.state, row.outcome, row.attempt) for row in run.rows}


def test_each_number_ends_in_its_row(tmp_path: Path) -> None:
    hours = CallRefused(422, "call_hours", "it is 21:30 there", 41_400)
    never = CallRefused(422, "do_not_call", "not to be called")
    full = CallRefused(429, "key_calls", "too many at once", 5)
    carrier = Carrier(
        {
            number(0): [PERSON],
            number(1): [BUSY, PERSON],
            number(2): [BUSY],
            number(3): [NO_ANSWER, BUSY, MAIL],
            number(4): [DECLINED],
            number(5): [INVALID],
            number(6): [MACHINE, MACHINE, PERSON],
            number(7): [MAIL],
            number(8): [TRUNK, TRUNK, TRUNK],
            number(9): [hours, PERSON],
            number(10): [never],
            number(11): [full, full, PERSON],
            number(12): [{"outcome": "refused", "reason": "call_hours: it is late"}, PERSON],
            number(13): [{"outcome": "refused", "reason": "do_not_call: asked not to"}],
        }
    )
    run = ran(written(tmp_path / "numbers.csv", carrier), carrier)
    assert states(run) == {
        number(0): ("done", "completed", 1),
        number(1): ("done", "completed", 2),
        number(2): ("done", "busy", 3),
        number(3): ("done", "completed", 3),
        number(4): ("done", "declined", 1),
        number(5): ("done", "invalid", 1),
        number(6): ("done", "completed", 3),
        number(7): ("done", "completed", 1),
        number(8): ("done", "failed", 3),
        number(9): ("done", "completed", 1),
        number(10): ("skipped", "do_not_call", 0),
        number(11): ("done", "completed", 1),
        number(12): ("done", "completed", 1),
        number(13): ("done", "refused", 0),
    }
    at = {to: [s for s, rung in carrier.rung if rung == to] for to in carrier.answers}
    gaps = [round(later - before) for before, later in zip(at[number(2)], at[number(2)][1:], strict=False)]
    assert all(600 <= gap < 700 for gap in gaps)
    again = [round(b - a) for a, b in zip(at[number(6)], at[number(6)][1:], strict=False)]
    assert all(3_600 <= gap < 3_700 for gap in again), at
    assert at[number(9)][0] >= 41_400  # and was overtaken
    assert carrier.most <= 5
    report = run.report()
    assert (report["numbers"], report["left"], report["paused"]) == (14, 0, "")
    assert report["outcomes"]["completed"] == 8
    assert report["cost_usd"] == pytest.approx(0.06)


def test_what_a_rule_has_forbidden_is_asked_for_again_by_the_next_run(tmp_path: Path) -> None:
    """The operator has changed the setting, and starts the same command again."""
    carrier = Carrier(
        {number(0): [CallRefused(422, "call_hours", "nobody knows"), PERSON], number(1): [PERSON]}
    )
    path = written(tmp_path / "numbers.csv", carrier)
    assert states(ran(path, carrier))[number(0)] == ("skipped", "call_hours", 0)
    assert states(ran(path, carrier)) == {
        number(0): ("done", "completed", 1),
        number(1): ("done", "completed", 1),
    }
    assert len(carrier.rung) == 2


def test_with_once_what_is_due_later_is_left(tmp_path: Path) -> None:
    full = CallRefused(503, "loop lag", "no call can be placed now", 5)  # that is waited for
    carrier = Carrier({number(0): [BUSY], number(1): [full, full, PERSON]})
    path = written(tmp_path / "numbers.csv", carrier)
    run = ran(path, carrier, once=True)
    assert states(run)[number(1)] == ("done", "completed", 1)
    assert states(run)[number(0)] == ("again", "busy", 1)
    carrier.now_s += 300
    ran(path, carrier, once=True)
    assert len(carrier.rung) == 2
    carrier.now_s += 300
    assert states(ran(path, carrier, once=True))[number(0)] == ("again", "busy", 2)


@pytest.mark.parametrize("seed", range(2))
def test_a_list_that_is_killed_ten_times_calls_nobody_twice(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    kinds = [[PERSON], [BUSY, PERSON], [NO_ANSWER, MAIL], [DECLINED], [INVALID], [MACHINE, PERSON], [BUSY]]
    carrier = Carrier({number(n): list(chance.choice(kinds)) for n in range(60)})
    wanted = {to: len(answers) if answers[-1] is not BUSY else 3 for to, answers in carrier.answers.items()}
    path = written(tmp_path / "numbers.csv", carrier)
    for _ in range(10):
        carrier.dies_after, carrier.dies_late = chance.randint(3, 14), chance.random() < 0.5
        with pytest.raises(Killed):
            ran(path, carrier)
    carrier.dies_after = -1
    run = ran(path, carrier)
    assert all(row.final for row in run.rows)
    rung = Counter(to for _, to in carrier.rung)
    assert rung == wanted


def test_a_line_that_a_crash_has_cut_is_left_out(tmp_path: Path) -> None:
    carrier = Carrier({number(0): [PERSON], number(1): [PERSON]})
    path = written(tmp_path / "numbers.csv", carrier)
    ran(path, carrier)
    state = tmp_path / "state.jsonl"
    state.write_bytes(state.read_bytes() + b'{"to": "+155500')
    run = ran(path, carrier)
    assert all(row.final for row in run.rows)
    assert len(carrier.rung) == 2


def test_a_call_that_was_asked_for_long_ago_is_not_asked_for_again(tmp_path: Path) -> None:
    carrier = Carrier({number(0): [PERSON]}, dies_after=1)
    path = written(tmp_path / "numbers.csv", carrier)
    with pytest.raises(Killed):
        ran(path, carrier)
    carrier.now_s += 86_400
    run = ran(path, carrier)
    assert states(run)[number(0)] == ("done", "failed", 1)
    assert carrier.rung == []


def test_when_most_calls_fail_it_pauses_and_says_why(tmp_path: Path) -> None:
    carrier = Carrier({number(n): [{"outcome": "failed", "sip_code": 500}] for n in range(60)})
    path = written(tmp_path / "numbers.csv", carrier)
    run = ran(path, carrier)
    assert "of the last 20 calls failed" in run.paused
    assert 20 <= len(carrier.rung) < 30
    assert run.report()["left"] > 30


def test_what_an_operator_has_to_change_pauses_it_and_counts_as_no_call(tmp_path: Path) -> None:
    stop = {"outcome": "refused", "reason": "the account may not call this country", "stop": "stop_country"}
    carrier = Carrier({number(0): [stop, PERSON], number(1): [PERSON]})
    path = written(tmp_path / "numbers.csv", carrier)
    run = ran(path, carrier, at_once=1)
    assert run.paused == "the account may not call this country"
    assert states(run)[number(0)] == ("again", "refused", 0)
    assert states(run)[number(1)][0] == "queued"
    carrier.now_s += 3_600
    assert states(ran(path, carrier))[number(0)] == ("done", "completed", 1)


def test_a_list_is_read_with_its_context_and_each_number_once(tmp_path: Path) -> None:
    path = tmp_path / "numbers.csv"
    path.write_text(
        "\ufeffto, name,consent,order\n+1 (555) 000-0001,Ann,form,4711\n+15550000001,Bob,,\n,Cid,,\n"
        '+15550000002,"Dee, Eve",,"12\n13"\n'
    )
    rows, remarks = read_rows(path, "by post")
    assert [(row.to, row.context, row.consent) for row in rows] == [
        ("+1 (555) 000-0001", {"name": "Ann", "order": "4711"}, "form"),
        ("+15550000002", {"name": "Dee, Eve", "order": "12\n13"}, "by post"),
    ]
    assert remarks == ["line 3: the same number as line 2", "line 4: no number"]


@pytest.mark.parametrize(
    "text", ["number\n+15550000001\n", "", "to\n+15550000001,too,many\n", 'to\n"+1555', "to\n\xff"]
)
def test_what_is_no_list_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "numbers.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError):
        read_rows(path)


def test_two_runs_of_one_list_do_not_go_side_by_side(tmp_path: Path) -> None:
    first = ListState(tmp_path / "state.jsonl")
    with pytest.raises(ConfigError, match="in use"):
        ListState(tmp_path / "state.jsonl")
    first.keep(Row(number(1), 2, state="placed", attempt=1))
    first.close()
    lines = [json.loads(line) for line in (tmp_path / "state.jsonl").read_text().split("\n") if line]
    assert lines[1]["to"] == number(1)
    ListState(tmp_path / "state.jsonl").close()


def test_a_list_that_was_edited_after_a_kill_asks_with_the_same_key(tmp_path: Path) -> None:
    carrier = Carrier({number(0): [BUSY], number(1): [PERSON], number(2): [PERSON]})
    path = written(tmp_path / "numbers.csv", carrier)
    carrier.dies_after, carrier.dies_late = 1, True
    with pytest.raises(Killed):
        ran(path, carrier, at_once=1, once=True)
    carrier.dies_after = -1
    head, first, *others = path.read_text().splitlines()
    path.write_text("\n".join([head, f"{number(9)},yes", *others, first, ""]))
    carrier.answers[number(9)] = [PERSON]
    ran(path, carrier, once=True)
    rung = [to for _, to in carrier.rung]
    assert sorted(rung) == [number(0), number(1), number(2), number(9)]


def test_a_number_in_two_writings_is_one_row(tmp_path: Path) -> None:
    path = tmp_path / "numbers.csv"
    same = ["+15550001111", "(555) 000-1111", "1-555-000-1111", "001 555 000 1111", "555.000.1111"]
    for lines in (same, same[::-1]):
        path.write_text("to,consent\n" + "".join(f"{to},yes\n" for to in lines))
        rows, remarks = read_rows(path)
        assert [row.to for row in rows] == lines[:1]
        assert len(remarks) == 4
    path.write_text("to\n+15550001111\n+4915550001111\n+445550001111\n5550001112\n")
    assert len(read_rows(path)[0]) == 4, "with a country code they are told apart"
