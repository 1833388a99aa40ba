"""A tool's result as it is said aloud."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from .english import listed, spoken_name
from .numbers import clock_words

FAILED: Final = "Sorry, that did not work."
MOST_CHARACTERS: Final = 300
_MOST_PAIRS: Final = 5
_MOST_ENTRIES: Final = 3
_TELLING: Final = ("say", "message", "answer", "summary")
_TIME: Final = re.compile(r"\b([01]?\d|2[0-3]):([0-5]\d)(?::[0-5]\d)?\b")
_DATE: Final = re.compile(r"\b\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])(?:T(?=\d))?")
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
)  # fmt: skip


def failed(output: str) -> bool:
    """Whether the tool's output says that it failed."""
    result = parsed(output)
    return isinstance(result, dict) and bool(result.get("error"))


def parsed(output: str) -> Any:
    """The JSON of an output; any other output is a string."""
    try:
        return json.loads(output)
    except (ValueError, RecursionError):
        return output


def aloud(output: str) -> str:
    """One tool's output in a sentence or two, at most 300 characters."""
    return cut(_said(parsed(output)) or "Done.")


def _said(result: Any) -> str:
    match result:
        case None | True:
            return "Done."
        case False:
            return "That did not work."
        case dict() | list() if not result:
            return "Nothing found."
        case str():
            return "Done." if result.strip().lower() == "done" else _written(result)
        case int() | float():
            return f"{result}."
        case dict():
            return FAILED if result.get("error") else _object(result)
        case list():
            return _entries(result)
    return str(result)


def _object(result: Mapping[str, Any]) -> str:
    for name in _TELLING:
        if isinstance(result.get(name), str):
            return _written(result[name])
    pairs = [(spoken_name(str(name)), _value(value)) for name, value in result.items()]
    told = [f"{name} {value}".strip() for name, value in pairs[1:_MOST_PAIRS]]
    if len(pairs) > _MOST_PAIRS:
        told.append(f"and {len(pairs) - _MOST_PAIRS} more")
    first = " ".join(filter(None, pairs[0]))
    return f"{first}: {', '.join(told)}." if told else f"{first}."


def _entries(result: Sequence[Any]) -> str:
    told = [_value(one) for one in result[:_MOST_ENTRIES]]
    rest = f", and {len(result) - _MOST_ENTRIES} more" if len(result) > _MOST_ENTRIES else ""
    return f"{len(result)} found: {', '.join(told) + rest if rest else listed(told)}."


def _value(value: Any) -> str:
    match value:
        case None:
            return "unknown"
        case bool():
            return "yes" if value else "no"
        case str():
            return _written(value)
        case dict():
            return " ".join(
                f"{spoken_name(str(k))} {_value(v)}" for k, v in list(value.items())[:_MOST_PAIRS]
            )
        case list():
            return listed([_value(one) for one in value[:_MOST_ENTRIES]])
    return str(value)


def _written(text: str) -> str:
    """Times and dates of a text as one says them."""
    text = _DATE.sub(lambda date: f"{_MONTHS[int(date[1]) - 1]} {int(date[2])} ", text)
    return _TIME.sub(lambda time: clock_words(int(time[1]), int(time[2])), text).strip()


def cut(text: str) -> str:
    """At most 300 characters, whole sentences where there are any."""
    text = " ".join(text.split())
    if len(text) <= MOST_CHARACTERS:
        return text
    head = text[:MOST_CHARACTERS]
    end = max(head.rfind(mark) for mark in (". ", "! ", "? "))
    return head[: end + 1] if end > 0 else head[: head.rfind(" ")] + " …"
