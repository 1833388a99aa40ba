"""What the far end of the carrier's buffer plays, and when: the truth about what a caller heard.

Twilio's buffer is first in, first out and plays 8000 bytes a second, so every byte has its place in time the
moment it arrives, and a clear only takes places away. Nothing here estimates.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

BYTES_PER_MS: Final = 8
SILENCE: Final = b"\xff"
"""µ-law silence (Twilio, "Media message": 0xFF is a zero; 0x00 would be a full-scale pop)."""


class HeardSpan(NamedTuple):
    """Sound without a gap: when its first byte was played, on the clock of `now_ms`, and how many bytes."""

    at_ms: int
    size_bytes: int


class Cleared(NamedTuple):
    """One `clear` as it took effect: when, and how many bytes of all our sound had been played by then."""

    at_ms: int
    played_bytes: int


class Playout:
    """The carrier's buffer with a loudspeaker behind it.

    `add`, `mark` and `clear` take effect at `now_ms`; `next_mark` tells the marks that playout has reached.
    With `keep_sound` False only positions are kept, so that long calls cost no memory.
    """

    def __init__(self, origin_ms: int, *, keep_sound: bool = True) -> None:
        self.origin_ms = origin_ms
        self.received_bytes = 0
        """All sound ever received, heard or not: the stream that `heard_bytes_of` counts in."""
        self.cleared: list[Cleared] = []
        self._dropped: list[tuple[int, int]] = []
        self._dropped_bytes = 0
        self._spans: list[HeardSpan] = []
        self._end_byte = origin_ms * BYTES_PER_MS
        self._marks: deque[tuple[int, str]] = deque()
        self._timeline = bytearray() if keep_sound else None

    def add(self, sound: bytes, now_ms: int) -> None:
        """Queue sound: it plays from now if the line is idle, else behind what is queued."""
        start_byte = max(self._end_byte, now_ms * BYTES_PER_MS)
        if not sound:
            return
        last = self._spans[-1] if self._spans else HeardSpan(0, -1)
        if last.at_ms * BYTES_PER_MS + last.size_bytes == start_byte:
            self._spans[-1] = HeardSpan(last.at_ms, last.size_bytes + len(sound))
        else:
            self._spans.append(HeardSpan(now_ms, len(sound)))
        if self._timeline is not None:
            gap_bytes = start_byte - self.origin_ms * BYTES_PER_MS - len(self._timeline)
            self._timeline += SILENCE * gap_bytes + sound
        self._end_byte = start_byte + len(sound)
        self.received_bytes += len(sound)

    def mark(self, name: str, now_ms: int) -> None:
        """Queue a mark behind all sound before it; on an idle line it is reached now."""
        end_ms = -(-self._end_byte // BYTES_PER_MS)
        self._marks.append((max(end_ms, now_ms), name))

    def next_mark(self, now_ms: int) -> str | None:
        """The next mark that has been reached by now, taken off the queue; None if there is no such mark."""
        if self._marks and self._marks[0][0] <= now_ms:
            return self._marks.popleft()[1]
        return None

    @property
    def mark_due_ms(self) -> int | None:
        """When the next mark will be reached, None when none waits."""
        return self._marks[0][0] if self._marks else None

    def clear(self, now_ms: int) -> list[str]:
        """Drop all that is not played yet; returns the marks that were still waiting, in order.

        A mark that playout has reached but that was not taken yet counts as waiting: take those first.
        """
        self._drop(now_ms)
        self.cleared.append(Cleared(now_ms, self.played_bytes(now_ms)))
        waiting = [name for _, name in self._marks]
        self._marks.clear()
        return waiting

    def stop(self, now_ms: int) -> None:
        """The call is over: what was not played by now never will be. Not counted as a clear."""
        self._drop(now_ms)
        self._marks.clear()

    def _drop(self, now_ms: int) -> None:
        unplayed_bytes = self.queued_bytes(now_ms)
        if not unplayed_bytes:
            return
        self._dropped.append((self.received_bytes - unplayed_bytes, self.received_bytes))
        self._dropped_bytes += unplayed_bytes
        self._end_byte -= unplayed_bytes
        # What is queued plays without a gap, so all of it belongs to the last span.
        last = self._spans.pop()
        if last.size_bytes > unplayed_bytes:
            self._spans.append(HeardSpan(last.at_ms, last.size_bytes - unplayed_bytes))
        if self._timeline is not None:
            del self._timeline[-unplayed_bytes:]

    def queued_bytes(self, now_ms: int) -> int:
        """Sound received and not yet played; 0 when the line is idle."""
        return max(0, self._end_byte - now_ms * BYTES_PER_MS)

    def played_bytes(self, now_ms: int) -> int:
        """Sound played by now, over the whole call."""
        return self.received_bytes - self._dropped_bytes - self.queued_bytes(now_ms)

    def heard_bytes_of(self, start_byte: int, end_byte: int, now_ms: int) -> int:
        """How much has been played by now of one part of the received stream (positions count every byte of
        sound that ever arrived, in order).
        """
        unplayed = [*self._dropped, (self.received_bytes - self.queued_bytes(now_ms), self.received_bytes)]
        end_byte = min(end_byte, self.received_bytes)
        lost = sum(max(0, min(end, end_byte) - max(start, start_byte)) for start, end in unplayed)
        return max(0, end_byte - start_byte - lost)

    def spans(self, now_ms: int) -> list[HeardSpan]:
        """What was played by now, as spans without a gap."""
        unplayed_bytes = self.queued_bytes(now_ms)
        if not unplayed_bytes:
            return list(self._spans)
        last = self._spans[-1]
        played_bytes = last.size_bytes - unplayed_bytes
        return [*self._spans[:-1], HeardSpan(last.at_ms, played_bytes)] if played_bytes else self._spans[:-1]

    def heard(self, now_ms: int) -> bytes:
        """What came out of the loudspeaker from the origin until now, 0xFF where nothing played; empty when
        no sound is kept.
        """
        if self._timeline is None:
            return b""
        size_bytes = (now_ms - self.origin_ms) * BYTES_PER_MS
        return bytes(self._timeline[:size_bytes]).ljust(size_bytes, SILENCE)

    def heard_between(self, start_ms: int, end_ms: int) -> bytes:
        """The same from one moment to another, 8 bytes a ms."""
        start, end = (max(0, at_ms - self.origin_ms) * BYTES_PER_MS for at_ms in (start_ms, end_ms))
        heard = b"" if self._timeline is None else bytes(self._timeline[start:end])
        return heard.ljust(end - start, SILENCE)
