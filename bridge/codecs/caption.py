"""Words that travel in the sound itself: one bit in the lowest bit of each mu-law sample.

The bridge carries a caller's samples untouched, so a simulated caller can say what it says in a way that no
recogniser has to guess. It is inaudible: the smallest step that the code has.
"""

from __future__ import annotations

import zlib
from typing import Final

MOST_BYTES: Final = 400
_MAGIC: Final = b"\x93phb\x6c"
_HEAD_BYTES: Final = len(_MAGIC) + 2 + 4
_DIGITS: Final = bytes(ord("0") + (value & 1) for value in range(256))
_LOW: Final = bytes(value & 1 for value in range(256))
_MAGIC_BITS: Final = bytes(byte >> bit & 1 for byte in _MAGIC for bit in range(7, -1, -1))


def captioned(sound: bytes, words: str) -> bytes:
    """The sound with these words in it, as often as they fit. Raises ValueError if they do not fit once."""
    text = words.encode()
    if len(text) > MOST_BYTES:
        raise ValueError(f"a caption has at most {MOST_BYTES} bytes")
    message = _MAGIC + len(text).to_bytes(2) + zlib.crc32(text).to_bytes(4) + text
    bits = bytes(byte >> bit & 1 for byte in message for bit in range(7, -1, -1))
    if len(bits) > len(sound):
        raise ValueError(f"these words need {len(bits) // 8} ms of sound")
    times = len(sound) // len(bits)
    low, kept = bits * times, sound[: len(bits) * times]
    return bytes(sample & 0xFE | bit for sample, bit in zip(kept, low, strict=True)) + sound[len(kept) :]


def caption_of(sound: bytes) -> str | None:
    """The words that this sound carries, each caption once; None for none, or for damaged ones."""
    bits, start = sound.translate(_LOW), 0
    found: list[bytes] = []
    while (start := bits.find(_MAGIC_BITS, start)) >= 0:
        text = _read(bits, start)
        start += 1 if text is None else 8 * (_HEAD_BYTES + len(text))
        if text is not None and (not found or found[-1] != text):
            found.append(text)
    return b" ".join(found).decode(errors="replace") if found else None


def _read(bits: bytes, start: int) -> bytes | None:
    head = _bytes(bits, start, _HEAD_BYTES)
    size = int.from_bytes(head[len(_MAGIC) : len(_MAGIC) + 2])
    text = _bytes(bits, start + 8 * _HEAD_BYTES, size) if size <= MOST_BYTES else b""
    whole = len(head) == _HEAD_BYTES and len(text) == size
    return text if whole and zlib.crc32(text) == int.from_bytes(head[-4:]) else None


def _bytes(bits: bytes, start: int, count: int) -> bytes:
    """Up to that many bytes of the bits from there on."""
    taken = bits[start : start + 8 * count]
    whole = len(taken) // 8
    return int(taken[: 8 * whole].translate(_DIGITS), 2).to_bytes(whole) if whole else b""


class CaptionReader:
    """The captions of sound that comes in pieces."""

    __slots__ = ("_bits",)

    def __init__(self) -> None:
        self._bits = b""

    def read(self, sound: bytes, at_byte: int) -> list[tuple[str, int]]:
        """The captions that this piece completes, each with the place of its first sample; the piece begins
        at `at_byte`, behind the piece before.
        """
        bits = self._bits + sound.translate(_LOW)
        origin = at_byte - len(self._bits)
        found, start, kept = [], 0, max(0, len(bits) - len(_MAGIC_BITS) + 1)
        while (start := bits.find(_MAGIC_BITS, start)) >= 0:
            size = int.from_bytes(_bytes(bits, start + len(_MAGIC_BITS), 2))
            end = start + 8 * (_HEAD_BYTES + size)
            if len(bits) < start + 8 * _HEAD_BYTES or (size <= MOST_BYTES and len(bits) < end):
                kept = min(start, kept)
                break
            text = _read(bits, start)
            if text is None:
                start += 1
                continue
            found.append((text.decode(errors="replace"), origin + start))
            start, kept = end, max(end, kept)
        self._bits = bits[kept:]
        return found

    def rest(self) -> None:
        """Nothing was played."""
        self._bits = b""
