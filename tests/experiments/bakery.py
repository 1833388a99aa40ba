"""Agents and minds of the tests of simulated callers."""

from __future__ import annotations

import threading
import time
from typing import Literal

from bridge import Agent, hang_up, tool
from bridge.doubles.people.caller import HangUp, Say
from bridge.doubles.people.words import spoken
from bridge.experiments.callers_mind import Heard


@tool
def opening_hours(day: Literal["saturday", "sunday"] = "saturday") -> str:
    """Tell the opening hours of a day."""
    return {"saturday": "eight to twelve", "sunday": "closed"}[day]


@tool
def check_code(code: str) -> str:
    """Check the code of a caller.

    Args:
        code: the code, as digits
    """
    return f"The code {code} is right."


agent = Agent(
    "You answer for a bakery.",
    greeting="Good day, this is the bakery. What can I do for you?",
    tools=[opening_hours, hang_up],
)
no_hours = Agent("You answer for a bakery.", greeting=agent.greeting, tools=[hang_up])
leaky = Agent("You ask for a code.", greeting="Good day, please type your code now.", tools=[check_code])


def mind(heard: Heard) -> Say | HangUp:
    """Asks once, and leaves with the answer."""
    if any(line.who == "caller" for line in heard.lines):
        return HangUp(reached=True, why="told")
    return Say("When are you open on Saturday?")


def broken(_heard: Heard) -> str:
    raise RuntimeError("no idea")


def undecided(_heard: Heard) -> str:
    """Never comes to a decision."""
    threading.Event().wait()
    return ""


def voice(text: str) -> bytes:
    """Tones."""
    return spoken(text)


def slow_mind(heard: Heard) -> Say | HangUp:
    """The same, after half a second."""
    time.sleep(0.5)
    return mind(heard)
