"""Whether the caller's line is loud, quiet, or full of a sound that no voice makes: judged by glances at some
of its frames.

A frame is loud from 6 dB above the line's own noise on. The noise floor is learnt: it follows the level down
at once and up by 0.4 dB a second, so that pauses between words keep it low and a noise that stays is noise
after a while. Speech falls 10 dB below its mean in 17 % of glances or more, on a line 15 dB louder than its
noise; hold music, hum and tones seldom do. Where they hardly ever do, the sound is steady.
"""

from __future__ import annotations

from binascii import a2b_base64
from typing import Final

from . import size_bytes
from .g711 import pcmu_rms

GLANCE: Final = 4
"""One of every four frames of the caller is judged: each 80 ms. All constants below are for this pace."""

_LOOKED_AT_CHARACTERS: Final = 108
"""Of base64 text: 10 ms."""
_LEAST_FLOOR: Final = 65 * 65
"""-54 dBFS, as a square of 16-bit samples: sound below -48 is quiet on any line."""
_MOST_FLOOR: Final = 654 * 654
"""-34 dBFS: what is louder is no noise of a line, however long it lasts."""
_LOUD_TIMES: Final = 4
"""6 dB."""
_FALL_SHIFT, _RISE_SHIFT, _MEAN_SHIFT = 2, 7, 6
_DIP_TIMES: Final = 10
"""10 dB."""
_ALWAYS: Final = 4_096
"""The share of dips when there is nothing else."""
_STEADY, _NOT_STEADY = 410, 490
"""A tenth; and a little more, so that one glance does not change it back."""


class VoiceDetector:
    """One line's. `loud`: its sound may hold a voice. `steady`: for ten seconds it has been loud without the
    pauses of a voice.
    """

    __slots__ = ("_dips", "_floor", "_mean", "loud", "steady")

    def __init__(self) -> None:
        self.loud = self.steady = False
        self._floor = 0
        self._mean = 0
        self._dips = _ALWAYS

    def update(self, audio: str) -> bool | None:
        """Judge a frame, base64 text of mu-law. Returns whether `loud` or `steady` has changed; None for what
        is not base64, as far as it is looked at.
        """
        power = _power(audio)
        if power is None:
            return None
        noise, floor = min(max(power, _LEAST_FLOOR), _MOST_FLOOR), self._floor
        if not floor:
            floor = noise
        elif noise < floor:
            floor -= (floor - noise) >> _FALL_SHIFT
        else:
            floor = min(noise, floor + (floor >> _RISE_SHIFT))
        self._floor = floor
        loud = power >= _LOUD_TIMES * floor
        self._mean += (power - self._mean) >> _MEAN_SHIFT
        if loud and power * _DIP_TIMES >= self._mean:
            self._dips -= self._dips >> _MEAN_SHIFT
        else:
            self._dips += (_ALWAYS - self._dips) >> _MEAN_SHIFT
        steady = self._dips < (_NOT_STEADY if self.steady else _STEADY)
        if loud is self.loud and steady is self.steady:
            return False
        self.loud, self.steady = loud, steady
        return True

    def judge(self, audio: str) -> bool | None:
        """The same of a frame between two glances, of which nothing is learnt: only `loud` may change."""
        power = _power(audio)
        if power is None:
            return None
        before, self.loud = self.loud, power >= _LOUD_TIMES * (self._floor or _LEAST_FLOOR)
        return self.loud is not before


def _power(audio: str) -> int | None:
    """The mean square of its first samples as 16 bits, None for what is not base64."""
    looked_at = audio[:_LOOKED_AT_CHARACTERS]
    try:
        sound = a2b_base64(looked_at)
    except ValueError:
        return None
    if len(sound) != size_bytes(looked_at):  # what is no letter of it is left out
        return None
    level = pcmu_rms(sound)
    return level * level
