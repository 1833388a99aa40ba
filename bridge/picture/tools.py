"""Calls of tools: a bar on their lane and a line of the conversation."""

from __future__ import annotations

from collections.abc import Callable

from ..core import messages as m
from ..core.toolbox import FAILED, failure
from .drawing import Drawing
from .lanes import TOOLS, Bar, Line, ToolCall

_ROWS = 3


class Tools:
    """The tools that the model has called. `shown` says what is shown of their inputs and outputs."""

    def __init__(self, drawing: Drawing, shown: Callable[[str], str]) -> None:
        self._draw = drawing
        self._shown = shown
        self._calls: dict[str, tuple[Bar, Line, ToolCall]] = {}
        self._running: set[str] = set()

    def wanted(self, wanted: m.ToolWanted) -> None:
        arguments = self._shown(wanted.arguments)
        bar = self._draw.bar(TOOLS, "tool", wanted.name, arguments)
        bar.words = wanted.name
        self._running.discard(wanted.call_id)
        bar.row = len(self._running) % _ROWS
        bar.end_ms = -1
        self._running.add(wanted.call_id)
        line = Line(self._draw.now_ms, "tool", f"{wanted.name}({arguments})")
        tool = ToolCall(self._draw.now_ms, wanted.name, arguments)
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
        output = self._shown(event.output)
        bar.detail += f"\nanswer: {output}"
        line.heard = tool.answer = output
        tool.took_ms = self._draw.now_ms - tool.at_ms
        if failure(event.output) is not None:
            line.failed = tool.failed = True
            bar.kind = "failed"
            bar.title = bar.words = f"✕ {bar.words}: {failure(output) or FAILED}"

    def settle(self) -> None:
        """Every bar gets as many rows as one of them needs."""
        rows = 1 + max((bar.row for bar, *_ in self._calls.values()), default=0)
        for bar, *_ in self._calls.values():
            bar.rows = rows
