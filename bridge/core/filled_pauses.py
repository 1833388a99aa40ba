"""A filler in the place of sound that cannot be heard: an answer may hold seconds of silence, and the line is
busy with it, so nothing else can be played meanwhile.

What goes out has the size of what came. So the ledger's truth about the item does not change.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence

from .fillers import WAITING, WORDS
from .messages import AudioDelta, Sound

PAUSE_MS = 1_400
"""Of silence within an answer before a filler: a delta of half a second may have ended in silence before."""
SILENT_SAMPLE = b"\xff"


class FilledPauses:
    """One call's."""

    def __init__(self, bytes_per_ms: int) -> None:
        self._fillers: Sequence[Sound] = ()
        self._sounds: list[bytes] = []
        self._next = 0
        self._pause_bytes = PAUSE_MS * bytes_per_ms
        self._per_ms = bytes_per_ms
        self._quiet_bytes = 0
        self._at = 0

    def audible(self) -> None:
        """Sound that can be heard goes out."""
        self._quiet_bytes = self._at = self._next = 0

    def begin(self, patience_ms: int) -> None:
        """Sound that cannot be heard is all there is so far: the filler is due in this many ms."""
        self._at = self._next = 0
        self._quiet_bytes = max(0, self._pause_bytes - max(0, patience_ms) * self._per_ms)

    def filled(self, event: AudioDelta, phrases: Mapping[str, Sound]) -> AudioDelta:
        """The delta, with the fillers among the phrases in it where its silence lasts."""
        fillers = [phrases[name] for name in (WORDS, WAITING) if name in phrases]
        audio = self.fill(event.audio, event.size_bytes, fillers)
        if audio is event.audio:
            return event
        return AudioDelta(event.response_id, event.item_id, event.part, audio, event.size_bytes, event.epoch)

    def fill(self, audio: str, size_bytes: int, fillers: Sequence[Sound]) -> str:
        """The base64 text that goes out in the place of inaudible `audio`, as long as that. Of the `fillers`
        (mu-law) each is heard once, and the last one over again; without any it stays as it came.
        """
        if (not self._at and self._quiet_bytes + size_bytes <= self._pause_bytes) or not fillers:
            self._quiet_bytes += size_bytes
            return audio
        if fillers != self._fillers:
            self._fillers, self._sounds = fillers, [b64decode(one.audio) for one in fillers]
            self._at = self._next = 0
        filled = bytearray()
        while (left_bytes := size_bytes - len(filled)) > 0:
            if self._quiet_bytes < self._pause_bytes:
                quiet_bytes = min(left_bytes, self._pause_bytes - self._quiet_bytes)
                filled += SILENT_SAMPLE * quiet_bytes
                self._quiet_bytes += quiet_bytes
                continue
            sound = self._sounds[min(self._next, len(self._sounds) - 1)]
            piece = sound[self._at : self._at + left_bytes]
            filled += piece
            self._at += len(piece)
            if self._at >= len(sound):
                self._at = self._quiet_bytes = 0
                self._next += 1
        return b64encode(filled).decode()
