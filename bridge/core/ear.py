"""The caller's sound on its way up: kept while nobody listens, padded where the carrier left a gap, muted on
request.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache

from .messages import Action, AppendAudio, CallConfig, CallerAudio

GAP_MS = 60
"""Timestamps jitter by a few ms (captures); from three missing frames on it is a gap."""
MOST_PADDED_MS = 10_000
STALLED_MS = 750
"""Without a frame for so long while the caller speaks, silence is put in: voice detection counts audio
written, not time, so a turn would otherwise never end."""
STALL_PADDING_MS = 1_000


@lru_cache(maxsize=64)
def silence(size_bytes: int) -> str:
    """Base64 text of that many bytes of µ-law silence (0xFF)."""
    whole, rest = divmod(size_bytes, 3)
    return "/" * (4 * whole) + ("", "/w==", "//8=")[rest]


class Ear:
    """Where caller audio goes: upstream as it is while `open`, else kept, the newest `kept_audio_ms` of
    it.
    """

    __slots__ = ("_config", "_kept", "_kept_bytes", "_next_at_ms", "dropped", "last_ms", "muted", "open")

    def __init__(self, config: CallConfig) -> None:
        self._config = config
        self.open = False
        self.muted = False
        self.dropped = 0
        self.last_ms = 0
        self._next_at_ms: int | None = None
        self._kept: deque[CallerAudio] = deque()
        self._kept_bytes = 0

    def hear(self, event: CallerAudio, now_ms: int, epoch: int) -> list[Action]:
        """One frame came. Returns what goes up for it: mostly the frame itself, and nothing while the ear is
        closed.
        """
        self.last_ms = now_ms
        expected_ms = self._next_at_ms
        self._next_at_ms = event.at_ms + event.size_bytes // self._config.bytes_per_ms
        if not self.open:
            self._keep(event)
            return []
        audio = silence(event.size_bytes) if self.muted else event.audio
        append = AppendAudio(audio, event.size_bytes, epoch)
        if expected_ms is None or event.at_ms - expected_ms < GAP_MS:
            return [append]
        return [self.padding(min(event.at_ms - expected_ms, MOST_PADDED_MS), epoch), append]

    def padding(self, ms: int, epoch: int) -> AppendAudio:
        """Silence for sound the carrier did not send."""
        size_bytes = ms * self._config.bytes_per_ms
        return AppendAudio(silence(size_bytes), size_bytes, epoch)

    def stall(self, epoch: int) -> AppendAudio:
        """Frames stopped in the middle of speech: silence that lets the turn end. Frames that come after all
        are not padded for the same time again.
        """
        if self._next_at_ms is not None:
            self._next_at_ms += STALL_PADDING_MS
        return self.padding(STALL_PADDING_MS, epoch)

    def unkeep(self, epoch: int) -> list[AppendAudio]:
        """Somebody listens (again): opens the ear and returns what was kept, oldest first."""
        self.open = True
        kept = [
            AppendAudio(silence(k.size_bytes) if self.muted else k.audio, k.size_bytes, epoch)
            for k in self._kept
        ]
        self._kept.clear()
        self._kept_bytes = 0
        return kept

    def _keep(self, event: CallerAudio) -> None:
        self._kept.append(event)
        self._kept_bytes += event.size_bytes
        while self._kept_bytes > self._config.kept_audio_ms * self._config.bytes_per_ms:
            self._kept_bytes -= self._kept.popleft().size_bytes
            self.dropped += 1
