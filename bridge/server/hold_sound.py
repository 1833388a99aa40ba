"""What callers hear on hold: quiet, slow notes, made here, as a WAV file that the carrier plays.

Twilio, "<Play>": `audio/wav` of µ-law at 8 kHz is taken as it is.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Final

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bridge.codecs.g711 import pcm_to_pcmu

PATH: Final = "/hold.wav"
PIECE_S: Final = 8
"""One piece. The carrier asks again after each, and then the caller may be let go."""
_HZ: Final = 8_000
_NOTES_HZ: Final = (262, 330, 392, 494, 440, 392, 330, 294)
_PEAK: Final = 2_600
"""Of 16 bits: about -22 dBFS, well below a voice."""
_MULAW: Final = 7


def route() -> Route:
    """Anybody may have it: it is the same for all calls."""
    return Route(PATH, _answer, methods=["GET", "HEAD"])


async def _answer(_request: Request) -> Response:
    return Response(_file(), media_type="audio/wav", headers={"cache-control": "public, max-age=86400"})


@cache
def _file() -> bytes:
    sound = notes()
    head = struct.pack("<4sIHHIIHHH", b"fmt ", 18, _MULAW, 1, _HZ, _HZ, 1, 8, 0)
    fact = struct.pack("<4sII", b"fact", 4, len(sound))
    body = b"WAVE" + head + fact + struct.pack("<4sI", b"data", len(sound)) + sound
    return b"RIFF" + struct.pack("<I", len(body)) + body


def notes() -> bytes:
    """One piece, as µ-law. Each note swells and dies away, so that pieces follow each other without a
    click.
    """
    each_s = PIECE_S / len(_NOTES_HZ)
    at_s = np.arange(round(each_s * _HZ)) / _HZ
    shape = (
        np.minimum(at_s / 0.02, 1.0) * np.exp(-3.0 * at_s / each_s) * np.minimum((each_s - at_s) / 0.02, 1)
    )
    waves = [np.sin(2 * np.pi * hz * at_s) + 0.3 * np.sin(2 * np.pi * 2 * hz * at_s) for hz in _NOTES_HZ]
    samples = np.concatenate([_PEAK * shape * wave / 1.3 for wave in waves])
    return pcm_to_pcmu(samples.astype("<i2").tobytes())
