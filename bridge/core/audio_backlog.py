"""Caller sound kept for later.

Frames come one at a time and mostly go unused. Copied behind the others, each would cost a tenth of its way
through the bridge. So they stay the texts that they are for a second, and are then put together: or five
seconds of a caller would lie about in a few hundred places, a fifth of it the headers of objects.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

PIECE_FRAMES: Final = 50
"""A second of 20 ms frames."""


class _Piece:
    """Frames of one size, their base64 texts in a row."""

    __slots__ = ("characters", "frame_bytes", "texts")

    def __init__(self, frame_bytes: int, characters: int, texts: str) -> None:
        self.frame_bytes = frame_bytes
        self.characters = characters
        self.texts = texts


class AudioBacklog:
    """Frames, oldest first. `size_bytes` is the sound of all of them."""

    __slots__ = ("_characters", "_frame_bytes", "_newest", "_pieces", "size_bytes")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Nothing is kept any more."""
        self.size_bytes = 0
        self._pieces: deque[_Piece] = deque()
        self._newest: list[str] = []  # frames of one size that are no piece yet
        self._frame_bytes = self._characters = 0

    def add(self, audio: str, size_bytes: int) -> None:
        """One more frame: text that stands for `size_bytes` of sound, neither of them nothing."""
        if size_bytes != self._frame_bytes or len(audio) != self._characters:
            self._put_together()
            self._frame_bytes, self._characters = size_bytes, len(audio)
        self._newest.append(audio)
        if len(self._newest) == PIECE_FRAMES:
            self._put_together()
        self.size_bytes += size_bytes

    def drop(self, most_bytes: int) -> int:
        """Throws away the oldest until no more than `most_bytes` are left. Returns how many frames."""
        self._put_together()
        many = 0
        while self.size_bytes > most_bytes:
            piece = self._pieces[0]
            frames = len(piece.texts) // piece.characters
            too_many = min(frames, -(-(self.size_bytes - most_bytes) // piece.frame_bytes))
            self.size_bytes -= too_many * piece.frame_bytes
            many += too_many
            if too_many == frames:
                self._pieces.popleft()
            else:
                piece.texts = piece.texts[too_many * piece.characters :]
        return many

    def take(self) -> tuple[str, int] | None:
        """The oldest frame, its text and its size in bytes, kept no longer; None if there is none."""
        self._put_together()
        if not self._pieces:
            return None
        piece = self._pieces[0]
        audio, piece.texts = piece.texts[: piece.characters], piece.texts[piece.characters :]
        if not piece.texts:
            self._pieces.popleft()
        self.size_bytes -= piece.frame_bytes
        return audio, piece.frame_bytes

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Each frame's text and its size in bytes."""
        self._put_together()
        for piece in self._pieces:
            for at in range(0, len(piece.texts), piece.characters):
                yield piece.texts[at : at + piece.characters], piece.frame_bytes

    def _put_together(self) -> None:
        if self._newest:
            self._pieces.append(_Piece(self._frame_bytes, self._characters, "".join(self._newest)))
            self._newest = []
