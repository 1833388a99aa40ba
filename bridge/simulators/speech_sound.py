"""What a voice made, as a phone has it: µ-law at 8 kHz, as loud as people speak."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from bridge.codecs.g711 import pcm_to_pcmu
from bridge.codecs.whole_sound import at_rate

HZ: Final = 8_000
LEVEL: Final = 32_768 * 10 ** (-20 / 20)
"""What speech is raised or lowered to: a root mean square of -20 dBFS, where peaks allow it."""
_PEAK: Final = 30_000.0


def pcmu_of(pcm: bytes, hz: int) -> bytes:
    """16-bit samples at that rate; b"" for silence."""
    samples: Any = at_rate(np.frombuffer(pcm, "<i2").astype(np.float64), hz, HZ)
    loudness = math.sqrt(float(np.mean(samples**2))) if len(samples) else 0.0
    if loudness < 1:
        return b""
    gain = min(LEVEL / loudness, _PEAK / float(np.max(np.abs(samples))))
    return pcm_to_pcmu((samples * gain).astype("<i2").tobytes())
