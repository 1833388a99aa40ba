"""Two machines: the console of one shows the calls of both, as the other tells them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.core import messages as m
from bridge.server.console.far import FORGOTTEN_S, PIECE_CHARACTERS, POLL, Borrowed, Feed
from bridge.server.store.commands import NoAnswer

from .test_pump import Room, Runner


class Two:
    """`here` is looked at, `there` has calls. Nothing is asked but by `turn`."""

    def __init__(self, calls: int = 30) -> None:
        self.here, self.there = Room(2), Room(0)
        self.there.registry.runners.update({f"CB{number}": Runner() for number in range(calls)})
        self.here.pump.borrowed = Borrowed(self.ask, lambda: ["there"], "x", self.here.pump.tell_far)
        self.here.pump.borrowed.look = lambda on: None  # type: ignore[method-assign]  # noqa: ARG005
        self.answers = True

    async def ask(self, machine: str, op: str, **wanted: Any) -> Any:
        assert (machine, op) == ("there", POLL)
        if not self.answers:
            raise NoAnswer(machine)
        return json.loads(json.dumps(await self.there.pump.lent.poll(json.loads(json.dumps(wanted)))))

    async def turn(self, times: int = 1) -> None:
        for _ in range(times):
            await self.here.pump.borrowed.tick()
            await self.there.ticks(0.3)
            await self.here.pump.borrowed.tick()
            await self.here.ticks(0.3)


async def test_the_list_has_the_calls_of_both() -> None:
    two = Two()
    _, socket = two.here.join()
    await two.turn(3)
    listed: dict[str, Any] = {}
    for message in (json.loads(text) for text in socket.texts):
        if message["kind"] in ("calls", "rows"):
            rows = message["calls"] if message["kind"] == "calls" else message["rows"]
            listed |= {row["call"]: row for row in rows}
    assert len(listed) == 32
    assert listed["CB29"]["machine"] == "one"
    _, later = two.here.join()
    await two.turn()
    pieces = later.said("calls")
    assert sum(len(one["calls"]) for one in pieces) == 32
    assert [one["ends"] for one in pieces].count(True) == 1
    two.there.change("CB7")
    socket.texts.clear()
    await two.turn(2)
    (row,) = [row for told in socket.said("rows") for row in told["rows"]]
    assert (row["call"], row["turns"]) == ("CB7", 1)


async def test_a_call_of_another_machine_is_looked_at() -> None:
    two = Two(3)
    viewer, socket = two.here.join()
    await two.turn(2)
    viewer.looks_at = "CB1"
    await two.turn(3)
    assert len(socket.said("call")) == 1
    two.there.live.call_did("CB1", m.Noted("something", "has happened"), 1_000)
    await two.turn(2)
    (told,) = socket.said("call_delta")
    assert told["call"] == "CB1"
    assert told["from"] == socket.said("call")[0]["to"]
    assert told["events"][0]["text"] == "something: has happened"
    second, other = two.here.join()
    second.looks_at = "CB1"
    await two.turn(3)
    assert len(other.said("call")) == 1


async def test_calls_of_a_machine_that_is_gone_leave_the_list() -> None:
    two = Two(2)
    viewer, socket = two.here.join()
    viewer.looks_at = "CB0"
    await two.turn(3)
    two.here.pump.borrowed._others = tuple
    await two.turn(2)
    assert sorted(socket.said("gone")[0]["calls"]) == ["CB0", "CB1"]
    assert socket.said("lost")


async def test_what_was_lost_on_the_way_comes_again_whole() -> None:
    two = Two(2)
    _, socket = two.here.join()
    await two.turn(2)
    two.answers = False
    two.there.change("CB0")
    await two.turn()
    two.answers = True
    await two.turn(3)
    assert socket.said("rows")[-1]["rows"][0]["turns"] == 1


async def test_who_asks_no_more_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    two, now_s = Two(1), [0.0]
    monkeypatch.setattr(two.there.pump.lent, "_clock", lambda: now_s[0])
    two.here.join()
    await two.turn(2)
    assert len(two.there.pump.viewers) == 1
    assert not two.there.pump.full
    now_s[0] = FORGOTTEN_S + 1
    await two.there.ticks(2.0)
    assert two.there.pump.viewers == []
    assert two.there.live.calls == {}


def test_a_long_message_comes_in_pieces() -> None:
    feed = Feed()
    feed.send("x" * (2 * PIECE_CHARACTERS + 5))
    feed.send("y")
    pieces = [feed.take() for _ in range(4)]
    assert [len(piece) for piece in pieces] == [PIECE_CHARACTERS, PIECE_CHARACTERS, 8, 0]
    assert "".join(pieces).split("\n")[1:] == ["y", ""]
