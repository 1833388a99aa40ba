"""One timer a loop: beats for those who live, deadlines for those who close."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from bridge.sockets import keepalive as ticks
from bridge.sockets.keepalive import Tick, running_tick
from tests.loops import both_loops, until


class Member:
    def __init__(self, tick: Tick, log: list[str], name: str = "") -> None:
        self.tick, self.log, self.name = tick, log, name

    def on_second(self) -> None:
        self.log.append(f"{self.name}beat")

    def on_deadline(self) -> None:
        self.log.append(f"{self.name}deadline")
        self.tick.leave(self)


@both_loops
async def test_one_timer_serves_all_and_stops_with_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticks, "_SECOND_S", 0.05)

    tick = running_tick()
    assert running_tick() is tick
    log: list[str] = []
    members = [Member(tick, log) for _ in range(3)]
    for member in members:
        tick.join(member)
    await asyncio.sleep(0.125)
    assert log == ["beat"] * 6
    for member in members:
        tick.leave(member)
    assert tick._timer is None
    await asyncio.sleep(0.075)
    assert log == ["beat"] * 6
    tick.leave(members[0])


@both_loops
async def test_a_deadline_comes_between_the_beats_once_and_on_time() -> None:
    tick = running_tick()
    loop = asyncio.get_running_loop()
    log: list[str] = []
    late, early, gone = (Member(tick, log, f"{name} ") for name in ("late", "early", "gone"))
    tick.join(early)
    tick.close_by(late, 0.06)
    tick.close_by(early, 0.02)
    tick.close_by(early, 0.5)  # the first one stands
    tick.close_by(gone, 0.03)
    tick.leave(gone)
    began = loop.time()
    await until(lambda: len(log) == 2)
    assert log == ["early deadline", "late deadline"]
    assert 0.055 < loop.time() - began < 0.5
    assert tick._timer is None


def test_each_loop_has_a_tick_of_its_own_and_a_closed_one_is_let_go() -> None:
    found: list[weakref.ref[Tick]] = []

    async def main() -> None:
        tick = running_tick()
        tick.join(Member(tick, []))  # and never leaves
        found.append(weakref.ref(tick))

    asyncio.run(main())
    asyncio.run(main())
    gc.collect()
    first, second = found
    assert first() is None
    assert second() is not None
