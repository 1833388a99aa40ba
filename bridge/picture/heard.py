"""What the caller heard when, from what the ledger of a replay says at each step."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any, TypeAlias

from ..core.ledger import Ledger, Span

if TYPE_CHECKING:
    from _collections_abc import dict_values


Spans: TypeAlias = "dict_values[Any, Span]"
"""Those of the line, in the order in which they came."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The source of the sound: an item of the model's, or a recorded sound."""

    name: str
    ours: bool


@dataclass(slots=True)
class Part:
    """A stretch of time in which the caller heard this."""

    owner: Owner
    start_ms: float
    end_ms: float


@dataclass(slots=True)
class _Stretch:
    """Bytes of the line that belong to one source."""

    owner: Owner
    start: int
    end: int


class Heard:
    """Follows the line of one call. `parts` is what was heard, `depth` the carrier's buffer as (ms, ms of
    sound) corners of a line. At each step first `until`, then `sent`.
    """

    def __init__(self, bytes_per_ms: int) -> None:
        self.bytes_per_ms = bytes_per_ms
        self.parts: list[Part] = []
        self.depth: list[tuple[float, float]] = [(0, 0)]
        self.owner = Owner("?", False)
        """Whose sound went out last."""
        self.ours: dict[str, int] = {}
        """Recorded sounds, with their sizes in bytes."""
        self._line: list[_Stretch] = []
        self._spans: dict[int, tuple[Span, Owner, int]] = {}
        self._unsent: dict[int, Span] = {}
        self._sent = 0
        self._now_ms = 0
        self._position = 0

    def is_ours(self, name: str) -> bool:
        return name in self.ours

    def stream_began(self) -> None:
        """What waits to be heard is sent from its beginning."""
        self._spans = {key: (span, owner, 0) for key, (span, owner, _) in self._spans.items()}

    def until(self, now_ms: int, position: int, sent: int) -> None:
        """The ledger believes that playout has come to this byte by now."""
        played_ms = (position - self._position) / self.bytes_per_ms
        if played_ms > 0:
            passed_ms = now_ms - self._now_ms
            scale = 1 if played_ms <= passed_ms else passed_ms / played_ms
            for owner, start, end in self._between(self._position, position):
                self._heard(
                    owner,
                    self._now_ms + (start - self._position) / self.bytes_per_ms * scale,
                    self._now_ms + (end - self._position) / self.bytes_per_ms * scale,
                )
            if position == sent and self.depth[-1][1] > 0:
                self.depth.append((self._now_ms + played_ms * scale, 0))
        self._position, self._now_ms = position, now_ms

    def sent(
        self,
        now_ms: int,
        spans: Spans,
        ledger: Ledger,
        name: Callable[[str], str],
    ) -> None:
        """What went out at this step, and what is left to be played. `name` says what an item is called."""
        # Thousands of spans may wait to be heard, and one of them moves: mostly a new one, one that is not
        # sent yet, or the last one again.
        fresh = list(takewhile(lambda span: id(span) not in self._spans, reversed(spans)))
        unsent = () if ledger.sent == self._sent else tuple(self._unsent.values())
        went = sum(self._went(span, name) for span in (*unsent, *fresh[::-1]))
        if went != ledger.sent - self._sent:
            for span in spans:
                self._went(span, name)
        self._sent = ledger.sent
        position = ledger.position(now_ms)
        left_ms = (ledger.sent - position) / self.bytes_per_ms
        self._corner(now_ms, left_ms)
        self._position = position

    def _went(self, span: Span, name: Callable[[str], str]) -> int:
        """How much of this span has gone out since it was looked at last."""
        known = self._spans.get(id(span))
        if known is None:
            owner = Owner(name(span.item_id) if span.response_id else span.item_id, not span.response_id)
            known = (span, owner, 0)
        _, owner, sent_bytes = known
        if owner.ours:
            self.ours[owner.name] = span.received_bytes
        self._spans[id(span)] = (span, owner, span.sent_bytes)
        if span.sent_bytes < span.received_bytes:
            self._unsent[id(span)] = span
        else:
            self._unsent.pop(id(span), None)
        went = span.sent_bytes - sent_bytes
        if went > 0:
            self.owner = owner
            start = self._line[-1].end if self._line else 0
            self._line.append(_Stretch(owner, start, start + went))
        return max(went, 0)

    def thinned(self, close_ms: float) -> list[tuple[float, float]]:
        """The corners of `depth`; of more than two so close together only the highest and the lowest."""
        thin: list[tuple[float, float]] = []
        for corner in self.depth:
            if len(thin) > 2 and corner[0] - thin[-3][0] < close_ms:
                kept = sorted(thin[-3:], key=lambda one: one[1])
                thin[-3:] = sorted((kept[0], kept[-1]))
            thin.append(corner)
        return thin

    def proven_ms(self, name: str, acked: int) -> int:
        """How much of it echoes have proven to be heard, when the line was acknowledged so far."""
        whole = sum(
            min(s.end, acked) - s.start for s in self._line if s.owner.name == name and s.start < acked
        )
        return whole // self.bytes_per_ms

    def _corner(self, now_ms: int, left_ms: float) -> None:
        last_ms, last = self.depth[-1]
        ran_down = max(0.0, last - (now_ms - last_ms))
        if abs(ran_down - left_ms) < 1:
            return
        if last_ms != now_ms:
            self.depth.append((now_ms, ran_down))
        elif len(self.depth) > 1 and self.depth[-2][0] == now_ms:
            self.depth.pop()
        self.depth.append((now_ms, left_ms))

    def _between(self, start: int, end: int) -> list[tuple[Owner, int, int]]:
        first = max(0, bisect_right(self._line, start, key=lambda stretch: stretch.start) - 1)
        found = []
        for stretch in self._line[first:]:
            if stretch.start >= end:
                break
            if stretch.end > start:
                found.append((stretch.owner, max(start, stretch.start), min(end, stretch.end)))
        return found

    def _heard(self, owner: Owner, start_ms: float, end_ms: float) -> None:
        last = self.parts[-1] if self.parts else None
        if last is not None and last.owner == owner and start_ms - last.end_ms < 2:
            last.end_ms = end_ms
        else:
            self.parts.append(Part(owner, start_ms, end_ms))
