"""What the sounds of a call are called, and the words in them."""

from __future__ import annotations

from collections.abc import Mapping

from ..core import messages as m


class Names:
    """Names and words of items and of recorded sounds."""

    def __init__(self, phrases: Mapping[str, m.Sound], bytes_per_ms: int) -> None:
        self.sizes_ms: dict[str, int] = {}
        """By name: how much sound was generated of an item."""
        self._phrases, self._bytes_per_ms = phrases, bytes_per_ms
        self._names: dict[str, tuple[int, str]] = {}
        self._words: dict[str, str] = {}

    def of(self, item_id: str, epoch: int | None = None) -> str:
        """What an item is called here. Vendors' ids are unique; should a later session give one again, it
        says so.
        """
        known = self._names.get(item_id)
        if known is None or (epoch is not None and epoch != known[0]):
            known = self._names[item_id] = (epoch or 1, f"{item_id} ({epoch})" if known else item_id)
        return known[1]

    def text(self, event: m.TextDelta) -> None:
        name = self.of(event.item_id, event.epoch)
        self._words[name] = self._words.get(name, "") + event.text

    def delta(self, event: m.AudioDelta) -> tuple[str, int]:
        """The item of this sound, and how long the sound is."""
        name = self.of(event.item_id, event.epoch)
        ms = event.size_bytes // self._bytes_per_ms
        self.sizes_ms[name] = self.sizes_ms.get(name, 0) + ms
        return name, ms

    def utterance(self, item_id: str, epoch: int, ms: int) -> str:
        """The item that a duplex model's sound belongs to, of which so much has gone out."""
        name = self.of(item_id, epoch)
        self.sizes_ms[name] = ms
        return name

    def said(self, spoken: m.Spoken) -> None:
        """The words of an item, where they came without its name."""
        self._words.setdefault(self.of(spoken.item_id), spoken.generated)

    def words(self, name: str, ours: Mapping[str, int]) -> str:
        """Of an item, or of a recorded sound; `ours` has the sizes of the latter in bytes."""
        return self._words.get(name) or self.phrase(name, ours)

    def phrase(self, say_id: str, ours: Mapping[str, int]) -> str:
        """The words of a recorded sound, if it is one of the phrases: by its length, or else by its name, for
        fillers have several phrases.
        """
        size_bytes = ours.get(say_id)
        long = [phrase.text for phrase in self._phrases.values() if phrase.size_bytes == size_bytes]
        named = self._phrases.get(say_id.partition(":")[0])
        return named.text if named is not None and (named.text in long or not long) else "".join(long[:1])
