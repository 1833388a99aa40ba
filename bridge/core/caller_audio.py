"""The caller's sound on its way up: kept while no session listens, padded where the carrier left a gap, muted
on request.

The ear also has a rough idea of its own whether the caller speaks. Turns are the vendor's to find; but a
vendor that has fallen silent finds none, and then this is all that tells a caller who waits from one who does
not. Loud or not is told from outside (`CallerVoice`): the core never looks at sound, so that a recording
without sound replays like one with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from .audio_backlog import AudioBacklog
from .due import NEVER
from .messages import AppendAudio, CallConfig, CallerAudio

GAP_MS = 60
"""Timestamps jitter by a few ms (captures); from three missing frames on it is a gap."""
MOST_PADDED_MS = 10_000
STALLED_MS = 750
"""Without a frame for this long while the caller speaks, silence is put in: voice detection counts audio
written, not time, so a turn would otherwise never end."""
STALL_PADDING_MS = 1_000
VOICE_MS = 200
"""Of loud sound make an utterance; less is a click or a cough."""
PAUSE_MS = 700
"""Of quiet end it."""
FORGET_MS = 10_000
"""After which an unanswered utterance is no turn any more."""
SLACK_MS = 500
"""So much more than is kept may be held for a moment."""
FRAME_MS = 20
"""Of the caller's sound: each carrier's frames are as long as that."""
_NOT_BEGUN = 1 << 60
"""Later than any timestamp: the first frame of a stream has no gap before it."""


@lru_cache(maxsize=64)
def silence(size_bytes: int) -> str:
    """Base64 text of that many bytes of µ-law silence (0xFF)."""
    whole, rest = divmod(size_bytes, 3)
    return "/" * (4 * whole) + ("", "/w==", "//8=")[rest]


class CallerAudioBuffer:
    """Where caller audio goes: upstream as it is while `open`, else kept, the newest `kept_audio_ms` of
    it.

    What was sent of an utterance stays here until it is answered: a session that is lost takes it with it,
    and the next one shall hear it whole.
    """

    __slots__ = (
        "_at_ms",
        "_bytes_per_ms",
        "_dropped",
        "_first_frame",
        "_held",
        "_hushed",
        "_keeps_a_voice",
        "_loud_from_ms",
        "_most_bytes",
        "_mute_wished",
        "_sounds_loud",
        "_steady_ended_ms",
        "_too_many_bytes",
        "_uploaded_bytes",
        "_voice_ms",
        "drains",
        "due_ms",
        "epoch",
        "frames",
        "last_ms",
        "loud",
        "muted",
        "open",
        "pads",
        "steady",
        "voice_ended_ms",
    )

    def __init__(self, config: CallConfig) -> None:
        self._bytes_per_ms = config.bytes_per_ms
        self._most_bytes = config.kept_audio_ms * config.bytes_per_ms
        self._too_many_bytes = self._most_bytes + SLACK_MS * config.bytes_per_ms
        self.frames = 0
        """How many have come."""
        self.open = False
        self.epoch = 0
        """The upstream session that listens, or did last."""
        self.muted = self._mute_wished = self._hushed = False
        self._dropped = 0
        self.last_ms = 0
        self.loud = False
        """Whether the frames that come now may hold a voice, and it is one to be heard."""
        self._sounds_loud = False
        self.steady = False
        self._steady_ended_ms = -PAUSE_MS
        """Whether they have been loud for long as no voice is."""
        self._loud_from_ms = 0
        self._voice_ms = 0
        self.voice_ended_ms = -PAUSE_MS
        """When a voice was last heard: at the newest loud frame."""
        self._at_ms = _NOT_BEGUN  # the newest frame's timestamp
        self._uploaded_bytes = 0
        """Of this session, without the frames that went up since it listens."""
        self._first_frame = 0
        """How many had come before those."""
        # While open what was sent of an utterance that is not answered; else what is to be sent.
        self._held = AudioBacklog()
        self._keeps_a_voice = False
        self.due_ms = NEVER
        """When sound goes up whether a frame has come or not (`input_clock`)."""
        self.pads = True
        """Whether silence takes the place of frames that the carrier left out, when it goes on."""
        self.drains = False
        """Whether what was kept goes up frame by frame (`next_kept`)."""

    def add(self, event: CallerAudio, now_ms: int) -> str | Sequence[AppendAudio]:
        """One frame came. Returns what goes upstream for it, in session `epoch`. Nearly always that is one
        append of as many bytes as the frame has: then its audio alone, as base64 text, so that no object is
        made fifty times a second. Else the appends in order: none while closed, and silence before a frame
        that comes after a gap.
        """
        self.last_ms = now_ms
        self.frames += 1
        audio, size_bytes, at_ms = event.audio, event.size_bytes, event.at_ms
        step_ms = at_ms - self._at_ms
        self._at_ms = at_ms
        if self.muted:
            audio = silence(size_bytes)
        held = self._held
        if self.loud or held.size_bytes or not self.open:
            held.add(audio, size_bytes)
            if held.size_bytes > self._too_many_bytes:
                self._drop_oldest()
            if self.loud:
                self.voice_ended_ms = now_ms
            elif self.open:
                self._forget(now_ms)
            if not self.open:
                return ()
        if step_ms < GAP_MS:  # the usual case, known without a division
            return audio
        gap_ms = step_ms - size_bytes // self._bytes_per_ms
        if gap_ms < GAP_MS or not self.pads:
            return audio
        epoch = self.epoch
        return self.padding(min(gap_ms, MOST_PADDED_MS), epoch), AppendAudio(audio, size_bytes, epoch)

    # --- a voice, as far as one can tell

    def voice(self, loud: bool, now_ms: int, *, steady: bool = False) -> None:
        """From here on frames may hold a voice, or do not."""
        if self.steady and not steady:
            self._steady_ended_ms = now_ms
        self._sounds_loud, self.steady = loud, steady
        self._heed(loud and not self.muted, now_ms)

    def mute(self, on: bool, now_ms: int) -> None:
        """While muted the caller is not heard, and what they say is no voice."""
        self._mute_wished = on
        self._settle(now_ms)

    def hush(self, on: bool, now_ms: int) -> None:
        """The same, for a reason of its own: while the caller gives away what is not for the model."""
        self._hushed = on
        self._settle(now_ms)

    def _settle(self, now_ms: int) -> None:
        muted = self._mute_wished or self._hushed
        self._heed(self._sounds_loud and not muted, now_ms)
        self.muted = muted

    def _heed(self, loud: bool, now_ms: int) -> None:
        if loud and not self.loud:
            if now_ms - self.voice_ended_ms >= PAUSE_MS:
                self._voice_ms = 0
            self._loud_from_ms, self.voice_ended_ms = now_ms, self.last_ms
        elif self.loud and not loud:
            self._voice_ms = self.voice_ms
            self._keeps_a_voice = self.keeps_a_voice
        self.loud = loud

    @property
    def voice_ms(self) -> int:
        """How much of a voice there was in the last utterance."""
        return self._voice_ms + (self.last_ms - self._loud_from_ms if self.loud else 0)

    @property
    def voiced(self) -> bool:
        """Whether the last utterance was a voice, as far as one can tell."""
        heard = self.voice_ms >= VOICE_MS and self.voice_ended_ms > self._steady_ended_ms
        return heard and not self.steady

    def speaks(self, now_ms: int) -> bool:
        """Whether the caller seems to be in the middle of saying something."""
        return self.voice_ms >= VOICE_MS and now_ms - self.voice_ended_ms < PAUSE_MS

    def dropped(self) -> int:
        """How many frames were lost because they were kept too long; those until now are let go."""
        self._drop_oldest()
        return self._dropped

    @property
    def keeps_a_voice(self) -> bool:
        """Whether an utterance is among what is kept."""
        loud = self.loud and self._held.size_bytes > 0 and self.voice_ms >= VOICE_MS
        return not self.muted and (self._keeps_a_voice or loud)

    # --- who listens

    def restart(self, now_ms: int) -> None:
        """A stream begins, the first one or another: its frames have a clock of their own."""
        self._at_ms, self.last_ms = _NOT_BEGUN, now_ms
        if self.loud:
            self.voice_ended_ms = now_ms

    def answered(self) -> None:
        """What the caller said last has been answered, or is known in words: it need not be heard again."""
        if self.open:
            self._let_go()

    def forget(self) -> None:
        """What was kept is no turn: it is answered already."""
        self._let_go()

    @property
    def uploaded_ms(self) -> int:
        """How much of the caller's sound the session that listens was sent: a voice detection's clock."""
        live_ms = (self.frames - self._first_frame) * FRAME_MS if self.open else 0
        return self._uploaded_bytes // self._bytes_per_ms + live_ms

    def drain(self, epoch: int, most_ms: int) -> None:
        """A session listens whose time goes by as ours does: of what was kept the newest `most_ms` go up at
        that pace, and the ear opens behind them. At once, where no voice is among them.
        """
        self.epoch, self.pads = epoch, False
        if self.open or self.drains:
            return
        self._drop_oldest()
        self.drains = self.keeps_a_voice
        if self.drains:
            self._dropped += self._held.drop(most_ms * self._bytes_per_ms)
        else:
            self._open()

    def next_kept(self, now_ms: int) -> AppendAudio | None:
        """What goes up now of what was kept; None if nothing does. Once the caller is quiet and their words
        have gone up, the silence behind them is left out, and the ear opens: what they say is late no more.
        """
        if not self.drains:
            return None
        behind_ms = self._held.size_bytes // self._bytes_per_ms
        kept = None if now_ms - self.voice_ended_ms >= behind_ms + PAUSE_MS else self._held.take()
        if kept is None:
            self._open()
            return None
        audio, size_bytes = kept
        self._uploaded_bytes += size_bytes
        return AppendAudio(silence(size_bytes) if self.muted else audio, size_bytes, self.epoch)

    def _open(self) -> None:
        self.open, self.drains, self._first_frame = True, False, self.frames
        self._let_go()

    def close(self) -> None:
        """What comes from here on is kept, for when the model may listen again."""
        self.drains = False
        if self.open:
            self._uploaded_bytes = self.uploaded_ms * self._bytes_per_ms
            self._let_go()
            self.open = False

    def lose(self) -> None:
        """The session is gone and has not answered: what the caller was saying is kept, from its
        beginning.
        """
        self._drop_oldest()
        self._uploaded_bytes = 0
        self.open = self.drains = False

    def flush(self, epoch: int) -> list[AppendAudio]:
        """A session listens (again): opens the ear and returns what was kept, oldest first."""
        self.epoch, self.pads = epoch, True
        if self.open:
            return []
        self._drop_oldest()
        self.open = True
        self._uploaded_bytes += self._held.size_bytes
        self._first_frame = self.frames
        kept = [
            AppendAudio(silence(size_bytes) if self.muted else audio, size_bytes, epoch)
            for audio, size_bytes in self._held
        ]
        self._let_go()
        return kept

    def _forget(self, now_ms: int) -> None:
        """It will not be answered any more."""
        quiet_ms = now_ms - self.voice_ended_ms
        if quiet_ms >= (FORGET_MS if self._voice_ms >= VOICE_MS else PAUSE_MS):
            self._let_go()

    def _drop_oldest(self) -> None:
        """What is held too long, some at once."""
        many = self._held.drop(self._most_bytes)
        if not self.open:
            self._dropped += many

    def _let_go(self) -> None:
        self._held.clear()
        self._keeps_a_voice = False

    # --- silence where the carrier sent none

    def padding(self, ms: int, epoch: int) -> AppendAudio:
        """Silence for sound the carrier did not send."""
        size_bytes = ms * self._bytes_per_ms
        self._uploaded_bytes += size_bytes
        return AppendAudio(silence(size_bytes), size_bytes, epoch)

    def stall(self, epoch: int) -> AppendAudio:
        """Frames stopped in the middle of speech: silence that lets the turn end. Frames that come after all
        are not padded for the same time again.
        """
        self._at_ms += STALL_PADDING_MS
        return self.padding(STALL_PADDING_MS, epoch)
