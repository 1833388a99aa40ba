"""What a call knows of a session with a duplex model: its stream, its words, and what the model was asked.

The model has no responses. What it says without a long pause is one here, so that all rules about responses
hold: it begins with the first sound, and it is over when the stream has been quiet for `PAUSE_MS`. Each
utterance in it is an item.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from .conversation import NOTHING, Item
from .due import NEVER
from .duplex import DuplexStream, Segment
from .ledger import Span
from .words import TimedText, TimedWords, TurnText, cut, joined

PAUSE_MS = 800
"""Of quiet after which the model has said what it had to say."""
EDGE_MS = 100
"""Words may be labelled so much later than the end of their sound."""
UNSAID_MS = 1_000
"""Words come so much before their sound at most: a model that stops leaves them unsaid."""
UNSOUNDED_MS = 1_500
"""After words came whose sound has not: there is none."""
MOST_TURNS = 4
"""Of the caller's whose words are still to come."""
_EVER = 1 << 62


@dataclass(slots=True)
class TimedItem(Item):
    """One utterance of a duplex model. Its words have times: what was heard of them is not spread evenly."""

    segment: Segment = field(default_factory=lambda: Segment(0, 0, Span("")))
    words: TimedWords = field(default_factory=TimedWords)
    per_ms: int = 8
    open: bool = True
    """Whether more of its sound may come."""
    fragments: list[TimedText] | None = None
    """Its words, once the next utterance has begun; until then they are among the session's."""

    def _timed(self) -> list[TimedText]:
        if self.fragments is not None:
            return self.fragments
        return self.words.between(-_EVER, _EVER if self.open else self._until_ms())

    def _until_ms(self) -> int:
        return self.segment.over // self.per_ms + (EDGE_MS if self.segment.ended_quietly else 0)

    def settle(self, next_ms: int) -> None:
        """The next utterance begins there: words before belong to this one, also those of which it made no
        sound because it was cut.
        """
        self.open, self.fragments = False, self.words.take(next_ms - EDGE_MS // 2)

    def said(self) -> str:
        return joined(self._timed())

    def heard(self, more: Mapping[Span, int] = NOTHING) -> str:
        heard_bytes = sum(part.heard_bytes + more.get(part, 0) for part in self.parts.values())
        if not heard_bytes:
            return ""
        place = self.segment.begin + heard_bytes
        if not self.open and place >= self.segment.end:
            place = max(place, self._until_ms() * self.per_ms if not self.segment.dropped_to else 0)
        return cut(self._timed(), lambda middle_ms: middle_ms * self.per_ms <= place)


class DuplexSession:
    """One upstream session's."""

    __slots__ = (
        "asked_ms",
        "asked_twice",
        "caller_text",
        "epoch",
        "item",
        "per_ms",
        "response_id",
        "spoke_ms",
        "stopped_ms",
        "stream",
        "turns",
        "turns_begun",
        "unsounded_ms",
        "worded_ms",
        "words",
    )

    def __init__(self, epoch: int, bytes_per_ms: int) -> None:
        self.epoch = epoch
        self.per_ms = bytes_per_ms
        self.stream = DuplexStream(epoch, bytes_per_ms)
        self.words = TimedWords()
        self.item: TimedItem | None = None
        """The newest utterance."""
        self.response_id = ""
        """What the model is saying, "" while it says nothing."""
        self.asked_ms = NEVER
        """When it was asked to say what it has not begun to say."""
        self.asked_twice = ""
        """The tag of what it was asked for again."""
        self.unsounded_ms = NEVER
        """When words came whose sound has not come yet."""
        self.caller_text = TurnText()
        self.turns: deque[str] = deque(maxlen=MOST_TURNS)
        """The caller's turns, as items, whose words have not come."""
        self.turns_begun = 0
        self.spoke_ms = self.worded_ms = self.stopped_ms = -1
        """When the caller began to speak last, when words of theirs came, and when they had stopped."""

    def utterance(self, segment: Segment) -> TimedItem:
        """An utterance begins."""
        onset_ms = segment.onset // self.per_ms
        if self.item is not None:
            self.item.settle(onset_ms)
        self.words.begun(onset_ms)
        self.unsounded_ms = NEVER
        span = segment.span
        self.response_id = span.response_id = self.response_id or span.item_id
        self.item = TimedItem(
            span.item_id, role="assistant", response_id=span.response_id, spoken=True, ours=True,
            segment=segment, words=self.words, per_ms=self.per_ms,
        )  # fmt: skip
        return self.item

    def utterance_over(self) -> None:
        """The gate is closed behind it."""
        if self.item is not None and self.item.open:
            self.item.open = False
            self.words.ended(self.item.segment.over // self.per_ms)

    def fragment(self, words: TimedText, now_ms: int) -> None:
        """Words of the model's have come."""
        self.words.add(words)
        item = self.item
        after_ms = self.words.after(-_EVER if item is None else item.segment.over // self.per_ms)
        waits = after_ms > (UNSAID_MS if item is not None and item.cut else EDGE_MS)
        if self.stream.segment is None and not self.stream.hushed and waits:
            self.unsounded_ms = min(self.unsounded_ms, now_ms)

    def unsounded(self, now_ms: int) -> str:
        """Words that have waited for their sound for too long; "" for none. They are waited for no more."""
        if now_ms < self.unsounded_ms + UNSOUNDED_MS or self.unsounded_ms == NEVER:
            return ""
        self.unsounded_ms = NEVER
        over_ms = -_EVER if self.item is None else self.item.segment.over // self.per_ms + EDGE_MS
        return joined(self.words.drop(over_ms))

    def turn_begun(self) -> str:
        """The caller has begun a turn: its item's id."""
        self.turns_begun += 1
        self.turns.append(f"caller:{self.epoch}:{self.turns_begun}")
        return self.turns[-1]

    def cut(self, spans: list[Span]) -> None:
        """The line was cleared of these."""
        self.stream.cut()
        self.utterance_over()
        for span in spans:
            self.stream.ended(span)
