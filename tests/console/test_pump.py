"""How viewers are told of calls: in slices, encoded once, and a slow one not at all."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from bridge.core import messages as m
from bridge.core.call import Call
from bridge.server.console.call_view import CallView
from bridge.server.console.happenings import Lanes, happening
from bridge.server.console.live import LiveCall, LiveCalls
from bridge.server.console.messages import System
from bridge.server.console.pump import LIST_S, SLICE, Pump
from bridge.server.console.rows import RowReader
from bridge.server.console.viewer import PATIENCE_S, SLOW_BYTES, Viewer
from bridge.server.services import alone


class Runner:
    """As much of a call's runner as is read."""

    def __init__(self) -> None:
        self.call = Call(m.CallConfig())

    def now_ms(self) -> int:
        return 1_000


class Registry:
    """Calls of no carrier."""

    def __init__(self, calls: int) -> None:
        self.services = alone()
        self.runners = {f"CA{number}": Runner() for number in range(calls)}

    def call_sids(self) -> list[str]:
        return list(self.runners)

    def runner(self, call_sid: str) -> Any:
        return self.runners.get(call_sid)


class Socket:
    """Reads when it is told to."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.outbox_bytes = 0
        self.closed: int | None = None
        self.reads = True

    def send(self, frame: str) -> None:
        self.texts.append(frame)
        if not self.reads:
            self.outbox_bytes += len(frame)

    def close(self, code: int = 1000, reason: str = "") -> None:  # noqa: ARG002  a socket's
        self.closed = code

    def said(self, kind: str) -> list[Any]:
        return [one for one in map(json.loads, self.texts) if one["kind"] == kind]


class Room:
    """A pump, its calls and its viewers, by a clock of the test's."""

    def __init__(self, calls: int) -> None:
        registry: Any = Registry(calls)
        self.registry = registry
        self.live = LiveCalls(registry)
        self.slices: list[int] = []
        system = System(calls, 0, [], False, 200, None, None)
        self.pump = Pump(
            self.live, registry, lambda: "one", self.view, lambda _viewers: system, step=self.step
        )
        self.pump._task = asyncio.get_running_loop().create_future()  # type: ignore[assignment]  # no clock
        self.now_s = 0.0

    def view(self, call_sid: str, rows: RowReader) -> CallView:
        return CallView(self.live.calls[call_sid], rows, {"pin": "4711", "name": "Ann"}, ["ann"], None)

    async def step(self) -> None:
        self.slices.append(1)

    def join(self) -> tuple[Viewer, Socket]:
        socket = Socket()
        viewer = Viewer(socket, "somebody")
        self.pump.join(viewer)
        return viewer, socket

    async def ticks(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.1)):
            await self.pump.tick(self.now_s)
            self.now_s += 0.1

    def change(self, call_sid: str) -> None:
        live = self.live.calls[call_sid]
        live.call.stats.turns += 1
        self.live.call_did(call_sid, m.CallerSpoke(speaking=True), 1_000)


async def test_a_snapshot_comes_in_slices_and_then_only_what_changes() -> None:
    room = Room(60)
    _, socket = room.join()
    await room.ticks(0.1)
    pieces = socket.said("calls")
    assert [len(one["calls"]) for one in pieces] == [SLICE, SLICE, 10]
    assert [one["begins"] for one in pieces] == [True, False, False]
    assert [one["ends"] for one in pieces] == [False, False, True]
    assert len(room.slices) == 3
    socket.texts.clear()
    await room.ticks(1.0)
    assert socket.said("rows") == []
    room.change("CA7")
    await room.ticks(2 * LIST_S)
    (told,) = socket.said("rows")
    assert told["rows"] == [{"call": "CA7", "from": 1, "to": 2, "turns": 1}]


async def test_a_change_is_encoded_once_whoever_looks() -> None:
    room = Room(3)
    sockets = [room.join()[1] for _ in range(3)]
    await room.ticks(0.1)
    for number in range(3):
        room.change(f"CA{number}")
    await room.ticks(0.4)
    texts = [one.texts[-1] for one in sockets]
    assert texts[0] == texts[1] == texts[2]


