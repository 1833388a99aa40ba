"""The minds of a rehearsal: the front desk, or the parrot where the model's name says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from bridge.codecs.caption import caption_of
from bridge.doubles.agents import Asked, Output, Parrot, Speech
from bridge.doubles.front_desk.agent import FrontDesk
from bridge.doubles.items import Item
from bridge.doubles.options import said_so_long

PARROT: Final = "parrot"
"""The model name that gets the parrot, whatever else would answer."""


class Rehearsal:
    """A Realtime server's mind: `answers` says who answers, and so does a session whose model is `parrot`."""

    def __init__(self, parrot: Parrot, speak: Callable[[str], Speech], *, answers: str = "embedded") -> None:
        self._answers = answers
        self._parrot = parrot
        self._desk = FrontDesk(speak, caption_of)

    def answer(self, asked: Asked) -> Sequence[Output]:
        is_parrot = PARROT in (self._answers, asked.session.get("model"))
        return self._parrot.answer(asked) if is_parrot else self._desk.answer(asked)


def transcript(item: Item) -> str | None:
    """A caller's words: those that the sound carries, or that were made out; else how long they spoke."""
    heard = item.words.text() if item.words is not None else None
    return caption_of(item.sound) or heard or said_so_long(item)
