"""Recorded calls to a restaurant, with sound, made in virtual time; and the minds that answer there."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bridge import Agent, tool
from bridge.doubles.agents import Asked, Output, Pause, Speech, ToolCall
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import PhoneOptions
from bridge.doubles.tones import murmur
from bridge.experiments.shadow_run import ScriptEars
from bridge.testing import begin

WISHES = ("please book a table", "when are you open", "how much is it")


@tool
def book(day: str, people: int) -> str:
    """Book a table."""
    raise AssertionError(f"the user's function has run: {day}, {people}")


@tool
def book_really(day: str, people: int) -> str:
    """Book a table."""
    return json.dumps({"booked": day, "people": people})


book_really.name = "book"
AGENT = Agent("You are the desk of a restaurant.", name="desk", greeting="Hello.", tools=[book])
RECORDED = AGENT.replace(tools=[book_really])


@dataclass
class Restaurant:
    """A mind that answers words. Each field is one thing that a change may break."""

    price: str = "12.50"
    hours: str = "nine to five"
    day: str = "Monday"
    think_ms: int = 0
    books: bool = True
    wordy: int = 1
    seed: int | None = None
    forgets: float = 0.0

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)

    def answer(self, asked: Asked) -> Sequence[Output]:
        think = [Pause(self._think_ms())] if self._think_ms() else []
        return [*think, *self._answer(asked)]

    def _think_ms(self) -> int:
        if self.seed is None:
            return self.think_ms
        return round(self._dice.lognormvariate(5.5, 0.35)) + self.think_ms

    def _answer(self, asked: Asked) -> list[Output]:
        if asked.tool_output is not None:
            failed = "error" in asked.tool_output
            return [self._says("That failed." if failed else f"It is booked, and costs {self.price} a head.")]
        caller = asked.caller
        if caller is None:
            return [self._says("Hello, this is the restaurant.")]
        words = caller.words.text() if caller.words is not None else caller.text
        if words and "book" in words and self._may_book(asked):
            return [ToolCall("book", {"day": self.day, "people": 2})]
        if words and "much" in words:
            return [self._says(f"A dinner is {self.price} euros.")]
        return [self._says(f"We are open from {self.hours}, every day of the week.")]

    def _may_book(self, asked: Asked) -> bool:
        offered = any(one["name"] == "book" for one in asked.session["tools"])
        return offered and self.books and self._dice.random() >= self.forgets

    def _says(self, text: str) -> Speech:
        text = " ".join([text] * self.wordy)
        return Speech(murmur(text), text)


def recorded_call(
    seed: int = 1,
    *,
    agent: Agent = RECORDED,
    mind: Any = None,
    phone: PhoneOptions | None = None,
    turns: int = 4,
    sound: bool = True,
    parameters: dict[str, str] | None = None,
) -> list[str]:
    """A call of a caller with these dice: turns after the answer, and interruptions of it."""
    dice, ears = random.Random(seed), ScriptEars()
    call = begin(
        agent,
        mind=mind or Restaurant(),
        model=ServerOptions(delta_bytes=(1600,), ears=ears),
        recording={"sound": sound},
        tool_ms={"book": 400} if book_really in agent.tools else None,
        phone=phone,
        parameters=parameters,
    )
    call.model.behaves(transcribe=lambda item: item.words.text() if item.words else None)
    silent = lambda: not call.phone.playing(call.now_ms)  # noqa: E731
    call.until(lambda: not silent()).until(silent)
    for turn in range(turns):
        words = WISHES[0] if turn == 0 else dice.choice(WISHES)
        ears.said(words)
        call.wait(dice.randrange(300, 900))
        call.caller.says(murmur(words)[: 8 * dice.randrange(500, 1200)])
        call.until(lambda: not call.phone.speaking).wait(300).until(lambda: not silent())
        if dice.random() < 0.35:
            call.wait(dice.randrange(400, 1500))
        else:
            call.wait(700).until(silent)
    call.wait(1500)
    call.caller.hangs_up()
    call.wait(10)
    call.close()
    return call.lines