async def test_one_that_missed_a_change_gets_the_whole_row() -> None:
    room = Room(1)
    viewer, socket = room.join()
    await room.ticks(0.1)
    viewer.seen["CA0"] = -5
    room.change("CA0")
    await room.ticks(0.4)
    assert socket.said("rows")[-1]["rows"][0]["revision"] == 2


async def test_a_slow_viewer_gets_nothing_then_a_snapshot_and_at_last_its_close() -> None:
    room = Room(2)
    viewer, socket = room.join()
    _, other = room.join()
    viewer.looks_at = "CA0"
    await room.ticks(0.4)
    assert len(socket.said("call")) == 1
    socket.outbox_bytes = SLOW_BYTES + 1
    socket.texts.clear()
    room.change("CA0")
    await room.ticks(1.0)
    assert socket.texts == []
    assert other.said("rows")
    socket.outbox_bytes = 0  # it has read
    await room.ticks(0.4)
    assert socket.said("rows") == []
    assert socket.said("calls")[-1]["calls"][0]["turns"] == 1
    assert len(socket.said("call")) == 1
    socket.outbox_bytes = SLOW_BYTES + 1
    await room.ticks(PATIENCE_S + 0.5)
    assert socket.closed == 1013
    assert other.closed is None


async def test_without_viewers_nothing_is_kept() -> None:
    room = Room(2)
    assert room.live.calls == {}
    room.live.call_did("CA0", m.CallerSpoke(speaking=True), 1)
    viewer, _ = room.join()
    assert set(room.live.calls) == {"CA0", "CA1"}
    for _ in range(600):
        room.change("CA0")
    assert len(room.live.calls["CA0"].ring) == 500
    room.pump.leave(viewer)
    assert room.live.calls == {}


async def test_a_call_that_is_over_stays_for_a_minute() -> None:
    room = Room(1)
    clock = [0.0]
    room.live._clock = lambda: clock[0]
    viewer, socket = room.join()
    viewer.looks_at = "CA0"
    await room.ticks(0.1)
    room.live.call_ended("CA0", m.Ended(m.Reason.WE_HUNG_UP), room.live.calls["CA0"].call.stats)
    room.change("CA0")
    await room.ticks(0.4)
    assert socket.said("rows")[-1]["rows"][0]["end"] == "we hung up"
    clock[0] = 61.0
    await room.ticks(0.4)
    assert socket.said("gone") == [{"kind": "gone", "calls": ["CA0"]}]
    assert socket.said("lost") == [{"kind": "lost", "call": "CA0"}]


async def test_a_call_in_view_shows_no_secret_and_no_key() -> None:
    room = Room(1)
    viewer, socket = room.join()
    viewer.looks_at = "CA0"
    room.live.call_did("CA0", m.DigitHeard("7"), 1_000)
    asked = '{"pin": "4711", "day": "friday", "note": "+15550100034"}'
    room.live.call_did("CA0", m.ToolWanted("call_1", "book", asked), 1_000)
    await room.ticks(0.1)
    text = "".join(one for one in socket.texts if '"call"' in one)
    assert "friday" in text
    for secret in ("4711", "5550100034", '"7"', "presses 7"):
        assert secret not in text
    assert socket.said("call")[0]["parameters"] == {"pin": "•••", "name": "Ann"}


async def test_half_a_surrogate_pair_takes_nothing_from_other_viewers() -> None:
    """JSON may hold one, of a tool's arguments or result as of a page's own message; UTF-8 has none."""
    room = Room(2)
    viewer, socket = room.join()
    other, others = room.join()
    viewer.looks_at, other.looks_at = "CA0", "CA1"
    room.live.call_did("CA0", m.ToolWanted("call_1", "book", '{"name": "\\ud83d"}'), 1_000)
    tools = room.registry.runner("CA0").call.playout.conversation.tools
    tools.called(m.ToolCalled("resp_1", "item_1", "call_1", "book", '{"name": "\\ud83d"}'))
    tools.finished("call_1", '{"name": "\\udc00"}')
    await room.ticks(0.1)
    assert socket.said("call")[0]["tools"][0]["output"] == r'{"name": "\udc00"}'
    assert others.said("call")
    viewer.looks_at = "\ud800"
    await room.ticks(0.3)
    assert socket.said("lost") == [{"kind": "lost", "call": "\ud800"}]


