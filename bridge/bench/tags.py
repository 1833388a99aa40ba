"""Marks in the sound itself, by which each 20 ms of it is known again at the other end, however it was cut up
or joined on its way.

A slice is 160 bytes of µ-law: a magic, the call's number, the slice's number, the time at which it left, then
silence. A server that passes samples through passes them on; one that transcodes does not.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

SLICE_BYTES: Final = 160
UP: Final = bytes.fromhex("9b2f17c4e05d83a1")
DOWN: Final = bytes.fromhex("c86a3ef1529d07b4")
NOBODY: Final = 0xFFFF_FFFF
"""The call's number, where the model does not know yet whose session it is."""

_TAG: Final = Struct("<8sIIQ")
_NUMBERS: Final = Struct("<8xIIQ")
_SILENCE: Final = b"\xff" * (SLICE_BYTES - _TAG.size)


class Tag(NamedTuple):
    """What a slice says of itself; `left_ns` on the monotonic clock of the machine."""

    call: int
    number: int
    left_ns: int


def tagged(magic: bytes, call: int, number: int, left_ns: int) -> bytes:
    """One slice."""
    return _TAG.pack(magic, call, number, left_ns) + _SILENCE


class TagReader:
    """Finds the slices of one direction in a stream of sound; what is not theirs is passed over."""

    __slots__ = ("_magic", "_rest")

    def __init__(self, magic: bytes) -> None:
        self._magic = magic
        self._rest = b""

    def read(self, sound: bytes) -> list[Tag]:
        """The slices that this sound completes, in order; [] for none."""
        if len(sound) == SLICE_BYTES and not self._rest and sound.startswith(self._magic):
            return [Tag._make(_NUMBERS.unpack_from(sound))]  # one frame as it left: nearly every one
        sound = self._rest + sound
        tags = []
        at = sound.find(self._magic)
        while 0 <= at <= len(sound) - SLICE_BYTES:
            tags.append(Tag._make(_NUMBERS.unpack_from(sound, at)))
            last = at + SLICE_BYTES
            at = sound.find(self._magic, last)
            if at < 0:
                sound = sound[last:]
        # Behind the last slice, half of the next one, or of its magic.
        self._rest = sound[at:] if at >= 0 else sound[-len(self._magic) + 1 :]
        return tags
