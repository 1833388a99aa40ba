"""G.711, both laws, to and from 16-bit little-endian PCM.

The conversions are the standard library's: a table each way, and the same bytes as every other phone system
makes. Expanding keeps all 8 bits: whatever is expanded and compressed again comes back as it was, with one
exception. Mu-law has two zeros, and 0x7F, the negative one, comes back as 0xFF.
"""

from __future__ import annotations

import warnings

# Python 3.11 and 3.12 warn that 3.13 drops this module; from 3.13 it is audioop-lts, which does not warn.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

_WIDTH_BYTES = 2


def pcmu_to_pcm(pcmu: bytes) -> bytes:
    """Mu-law to 16-bit PCM, twice the size."""
    return audioop.ulaw2lin(pcmu, _WIDTH_BYTES)


def pcm_to_pcmu(pcm: bytes) -> bytes:
    """16-bit PCM to mu-law, half the size. Raises ValueError when the last sample is incomplete."""
    return audioop.lin2ulaw(_whole(pcm), _WIDTH_BYTES)


def pcma_to_pcm(pcma: bytes) -> bytes:
    """A-law to 16-bit PCM, twice the size."""
    return audioop.alaw2lin(pcma, _WIDTH_BYTES)


def pcm_to_pcma(pcm: bytes) -> bytes:
    """16-bit PCM to A-law, half the size. Raises ValueError when the last sample is incomplete."""
    return audioop.lin2alaw(_whole(pcm), _WIDTH_BYTES)


def rms(pcm: bytes) -> int:
    """Root mean square of 16-bit samples, rounded down: 0 to 32768. Nothing at all counts as silence.

    Raises ValueError when the last sample is incomplete.
    """
    return audioop.rms(_whole(pcm), _WIDTH_BYTES)


def pcmu_rms(pcmu: bytes) -> int:
    """The same of mu-law."""
    return audioop.rms(audioop.ulaw2lin(pcmu, _WIDTH_BYTES), _WIDTH_BYTES)


def _whole(pcm: bytes) -> bytes:
    if len(pcm) % _WIDTH_BYTES:
        raise ValueError(f"{len(pcm)} bytes are no whole number of 16-bit samples")
    return pcm
