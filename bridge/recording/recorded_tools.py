"""What tools answered in a recorded call, for a call of today that asks again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from .caller_script import ToolAnswer, canonical

MISSING: Final = '{"error": "not in the recording"}'
"""What the model reads where the recording has no answer."""


Stub = Callable[[str, str], str | None]
"""Answers a tool call (name, arguments) in the place of the recording; None where the recording shall."""


class RecordedTools:
    """Answers by name and arguments: `stub` first, then each recorded answer in turn, the last one again and
    again.
    """

    def __init__(self, tools: Iterable[ToolAnswer], stub: Stub = lambda _name, _arguments: None) -> None:
        self._stub = stub
        self._answers: dict[tuple[str, str], deque[ToolAnswer]] = {}
        for tool in tools:
            self._answers.setdefault((tool.name, tool.arguments), deque()).append(tool)
        self.asked: list[tuple[str, str]] = []
        """Names and canonical arguments, in the order in which they were asked for."""
        self.unanswered = 0
        """How many of them are not in the recording."""

    def answer(self, name: str, arguments: str) -> ToolAnswer:
        """The answer to this call; one with `MISSING` where there is none. `output` is None where the
        recorded call never had one: it ended before, or left for a transfer.
        """
        asked = name, canonical(arguments)
        self.asked.append(asked)
        stubbed = self._stub(*asked)
        if stubbed is not None:
            return ToolAnswer(*asked, output=stubbed)
        answers = self._answers.get(asked)
        if answers is None:
            self.unanswered += 1
            return ToolAnswer(*asked, output=MISSING)
        return answers.popleft() if len(answers) > 1 else answers[0]
