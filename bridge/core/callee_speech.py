"""A callee's speech as the bridge itself hears it: utterances and their pauses, without the tones.

Times are milliseconds of the call's clock. A pause of half a second ends an utterance. One of a second and a
half ends a monologue, which may be of many utterances: a greeting with pauses is one.
"""

from __future__ import annotations

from dataclasses import dataclass

PAUSE_MS = 500
"""Of silence end an utterance."""
MONOLOGUE_PAUSE_MS = 1_500
VOICE_MS = 160
"""Of sound make an utterance; less is a click of the line."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One that is over."""

    began_ms: int
    ended_ms: int
    after_ms: int
    """Of silence before it."""

    @property
    def lasted_ms(self) -> int:
        return self.ended_ms - self.began_ms


class CalleeSpeech:
    """`voice` and `tone` tell it what is heard; all else are questions."""

    __slots__ = (
        "_loud", "_loud_from_ms", "_monologue_ms", "_pause_ms", "_quiet_from_ms", "_voice_ms",
        "began_ms", "ended_ms", "heard", "toning",
    )  # fmt: skip

    def __init__(self) -> None:
        self._loud = False
        self._loud_from_ms = 0
        self._voice_ms = self._pause_ms = self._quiet_from_ms = 0
        self._monologue_ms: int | None = None
        self.began_ms: int | None = None
        """When the utterance began that is not over yet, or not taken by `take`."""
        self.ended_ms = 0
        """When a voice was last heard, tones excepted."""
        self.heard = False
        """Whether there ever was a voice."""
        self.toning = False

    @property
    def sounding(self) -> bool:
        """Whether a voice is heard at this moment, as far as one can tell."""
        return self._loud and not self.toning

    def voice(self, loud: bool, now_ms: int) -> None:
        """The line is loud from now on, or no longer."""
        if loud is not self._loud:
            self._stop(now_ms)
            self._loud = loud
            self._start(now_ms)

    def tone(self, began_ms: int, now_ms: int) -> None:
        """What is heard since `began_ms` is a tone. An utterance that began with it was none."""
        if self.began_ms is not None and self.began_ms >= began_ms - VOICE_MS:
            self.began_ms = None
            self._loud_from_ms = now_ms
        self._stop(min(began_ms, now_ms))
        self.toning = True

    def tone_over(self, ended_ms: int, now_ms: int) -> None:
        """The tone was over then."""
        self.toning = False
        self._quiet_from_ms = max(self._quiet_from_ms, ended_ms)
        self._start(now_ms)

    def restart(self, now_ms: int) -> None:
        """What was said until now is no matter; a voice that is heard now begins now."""
        self.began_ms, self._voice_ms, self._loud_from_ms = None, 0, now_ms
        self._start(now_ms)

    def _start(self, now_ms: int) -> None:
        if not self.sounding:
            return
        self._loud_from_ms = now_ms
        if self.began_ms is None:
            self.began_ms, self._voice_ms, self._pause_ms = now_ms, 0, now_ms - self.ended_ms
        if self._monologue_ms is None or now_ms - self.ended_ms >= MONOLOGUE_PAUSE_MS:
            self._monologue_ms = now_ms

    def _stop(self, now_ms: int) -> None:
        if self.sounding and self.began_ms is not None:
            self._voice_ms += max(0, now_ms - self._loud_from_ms)
            self.ended_ms = max(self.began_ms, now_ms)
            self._quiet_from_ms = max(self._quiet_from_ms, self.ended_ms)
            self.heard = self.heard or self._voice_ms >= VOICE_MS

    # --- what follows from it ----------------------------------------------------------------------------

    def silent_ms(self, now_ms: int) -> int:
        """For how long no voice and no tone has been heard; 0 while one is."""
        return 0 if self._loud or self.toning else now_ms - self._quiet_from_ms

    def unbroken_ms(self, now_ms: int) -> int:
        """How long the utterance lasts that goes on; 0 in a pause."""
        return now_ms - self.began_ms if self.sounding and self.began_ms is not None else 0

    def voice_ms(self, now_ms: int) -> int:
        """How much of a voice there is in the utterance that goes on, or was not taken yet."""
        if self.began_ms is None:
            return 0
        return self._voice_ms + (now_ms - self._loud_from_ms if self.sounding else 0)

    @property
    def monologue_ms(self) -> int:
        """How long they have spoken without a pause in which they wait for an answer, up to the last word."""
        return 0 if self._monologue_ms is None else max(0, self.ended_ms - self._monologue_ms)

    def take(self, now_ms: int) -> Utterance | None:
        """The utterance that is over, told once. None if no utterance is over, or it was a click."""
        if self.began_ms is None or self._loud or self.toning or now_ms - self.ended_ms < PAUSE_MS:
            return None
        one, voice_ms = Utterance(self.began_ms, self.ended_ms, self._pause_ms), self._voice_ms
        self.began_ms = None
        return one if voice_ms >= VOICE_MS else None
