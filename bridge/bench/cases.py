"""The barge-ins that are measured: what the model says, when the caller falls in, and what goes wrong."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ..doubles.agents import Asked, Output, Speech
from ..doubles.options import ServerOptions
from ..doubles.phone import PhoneOptions
from ..doubles.tones import marked

WORD_MS: Final = 100
"""Each word of a reply stands for so much of its sound, so that a restored conversation can be read in ms."""
SHORT: Final = 96
"""Number of the sound of all short answers; replies have the others, each call its own."""
DELAY_MS: Final = (30, 90)


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of barge-in. The model replies with items of `reply_ms`, generated `speed` times faster than
    they sound; the caller falls in (or the model's socket is cut) this many ms after the reply began to be
    heard. All items are of one response; `apart`, each is of its own.
    """

    name: str
    about: str
    reply_ms: tuple[int, ...]
    after_ms: tuple[int, int]
    speed: float = 5.0
    late_deltas: int = 0
    cancel_ms: int = 0
    delayed: bool = False
    cut: bool = False
    apart: bool = False

    def server(self) -> ServerOptions:
        return ServerOptions(
            speed=self.speed,
            late_deltas=self.late_deltas,
            cancel_ms=self.cancel_ms,
            transcription_ms=(50,),
        )

    def phone(self, seed: int) -> PhoneOptions:
        chance = random.Random(seed)  # noqa: S311  the same ways each time
        if not self.delayed:
            return PhoneOptions()
        ways = [[chance.randint(*DELAY_MS) for _ in range(2_000)] for _ in range(2)]
        return PhoneOptions(delay_out_ms=ways[0], delay_back_ms=ways[1])


CASES: Final = (
    Case("one item", "the plain case", (4_000,), (600, 3_000)),
    Case(
        "two items queued", "cut in the second, behind a first that was heard", (1_500, 4_000), (1_900, 4_200)
    ),
    Case(
        "two responses queued",
        "cut in the second, behind one that is over and was heard",
        (1_500, 4_000),
        (1_900, 4_200),
        apart=True,
    ),
    Case(
        "late deltas",
        "sound of the response still comes after its cancel",
        (9_000,),
        (800, 2_000),
        speed=1.5,
        late_deltas=5,
        cancel_ms=200,
    ),
    Case("response already done", "all was generated at once", (4_000,), (1_500, 3_500), speed=math.inf),
    Case("marks late by 60 ± 30 ms", "as before, far away", (1_500, 4_000), (1_900, 4_200), delayed=True),
    Case("upstream cut", "the model's socket is lost in mid-sentence", (4_000,), (800, 2_500), cut=True),
)


class Script:
    """What the model says in one session: something short when it is asked to begin, its reply to the
    caller's first words, and something short ever after. `numbers` are those of the reply's sounds, `replies`
    what is left of it, a response each.
    """

    def __init__(self, case: Case, numbers: Iterator[int]) -> None:
        self.numbers = [next(numbers) for _ in case.reply_ms]
        items: list[Output] = [
            Speech(marked(number, ms), words_of(number, ms))
            for number, ms in zip(self.numbers, case.reply_ms, strict=True)
        ]
        self.replies = [[item] for item in items] if case.apart else [items]

    def answer(self, asked: Asked) -> list[Output]:
        spoken = any(item.role == "user" and item.sound for item in asked.items)
        if not self.replies or not spoken:
            return [Speech(marked(SHORT, 300), "Yes?")]
        return self.replies.pop(0)


def words_of(number: int, ms: int) -> str:
    """Words of equal length that no other sound has, one for each 100 ms."""
    return " ".join(f"{name_of(number)}{word:02}" for word in range(1, ms // WORD_MS + 1))


def name_of(number: int) -> str:
    """Two letters for a sound, by which its words are found again."""
    return "".join(chr(ord("a") + part) for part in divmod(number, 26))
