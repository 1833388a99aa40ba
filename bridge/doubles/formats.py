"""The wire's sound formats. Inside, the Realtime server hears and speaks µ-law at 8 kHz only."""

from __future__ import annotations

from typing import Final

from ..codecs.g711 import pcm_to_pcma, pcm_to_pcmu, pcma_to_pcm, pcmu_to_pcm

BYTES_PER_MS: Final = {"audio/pcmu": 8, "audio/pcma": 8, "audio/pcm": 48}
"""G.711 has 8000 samples a second of one byte, PCM 24000 of two."""

_PCM_GROUP_BYTES: Final = 6  # three samples at 24 kHz stand for one at 8 kHz


class Ear:
    """Turns what a client appends into µ-law. One object a buffer: PCM may be cut anywhere, also within a
    sample.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._rest = b""

    def hear(self, sound: bytes) -> bytes:
        """As much µ-law as is complete by now."""
        if self.name == "audio/pcmu":
            return sound
        if self.name == "audio/pcma":
            return pcm_to_pcmu(pcma_to_pcm(sound))
        sound = self._rest + sound
        whole = len(sound) // _PCM_GROUP_BYTES * _PCM_GROUP_BYTES
        self._rest = sound[whole:]
        first = bytearray(whole // 3)
        first[0::2] = sound[0:whole:_PCM_GROUP_BYTES]
        first[1::2] = sound[1:whole:_PCM_GROUP_BYTES]
        return pcm_to_pcmu(bytes(first))


def spoken(sound: bytes, name: str) -> bytes:
    """µ-law in the session's output format. PCM repeats each sample: crude, and exactly undone by `Ear`."""
    if name == "audio/pcmu":
        return sound
    pcm = pcmu_to_pcm(sound)
    if name == "audio/pcma":
        return pcm_to_pcma(pcm)
    low, high = pcm[0::2], pcm[1::2]
    result = bytearray(3 * len(pcm))
    for sample in range(3):
        result[2 * sample :: _PCM_GROUP_BYTES] = low
        result[2 * sample + 1 :: _PCM_GROUP_BYTES] = high
    return bytes(result)
