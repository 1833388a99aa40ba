"""The pacer: sound that waits here until the carrier may have it.

What was written to the carrier cannot be taken back: Twilio, "Clear message": it empties the buffer, and it
queues behind what was written before it. So the model's sound goes out with a lead ahead of what has been
played, and nothing goes out while the carrier's outbox is full. The rest waits here, in order, and is dropped
before a clear is written. A recorded sound has a shorter lead, so that cutting it is cheaper still.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from .ledger import Span
from .messages import HoldSound

SLICE_MS: Final = 240
"""Of a recorded sound. Slices are multiples of 3 bytes, so that base64 text can be cut at a multiple of 4
characters without decoding."""
LEAD_MS: Final = 480
"""Of a recorded sound."""
PIECE_MS: Final = 960
"""Of a delta that does not fit into the lead, or not into one step."""
LOOK_AGAIN_MS: Final = 100
"""At the soonest, where the model's sound waits for the lead: seconds of it are at the carrier."""
STEP_BYTES: Final = 32_768
"""Most that one step writes to the carrier, as it is on the wire. The shell says that its outbox is full when
it holds as much: so there are never more than 64 KiB in it."""
AT_ONCE_BYTES: Final = 24_000
"""The longest delta that fits into a step as it came."""
FRAME_BYTES: Final = 256
"""JSON around a piece of sound, and its mark."""
ENTRY_BYTES: Final = 200
"""What keeping one delta costs besides its text: a model that makes tiny ones must not get more memory."""
GRANT_BYTES: Final = 262_144
"""Memory for held sound that every call has, and by how much more is asked for: 25 s of sound."""


def text_bytes(size_bytes: int) -> int:
    """The length of the base64 text of `size_bytes`."""
    return -(-size_bytes // 3) * 4


@dataclass(slots=True, eq=False)
class Entry:
    """Sound that may not go out yet: a delta of the model, or a sound of `ours`. Of it `left_bytes` are left,
    from character `at` on.
    """

    span: Span
    audio: str
    left_bytes: int
    ours: bool = False
    at: int = 0
    cost_bytes: int = 0
    """Of memory, counted for the model's sound: ours is shared by all calls."""

    def take(self, size_bytes: int) -> str:
        """The text of the next `size_bytes`: a multiple of 3, or all that is left."""
        self.left_bytes -= size_bytes
        start, self.at = self.at, self.at + text_bytes(size_bytes)
        return self.audio[start : self.at] if self.left_bytes else self.audio[start:]


class Pacer:
    """What waits, in order, and when the next piece of it may go out.

    `lead_ms` is how far the model's sound may be ahead of what has been played; 0: as far as it comes.
    `free_bytes` is what may be unacknowledged at the carrier for a delta to go out without further questions:
    a low bound, to be compared with each. `held_bytes` is the memory of the model's sound that waits,
    `granted_bytes` what the shell was asked for.
    """

    __slots__ = ("_free_bytes", "_lead_ms", "_per_ms", "entries", "free_bytes", "granted_bytes", "held_bytes")

    def __init__(self, bytes_per_ms: int, lead_ms: int = 0) -> None:
        self._per_ms = bytes_per_ms
        self._lead_ms = lead_ms
        self.entries: deque[Entry] = deque()
        self.held_bytes = 0
        self.granted_bytes = GRANT_BYTES
        self._free_bytes = min(lead_ms * bytes_per_ms, AT_ONCE_BYTES) if lead_ms else 1 << 62
        self.free_bytes = self._free_bytes

    @property
    def outbox_full(self) -> bool:
        """Whether the carrier's outbox takes nothing now."""
        return self.free_bytes < 0

    @outbox_full.setter
    def outbox_full(self, full: bool) -> None:
        self.free_bytes = -1 if full else self._free_bytes

    def hold(self, span: Span, audio: str, size_bytes: int) -> None:
        """A delta of the model waits."""
        cost_bytes = text_bytes(size_bytes) + ENTRY_BYTES
        self.held_bytes += cost_bytes
        self.entries.append(Entry(span, audio, size_bytes, cost_bytes=cost_bytes))

    def queue(self, span: Span, audio: str, size_bytes: int) -> None:
        """A recorded sound waits."""
        self.entries.append(Entry(span, audio, size_bytes, ours=True))

    def pop(self) -> Entry:
        """The first entry is out."""
        entry = self.entries.popleft()
        self.held_bytes -= entry.cost_bytes
        return entry

    def drop_unprotected(self) -> None:
        """Of what waits only protected sounds are kept."""
        self.entries = deque(entry for entry in self.entries if entry.span.protected)
        self.held_bytes = sum(entry.cost_bytes for entry in self.entries)

    def shed(self, limit_bytes: int) -> list[Entry]:
        """Drop the newest sound of the model's until no more than that is held. Returns it, newest first."""
        dropped: list[Entry] = []
        kept: list[Entry] = []
        while self.held_bytes > limit_bytes:
            entry = self.entries.pop()
            self.held_bytes -= entry.cost_bytes
            (dropped if entry.cost_bytes else kept).append(entry)
        self.entries += reversed(kept)
        self.granted_bytes = limit_bytes
        return dropped

    def grant(self) -> list[HoldSound]:
        """How much memory to ask the shell for, if it is another amount than before: more as soon as it is
        needed, less when some can be spared.
        """
        wanted_bytes = max(-(-self.held_bytes // GRANT_BYTES), 1) * GRANT_BYTES
        if self.granted_bytes - GRANT_BYTES <= wanted_bytes <= self.granted_bytes:
            return []
        self.granted_bytes = wanted_bytes
        return [HoldSound(wanted_bytes)]

    def piece(self, entry: Entry, unplayed_ms: int) -> tuple[int, int]:
        """How many bytes of this entry go out next, and in how many ms they may; 0: now. `unplayed_ms` is
        what the carrier has.
        """
        size_bytes, per_ms, lead_ms = entry.left_bytes, self._per_ms, self._lead_ms
        if entry.ours:
            ahead_ms = unplayed_ms - LEAD_MS
            return min(size_bytes, SLICE_MS * per_ms), max(ahead_ms, 20) if ahead_ms >= 0 else 0
        if not lead_ms:
            return size_bytes, 0
        room_bytes = (lead_ms - unplayed_ms) * per_ms
        if size_bytes > min(room_bytes, AT_ONCE_BYTES):
            size_bytes = min(size_bytes, PIECE_MS * per_ms)
        ahead_ms = -((room_bytes - size_bytes) // per_ms)
        return size_bytes, max(ahead_ms, LOOK_AGAIN_MS) if ahead_ms > 0 else 0
