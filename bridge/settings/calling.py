"""Settings of calls out: which countries, and at which time of day."""

from __future__ import annotations

import re
from typing import NamedTuple

from bridge.settings.values import Wrong, pieces


def countries(text: str) -> frozenset[str]:
    """`US,CA`: ISO 3166 codes of two letters."""
    found = {piece.strip().upper() for piece in pieces(text)}
    for code in sorted(found):
        if not re.fullmatch("[A-Z]{2}", code):
            raise Wrong("holds a piece that is no country", "write codes of two letters, as in US,CA")
    return frozenset(found)


class CallHours(NamedTuple):
    """From when until when calls may be placed: minutes since midnight, where the called number is."""

    from_min: int = 9 * 60
    to_min: int = 20 * 60

    @property
    def always(self) -> bool:
        """Whether the clock there does not matter."""
        return self.to_min - self.from_min >= 24 * 60

    def __str__(self) -> str:
        return "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in self)


def call_hours(text: str) -> CallHours:
    """`09:00-20:00`, or `off` for the whole day."""
    if text.strip().lower() == "off":
        return CallHours(0, 24 * 60)
    found = re.fullmatch(r"(\d{1,2}):(\d{2})\s*[-–]\s*(\d{1,2}):(\d{2})", text.strip())
    from_h, from_m, to_h, to_m = (int(piece) for piece in found.groups()) if found else (0, 0, 0, 60)
    hours = CallHours(from_h * 60 + from_m, to_h * 60 + to_m)
    if max(from_m, to_m) > 59 or not 0 <= hours.from_min < hours.to_min <= 24 * 60:
        raise Wrong("is no time of day", "write it like 09:00-20:00, within one day; or off")
    return hours
