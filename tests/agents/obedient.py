"""A model that says what it is asked to say."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bridge.doubles.agents import Asked, Output, Speech
from bridge.doubles.tones import murmur

SAID = re.compile(r'Say(?: exactly this and nothing else)?: "(.*)"', re.DOTALL)


class Obedient:
    """A model that says what it is asked to say, answers the caller's turns with these `outputs` as long as
    there are some, and all else with `reply`.
    """

    def __init__(self, reply: str = "I see.", outputs: Sequence[Output | Sequence[Output]] = ()) -> None:
        self.reply = reply
        self.outputs = list(outputs)

    def answer(self, asked: Asked) -> Sequence[Output]:
        instructions = str(asked.request.get("instructions") or "")
        wish = SAID.search(instructions)
        if wish:
            return [speech(wish[1])]
        if asked.tool_output is not None:
            return [speech(f"It is {asked.tool_output}")]
        if self.outputs and asked.reason == "turn":
            first = self.outputs.pop(0)
            return first if isinstance(first, Sequence) else [first]
        return [speech(self.reply)]


def speech(text: str) -> Speech:
    """Words as the double says them: 60 ms a letter."""
    return Speech(murmur(text), text)
