"""When models are shut down: what the vendor's API says of one, else what it has announced.

OpenAI, "Deprecations": "check each model's optional `shutdown_date` field", a date or null, in the answers of
`GET /v1/models` and `GET /v1/models/{model}`.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

_EPOCH: Final = re.compile(r"\d{9,13}(\.\d+)?")
_MILLISECONDS: Final = 1e11
"""In seconds that is the year 5138."""
NOTICE: Final = dt.timedelta(days=60)
"""So long before a shutdown `doctor` tells of it."""

_REALTIME: Final = dt.date(2027, 1, 20)
_TRANSCRIPTION: Final = dt.date(2027, 2, 26)
# Read on 2026-11-20, on the page above and in the types that the vendor publishes (openai 3.52). By exact
# name: a snapshot of a model has a date of its own, or none.
_ANNOUNCED: Final = {
    **dict.fromkeys(("gpt-realtime", "gpt-realtime-2025-08-28"), _REALTIME),
    **dict.fromkeys(("gpt-realtime-mini", "gpt-realtime-mini-2025-12-15"), _REALTIME),
    **dict.fromkeys(("gpt-audio-mini", "gpt-audio-mini-2025-12-15"), _REALTIME),
    **dict.fromkeys(("whisper-1", "gpt-4o-transcribe", "gpt-4o-transcribe-diarize"), _TRANSCRIPTION),
    **dict.fromkeys(("gpt-4o-mini-transcribe", "gpt-4o-mini-transcribe-2025-12-15"), _TRANSCRIPTION),
}


def model_url(realtime_url: str, model: str) -> str | None:
    """Where the vendor tells about the model, by the address of its Realtime API; None where that is another
    path than `…/realtime`.
    """
    parts = urlsplit(realtime_url)
    path = parts.path.rstrip("/")
    if not path.endswith("/realtime"):
        return None
    scheme = parts.scheme.replace("ws", "http", 1)
    return f"{scheme}://{parts.netloc}{path.removesuffix('realtime')}models/{quote(model, safe='')}"


def shutdown_date(model: str, told: Mapping[str, Any]) -> dt.date | None:
    """The day on which it is shut down, None if none is known. `told` is the API's answer about the model, or
    empty: without a `shutdown_date` in it the announced one counts, and null is the vendor's word that there
    is no date. A date may come with a time, or as seconds or milliseconds since 1970.
    """
    if "shutdown_date" not in told:
        return _ANNOUNCED.get(model)
    date = told["shutdown_date"]
    try:
        return None if date is None else _day(date)
    except (TypeError, ValueError, OverflowError, OSError):
        return _ANNOUNCED.get(model)


def _day(date: Any) -> dt.date:
    """The day of it, in UTC. Raises what its parts raise for what is no date."""
    if isinstance(date, bool) or not isinstance(date, str | int | float):
        raise TypeError("no date")
    if not isinstance(date, str) or _EPOCH.fullmatch(date.strip()):
        seconds = float(date)
        at = dt.datetime.fromtimestamp(seconds / 1000 if seconds > _MILLISECONDS else seconds, dt.UTC)
    else:
        at = dt.datetime.fromisoformat(date.strip())
    return (at if at.tzinfo is None else at.astimezone(dt.UTC)).date()


def warning(model: str, date: dt.date | None, today: dt.date) -> str | None:
    """What there is to say about it on that day, None if that is more than sixty days away."""
    if date is None or date - today > NOTICE:
        return None
    if date <= today:
        return f"{model} was to be shut down on {date}"
    days = (date - today).days
    return f"{model} is shut down on {date}, in {days} {'day' if days == 1 else 'days'}"
