"""Names of tools that are made from names of agents.

API reference, session.update, `tools`: a function's name has A-Z, a-z, 0-9, _ and - only. An agent's name is
free text in any script.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final

MOST_CHARACTERS: Final = 64
_PREFIX: Final = "hand_off_to_"
_LATIN: Final = "ßss æae øo œoe łl đd ðd þth ıi"
_CYRILLIC: Final = (
    "аa бb вv гg дd еe ёe жzh зz иi йi кk лl мm нn оo пp рr сs тt уu фf хkh цts чch шsh щshch ъ ыy ь эe юyu "
    "яya іi їyi єye ґg"
)
_GREEK: Final = "αa βv γg δd εe ζz ηi θth ιi κk λl μm νn ξx οo πp ρr σs ςs τt υy φf χch ψps ωo"
_LETTERS: Final = {pair[0]: pair[1:] for pair in f"{_LATIN} {_CYRILLIC} {_GREEK}".split()}
_SOUNDS: Final = ("HIRAGANA LETTER ", "KATAKANA LETTER ", "HANGUL SYLLABLE ")
"""The Unicode names of these characters end with how they sound."""


def hand_off_names(agents: Iterable[str]) -> list[str]:
    """The names of the tools that hand off to these agents, in order. All are distinct: a name that is taken
    gets a number. Latin, Greek, Cyrillic, Korean and kana are transliterated; an agent whose name has nothing
    of these is called "agent", and its tool's description says the rest.
    """
    names: list[str] = []
    for agent in agents:
        usual = f"{_PREFIX}{_ascii(agent) or 'agent'}"
        name, number = usual[:MOST_CHARACTERS], 1
        while name in names:
            number += 1
            name = f"{usual[: MOST_CHARACTERS - len(str(number)) - 1]}_{number}"
        names.append(name)
    return names


def _ascii(text: str) -> str:
    """The text in letters, digits, hyphens and single underscores."""
    letters = "".join(map(_letter, unicodedata.normalize("NFC", text)))
    return "_".join(filter(None, letters.split("_")))


def _letter(character: str) -> str:
    if character.isascii():
        return character if character.isalnum() or character == "-" else "_"
    lower = character.lower()
    if lower in _LETTERS:
        return _as_case(_LETTERS[lower], character)
    name = unicodedata.name(character, "")
    if name.startswith(_SOUNDS):
        return "" if name.endswith("SMALL TU") else name.rsplit(" ", 1)[1].lower()
    base = unicodedata.normalize("NFKD", character)[0]
    if base != character:
        return _letter(base)
    return "" if character.isalpha() or unicodedata.combining(character) or "SOUND MARK" in name else "_"


def _as_case(letters: str, like: str) -> str:
    return letters.capitalize() if like.isupper() else letters
