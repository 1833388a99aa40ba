"""Words out of sound that carries them (`codecs.caption`): as many of a sentence as have been heard of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from ...codecs.caption import CaptionReader
from ..tones import LETTER_MS

_SILENCE: Final = b"\xff"
_FRAME_BYTES: Final = 160
"""The last frame of a sentence may hold nothing that can be told from silence."""
_OVER_BYTES: Final = 100 * 8
"""A sentence that pauses this long has been cut off."""


class _Sentence(NamedTuple):
    text: str
    start_byte: int


class CaptionEar:
    """Hears one phone. `length_of` knows how many bytes of sound a sentence takes, None where it does not:
    then it is 60 ms a letter. Words are spread evenly over their sentence.
    """

    def __init__(self, length_of: Callable[[str], int | None] | None = None) -> None:
        self._length_of = length_of or (lambda _text: None)
        self._reader = CaptionReader()
        self._at_byte = 0
        self._silent_bytes = 0
        self._sentence: _Sentence | None = None
        self._understood: list[str] = []

    def hear(self, sound: bytes) -> None:
        """The next piece of what the phone played."""
        if not sound.strip(_SILENCE):
            self._silent_bytes += len(sound)
            if self._sentence is not None and self._silent_bytes >= _OVER_BYTES:
                self._end(self._at_byte + len(sound) - self._silent_bytes)
            if self._sentence is None:
                self._at_byte += len(sound)
                self._reader.rest()
                return
        else:
            self._silent_bytes = 0
        for text, from_byte in self._reader.read(sound, self._at_byte):
            self._found(text, from_byte)
        self._at_byte += len(sound)

    def words(self) -> str:
        """What has been understood since `turn`."""
        now = [] if self._sentence is None else [self._part(self._sentence, self._at_byte)]
        return " ".join(one for one in (*self._understood, *now) if one)

    def turn(self) -> None:
        """Forget what has been understood; a sentence that is being heard goes on."""
        self._understood.clear()

    def _found(self, text: str, from_byte: int) -> None:
        before = self._sentence
        if before is not None:
            if before.text == text and from_byte < before.start_byte + self._bytes_of(text):
                return  # each sentence repeats its caption
            self._end(from_byte)
        self._sentence = _Sentence(text, from_byte)

    def _end(self, at_byte: int) -> None:
        if self._sentence is not None:
            self._understood.append(self._part(self._sentence, at_byte))
            self._sentence = None

    def _part(self, sentence: _Sentence, at_byte: int) -> str:
        size = self._bytes_of(sentence.text)
        text, heard = sentence.text, at_byte - sentence.start_byte
        if heard >= size - _FRAME_BYTES:
            return text
        characters = len(text) * heard // size
        if text[characters].isspace():
            return text[:characters].rstrip()
        return text[:characters].rpartition(" ")[0].rstrip()

    def _bytes_of(self, text: str) -> int:
        return self._length_of(text) or max(1, len(text) * LETTER_MS * 8)
