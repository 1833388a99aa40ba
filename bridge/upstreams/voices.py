"""Which voice another vendor goes on with: one that is like the one that the caller has heard.

xAI calls its voices a woman's (ara, eve), a man's (leo, rex) or neither (sal). OpenAI does not say; here its
voices are as most lists of them have it. A wish of the operator's goes before.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from bridge.errors import ConfigError

OPENAI: Final = ("alloy", "ash", "ballad", "cedar", "coral", "echo", "marin", "sage", "shimmer", "verse")
"""Of Realtime, at OpenAI and Azure; GPT-Live has them too."""
XAI: Final = ("ara", "eve", "leo", "rex", "sal")

_NEAREST: Final = {
    "alloy": "sal", "ash": "rex", "ballad": "leo", "cedar": "rex", "coral": "eve", "echo": "leo",
    "marin": "ara", "sage": "ara", "shimmer": "eve", "verse": "rex",
    "ara": "marin", "eve": "coral", "leo": "ash", "rex": "cedar", "sal": "alloy",
}  # fmt: skip


def nearest(voices: Collection[str]) -> dict[str, str]:
    """For each voice that a vendor with these voices does not have, the one that is most like it."""
    return {voice: near for voice, near in _NEAREST.items() if near in voices and voice not in voices}


def wished(text: str) -> tuple[dict[str, str], str]:
    """What an operator wrote: `rex` for whatever voice it is, or pairs and a rest, `marin=eve+cedar=rex+ara`.
    Returns the pairs, and the rest, "" without one. Raises ConfigError.
    """
    pairs, rest = {}, ""
    for part in filter(None, map(str.strip, text.split("+"))):
        voice, paired, near = map(str.strip, part.partition("="))
        if paired and voice and near:
            pairs[voice] = near
        elif paired or rest:
            raise ConfigError("voices are pairs and one for the rest: marin=eve+cedar=rex+ara")
        else:
            rest = voice
    return pairs, rest
