"""Calls over a line that jitters, recorded: barge-ins, tools, goodbyes; each the same for the same seed."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import pytest

from bridge import Agent, tool
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import PhoneOptions
from bridge.testing.call import begin

ANSWERS = [
    "We are open from nine to five every day of the week, and on Sundays from eleven to four.",
    "There is a table for two by the window at seven, or one for four in the garden at eight.",
    "Let me think about that for a moment, because it depends on how many of you there are.",
]
DAYS = ["Monday", "Tuesday", "Wednesday"]


@tool
def book(day: str, people: int) -> str:
    """Books a table."""
    return f"booked for {people} on {day}"


AGENT = Agent("You book tables.", name="tables", greeting="Hello, this is the Blue Table.", tools=[book])


@cache
def jittered_call(seed: int, exchanges: int = 4) -> list[str]:
    """One call: its lines. The line takes 60 ± 30 ms each way."""
    dice = random.Random(seed)
    ways = [tuple(dice.randint(30, 90) for _ in range(199)) for _ in range(2)]
    call = begin(
        AGENT,
        phone=PhoneOptions(delay_out_ms=ways[0], delay_back_ms=ways[1]),
        model=ServerOptions(latency_ms=dice.randint(150, 400), speed=dice.choice([3.0, 8.0])),
        ring=True,
        dial_ms=120,
    )
    caller, model, _, _ = call
    call.wait(dice.randint(3_000, 4_000))
    for _ in range(exchanges):
        caller.says("What about this one?", ms=dice.randint(700, 1_400))
        answer = dice.choice(ANSWERS)
        what = dice.choice(["cut", "cut", "tool", "heard"])
        if what == "tool":
            model.calls("book", day=dice.choice(DAYS), people=dice.randint(1, 9))
            model.answers("It is booked.")
            call.wait(dice.randint(6_000, 9_000))
            continue
        model.answers(answer)
        call.wait(dice.randint(3_000, 4_500))
        if what == "cut":
            model.answers(dice.choice(ANSWERS) if dice.random() < 0.3 else "As you like.")
            caller.interrupts("No, wait.", ms=dice.randint(400, 900))
        call.wait(dice.randint(5_000, 9_000))
    call.close()
    return call.lines


def seeds(calls: int = 60, at_ci: int = 8) -> list[Any]:
    """Parameters of a test, one a call: the first always runs, some more at CI, all by `make long`."""
    marks = {True: [pytest.mark.virtual], False: [pytest.mark.hostile, pytest.mark.long]}
    return [pytest.param(n, marks=marks[n < at_ci] if n else []) for n in range(calls)]
