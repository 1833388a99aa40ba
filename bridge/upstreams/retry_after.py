"""How long a vendor that is over its limit asks us to wait."""

from __future__ import annotations

import re
from math import ceil
from typing import Final

import msgspec

from . import server_events as wire
from .values import text_of

# OpenAI, as it says so: "Please try again in 2.5s", "in 20ms", "in 1m2.5s", "in 1h12m". Azure: "Please retry
# after 3 seconds".
_TRY_AGAIN: Final = re.compile(
    r"\b(?:try again|retry) (?:in|after) (?=\d)"
    r"(?:(\d{1,4}) ?(?:h|hours?)(?![a-z]) ?)?(?:(\d{1,4}) ?(?:m|min|minutes?)(?![a-z]) ?)?"
    r"(?:(\d{1,6}(?:\.\d{1,6})?) ?(ms|milliseconds?|s|sec|seconds?)\b)?",
    re.IGNORECASE,
)
_RATE_LIMIT: Final = re.compile(r"rate_?limit|too_?many_?requests|throttled|\b429\b", re.IGNORECASE)
"""In a code or a type."""
_NEARLY_USED_UP: Final = 0.02
"""Of a limit: a response takes more than what is left."""
_MOST_MS: Final = 86_400_000


class RetryAfter:
    """One session's."""

    __slots__ = ("_reset_ms",)

    def __init__(self) -> None:
        self._reset_ms = 0  # until the limit that is used up, as told last

    def of(self, fault: wire.Fault) -> int:
        """In ms: "Please try again in 2.5s.", else until the limit it told last is reset. 0 where it names no
        time.
        """
        if not _RATE_LIMIT.search(f"{text_of(fault.code)} {text_of(fault.type)}"):
            return 0
        told = _TRY_AGAIN.search(text_of(fault.message))
        if told is None:
            return self._reset_ms
        hours, minutes, number, unit = told.groups()
        if not (hours or minutes or number):
            return self._reset_ms
        seconds = float(number or 0) / (1000 if (unit or "s").lower().startswith("m") else 1)
        seconds += 60 * int(minutes or 0) + 3600 * int(hours or 0)
        return min(_MOST_MS, ceil(1000 * seconds))

    def limits(self, raw: msgspec.Raw) -> None:
        """The limits, as told. Only of use where a refusal does not say itself how long to wait."""
        limits = wire.if_readable(wire.decode_limits, raw) or []
        used_up = (limit.reset_seconds or 0.0 for limit in limits if _used_up(limit))
        self._reset_ms = min(_MOST_MS, ceil(1000 * max(0.0, *used_up, 0.0)))


def _used_up(limit: wire.RateLimit) -> bool:
    return limit.remaining is not None and limit.remaining <= _NEARLY_USED_UP * max(0.0, limit.limit or 0.0)
