"""What happened in a recorded call, as values: tools, heard words, cuts, turns, silences, cost and end.

Everything is what today's code makes of the recorded inputs; nothing is estimated.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from bridge.core import messages as m
from bridge.core.stats import Stats
from bridge.core.turn_times import TurnTimes

from .walking import Walk, Walked

LONG_SILENCE_MS: Final = 2_000
"""A silence of both sides that is longer is a fact."""


@dataclass(slots=True)
class ToolFact:
    """A tool that the model called. `answered_ms` is None where no result was told to the model."""

    at_ms: int
    call_id: str
    name: str
    arguments: str
    answer: str = ""
    answered_ms: int | None = None


@dataclass(frozen=True, slots=True)
class SpokenFact:
    """An item of the model's that came to its end on the line: what was generated, and what was heard."""

    at_ms: int
    item_id: str
    generated: str
    heard: str
    heard_ms: int
    cut: bool


@dataclass(frozen=True, slots=True)
class CutFact:
    """What the model was told of an item that was cut. `heard_ms` is None where it was deleted, unheard."""

    at_ms: int
    item_id: str
    part: int
    heard_ms: int | None


@dataclass(frozen=True, slots=True)
class SilenceFact:
    """Neither side made a sound for longer than `LONG_SILENCE_MS`."""

    from_ms: int
    to_ms: int

    @property
    def ms(self) -> int:
        return self.to_ms - self.from_ms


@dataclass(frozen=True, slots=True)
class NoteFact:
    """What an operator read in the log."""

    at_ms: int
    what: str


@dataclass(slots=True)
class Facts:
    """All of one call. `stats` are the call's own counts; `ended` and `ended_ms` are None for a call that was
    not recorded to its end.
    """

    stats: Stats
    tools: list[ToolFact] = field(default_factory=list)
    spoken: list[SpokenFact] = field(default_factory=list)
    cuts: list[CutFact] = field(default_factory=list)
    silences: list[SilenceFact] = field(default_factory=list)
    notes: list[NoteFact] = field(default_factory=list)
    ended: m.Ended | None = None
    ended_ms: int | None = None

    @property
    def turns(self) -> list[TurnTimes]:
        """The caller's turns, the oldest first."""
        return self.stats.turn_times

    @property
    def cost_micro_usd(self) -> int:
        return self.stats.cost_micro_usd


class FactFinder:
    """Collects the facts of a walk, step by step."""

    def __init__(self, stats: Stats) -> None:
        self.facts = Facts(stats)
        self._open: dict[str, ToolFact] = {}
        self._silent_ms: int | None = None

    def step(self, walked: Walked) -> None:
        """One step more."""
        now_ms = walked.step.t_ms
        for action in walked.actions:
            self._action(action, now_ms)
        self._listen(walked, now_ms)

    def _action(self, action: m.Action, now_ms: int) -> None:
        facts = self.facts
        match action:
            case m.ToolWanted():
                tool = ToolFact(now_ms, action.call_id, action.name, action.arguments)
                facts.tools.append(tool)
                self._open[action.call_id] = tool
            case m.CreateItem(call_id=call_id, output=str() as output) if call_id in self._open:
                tool = self._open.pop(call_id)
                tool.answer, tool.answered_ms = output, now_ms
            case m.Spoken():
                facts.spoken.append(
                    SpokenFact(
                        now_ms, action.item_id, action.generated, action.heard, action.heard_ms, action.cut
                    )
                )
            case m.TruncateItem():
                facts.cuts.append(CutFact(now_ms, action.item_id, action.part, action.heard_ms))
            case m.DeleteItem():
                facts.cuts.append(CutFact(now_ms, action.item_id, 0, None))
            case m.Noted():
                facts.notes.append(NoteFact(now_ms, action.what))
            case m.Ended():
                facts.ended, facts.ended_ms = action, now_ms

    def _listen(self, walked: Walked, now_ms: int) -> None:
        """Whether either side makes a sound; silence counts from when both could hear each other."""
        call = walked.call
        silent = (
            call.stats.began_ms is not None
            and not call.caller_speaking
            and call.playout.line.over(now_ms)
            and self.facts.ended is None
        )
        if silent:
            self._silent_ms = now_ms if self._silent_ms is None else self._silent_ms
        elif self._silent_ms is not None:
            if now_ms - self._silent_ms > LONG_SILENCE_MS:
                self.facts.silences.append(SilenceFact(self._silent_ms, now_ms))
            self._silent_ms = None

    def finish(self, end_ms: int) -> Facts:
        """The walk is over. A silence that lasts to its end counts as well."""
        if self._silent_ms is not None and end_ms - self._silent_ms > LONG_SILENCE_MS:
            self.facts.silences.append(SilenceFact(self._silent_ms, end_ms))
        return self.facts


def facts_of(lines: Iterable[str]) -> Facts:
    """The facts of a recording. Raises ConfigError for what is no recording."""
    walk = Walk(lines)
    finder = FactFinder(walk.call.stats)
    end_ms = 0
    for walked in walk:
        finder.step(walked)
        end_ms = walked.step.t_ms
    return finder.finish(end_ms)
