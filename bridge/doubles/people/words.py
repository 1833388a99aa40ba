"""Words as sound without a voice."""

from __future__ import annotations

import functools
from typing import Final

from ...codecs.caption import MOST_BYTES, captioned
from ..tones import murmur

_HEAD_BYTES: Final = 11


@functools.lru_cache(maxsize=256)
def spoken(words: str) -> bytes:
    """A tone for each letter, µ-law; the sound carries the words (`codecs.caption`) where they fit."""
    sound = murmur(words)
    size = len(words.encode())
    return captioned(sound, words) if size <= MOST_BYTES and size + _HEAD_BYTES <= len(sound) // 8 else sound
