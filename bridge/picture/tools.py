"""Calls of tools: a bar on their lane and a line of the conversation."""

from __future__ import annotations

import msgspec

from ..core import messages as m
from ..recording.json_text import UNREADABLE
from .drawing import Drawing
from .lanes import TOOLS, Bar, Line, ToolCall

_ROWS = 3


class _Output(msgspec.Struct):
    error: str


def _failure(output: str) -> str | None:
    """What a tool's output says of its failure; None where it has not failed."""
    try:
        return msgspec.json.decode(output, type=_Output).error
    except UNREADABLE:
        return None


class Tools:
    """The tools that the model has called."""

    def __init__(self, drawing: Drawing) -> None:
        self._draw = drawing
        self._calls: dict[str, tuple[Bar, Line, ToolCall]] = {}
        self._running: set[str] = set()

    def wanted(self, wanted: m.ToolWanted) -> None:
        bar = self._draw.bar(TOOLS, "tool", wanted.name, wanted.arguments)
        bar.words = wanted.name
        self._running.discard(wanted.call_id)
        bar.row = len(self._running) % _ROWS
        bar.end_ms = -1
        self._running.add(wanted.call_id)
        line = Line(self._draw.now_ms, "tool", f"{wanted.name}({wanted.arguments})")
        tool = ToolCall(self._draw.now_ms, wanted.name, wanted.arguments)
        self._calls[wanted.call_id] = (bar, line, tool)
        self._draw.story.talk.append(line)
        self._draw.story.tools.append(tool)

    def finished(self, event: m.ToolFinished) -> None:
        found = self._calls.get(event.call_id)
        if found is None:
            return
        bar, line, tool = found
        self._running.discard(event.call_id)
        self._draw.ends(bar)
        bar.detail += f"\nanswer: {event.output}"
        line.heard = tool.answer = event.output
        tool.took_ms = self._draw.now_ms - tool.at_ms
        if (why := _failure(event.output)) is not None:
            line.failed = tool.failed = True
            bar.kind = "failed"
            bar.title = bar.words = f"✕ {bar.words}: {why}"

    def settle(self) -> None:
        """Every bar gets as many rows as one of them needs."""
        rows = 1 + max((bar.row for bar, *_ in self._calls.values()), default=0)
        for bar, *_ in self._calls.values():
            bar.rows = rows
