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
from .words import LATE_MS, TimedText, TimedWords, TurnText, bounded, cut, joined

PAUSE_MS = 800
"""Of quiet after which the model has said what it had to say."""
EDGE_MS = 50
"""The middle of a word may be labelled so much later than the end of its sound."""
UNSAID_MS = 1_000
"""Words come so much before their sound at most: a model that stops leaves them unsaid."""
UNSOUNDED_MS = 1_500
"""After words came whose sound has not: there is none."""
MOST_FORMER = 4
"""Utterances to which words may still come after the next one has begun."""
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

    @property
    def last_ms(self) -> int:
        """Where its last word is at the latest: words come before their sound, and some never have one."""
        loud = self.segment.loud
        return (loud[-1][1] if loud else self.segment.begin) // self.per_ms + EDGE_MS

    def _timed(self) -> list[TimedText]:
        if self.fragments is not None:
            return self.fragments
        until_ms = max(self.last_ms, self.segment.dropped_to // self.per_ms)
        return bounded(self.words.between(-_EVER, _EVER if self.open else until_ms))

    def settle(self, next_ms: int) -> None:
        """The next utterance begins there: words before belong to this one, also those of which it made no
        sound.
        """
        self.open, self.fragments = False, bounded(self.words.take(next_ms - EDGE_MS))

    def late(self, fragment: TimedText) -> None:
        """A word of it came after the next utterance had begun."""
        fragments = [*(self.fragments or ()), fragment]
        self.fragments = bounded(sorted(fragments, key=lambda one: one.start_ms))

    def said(self) -> str:
        return joined(self._timed())

    def heard(self, more: Mapping[Span, int] = NOTHING) -> str:
        heard_bytes = sum(part.heard_bytes + more.get(part, 0) for part in self.parts.values())
        if not heard_bytes:
            return ""
        place_ms = (self.segment.begin + heard_bytes) // self.per_ms
        if place_ms >= self.last_ms - EDGE_MS:
            place_ms = self.last_ms
        return cut(self._timed(), lambda middle_ms: middle_ms <= place_ms)


class DuplexSession:
    """One upstream session's."""

    __slots__ = (
        "asked_ms",
        "asked_twice",
        "caller_text",
        "epoch",
        "former",
        "item",
        "per_ms",
        "response_id",
        "spoke_ms",
        "stopped_ms",
        "stream",
        "turns",
        "turns_begun",
        "untold",
        "unwanted",
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
        self.former: deque[TimedItem] = deque(maxlen=MOST_FORMER)
        """Those before it, the oldest first."""
        self.untold: list[TimedItem] = []
        """Utterances that are over, of which nothing is told yet: they may get more words."""
        self.response_id = ""
        """What the model is saying, "" while it says nothing."""
        self.unwanted = ""
        """A response that was interrupted by its words, before it made a sound."""
        self.asked_ms = NEVER
        """When it was asked to say what it has not begun to say."""
        self.asked_twice = ""
        """The tag of what it was asked for again."""
        self.caller_text = TurnText()
        self.turns: deque[str] = deque(maxlen=MOST_TURNS)
        """The caller's turns, as items, whose words have not come."""
        self.turns_begun = 0
        self.spoke_ms = self.worded_ms = self.stopped_ms = -1
        """When the caller began to speak last, when words of theirs came, and when they had stopped."""

    @property
    def upcoming(self) -> str:
        """The id of the next utterance: its words come before its sound."""
        return f"live:{self.epoch}:{self.stream.utterances + 1}"

    def utterance(self, segment: Segment) -> TimedItem:
        """An utterance begins."""
        onset_ms = segment.onset // self.per_ms
        if self.item is not None:
            self.item.settle(onset_ms)
            self.former.append(self.item)
        self.words.begun(onset_ms)
        span = segment.span
        self.response_id = span.response_id = self.response_id or span.item_id
        self.item = TimedItem(
            span.item_id, role="assistant", response_id=span.response_id, spoken=True, ours=True,
            segment=segment, words=self.words, per_ms=self.per_ms,
        )  # fmt: skip
        return self.item

    def word(self, fragment: TimedText) -> None:
        """A word of the model's came: of the newest utterance, of the next one or, late, of one before."""
        place_ms = self.words.came(fragment, self.stream.received // self.per_ms)
        owner = self.item
        for item in (*([] if owner is None else [owner]), *reversed(self.former)):
            owner = item
            if place_ms > item.segment.onset // self.per_ms - EDGE_MS:
                break
        if owner is None or owner is self.item:
            self.words.add(fragment)
        else:
            owner.late(fragment.shifted(-self.words.apart_ms))

    def awaits_words(self, item: Item) -> bool:
        """Whether words of an utterance whose sound is over may still come: as late as the last ones did, or
        the first ones might.
        """
        if not isinstance(item, TimedItem) or item.words is not self.words:
            return False  # no more comes of a session that is gone
        late_ms = self.words.late_ms if item.said() else LATE_MS
        return bool(late_ms) and self.stream.received // self.per_ms < item.last_ms + late_ms

    def utterance_over(self) -> None:
        """The gate is closed behind it."""
        if self.item is not None and self.item.open:
            self.item.open = False
            self.words.ended(max(self.item.last_ms, self.item.segment.dropped_to // self.per_ms))

    def unsounded(self, now_ms: int) -> list[TimedText]:
        """Words that have waited for their sound for too long, which are waited for no more."""
        if self.stream.segment is not None or self.stream.hushed:
            return []
        dropped_ms = self.stream.dropped_to // self.per_ms
        over_ms = max(0 if self.item is None else self.item.last_ms, dropped_ms)
        over_ms = over_ms + UNSAID_MS if over_ms else -_EVER
        return self.words.drop(over_ms, now_ms - UNSOUNDED_MS)

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
