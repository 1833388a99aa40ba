"""Words that a dictionary lacks, in the 39 phones of ARPAbet, by espeak-ng's ear for English.

http://www.speech.cs.cmu.edu/cgi-bin/cmudict: the phones that pocketsphinx' model of English knows.
"""

from __future__ import annotations

import functools
from typing import Final

from .espeak import EspeakVoice

_ARPABET: Final = {
    "aɪ": "AY", "aʊ": "AW", "eɪ": "EY", "oʊ": "OW", "əʊ": "OW", "ɔɪ": "OY", "tʃ": "CH", "dʒ": "JH",
    "ɑ": "AA", "a": "AA", "ɒ": "AA", "æ": "AE", "ʌ": "AH", "ə": "AH", "ɐ": "AH", "ɔ": "AO", "o": "OW",
    "ɛ": "EH", "e": "EH", "ɜ": "ER", "ɝ": "ER", "ɚ": "ER", "ɪ": "IH", "ᵻ": "IH", "i": "IY", "ʊ": "UH",
    "u": "UW", "y": "UW", "b": "B", "d": "D", "ð": "DH", "f": "F", "ɡ": "G", "g": "G", "h": "HH", "j": "Y",
    "k": "K", "x": "K", "l": "L", "m": "M", "n": "N", "ŋ": "NG", "p": "P", "ɹ": "R", "r": "R", "ɾ": "T",
    "s": "S", "ʃ": "SH", "t": "T", "ʔ": "T", "θ": "TH", "v": "V", "w": "W", "z": "Z", "ʒ": "ZH",
    "ɬ": "L", "ç": "HH", "ø": "ER", "œ": "ER", "ɲ": "N Y", "ʁ": "R",
}  # fmt: skip
_UNHEARD: Final = "ˈˌːˑ‿.|ʲ̩̃ \u200d"
_LONGEST: Final = max(map(len, _ARPABET))


def arpabet(ipa: str) -> str:
    """Phones with a space between them; "" where one has no counterpart."""
    left = "".join(sign for sign in ipa if sign not in _UNHEARD)
    phones: list[str] = []
    while left:
        size = next((size for size in range(_LONGEST, 0, -1) if left[:size] in _ARPABET), 0)
        if not size:
            return ""
        phones.append(_ARPABET[left[:size]])
        left = left[size:]
    return " ".join(phones)


@functools.cache
def _voice() -> EspeakVoice | None:
    try:
        return EspeakVoice()
    except (ImportError, OSError, RuntimeError):
        return None


def pronounced(word: str) -> str:
    """The word in ARPAbet; "" without espeak-ng, or where it has no sound of English."""
    voice = _voice()
    return arpabet(voice.phonemes(word)) if voice is not None else ""
