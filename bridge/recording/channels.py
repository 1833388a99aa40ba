"""The sound of a recorded call on two channels: what the caller said, and what they heard.

The caller's channel is what the carrier sent, byte for byte, in its places on the carrier's clock. The heard
channel holds each byte of the outbound line that had been played, at the time at which the ledger says so:
what a clear threw away, or a stream that ended before its sound, is not in it. Both are silent while the
call has no stream. Network and carrier delay what is heard by a constant that no recording knows; the channel
does not have that shift.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from bridge.core import messages as m
from bridge.errors import ConfigError

from .walking import Walk, Walked

_SILENCE: Final = b"\xff"
_LOST_MS: Final = 40
"""Frames that the carrier's clock misses by as much were lost; less is how that clock is rounded."""
_STOOD_MS: Final = 100
"""Playout that is behind by as much stood still; less is how the estimate moves."""
KEY_MS: Final = 200
"""Around a hidden key the caller's channel is silent: a tone tells which key it was."""
NO_SOUND: Final = "this recording has no sound; BRIDGE_RECORD_AUDIO=1 keeps that of later calls"


@dataclass(frozen=True, slots=True)
class Channels:
    """Two tracks of equal length, at the rate and in the coding of the carrier; both begin with the call."""

    caller: bytes
    heard: bytes
    bytes_per_ms: int


def channels(lines: Iterable[str]) -> Channels:
    """Both sides of a recorded call. Raises ConfigError for a recording without sound, and for text that is
    not one.
    """
    walk = Walk(lines)
    if not walk.header.sound:
        raise ConfigError(NO_SOUND)
    bytes_per_ms = walk.header.config.bytes_per_ms
    caller, heard = _Caller(bytes_per_ms), _Heard(bytes_per_ms)
    now_ms = 0
    for walked in walk:
        now_ms = walked.step.t_ms
        if isinstance(walked.event, m.CallerAudio):
            caller.frame(walked.event, now_ms)
        elif isinstance(walked.event, m.Started):
            caller.started()
        elif isinstance(walked.event, m.DigitPressed) and walked.event.digit == m.HIDDEN_KEY:
            caller.hidden_ms.append(now_ms)
        heard.step(walked)
    left, right = caller.track(), bytes(heard.track)
    size_bytes = max(len(left), len(right), now_ms * bytes_per_ms)
    return Channels(left.ljust(size_bytes, _SILENCE), right.ljust(size_bytes, _SILENCE), bytes_per_ms)


@dataclass(slots=True)
class _Caller:
    """The caller's frames, one behind the other; where the carrier's clock jumps ahead there is silence."""

    bytes_per_ms: int
    hidden_ms: list[int] = field(default_factory=list)
    _track: bytearray = field(default_factory=bytearray)
    _zero_ms: int | None = None
    """When, on the clock of the call, that of the carrier's stream was 0."""

    def started(self) -> None:
        self._zero_ms = None

    def frame(self, frame: m.CallerAudio, now_ms: int) -> None:
        if self._zero_ms is None:
            self._zero_ms = now_ms - frame.size_bytes // self.bytes_per_ms - frame.at_ms
        at = (self._zero_ms + frame.at_ms) * self.bytes_per_ms
        if at - len(self._track) >= (_LOST_MS * self.bytes_per_ms if self._track else 1):
            self._track += _SILENCE * (at - len(self._track))
        self._track += b64decode(frame.audio)

    def track(self) -> bytes:
        for at_ms in self.hidden_ms:
            start, end = (max(0, at_ms + ms) * self.bytes_per_ms for ms in (-KEY_MS, KEY_MS))
            end = min(end, len(self._track))
            self._track[start:end] = _SILENCE * max(0, end - start)
        return bytes(self._track)


@dataclass(slots=True)
class _Heard:
    """The outbound line, of which playout has come to `_played`."""

    bytes_per_ms: int
    track: bytearray = field(default_factory=bytearray)
    _line: bytearray = field(default_factory=bytearray)
    _played: int = 0

    def step(self, walked: Walked) -> None:
        now_ms = walked.step.t_ms
        self._play_to(walked.before.position_bytes, now_ms)
        if isinstance(walked.event, m.Started):
            self._played = len(self._line)  # an earlier stream took what it had not played with it
        for action in walked.actions:
            if isinstance(action, m.PlayAudio):
                if self._played >= len(self._line):
                    self._silent_until(now_ms)
                self._line += b64decode(action.audio)
            elif isinstance(action, m.ClearPlayout | m.LeaveStream):
                self._played = len(self._line)

    def _play_to(self, position: int, now_ms: int) -> None:
        """Playout has come to that byte of the line."""
        more = self._line[self._played : position]
        if not more:
            return
        if position < len(self._line):
            behind = now_ms * self.bytes_per_ms - len(self.track) - len(more)
            if behind > _STOOD_MS * self.bytes_per_ms:
                self.track += _SILENCE * behind
        self.track += more
        self._played = position

    def _silent_until(self, at_ms: int) -> None:
        self.track += _SILENCE * (at_ms * self.bytes_per_ms - len(self.track))
