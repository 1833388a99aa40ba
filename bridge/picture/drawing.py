"""Bars and points of a story, as they are added one step after another."""

from __future__ import annotations

from typing import Any

from ..recording.difference import shown
from ..recording.steps import Step
from .lanes import MOST_TICKS, TICK_MS, TICKS, Bar, Point, Story


class Drawing:
    """Adds to a story what happens at the step that `at` was told last."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.spans: dict[tuple[str, str], Bar] = {}
        """By lane and name: one bar each, which grows."""
        self._step: Step

    def at(self, step: Step) -> None:
        self._step = step

    @property
    def now_ms(self) -> int:
        return self._step.t_ms

    def bar(self, lane: str, kind: str, title: str, detail: str = "") -> Bar:
        """A bar that begins now, and ends before it began until its end is known."""
        at_ms = self.now_ms
        bar = Bar(lane, kind, at_ms, at_ms - 1, title, f"{detail}\n{self._frame()}".strip())
        self.story.bars.append(bar)
        return bar

    def span(self, lane: str, kind: str, name: str) -> Bar:
        """The one bar of that name, which lasts until now."""
        bar = self.spans.get((lane, name))
        if bar is None:
            bar = self.spans[lane, name] = self.bar(lane, kind, name)
        bar.end_ms = self.now_ms
        return bar

    def ends(self, bar: Bar | None) -> None:
        if bar is not None:
            bar.end_ms = self.now_ms

    def point(
        self, lane: str, kind: str, title: str, detail: str = "", *, row: int = 0, rows: int = 1
    ) -> Point:
        often = kind in TICKS
        detail = f"{detail}\n{f'line {self._step.line}' if often else self._frame()}"
        point = Point(lane, kind, self.now_ms, title, detail.strip(), row, rows)
        self.story.points.append(point)
        return point

    def thinned(self) -> list[Point]:
        """What comes many times a second, drawn together where single bars could not be told apart: an hour
        of call has tens of thousands of deltas and marks.
        """
        close_ms = max(TICK_MS, self.story.end_ms / MOST_TICKS)
        thin: list[Point] = []
        last: dict[tuple[str, str], Point] = {}
        for point in self.story.points:
            before = last.get((point.lane, point.kind))
            if point.kind in TICKS and before is not None and point.at_ms - before.at_ms < close_ms:
                before.times += 1
                if point.delay_ms is not None:
                    before.delay_ms = max(before.delay_ms or 0, point.delay_ms)
            else:
                last[point.lane, point.kind] = point
                thin.append(point)
        return thin

    def _frame(self) -> str:
        """The frame (or event) that this followed from, and its line."""
        step = self._step
        what: Any = step.frame if step.event is None else step.event
        return f"line {step.line}: {shown(str(what))}"
