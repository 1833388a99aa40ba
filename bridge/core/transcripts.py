"""The caller's turns whose words are still to come.

API reference, conversation.item.input_audio_transcription.completed: transcription runs asynchronously, so
the words of a later turn may come first. The handler gets turns in the order of the conversation.
"""

from __future__ import annotations

from collections import OrderedDict

from .due import NEVER
from .messages import Turn

TRANSCRIPT_MS = 8_000
"""How long a handler waits for the words of a turn; the vendor sends them late, or never."""
HELD_MS = 5_000
"""How long a turn whose words have come waits for those of a turn before it."""
MOST_UNTRANSCRIBED = 64
"""Turns whose words may be on their way at once; of one more the oldest goes without."""


class Transcripts:
    """`awaited` holds item ids, the oldest first, and when each is given up. Methods return the turns that
    the handler is told of now, in order.
    """

    __slots__ = ("_came", "_told", "awaited", "due_ms")

    def __init__(self) -> None:
        self.awaited: OrderedDict[str, int] = OrderedDict()
        self.due_ms = NEVER
        self._came: dict[str, Turn] = {}
        """Their words have come, those of a turn before have not."""
        self._told: OrderedDict[str, None] = OrderedDict()

    def told(self, item_id: str) -> bool:
        """Whether no turn is told of this item any more."""
        return item_id in self._told

    def tell_no_more(self, item_id: str) -> None:
        """No turn is told of this item any more."""
        self._told[item_id] = None
        if len(self._told) > MOST_UNTRANSCRIBED:
            self._told.popitem(last=False)

    def wait(self, item_id: str, now_ms: int) -> list[Turn]:
        """Its words are on their way."""
        self.awaited.setdefault(item_id, now_ms + TRANSCRIPT_MS)
        late = [self._give_up()] if len(self.awaited) > MOST_UNTRANSCRIBED else []
        return late + self._in_order(now_ms)

    def came(self, turn: Turn, now_ms: int) -> list[Turn]:
        """Its words are there."""
        if turn.item_id not in self.awaited:
            return [turn]
        self._came[turn.item_id] = turn
        return self._in_order(now_ms)

    def late(self, now_ms: int) -> list[Turn]:
        """Words that are due are not waited for. If they come, they are part of the record."""
        turns: list[Turn] = []
        while self.awaited and next(iter(self.awaited.values())) <= now_ms:
            turns += [self._give_up(), *self._in_order(now_ms)]
        return turns

    def _give_up(self) -> Turn:
        item_id, _ = self.awaited.popitem(last=False)
        self.tell_no_more(item_id)
        return Turn(item_id, "")

    def _in_order(self, now_ms: int) -> list[Turn]:
        turns = []
        while (first := next(iter(self.awaited), None)) in self._came:
            del self.awaited[first]
            turns.append(self._came.pop(first))
        if first is not None and self._came:
            self.awaited[first] = min(self.awaited[first], now_ms + HELD_MS)
        self.due_ms = next(iter(self.awaited.values()), NEVER)
        return turns
