"""English as a caller says it: words in one spelling, their stems, and words that mean the same."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from .numbers import in_words

_WORD: Final = re.compile(r"[a-z]+|\d+(?::\d\d)?")
_SHORT: Final = {
    "what's": "what is", "that's": "that is", "it's": "it is", "i'm": "i am", "i'd": "i would",
    "i'll": "i will", "where's": "where is", "when's": "when is", "how's": "how is", "who's": "who is",
    "let's": "let us",
    "can't": "can not", "won't": "will not", "don't": "do not", "doesn't": "does not", "didn't": "did not",
    "isn't": "is not", "aren't": "are not", "you're": "you are", "we're": "we are", "they're": "they are",
    "i've": "i have", "o'clock": "oclock", "a.m.": "am", "p.m.": "pm",
}  # fmt: skip


def word_set(text: str) -> frozenset[str]:
    """The words of a text, for lists of them."""
    return frozenset(text.split())


_ALIKE: Final = (
    ("open", "close", "hour", "opening"),
    ("book", "reserve", "reservation", "booking", "appointment", "table", "schedule"),
    ("cancel", "delete", "remove", "drop"),
    ("change", "move", "reschedule", "update"),
    ("status", "state", "where", "track", "check", "progress", "ready", "arrive"),
    ("price", "cost", "much", "charge", "fee"),
    ("pay", "payment", "card"),
    ("transfer", "connect", "talk", "speak"),
    ("message", "note", "voicemail"),
    ("weather", "forecast", "rain", "sunny", "temperature"),
    ("billing", "invoice", "bill", "owe", "balance"),
    ("order", "purchase", "package", "delivery"),
    ("buy", "place", "want"),
    ("find", "search", "look", "lookup"),
    ("address", "location", "direction"),
    ("menu", "dish", "food"),
)
"""Words of one row stand for each other in the name of a tool."""
NOT_TELLING: Final = word_set("""
    a an the and or of to for in on at is are was be do does did can could would will shall may i you we us me
    my your our it its this that these those with from by as if so not no please like need get give have has
    had tell say call caller callers them they their there when what which how who whom about some any one
    ones let use used return returns whether thing things named something than then s t want know am put again
""")
"""Words that tell nothing about what is meant."""
_ENDINGS: Final = (
    ("ies", "y"),
    ("ings", ""),
    ("ing", ""),
    ("ations", "ate"),
    ("ed", ""),
    ("es", "e"),
    ("s", ""),
)


def words_of(text: str) -> tuple[str, ...]:
    """The words: lower case, contractions spelled out, digits as the words for them."""
    text = text.lower().replace("’", "'")
    for short, long in _SHORT.items():
        text = text.replace(short, long)
    found: list[str] = []
    for word in _WORD.findall(text.replace("'", "")):
        found += in_words(word) if word[0].isdigit() else [word]
    return tuple(found)


def stem(word: str) -> str:
    """The word without its ending: `bookings` and `booked` are both `book`."""
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            cut = word[: len(word) - len(ending)] + instead
            return (
                cut[:-1] if len(cut) > 4 and cut[-1] == cut[-2] and cut[-1] not in "sl" else cut.rstrip("e")
            )
    return word.rstrip("e") if len(word) > 3 else word


_ROWS: Final = [frozenset(map(stem, row)) for row in _ALIKE]


def alike(word: str) -> frozenset[str]:
    """Stems that mean the same as this word, its own among them."""
    own = stem(word)
    return frozenset({own}).union(*(row for row in _ROWS if own in row))


def same_row(word: str) -> tuple[str, ...]:
    """Words that mean the same as this one, as they are said."""
    own = stem(word)
    return tuple(other for row in _ALIKE if own in map(stem, row) for other in row)


def telling(words: Iterable[str]) -> frozenset[str]:
    """Stems of the words that tell what is meant."""
    return frozenset(stem(word) for word in words if word not in NOT_TELLING)


def spoken_name(name: str) -> str:
    """The name of a tool or parameter as it is said: `order_status` and `orderStatus` are `order status`."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return " ".join(re.sub(r"[_\-.]+", " ", apart).lower().split())


def listed(names: Sequence[str], last: str = "and") -> str:
    """`a, b and c`."""
    head, end = names[:-1], names[-1] if names else ""
    return f"{', '.join(head)} {last} {end}" if head else end
