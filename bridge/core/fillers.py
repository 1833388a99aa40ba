"""What the caller hears while an answer takes its time: words that vary and grow rarer, and a quiet sound in
between. None of it is an answer: what is owed stays owed.
"""

from __future__ import annotations

from collections.abc import Mapping

from .messages import Sound
from .pending_answer import PendingAnswer

WORDS = "filler"
WAITING = "waiting"
"""A quiet sound that is repeated. A tool may name it for its filler; then it is all there is at first."""
OPENINGS = (WORDS, "working")
"""Of waits for tools, in turn."""
RARER_MS = (7_000, 10_000, 13_000, 15_000)
"""From the first words of a wait to the next ones, and so on; the last of them from then on."""
QUIET_MS = 15_000
"""The same where the quiet sound comes first."""
REPEATED_MS = 800
"""From the end of the quiet sound to its next beginning."""


def due(
    owed: PendingAnswer, phrases: Mapping[str, Sound], name: str, now_ms: int, *, tool: bool, listens: bool
) -> tuple[str, Sound] | None:
    """The sound that is due now, with its `say_id`; it counts as played. None where there is no such phrase.
    A handler that may only be listening (`listens`) is covered by words alone.
    """
    waiting, words = phrases.get(WAITING), WORDS if name == WAITING else name
    if name not in phrases:
        return None
    if waiting is not None and not listens and now_ms < words_due_ms(owed, name):
        owed.repeats += 1
        return f"{WAITING}:{owed.repeats}", waiting
    owed.worded_ms = now_ms
    said = next_words(owed, phrases, words, varied=waiting is not None, tool=tool)
    owed.fillers += 1
    return (f"{WORDS}:{owed.fillers}", phrases[said]) if said in phrases else None


def words_due_ms(owed: PendingAnswer, name: str) -> int:
    """When the next words of this wait are due; until then there is the quiet sound."""
    if name == WAITING:
        return owed.worded_ms + QUIET_MS
    return owed.worded_ms + RARER_MS[min(owed.fillers, len(RARER_MS)) - 1] if owed.fillers else 0


def next_words(
    owed: PendingAnswer, phrases: Mapping[str, Sound], name: str, *, varied: bool, tool: bool
) -> str:
    """The name of the words that come next in this wait: `name`, then `name_2` and so on, as far as there are
    such, and over again. Recordings without the quiet sound are of a time when they were all the same.
    """
    if not varied:
        return name
    if not owed.fillers:
        owed.waits += 1
        openings = OPENINGS if tool and name == WORDS else (name,)
        opening = openings[(owed.waits - 1) % len(openings)]
        return opening if opening in phrases else name
    variants = [one for one in (name, f"{name}_2", f"{name}_3") if one in phrases]
    return variants[owed.fillers % len(variants)] if variants else name
