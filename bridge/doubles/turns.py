"""Who speaks when: the input audio buffer and the voice detection that reads it.

Realtime guide, "Voice activity detection". All offsets count audio written, not wall time: when frames stop
coming, silence never elapses and a turn never ends.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from ..codecs.g711 import pcmu_to_pcm
from ..codecs.level import level_dbfs

BYTES_PER_MS: Final = 8
FRAME_BYTES: Final = 160
FRAME_MS: Final = FRAME_BYTES // BYTES_PER_MS
HZ: Final = 8_000

_SILENT: Final = b"\xff" * FRAME_BYTES
# semantic_vad waits longer the less eager it is; without a model for it these stand for "done speaking".
_EAGERNESS_MS: Final = {"high": 300, "auto": 600, "medium": 600, "low": 1_200}
_SLACK_BYTES: Final = 8_000  # trimmed a second at a time


class SpeechDetector(Protocol):
    """What `webrtcvad.Vad` offers: whether 20 ms of 16-bit PCM are speech."""

    def is_speech(self, buf: bytes, sample_rate: int) -> bool: ...


class TurnStarted(NamedTuple):
    """The caller began to speak; prefix padding is counted in."""

    audio_start_ms: int


class TurnStopped(NamedTuple):
    """The caller has been silent long enough; that silence belongs to the turn, as the vendor has it."""

    audio_end_ms: int
    sound: bytes


Heard: TypeAlias = TurnStarted | TurnStopped


class InputBuffer:
    """What the client appended since the last commit, µ-law, and whether a voice is in it.

    A turn starts after `min_speech_ms` of speech on end and stops after the configured silence. Without
    configuration (turn detection null) everything is kept until `take`.
    """

    def __init__(self, detector: SpeechDetector | None = None, min_speech_ms: int = 40) -> None:
        self.speaking = False
        self._detector = detector
        self._min_speech_frames = -(-min_speech_ms // FRAME_MS)
        self._detects = False
        self._threshold_dbfs = 0
        self._prefix_bytes = 0
        self._silence_frames = 0
        self._sound = bytearray()
        self._start_byte = 0
        self._examined_byte = 0
        self._run = 0  # frames of speech on end while silent, of silence while speaking

    def configure(self, detection: dict[str, Any] | None) -> None:
        """The session's `turn_detection`, complete with defaults. What is buffered stays."""
        self._detects = detection is not None
        if detection is None:
            self.speaking = False
            return
        # 0.5 asks for -40 dBFS: speech on a phone line is about -20, a quiet line below -50.
        self._threshold_dbfs = round(-60 + 40 * detection.get("threshold", 0.5))
        self._prefix_bytes = detection.get("prefix_padding_ms", 300) * BYTES_PER_MS
        semantic = detection["type"] == "semantic_vad"
        silence_ms = _EAGERNESS_MS[detection["eagerness"]] if semantic else detection["silence_duration_ms"]
        self._silence_frames = max(1, -(-silence_ms // FRAME_MS))

    @property
    def start_ms(self) -> int:
        """Where what is buffered begins."""
        return self._start_byte // BYTES_PER_MS

    @property
    def written_ms(self) -> int:
        """All audio ever written."""
        return (self._start_byte + len(self._sound)) // BYTES_PER_MS

    @property
    def buffered_ms(self) -> int:
        """Audio that a commit would take."""
        return len(self._sound) // BYTES_PER_MS

    def write(self, sound: bytes) -> list[Heard]:
        """Append; returns what was noticed, [] when nothing was."""
        self._sound += sound
        if not self._detects:
            return []
        heard: list[Heard] = []
        # After a turn the buffer begins anew, so the end is looked up each time.
        while self._examined_byte + FRAME_BYTES <= self._start_byte + len(self._sound):
            offset = self._examined_byte - self._start_byte
            is_speech = self._is_speech(bytes(self._sound[offset : offset + FRAME_BYTES]))
            self._examined_byte += FRAME_BYTES
            if (noticed := self._frame(is_speech)) is not None:
                heard.append(noticed)
        excess = self._examined_byte - self._start_byte - self._prefix_bytes - self._run * FRAME_BYTES
        if not self.speaking and excess > _SLACK_BYTES:
            self._forget(excess)
        return heard

    def spoken(self, from_byte: int) -> bytes:
        """What is buffered, from there on."""
        return bytes(self._sound[from_byte:])

    def take(self) -> bytes:
        """All that is buffered; the buffer is empty afterwards, and no turn is open."""
        sound = bytes(self._sound)
        self._forget(len(sound))
        self._examined_byte = self._start_byte
        self.speaking = False
        self._run = 0
        return sound

    def _is_speech(self, frame: bytes) -> bool:
        if frame == _SILENT:
            return False
        if self._detector is not None:
            return self._detector.is_speech(pcmu_to_pcm(frame), HZ)
        return level_dbfs(frame) >= self._threshold_dbfs

    def _frame(self, is_speech: bool) -> Heard | None:
        self._run = self._run + 1 if is_speech != self.speaking else 0
        if not self.speaking:
            if self._run < self._min_speech_frames:
                return None
            began_byte = self._examined_byte - self._run * FRAME_BYTES - self._prefix_bytes
            self._forget(max(0, began_byte - self._start_byte))
            self.speaking = True
            self._run = 0
            return TurnStarted(self.start_ms)
        if self._run < self._silence_frames:
            return None
        size_bytes = self._examined_byte - self._start_byte
        sound = bytes(self._sound[:size_bytes])
        self._forget(size_bytes)
        self.speaking = False
        self._run = 0
        return TurnStopped(self.start_ms, sound)

    def _forget(self, size_bytes: int) -> None:
        del self._sound[:size_bytes]
        self._start_byte += size_bytes
