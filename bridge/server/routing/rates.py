"""How many calls came within the last minute, of each caller and to each number."""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW_MS: Final = 60_000
MOST_KEYS: Final = 20_000
"""Callers that are counted; beyond that those go that have not called for longest."""


class CallsAMinute:
    """Counts calls by a key. A call that comes again, with the same id, is counted once."""

    def __init__(self, most_keys: int = MOST_KEYS) -> None:
        self._most_keys = most_keys
        self._calls: dict[str, deque[tuple[int, str]]] = {}  # by key, those of late last

    def __len__(self) -> int:
        return len(self._calls)

    def allows(self, key: str, call_sid: str, most: int, now_ms: int) -> bool:
        """Whether this call may come as one of `most` in a minute. Only one that may is counted."""
        calls = self._calls.pop(key, None) or deque()
        while calls and now_ms - calls[0][0] >= WINDOW_MS:
            calls.popleft()
        known = any(sid == call_sid for _at_ms, sid in calls)
        allowed = known or len(calls) < most
        if allowed and not known:
            calls.append((now_ms, call_sid))
        if calls:
            self._calls[key] = calls
        while len(self._calls) > self._most_keys:
            del self._calls[next(iter(self._calls))]
        return allowed
