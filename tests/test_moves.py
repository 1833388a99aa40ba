"""For how long a call that comes from another machine is silent: as the caller would say."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from bridge.core import messages as m
from bridge.server.fleet.moves import LOOK_S, Moves


class Runner:
    """As much of a call's runner as is looked at. `debts` is what the caller is owed."""

    def __init__(self, phase: m.Phase, debts: dict[str, Any]) -> None:
        self.ledger = SimpleNamespace(sent=0)
        debts_now = SimpleNamespace(open=debts)
        playout = SimpleNamespace(line=SimpleNamespace(ledger=self.ledger), debts=debts_now, ready=True)
        self.call = SimpleNamespace(phase=phase, playout=playout)
        self.fed: list[m.Moved] = []

    def feed(self, event: m.Moved) -> None:
        self.fed.append(event)


async def moved(runner: Any) -> None:
    moves = Moves()
    moves.asked("CA1")
    moves.came("CA1", "web-1", "web-2", "handover")
    moves.began("CA1", runner, None)
    await asyncio.sleep(3 * LOOK_S)


async def test_a_caller_whose_turn_it_is_waits_for_nothing() -> None:
    runner = Runner(m.Phase.LIVE, {})
    await moved(runner)
    [event] = runner.fed
    assert event.silent_ms <= 1_000 * LOOK_S


async def test_a_caller_who_is_owed_an_answer_waits_for_its_sound() -> None:
    runner = Runner(m.Phase.LIVE, {"turn": object()})
    await moved(runner)
    assert runner.fed == []
    runner.ledger.sent = 160
    await asyncio.sleep(2 * LOOK_S)
    [event] = runner.fed
    assert event.silent_ms >= 2_000 * LOOK_S


async def test_a_call_that_is_being_set_up_is_silent() -> None:
    runner = Runner(m.Phase.SETUP, {})
    await moved(runner)
    assert runner.fed == []


async def test_a_stream_that_comes_to_another_machine_than_the_question_did() -> None:
    """Since when the caller hears nothing is known from the store."""
    runner: Any = Runner(m.Phase.LIVE, {})
    moves = Moves()
    moves.came("CA1", "web-1", "web-2", "handover", asked_s=0.7)
    moves.began("CA1", runner, None)
    [event] = runner.fed
    assert (event.how, event.said_twice) == ("handover", 0)
    assert 700 <= event.silent_ms < 900
