"""The caller's sound on its way up: kept while nobody listens, padded where the carrier left a gap, muted on
request.

The ear also has a rough idea of its own whether somebody speaks. Turns are the vendor's to find; but a vendor
that has fallen silent finds none, and then this is all that tells a caller who waits from one who does not.
Loud or not is told from outside (`CallerVoice`): the core never looks at sound, so that a recording without
sound replays like one with it.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import NamedTuple

from .messages import Action, AppendAudio, CallConfig, CallerAudio

GAP_MS = 60
"""Timestamps jitter by a few ms (captures); from three missing frames on it is a gap."""
MOST_PADDED_MS = 10_000
STALLED_MS = 750
"""Without a frame for so long while the caller speaks, silence is put in: voice detection counts audio
written, not time, so a turn would otherwise never end."""
STALL_PADDING_MS = 1_000
VOICE_MS = 200
"""Of loud sound make an utterance; less is a click or a cough."""
PAUSE_MS = 700
"""Of quiet end it."""
FORGET_MS = 10_000
"""After which an utterance that nobody answered is no turn any more."""


@lru_cache(maxsize=64)
def silence(size_bytes: int) -> str:
    """Base64 text of that many bytes of µ-law silence (0xFF)."""
    whole, rest = divmod(size_bytes, 3)
    return "/" * (4 * whole) + ("", "/w==", "//8=")[rest]


class _Kept(NamedTuple):
    """A frame of the caller's, and whether it may hold a voice."""

    audio: str
    size_bytes: int
    loud: bool


class Ear:
    """Where caller audio goes: upstream as it is while `open`, else kept, the newest `kept_audio_ms` of
    it.

    What was sent of an utterance stays here until it is answered: a session that is lost takes it with it,
    and the next one shall hear it whole.
    """

    __slots__ = (
        "_config",
        "_kept",
        "_kept_bytes",
        "_next_at_ms",
        "_turn",
        "dropped",
        "last_ms",
        "loud",
        "muted",
        "open",
        "voice_ended_ms",
        "voice_ms",
    )

    def __init__(self, config: CallConfig) -> None:
        self._config = config
        self.open = False
        self.muted = False
        self.dropped = 0
        self.last_ms = 0
        self.voice_ms = 0
        """How much of a voice there was in the last utterance."""
        self.voice_ended_ms = -PAUSE_MS
        """When it was last heard."""
        self.loud = False
        """Whether the frames that come now may hold a voice."""
        self._turn: deque[_Kept] = deque()
        self._next_at_ms: int | None = None
        self._kept: deque[_Kept] = deque()
        self._kept_bytes = 0

    def hear(self, event: CallerAudio, now_ms: int, epoch: int) -> list[Action]:
        """One frame came. Returns what goes up for it: mostly the frame itself, and nothing while the ear is
        closed.
        """
        self.last_ms = now_ms
        expected_ms = self._next_at_ms
        self._next_at_ms = event.at_ms + event.size_bytes // self._config.bytes_per_ms
        if not self.muted:
            self._listen(event, now_ms)
        if not self.open:
            self._keep(event)
            return []
        audio = silence(event.size_bytes) if self.muted else event.audio
        append = AppendAudio(audio, event.size_bytes, epoch)
        if expected_ms is None or event.at_ms - expected_ms < GAP_MS:
            return [append]
        return [self.padding(min(event.at_ms - expected_ms, MOST_PADDED_MS), epoch), append]

    def restart(self, now_ms: int) -> None:
        """Frames come from another stream now, with a clock of its own."""
        self._next_at_ms, self.last_ms = None, now_ms

    def speaks(self, now_ms: int) -> bool:
        """Whether the caller seems to be in the middle of saying something."""
        return self.voice_ms >= VOICE_MS and now_ms - self.voice_ended_ms < PAUSE_MS

    def answered(self) -> None:
        """What the caller said last has been answered, or is known in words: it need not be heard again."""
        self._turn.clear()

    def lose(self) -> None:
        """Nobody listens any more, and who did has not answered: what the caller was saying is kept, from its
        beginning.
        """
        self.open = False
        turn, self._turn = self._turn, deque()
        self._kept.extendleft(reversed(turn))
        self._kept_bytes += sum(frame.size_bytes for frame in turn)
        self._bound()

    @property
    def keeps_a_voice(self) -> bool:
        """Whether an utterance is among what is kept."""
        loud_bytes = sum(frame.size_bytes for frame in self._kept if frame.loud)
        return not self.muted and loud_bytes >= VOICE_MS * self._config.bytes_per_ms

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

    def _listen(self, event: CallerAudio, now_ms: int) -> None:
        loud = self.loud
        if loud:
            if now_ms - self.voice_ended_ms >= PAUSE_MS:
                self.voice_ms = 0
            self.voice_ms += event.size_bytes // self._config.bytes_per_ms
            self.voice_ended_ms = now_ms
        turn = self._turn
        if not self.open or not (loud or turn):
            return
        turn.append(_Kept(event.audio, event.size_bytes, loud))
        quiet_ms = now_ms - self.voice_ended_ms
        if quiet_ms >= (FORGET_MS if self.voice_ms >= VOICE_MS else PAUSE_MS):
            turn.clear()
        elif len(turn) * event.size_bytes > self._config.kept_audio_ms * self._config.bytes_per_ms:
            turn.popleft()

    def _keep(self, event: CallerAudio) -> None:
        self._kept.append(_Kept(event.audio, event.size_bytes, self.loud))
        self._kept_bytes += event.size_bytes
        self._bound()

    def _bound(self) -> None:
        while self._kept_bytes > self._config.kept_audio_ms * self._config.bytes_per_ms:
            self._kept_bytes -= self._kept.popleft().size_bytes
            self.dropped += 1
