"""What the model must not say: checks on its words while it speaks them.

The words run ahead of the sound, so a check that trips stops the rest; what was heard by then was heard. The
model is told which guardrail it was, and answers anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from bridge.errors import ConfigError

Check = Callable[[str], "bool | str | Awaitable[bool | str | None] | None"]


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A check on the words of one response so far, async or sync. It trips when it returns True or a reason,
    which the model is told; False, None and "" let pass.

    It runs after each `every_characters` of new text and at the end of the response; once tripped, not again
    in that response. A check that raises is logged and lets pass.
    """

    name: str
    check: Check
    every_characters: int = 100

    def __post_init__(self) -> None:
        if not self.name or self.every_characters < 1:
            raise ConfigError("a guardrail has a name and is asked every 1 character or more")

    def words_for(self, verdict: bool | str) -> str:
        """The words for the model after this verdict."""
        why = f" ({verdict})" if isinstance(verdict, str) else ""
        return (
            f"Your last answer was stopped by the guardrail {self.name!r}{why}. Do not repeat what it said. "
            "Answer again, differently."
        )


MOST_CHARACTERS: Final = 32_768
"""Of a response that a check is given: its last ones. So no check costs more the longer the model speaks."""


class Watched:
    """One response under one guardrail: says when the next check is due."""

    __slots__ = ("_fresh", "_words", "guardrail", "tripped")

    def __init__(self, guardrail: Guardrail) -> None:
        self.guardrail = guardrail
        self.tripped = False
        self._words: list[str] = []
        self._fresh = 0

    @property
    def text(self) -> str:
        """The words so far."""
        self._words = ["".join(self._words)[-MOST_CHARACTERS:]]
        return self._words[0]

    def said(self, words: str) -> bool:
        """More words came. Whether a check is due now."""
        if self.tripped:
            return False
        self._words.append(words)
        self._fresh += len(words)
        return self._due(self.guardrail.every_characters)

    def ended(self) -> bool:
        """No more words will come. Whether some were not checked yet."""
        return self._due(1)

    def _due(self, fresh: int) -> bool:
        if self.tripped or self._fresh < fresh:
            return False
        self._fresh = 0
        return True
