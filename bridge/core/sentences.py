"""Where the sentences of an item begin in its sound, for vendors who say so."""

from __future__ import annotations

from itertools import pairwise

BYTES_PER_MS = 8
MOST = 1_000
"""Sentences of one item that are told apart."""


class SentenceStarts:
    """Characters of an item's words, and the byte of its sound at which each sentence begins."""

    __slots__ = ("_starts",)

    def __init__(self) -> None:
        self._starts: list[tuple[int, int]] = []

    def add(self, characters: int, start_ms: int) -> None:
        """A sentence begins after so many characters, at that time. One that begins before the sentence
        before it does not count.
        """
        start_bytes = max(0, start_ms) * BYTES_PER_MS
        first = not self._starts
        if first or (start_bytes >= self._starts[-1][1] and len(self._starts) < MOST):
            self._starts.append((characters, start_bytes))

    def heard(self, heard_bytes: int, received_bytes: int, characters: int) -> int:
        """How many of all `characters` were heard. A sentence is spread evenly from its start to the start of
        the next one, the last one to the end of what was received.
        """
        end = (characters, max(received_bytes, self._starts[-1][1] + 1))
        told = 0
        for (first, begins), (after, ends) in pairwise((*self._starts, end)):
            if heard_bytes >= begins:
                share = min(heard_bytes, ends) - begins
                told = after if ends <= begins else first + (after - first) * share // (ends - begins)
        return told

    def __bool__(self) -> bool:
        return bool(self._starts)
