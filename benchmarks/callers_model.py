"""A model that answers every turn with two items, each long enough to be interrupted in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bridge.doubles.agents import Asked, Output, Speech
from bridge.doubles.people.words import spoken

FIRST: Final = "Answer {n}: here is the first part"
SECOND: Final = (
    "and of answer {n} this is the second part, which goes on for a good while longer than the first"
)


class TwoItems:
    """Answers by the number of turns that it has heard, so that each answer has words of its own."""

    def answer(self, asked: Asked) -> Sequence[Output]:
        turns = sum(item.role == "user" for item in asked.items)
        words = (
            [FIRST.format(n=turns), SECOND.format(n=turns)] if turns else ["Good day, what can I do for you?"]
        )
        return [Speech(spoken(one), one) for one in words]
