"""Calls at random through the plugin: an agent with tools and a colleague, a caller who talks and makes
noise, a model that calls tools, says nothing, fails or is lost. What must hold of any call, holds of these.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from bridge import Agent, Session, tool
from bridge.core import messages as m
from bridge.core.recovery import RESUME_MS
from bridge.doubles.agents import Failure, Pause, Speech
from bridge.testing.call import begin, tool_call
from bridge.testing.scripted_call import ScriptedCall

FAST, LONG = 4, 200
LASTS_MS = 25_000


@tool(filler=None)
async def look_up(ms: int) -> str:
    """Look something up; it takes its time."""
    await asyncio.sleep(ms / 1_000)
    return "42"


@tool(filler=None)
async def change(session: Session, what: str) -> str:
    """Change how this agent answers."""
    session.update(instructions=what, tools=[look_up, change], speed=1.25 if len(what) % 2 else None)
    return "changed"


SUPPORT = Agent("You are support.", name="support", tools=[look_up], nudge_ms=9_000)
AGENT = Agent(
    "Be brief.", name="desk", greeting="Good day.", tools=[look_up, change], handoffs=[SUPPORT], speed=1.1
)


def answer(dice: random.Random) -> list[Any]:
    """What the model makes of one turn."""
    words = Speech(dice.randrange(300, 3_000), "It is nine to five.")
    return dice.choice(
        (
            [words],
            [words],
            [tool_call("look_up", ms=dice.randrange(6_000))],
            [tool_call("look_up", ms=100), tool_call("look_up", ms=dice.randrange(6_000))],
            [words, tool_call("look_up", ms=dice.randrange(3_000))],
            [tool_call("change", what="x" * dice.randrange(1, 9))],
            [tool_call("hand_off_to_support")],
            [Speech(900, "One moment.", phase="commentary")],
            [Pause(dice.randrange(3_000)), words],
            [Failure("server_error")],
            [],
        )
    )


class Watch:
    """Whether the server was asked while it knew that the caller speaks."""

    def __init__(self, call: ScriptedCall) -> None:
        self.call = call
        self.speaking = False
        self.seen = 0

    def look(self) -> None:
        said = self.call.rehearsal.said
        for at_ms, action in said[self.seen :]:
            if isinstance(action, m.CallerSpoke):
                self.speaking = action.speaking
            elif isinstance(action, m.DialUpstream | m.Noted):
                self.speaking = False  # another session, which has to hear it first
            assert not (self.speaking and isinstance(action, m.CreateResponse)), f"asked at {at_ms} ms"
        self.seen = len(said)


def play(seed: int) -> None:
    dice = random.Random(seed)
    call = begin(AGENT)
    watch = Watch(call)
    for _ in range(12):
        call.model.answers(*answer(dice))
    while call.now_ms < LASTS_MS and call.rehearsal.ended is None:
        call.wait(dice.choice((200, 700, 1_500, 4_000)))
        happens = dice.random()
        if happens < 0.55:
            call.caller.says("When do you open?", ms=dice.choice((60, 400, 1_200)))
        elif happens < 0.60 and call.rehearsal._sessions:
            call.model.is_lost()
        elif happens < 0.65:
            call.wish(m.Say(f"s{call.now_ms}", "Just a moment."))
        watch.look()
    call.model._mind.planned.clear()
    call.wait(RESUME_MS + 20_000)
    watch.look()
    core = call.rehearsal.call
    debts = core.playout.debts
    call.close()
    if call.rehearsal.ended is None:
        assert list(debts.open) == [], "a debt is never dropped"
        told = [a.config for _, a in call.rehearsal.said if isinstance(a, m.ConfigureSession)][-1]
        tree = call.rehearsal.servers[-1].session.tree
        assert tree["instructions"] == told.instructions == core.playout.config.instructions
        assert [one["name"] for one in tree["tools"]] == [one["name"] for one in core.playout.config.tools]
        assert tree["audio"]["output"]["speed"] == (core.playout.config.speed or 1.0)
    for closed in debts.closed:
        assert bool(closed.paid_by) != bool(closed.reason), "paid, or named unpaid"


def all_play(seeds: range) -> None:
    for seed in seeds:
        try:
            play(seed)
        except AssertionError as broken:
            raise AssertionError(f"{broken}: play({seed})") from broken


def test_what_holds_of_any_call_holds_of_these() -> None:
    all_play(range(FAST))


@pytest.mark.hostile
@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_two_hundred_more() -> None:
    first = random.randrange(2**32)
    print(f"seeds from {first}")  # noqa: T201  to play one again
    all_play(range(first, first + LONG))
