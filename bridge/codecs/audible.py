"""Whether the model's sound can be heard, judged once for each delta by a table over its bytes.

A block of 20 ms is audible when at least 8 of its samples are above -45 dBFS. A click is fewer, the noise of
a quiet line is below. Vendors have sent answers of full length at -70 dBFS, or of digital silence.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Final

BLOCK_BYTES: Final = 160
LEAST_SAMPLES: Final = 8
LEAST_OF_A_SIGN: Final = 2
_QUIET: Final = bytes(range(0xEC, 0x100)) + bytes(range(0x6C, 0x80))
"""mu-law of magnitudes below 184, which is -45 dBFS."""
_SIGNS: Final = b"-" * 128 + b"+" * 128
_LOUDNESS: Final = bytes(ord(".") if byte in _QUIET else ord("!") for byte in range(256))
_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_LETTERS: Final = bytes(
    # The first character of four is the upper six bits of a byte, and all of 0xEC to 0xEF are quiet.
    ord("!") if (letter := _ALPHABET.find(chr(byte))) >= 0 and letter << 2 not in _QUIET else ord(".")
    for byte in range(256)
)
_GLANCE_CHARACTERS: Final = 1_024
"""Of a delta, looked at without decoding: 96 ms."""
_GLANCE_SAMPLES: Final = 64
"""One sample in three is seen. So many loud ones of the glance's 256 leave a block that has its 8."""


def is_audible_block(block: bytes) -> bool:
    """Whether a block of at most 20 ms can be heard: at least 8 samples above -45 dBFS, 2 of either sign. A
    constant has one sign, and no ear hears it.
    """
    signs = block.translate(_SIGNS, _QUIET)
    above = signs.count(b"+")
    return len(signs) >= LEAST_SAMPLES and LEAST_OF_A_SIGN <= above <= len(signs) - LEAST_OF_A_SIGN


def is_audible(audio: str) -> bool:
    """Whether any block of this base64 text can be heard; False for one that cannot be decoded. Speech is
    known by a glance at its beginning, and only quiet sound is decoded. Of less than a block
    a share of it counts. The sign is not asked here: what is judged is a piece, as short as a sample.
    """
    glance = audio[:_GLANCE_CHARACTERS:4]
    if glance.isascii() and glance.encode().translate(_LETTERS).count(b"!") >= _GLANCE_SAMPLES:
        return True
    try:
        loudness = b64decode(audio).translate(_LOUDNESS)
    except ValueError:
        return False
    loud = loudness.count(b"!")
    if len(loudness) < BLOCK_BYTES:
        return loud * BLOCK_BYTES >= len(loudness) * LEAST_SAMPLES > 0
    return loud >= LEAST_SAMPLES and any(
        loudness.count(b"!", at, at + BLOCK_BYTES) >= LEAST_SAMPLES
        for at in range(0, len(loudness), BLOCK_BYTES)
    )
