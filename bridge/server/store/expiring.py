"""A mapping whose entries have a time to live, as keys of a Redis server have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class Expiring(Generic[V]):
    """At most `most` entries; those that were put first go. If `now_ms` steps back, they live longer."""

    def __init__(self, now_ms: Callable[[], int], most: int) -> None:
        self._now_ms = now_ms
        self._most = most
        self._entries: dict[str, tuple[int, V]] = {}  # until when, and what; those of late last
        self._sweep_at = 64

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> V | None:
        """What was put last under that key and still lives."""
        until_ms, value = self._entries.get(key, (0, None))
        return value if until_ms > self._now_ms() else None

    def put(self, key: str, value: V, kept_ms: int) -> None:
        """Keep it for that long."""
        self._entries.pop(key, None)
        self._entries[key] = (self._now_ms() + kept_ms, value)
        if len(self._entries) >= self._sweep_at:  # once in n puts of n entries
            now_ms = self._now_ms()
            self._entries = {one: entry for one, entry in self._entries.items() if entry[0] > now_ms}
            self._sweep_at = 2 * len(self._entries) + 64
        if len(self._entries) > self._most:
            del self._entries[next(iter(self._entries))]

    def drop(self, key: str) -> None:
        """Forget it, if it is there."""
        self._entries.pop(key, None)
