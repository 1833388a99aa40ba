"""Memory for sound that waits: how much all calls of this process hold, and how much they may."""

from __future__ import annotations

from typing import Final
from weakref import WeakKeyDictionary

from bridge.core.pacer import GRANT_BYTES

CALL_BYTES: Final = 16_000_000
"""Of one call: 26 minutes of sound."""
PROCESS_BYTES: Final = 512_000_000
"""Of all; calls that begin when all is taken have what every call has, besides."""


class HeldSound:
    """What each call was granted. A call has `GRANT_BYTES` from its beginning, and asks for more in the same
    step.
    """

    def __init__(self, call_bytes: int = CALL_BYTES, process_bytes: int = PROCESS_BYTES) -> None:
        self._call_bytes = call_bytes
        self._process_bytes = process_bytes
        self._granted: WeakKeyDictionary[object, int] = WeakKeyDictionary()

    @property
    def granted_bytes(self) -> int:
        """In all."""
        return sum(self._granted.values())

    def open(self, call: object) -> None:
        """A call begins."""
        self._granted[call] = GRANT_BYTES

    def ask(self, call: object, size_bytes: int) -> int:
        """The call wants to hold so much. Returns what it may hold: that, or as much as before."""
        had_bytes = self._granted.get(call, 0)
        more_bytes = size_bytes - had_bytes
        if more_bytes > 0 and (
            size_bytes > self._call_bytes or self.granted_bytes + more_bytes > self._process_bytes
        ):
            return had_bytes
        self._granted[call] = size_bytes
        return size_bytes

    def close(self, call: object) -> None:
        """The call is over. Idempotent."""
        self._granted.pop(call, None)


HELD_SOUND: Final = HeldSound()
"""Of this process."""
