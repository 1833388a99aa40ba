"""Several voices as one: the saturating sum of 16-bit samples, as a telephone exchange mixes them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from ...codecs.g711 import pcm_to_pcmu, pcmu_to_pcm
from ..carrier_frames import SILENT_FRAME


def mixed(frames: Sequence[bytes]) -> bytes:
    """The sum of frames of 20 ms, µ-law. Of one voice it is that voice, byte for byte."""
    loud = [frame for frame in frames if frame != SILENT_FRAME]
    if len(loud) < 2:
        return loud[0] if loud else SILENT_FRAME
    form = f"<{len(loud[0])}h"
    voices = [struct.unpack(form, pcmu_to_pcm(frame)) for frame in loud]
    summed = [max(-32_768, min(32_767, sum(samples))) for samples in zip(*voices, strict=True)]
    return pcm_to_pcmu(struct.pack(form, *summed))
