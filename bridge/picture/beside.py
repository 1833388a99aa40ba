"""Two calls on one axis: a recorded one, and one that goes on from it or was cut out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from . import lanes as s
from .chart import chart
from .lanes import Story

_SHOWN: Final = (s.CALLER, s.MODEL, s.HEARD, s.CUTS, s.TOOLS, s.SESSION, s.TROUBLE)
"""Lanes of the second call; its marks and the carrier's buffer are left out."""


@dataclass(frozen=True, slots=True)
class Beside:
    """The second call, how much later it happens on the first one's axis, and where the two part; None where
    they have nothing in common.
    """

    story: Story
    name: str
    shift_ms: int = 0
    parts_ms: int | None = None

    @classmethod
    def of(cls, story: Story, name: str) -> Beside:
        """By what the header of the second call says of the first."""
        header = story.header
        began_ms = story.stats.began_ms or 0
        if header.forked is not None:
            at_ms = header.forked.at_ms
            return cls(story, name, 0 if header.forked.exact else at_ms - began_ms, at_ms)
        if header.cut is not None and header.cut.from_ms:
            return cls(story, name, header.cut.from_ms - began_ms, header.cut.from_ms)
        return cls(story, name)


def both(first: Story, second: Beside) -> dict[str, Any]:
    """The charts of both as one, as `chart` gives that of one call: the second call's lanes stand below, and
    `parts` is where they part.
    """
    made, other, shift_ms = chart(first), chart(second.story), second.shift_ms
    shown = [index for index, (name, _) in enumerate(other["lanes"]) if name in _SHOWN]
    number = {index: len(made["lanes"]) + place for place, index in enumerate(shown)}
    from_ms = -shift_ms if second.parts_ms is None else second.parts_ms - shift_ms
    made["lanes"] += [[f"2 {other['lanes'][index][0]}", other["lanes"][index][1]] for index in shown]
    made["bars"] += [
        [number[lane], kind, start + shift_ms, end + shift_ms, *rest]
        for lane, kind, start, end, *rest in other["bars"]
        if lane in number and end > from_ms
    ]
    made["points"] += [
        [number[lane], kind, at + shift_ms, *rest]
        for lane, kind, at, *rest in other["points"]
        if lane in number and at >= from_ms
    ]
    made["end"] = max(made["end"], other["end"] + shift_ms)
    made["parts"] = second.parts_ms
    return made
