"""Single values of the peer's events: which are taken, and how much of them."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from bridge.core import messages as m

from . import server_events as wire

MAX_ID_CHARACTERS: Final = 512
"""The most characters of an id or a name. Longer text is refused, for it would be kept, repeated and recorded
for a whole call."""
_MAX_TEXT_CHARACTERS: Final = 1_000
_MOST_TOKENS: Final = 1_000_000_000


def id_of(value: str | None, name: str) -> str:
    """An id, empty for none. Raises ValueError for one that is too long."""
    if value and len(value) > MAX_ID_CHARACTERS:
        raise ValueError(f"whose {name} has more than {MAX_ID_CHARACTERS} characters")
    return value or ""


def required(value: str | None, name: str) -> str:
    """An id that has to be there. Raises ValueError."""
    if not value:
        raise ValueError(f"without {name}")
    return id_of(value, name)


def text_of(value: Any) -> str:
    """The beginning of a text, empty for none."""
    return "" if value is None else str(value)[:_MAX_TEXT_CHARACTERS]


def reason(error: msgspec.Raw) -> str:
    """Code (or type) and message of an error, in any of the shapes that vendors give it. Empty for none."""
    fault = wire.if_readable(wire.decode_fault, error)
    if fault is None:
        return text_of(wire.if_readable(wire.decode_words, error))
    parts = (text_of(part) for part in (fault.code or fault.type, fault.message))
    return ": ".join(part for part in parts if part)


def tokens_of(count: int | None) -> int:
    """As many as there can be; 0 for none."""
    return min(max(0, count or 0), _MOST_TOKENS)


def says(usage: wire.Usage) -> bool:
    """Whether it tells anything."""
    return usage != wire.Usage()


def counted(usage: wire.Usage) -> m.Usage:
    """Tokens by kind; what a server leaves out is 0."""
    tokens_in = usage.input_token_details or wire.Tokens()
    cached = tokens_in.cached_tokens_details or wire.Tokens()
    tokens_out = usage.output_token_details or wire.Tokens()
    return m.Usage(
        text_in=tokens_of(tokens_in.text_tokens),
        audio_in=tokens_of(tokens_in.audio_tokens),
        image_in=tokens_of(tokens_in.image_tokens),
        cached_text=tokens_of(cached.text_tokens),
        cached_audio=tokens_of(cached.audio_tokens),
        cached_image=tokens_of(cached.image_tokens),
        text_out=tokens_of(tokens_out.text_tokens),
        audio_out=tokens_of(tokens_out.audio_tokens),
    )
