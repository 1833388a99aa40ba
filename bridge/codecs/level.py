"""How loud a piece of sound is, in dBFS.

0 dBFS is a square wave at full scale, as a meter for speech has it; a sine at full scale reads -4 (-3.01,
rounded down). Speech on a phone line is about -20, a quiet line below -50.
"""

from __future__ import annotations

from bisect import bisect_right
from math import ceil
from typing import Final

from .g711 import pcmu_to_pcm, rms

SILENCE_DBFS: Final = -96
"""The floor: what a digitally silent frame reads, and an empty one."""

_FULL_SCALE: Final = 32_768
# The smallest root mean square that reads -95, -94, … 0: a level is how many of these are reached.
_STEPS: Final = [ceil(_FULL_SCALE * 10 ** (dbfs / 20)) for dbfs in range(SILENCE_DBFS + 1, 1)]


def level_dbfs(pcmu: bytes) -> int:
    """The level of a piece of mu-law, -96 to 0. Rounded down, so that `level_dbfs(frame) >= -40` is exact."""
    return pcm_level_dbfs(pcmu_to_pcm(pcmu))


def pcm_level_dbfs(pcm: bytes) -> int:
    """The same of 16-bit PCM, at any rate. Raises ValueError when the last sample is incomplete."""
    return SILENCE_DBFS + bisect_right(_STEPS, rms(pcm))
