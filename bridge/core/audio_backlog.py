"""Caller sound kept for later, in one piece of memory.

Frames come one at a time and mostly go unused. Each as an object of its own, five seconds of a caller would
lie about in a few hundred places, each of them cold when it is written and again when it is thrown away.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator


class _Run:
    """Frames of one size, their base64 texts in a row."""

    __slots__ = ("characters", "frame_bytes", "texts")

    def __init__(self, frame_bytes: int, characters: int) -> None:
        self.frame_bytes = frame_bytes
        self.characters = characters
        self.texts = bytearray()


class AudioBacklog:
    """Frames, oldest first. `size_bytes` is the sound of all of them."""

    __slots__ = ("_characters", "_frame_bytes", "_runs", "_texts", "size_bytes")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Nothing is kept any more."""
        self.size_bytes = 0
        self._runs: deque[_Run] = deque()
        # Of the newest run.
        self._frame_bytes = self._characters = 0
        self._texts = bytearray()

    def add(self, audio: str, size_bytes: int) -> None:
        """One more frame: ASCII text that stands for `size_bytes` of sound, neither of them nothing."""
        characters = len(audio)
        if characters != self._characters or size_bytes != self._frame_bytes:
            run = _Run(size_bytes, characters)
            self._runs.append(run)
            self._characters, self._frame_bytes, self._texts = characters, size_bytes, run.texts
        self._texts += audio.encode()
        self.size_bytes += size_bytes

    def drop(self, most_bytes: int) -> int:
        """Throws away the oldest until no more than `most_bytes` are left. Returns how many frames."""
        many = 0
        while self.size_bytes > most_bytes:
            run = self._runs[0]
            frames = len(run.texts) // run.characters
            too_many = min(frames, -(-(self.size_bytes - most_bytes) // run.frame_bytes))
            del run.texts[: too_many * run.characters]
            self.size_bytes -= too_many * run.frame_bytes
            many += too_many
            if too_many == frames and len(self._runs) > 1:
                self._runs.popleft()
        return many

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Each frame's text and its size in bytes."""
        for run in self._runs:
            for at in range(0, len(run.texts), run.characters):
                yield run.texts[at : at + run.characters].decode(), run.frame_bytes
