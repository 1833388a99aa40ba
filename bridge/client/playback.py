"""Playback as a player reports it, for clients whose sound neither the clock nor marks can follow.

A player reports how far it has come in an item, and the ledger takes its word in the place of echoes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bridge.codecs import PCMU, AudioFormat
from bridge.core.ledger import Ledger, Span


@dataclass(frozen=True, slots=True)
class Playing:
    """What is being played: `played_ms` of this part of that item."""

    item_id: str
    part: int
    played_ms: int


class Tracker(Protocol):
    """A player that reports what it has played."""

    def state(self) -> Playing | None:
        """What is being played, or was last; None when nothing was played since the last interruption."""
        ...

    def interrupted(self) -> None:
        """Drop what waits to be played, and forget the item."""
        ...

    def set_format(self, audio: AudioFormat) -> None:
        """The format of the sound from here on."""
        ...


class PlaybackTracker:
    """A `Tracker` for a player that calls `played_ms` or `played_bytes` after each piece."""

    def __init__(self) -> None:
        self.format: AudioFormat = PCMU
        self._item: tuple[str, int] | None = None
        self._played_bytes = 0.0

    def played_ms(self, item_id: str, part: int, ms: float) -> None:
        """Add milliseconds that were played; fractions add up."""
        self.played_bytes(item_id, part, ms * self.format.bytes_per_ms)

    def played_bytes(self, item_id: str, part: int, size_bytes: float) -> None:
        """Add bytes that were played. Another item than before begins at 0."""
        if self._item != (item_id, part):
            self._item, self._played_bytes = (item_id, part), 0
        self._played_bytes += size_bytes

    def state(self) -> Playing | None:
        if self._item is None:
            return None
        return Playing(*self._item, int(self._played_bytes / self.format.bytes_per_ms))

    def interrupted(self) -> None:
        self._item, self._played_bytes = None, 0.0

    def set_format(self, audio: AudioFormat) -> None:
        self.format = audio


class ToldLedger(Ledger):
    """The ledger of a line whose player says how far it is. The clock moves nothing, and there are no marks.

    What comes before the item that is being played was played: a line has one order.
    """

    __slots__ = ("_playing",)

    def __init__(self, bytes_per_ms: int, playing: Callable[[], Playing | None]) -> None:
        super().__init__(bytes_per_ms)
        self._playing = playing

    def mark(self, now_ms: int) -> str:  # noqa: ARG002  a player does not echo marks
        self.marked = self.sent
        return ""

    def position(self, now_ms: int) -> int:  # noqa: ARG002  time plays nothing here
        return self.acked

    def settle(self, now_ms: int) -> list[Span]:  # noqa: ARG002
        """Ask the player. Returns the spans that were heard to their end."""
        playing = self._playing()
        if playing is None:
            return []
        position, left = self.acked, -1
        for run in self._runs:
            if (run.span.item_id, run.span.part) != (playing.item_id, playing.part):
                continue
            if left < 0:
                left = max(0, playing.played_ms * self.bytes_per_ms - run.span.heard_bytes)
            start = max(run.start, self.acked)
            took = min(left, run.end - start)
            if took > 0:
                position, left = start + took, left - took
        return self._acknowledge(position)
