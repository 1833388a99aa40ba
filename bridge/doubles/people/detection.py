"""Machine detection as a carrier does it: by the length of the first words, the silence after them, a tone.

https://www.twilio.com/docs/voice/answering-machine-detection
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from typing import Final

from ...codecs.g711 import pcmu_to_pcm
from ...codecs.level import level_dbfs
from .person import FRAME_MS, LOUD_DBFS

_BEEP_MS: Final = 120
_QUIET_AFTER_BEEP_MS: Final = 200


@dataclass(frozen=True)
class DetectionOptions:
    """The parameters of `Calls.create`, in milliseconds."""

    waits_for_end: bool = True
    """`DetectMessageEnd`, else `Enable`."""
    timeout_ms: int = 30_000
    speech_threshold_ms: int = 2_400
    """Shorter is a person."""
    speech_end_threshold_ms: int = 1_200
    silence_timeout_ms: int = 5_000


class Detector:
    """Hears one side of a call from its answer on; `verdict` is `AnsweredBy`, once, None before."""

    def __init__(self, options: DetectionOptions) -> None:
        self.options = options
        self.verdict: str | None = None
        self.at_ms = 0
        self._speech_ms = 0
        self._quiet_ms = 0
        self._tone_ms = 0
        self._tone_crossings = 0

    def hear(self, frame: bytes) -> str | None:
        """20 ms of µ-law; the verdict, when it is reached by this frame."""
        if self.verdict is not None:
            return None
        self.at_ms += FRAME_MS
        self.verdict = self._judged(frame)
        return self.verdict

    def _judged(self, frame: bytes) -> str | None:
        options = self.options
        is_machine = self._speech_ms >= options.speech_threshold_ms
        if level_dbfs(frame) <= LOUD_DBFS:
            self._quiet_ms += FRAME_MS
            beeped = self._tone_ms >= _BEEP_MS and self._quiet_ms >= _QUIET_AFTER_BEEP_MS
            if beeped and is_machine and options.waits_for_end:
                return "machine_end_beep"
            return self._judged_silence(is_machine)
        self._speech_ms += FRAME_MS
        crossings = _crossings(frame)
        same = self._quiet_ms == 0 and abs(crossings - self._tone_crossings) <= 1 and crossings >= 12
        self._tone_ms = self._tone_ms + FRAME_MS if same else FRAME_MS
        self._quiet_ms, self._tone_crossings = 0, crossings
        if self._speech_ms >= options.speech_threshold_ms and not options.waits_for_end:
            return "machine_start"
        return "unknown" if self.at_ms >= options.timeout_ms else None

    def _judged_silence(self, is_machine: bool) -> str | None:
        options = self.options
        if self.at_ms >= options.timeout_ms:
            return "unknown"
        if not self._speech_ms:
            return "unknown" if self.at_ms >= options.silence_timeout_ms else None
        if self._quiet_ms < options.speech_end_threshold_ms:
            return None
        return "machine_end_silence" if is_machine else "human"


def _crossings(frame: bytes) -> int:
    """How often the wave changes its sign in 20 ms: of a tone of 1,000 Hz forty times."""
    samples = struct.unpack(f"<{len(frame)}h", pcmu_to_pcm(frame))
    return sum((one < 0) != (next_ < 0) for one, next_ in itertools.pairwise(samples))