async def test_a_call_that_cannot_be_shown_is_lost_to_its_viewers_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = Room(2)
    (viewer, socket), (other, others) = room.join(), room.join()
    viewer.looks_at, other.looks_at = "CA0", "CA1"
    await room.ticks(0.1)
    whole = CallView.tick

    def tick(view: CallView) -> str:
        if view.live.call_sid == "CA0":
            raise RuntimeError("odd")
        return whole(view)

    monkeypatch.setattr(CallView, "tick", tick)
    before = len(others.texts)
    room.live.call_did("CA1", m.CallerSpoke(speaking=True, item_id="item_1"), 1_100)
    await room.ticks(0.3)
    assert socket.said("lost") == [{"kind": "lost", "call": "CA0"}]
    assert viewer.looks_at is None
    assert len(others.texts) > before
    assert not viewer.closed


def test_what_an_operator_says_is_no_phrase_of_the_bridge_and_told_once() -> None:
    lines = {"item_5": "w3"}
    lanes = Lanes(lambda item_id: lines.get(item_id, ""))
    spoken = m.Spoken("item_5", "We are open.", "We are open.", 1_840, False)
    heard = m.Heard("console-2", 1_840, False, "We are open.")
    for action in (spoken, heard):
        lanes.take(18_200, action)
    assert [(lane.id, lane.state) for lane in lanes.news()] == [("hw3", "model")]
    assert "We are open." in happening(1, 18_200, spoken).text
    assert happening(2, 18_200, heard).text == "said as asked: heard to the end"
    acted = m.Noted("operator", "hangs up")
    assert (happening(3, 0, acted).of, happening(3, 0, acted).text) == ("operator", "hangs up")


def test_what_an_operator_cuts_is_no_barge_in() -> None:
    lanes = Lanes(lambda _item_id: "")
    lanes.take(1_000, m.Cut("item_1", 700))
    lanes.take(2_000, m.CallerSpoke(True))
    lanes.take(2_100, m.Cut("item_2", 300))
    marks = [(lane.from_ms, lane.state) for lane in lanes.news() if lane.lane == "mark"]
    assert marks == [(1_000, "cut"), (2_100, "barge_in")]


def test_an_error_that_is_part_of_a_good_call_is_no_trouble() -> None:
    runner: Any = Runner()
    rows = RowReader(LiveCall("CA1", runner, 0, Counter()), alone().router, "one")
    runner.call.stats.faults = {"conversation_already_has_active_response": 1, "item_not_found": 1}
    rows.read()
    assert rows.row.trouble == []
    runner.call.stats.faults["server_error"] = 1
    assert rows.read()
    assert rows.row.trouble == ["errors of the model: server_error"]


def test_the_log_says_how_far_a_transfer_has_come() -> None:
    kind, result = m.DetourKind.TRANSFER, m.DetourResult(m.TransferOutcome.NO_ANSWER, rang_ms=25_000)
    moved = m.DetourMoved("d1", kind, "sales", m.DetourState.CALLING, m.LegStep.RINGING)
    assert happening(1, 0, moved).text == "transfer to sales: calling (ringing)"
    assert happening(2, 0, m.DetourMoved("d1", kind, "sales", m.DetourState.AWAY)).text == (
        "transfer to sales: away"
    )
    ended = happening(3, 0, m.DetourEnded("d1", kind, "sales", result))
    assert ended.text == "transfer to sales: nobody answered (25 s)"


def test_a_row_says_what_is_wrong() -> None:
    runner: Any = Runner()
    live = LiveCall("CA1", runner, 0, Counter())
    services = alone()
    rows = RowReader(live, services.router, "one")
    assert rows.row.trouble == []
    runner.call.stats.recoveries, runner.call.stats.cuts_untold = 2, {"xai": 1}
    runner.call.stats.turn_latencies_ms.append(4_000)
    runner.call.dialling.vendors = (m.VendorPlan("azure"), m.VendorPlan("xai"))
    assert rows.read()
    assert rows.row.trouble == [
        "the model was lost 2 times", "gone on with azure, xai", "cuts not told: 1", "slow answers, 4000 ms",
    ]  # fmt: skip
    assert not rows.read()
