"""Token counts of a response, plausible and deterministic.

Realtime guide, "Managing costs": the caller's audio counts 1 token per 100 ms, the assistant's 1 per 50 ms;
every response reads the whole conversation again, and cached tokens are a subset of the input.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from .items import Item

CALLER_MS_PER_TOKEN: Final = 100
ASSISTANT_MS_PER_TOKEN: Final = 50
_CHARACTERS_PER_TOKEN: Final = 4
_CACHE_BLOCK: Final = 64


class Meter:
    """Counts one session's responses; remembers what was read, since that is cached the next time."""

    def __init__(self) -> None:
        self._read_text = 0
        self._read_audio = 0

    def forget(self) -> None:
        """Instructions or tools changed: the cached prefix is gone."""
        self._read_text = self._read_audio = 0

    def measure(self, read: Iterable[Item], instructions: str, output: Iterable[Item]) -> dict[str, Any]:
        """The `usage` of a response that read these items and made those."""
        text_in, audio_in = _tokens(instructions), 0
        for item in read:
            text, audio = _counted(item)
            text_in += text
            audio_in += audio
        text_out = audio_out = 0
        for item in output:
            text, audio = _counted(item)
            text_out += text
            audio_out += audio
        cached_text = min(self._read_text, text_in) // _CACHE_BLOCK * _CACHE_BLOCK
        cached_audio = min(self._read_audio, audio_in) // _CACHE_BLOCK * _CACHE_BLOCK
        self._read_text, self._read_audio = text_in, audio_in
        return {
            "total_tokens": text_in + audio_in + text_out + audio_out,
            "input_tokens": text_in + audio_in,
            "output_tokens": text_out + audio_out,
            "input_token_details": {
                "text_tokens": text_in,
                "audio_tokens": audio_in,
                "image_tokens": 0,
                "cached_tokens": cached_text + cached_audio,
                "cached_tokens_details": {
                    "text_tokens": cached_text,
                    "audio_tokens": cached_audio,
                    "image_tokens": 0,
                },
            },
            "output_token_details": {"text_tokens": text_out, "audio_tokens": audio_out},
        }


def _counted(item: Item) -> tuple[int, int]:
    """Text and audio tokens of one item. The transcript of a caller's sound is not read by the model."""
    if item.role == "user" and item.sound:
        return 0, -(-item.audio_ms // CALLER_MS_PER_TOKEN)
    return _tokens(item.text), -(-item.audio_ms // ASSISTANT_MS_PER_TOKEN)


def _tokens(text: str) -> int:
    return -(-len(text) // _CHARACTERS_PER_TOKEN)
