"""What a picture of a call is made of: lanes over time with bars and points on them, and the words that were
said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ..core.stats import Stats
from ..recording import Difference, Header

CALLER: Final = "caller speaks"
MODEL: Final = "model generates"
SENT: Final = "sent to the carrier"
HEARD: Final = "caller hears"
DEPTH: Final = "carrier's buffer"
MARKS: Final = "marks"
CUTS: Final = "cuts"
TOOLS: Final = "tools"
SESSION: Final = "model's sessions"
TROUBLE: Final = "errors and notes"

LOST: Final = "lost"
"""The kind of a bar for what was not heard: sound that was cut, or all while the caller is away."""
TICKS: Final = {"delta", "unsent", "mark", "echo", "flushed"}
TICK_MS: Final = 40
MOST_TICKS: Final = 1_200
"""Points of these kinds are drawn as one where they are closer together, or would be more than that."""


@dataclass(slots=True)
class Bar:
    """Something that lasts. `row` of `rows` is its place within the lane, where several may overlap; `words`
    are written on it.
    """

    lane: str
    kind: str
    start_ms: float
    end_ms: float
    title: str
    detail: str = ""
    row: int = 0
    rows: int = 1
    words: str = ""


@dataclass(slots=True)
class Point:
    """Something that happens at one moment; `times` counts what was drawn together. `words` are written next
    to it. `delay_ms` is that of a mark's echo, behind the moment at which its sound should have been played;
    of several, the longest.
    """

    lane: str
    kind: str
    at_ms: float
    title: str
    detail: str = ""
    row: int = 0
    rows: int = 1
    times: int = 1
    words: str = ""
    delay_ms: int | None = None


@dataclass(slots=True)
class Line:
    """One line of the conversation: who said what, and how much of it was heard; `failed` of a tool; `end_ms`
    is when the sound of it ended, `made_ms` how much sound there was, as far as that is known.
    """

    at_ms: float
    who: str
    said: str
    heard: str | None = None
    cut_ms: int | None = None
    latency_ms: int | None = None
    failed: bool = False
    end_ms: float | None = None
    made_ms: int | None = None


@dataclass(slots=True)
class ToolCall:
    """One call of a tool: JSON that it was asked with, and that it answered with (None: it has not), how long
    that took, and whether it failed.
    """

    at_ms: int
    name: str
    arguments: str
    answer: str | None = None
    took_ms: int | None = None
    failed: bool = False


@dataclass(slots=True)
class Cut:
    """What a barge-in did to one item, in ms: what the ledger says was heard of it, what the model was told
    (None: nothing), what was generated, and what echoes of marks had proven by then.
    """

    item_id: str
    heard_ms: int
    told_ms: int | None
    generated_ms: int
    proven_ms: int

    @property
    def error_ms(self) -> int | None:
        """What the model was told, less what the ledger says."""
        return None if self.told_ms is None else self.told_ms - self.heard_ms


@dataclass(slots=True)
class Story:
    """Everything a picture shows. Times are ms since the call was accepted."""

    header: Header
    stats: Stats
    end_ms: int = 0
    ended: str = "the recording stops before the call ends"
    bars: list[Bar] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    depth: list[tuple[float, float]] = field(default_factory=list)
    talk: list[Line] = field(default_factory=list)
    tools: list[ToolCall] = field(default_factory=list)
    barge_ins: dict[int, list[Cut]] = field(default_factory=dict)
    """By the moment of each."""
    vendors: tuple[str, ...] = ()
    """With which the call has gone on, the last one last: in this recording or one before it."""
    difference: Difference | None = None
    """The first thing that this version decides otherwise than the recording; None: all the same."""
