"""What turns a caller's sound into words, for a server that cannot do it itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


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
