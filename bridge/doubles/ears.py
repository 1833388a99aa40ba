"""What turns a caller's sound into words, for a server that cannot do it itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from .turns import Heard, InputBuffer, TurnStarted


class Words(Protocol):
    """The words of one turn, while they are made out and after that."""

    def text(self) -> str | None:
        """What was heard, "" for no words; None while it is being made out."""
        ...


class Ears(Protocol):
    """Hears the turns of one session as they are spoken: `feed` what is said, then `finish` the turn."""

    def configure(self, tools: Sequence[Mapping[str, Any]]) -> None:
        """The session's tools: what may be talked about from the next turn on."""
        ...

    def feed(self, pcmu: bytes) -> None:
        """More of the caller's turn, µ-law at 8 kHz. Returns at once."""
        ...

    def finish(self) -> Words:
        """The turn is over. Returns at once."""
        ...

    def close(self) -> None:
        """The session is over."""
        ...


class Listening:
    """The ears get each turn of a buffer as it is spoken, from its beginning on."""

    def __init__(self, ears: Ears, buffer: InputBuffer) -> None:
        self._ears = ears
        self._buffer = buffer
        self._fed_bytes = 0

    def hear(self, heard: Sequence[Heard]) -> list[Words]:
        """What was `heard` in the newest sound. Returns the words of turns that are over by that."""
        words = list[Words]()
        for noticed in heard:
            if isinstance(noticed, TurnStarted):
                self._fed_bytes = 0
            else:
                self._ears.feed(noticed.sound[self._fed_bytes :])
                words.append(self._ears.finish())
        if self._buffer.speaking and (more := self._buffer.spoken(self._fed_bytes)):
            self._ears.feed(more)
            self._fed_bytes += len(more)
        return words
