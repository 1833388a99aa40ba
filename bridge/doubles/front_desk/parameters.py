"""Parameters of a tool: what each is asked with, and what in a caller's words fills it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .english import spoken_name, words_of
from .numbers import day_in, digits_in, is_date, numbers_in, time_in

_LIKENESS: Final = 0.8
_LEAST_LETTERS: Final = 4
_DAYS: Final = frozenset({"day", "date", "weekday", "when"})
_TIMES: Final = frozenset({"time", "hour"})
_COUNTS: Final = frozenset({"people", "persons", "size", "guests", "seats", "party", "adults"})
_DIGITS: Final = frozenset({"number", "order", "id", "code", "phone", "pin", "account", "zip"})
_NAMES: Final = frozenset({"name", "customer", "caller", "who"})
_TEXTS: Final = frozenset({"message", "note", "text"})
YES: Final = frozenset({"yes", "yeah", "yep", "right", "correct", "sure", "okay", "ok", "exactly", "please"})
NO: Final = frozenset({"no", "nope", "wrong", "not", "never", "nah"})
_INTRODUCED: Final = (
    "my name is",
    "the name is",
    "name is",
    "under the name",
    "under",
    "this is",
    "i am",
    "it is",
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter, as its schema has it. `choices` are the values of an enum."""

    name: str
    kind: str
    """choice, day, time, count, digits, number, name, boolean or text."""
    type: str
    required: bool
    description: str = ""
    choices: tuple[Any, ...] = ()

    @property
    def question(self) -> str:
        """What the caller is asked for it."""
        if self.description.endswith("?"):
            return self.description
        named = spoken_name(self.name)
        if self.choices:
            return f"Which {named}: {', '.join(map(said, self.choices))}?"
        if self.kind == "boolean":
            return f"{named.capitalize()}: yes or no?"
        if self.kind == "count":
            return "For how many, please?" if named == "size" else f"How many {named}, please?"
        if self.name in _TEXTS:
            return f"What is the {named}, please?"
        if self.name in ("what", "who", "when", "where"):
            return f"{named.capitalize()}, please?"
        return f"Which {named}, please?"

    def fill(self, words: Sequence[str], raw: str, *, asked: bool) -> Any:
        """The value that these words hold for it, None for none. `asked`: it was asked for just now, so that
        less is enough; `raw` is what was said as it was written down.
        """
        value = self._found(words, asked=asked)
        free = self.kind in ("text", "name") or (self.kind == "day" and is_date(words))
        if value is None and asked and free and raw.strip():
            value = _without_introduction(raw)
        return None if value is None else self._typed(value)

    def _found(self, words: Sequence[str], *, asked: bool) -> Any:
        match self.kind:
            case "choice":
                return self._choice(words)
            case "boolean":
                return (not NO & {*words}) if asked and (YES | NO) & {*words} else None
            case "day":
                return day_in(words) or None
            case "time":
                found = time_in(words, asked=asked)
                return None if found is None else f"{found.value // 60:02}:{found.value % 60:02}"
            case "count":
                return _count(words, asked=asked)
            case "digits":
                digits = digits_in(_without_time(words))
                return (
                    digits
                    if len(digits) >= (1 if asked or self.type in ("integer", "number") else 2)
                    else None
                )
            case "number":
                found_numbers = numbers_in(_without_time(words))
                return (
                    found_numbers[0].value if found_numbers and (asked or len(found_numbers) == 1) else None
                )
            case "name":
                return _introduced(words)
        return None

    def _choice(self, words: Sequence[str]) -> Any:
        """The value whose words all occur; else the one that a word is nearly."""
        said_words = {*words}
        for choice in sorted(self.choices, key=lambda one: -len(str(one))):
            if {*words_of(spoken_name(str(choice)))} <= said_words:
                return choice
        spelled = {str(choice).lower(): choice for choice in self.choices}
        for word in words:
            if len(word) >= _LEAST_LETTERS:
                close = difflib.get_close_matches(word, spelled, 1, _LIKENESS)
                if close:
                    return spelled[close[0]]
        return None

    def _typed(self, value: Any) -> Any:
        """The value as the schema's type has it. A time as an integer is its hour."""
        if self.choices:
            return value
        if self.type in ("integer", "number"):
            if self.kind == "time":
                return int(str(value).partition(":")[0])
            text = str(value)
            return int(text) if text.isdigit() else None
        if self.type == "boolean":
            return bool(value)
        if self.type == "array":
            return [value]
        return str(value)


def parameters_of(schema: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """The parameters of a tool's JSON schema, in its order."""
    required = schema.get("required") or ()
    properties = schema.get("properties") or {}
    return tuple(
        _parameter(name, _resolved(one, schema), name in required) for name, one in properties.items()
    )


def _parameter(name: str, schema: Mapping[str, Any], required: bool) -> Parameter:
    choices = schema.get("enum") or ([schema["const"]] if "const" in schema else ())
    kind_of = str(schema.get("type") or "string")
    description = str(schema.get("description") or "")
    return Parameter(
        name, _kind(name, kind_of, bool(choices)), kind_of, required, description, tuple(choices)
    )


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema without `$ref` and without the null of an optional."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return {**(root.get("$defs") or {}).get(name, {}), **{k: v for k, v in schema.items() if k != "$ref"}}
    for union in (schema.get("anyOf"), schema.get("oneOf")):
        some = [one for one in union or () if one.get("type") != "null"]
        if some:
            return {**schema, **_resolved(some[0], root)}
    return schema


def _kind(name: str, type_name: str, has_choices: bool) -> str:
    words = {*spoken_name(name).split()}
    if has_choices:
        return "choice"
    if type_name == "boolean":
        return "boolean"
    named: tuple[tuple[frozenset[str], str], ...] = (
        (_DAYS, "day"), (_TIMES, "time"), (_COUNTS, "count"), (_DIGITS, "digits"),
    )  # fmt: skip
    for names, kind in named:
        if words & names:
            return kind
    if type_name in ("integer", "number"):
        return "number"
    return "name" if words & _NAMES else "text"


def said(value: Any) -> str:
    """A value as it is read back."""
    return spoken_name(value) if isinstance(value, str) else str(value)


def keys_as_words(keys: str, parameter: Parameter | None) -> str:
    """Pressed keys as what they stand for: a choice by its number, four digits as a time, a weekday, else
    digits. "" for a key without a meaning here.
    """
    number = int(keys) if keys.isdigit() else 0
    if parameter is None:
        return keys
    if parameter.choices:
        return said(parameter.choices[number - 1]) if 1 <= number <= len(parameter.choices) else ""
    if parameter.kind == "boolean":
        return {1: "yes", 2: "no"}.get(number, "")
    if parameter.kind == "time" and len(keys) in (3, 4):
        hour, minute = int(keys[:-2]), int(keys[-2:])
        return f"at {hour}:{minute:02}" if hour < 24 and minute < 60 else ""
    if parameter.kind == "day":
        days = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
        return days[number - 1] if 1 <= number <= len(days) else ""
    return keys


def _count(words: Sequence[str], *, asked: bool) -> int | None:
    """The number after `for` that begins no time; by itself when it was asked for."""
    time = time_in(words)
    for found in numbers_in(words):
        if time is not None and time.start <= found.start < time.end:
            continue
        before = words[found.start - 1] if found.start else ""
        after = words[found.end] if found.end < len(words) else ""
        if asked or before in ("for", "of") or after in ("people", "persons", "guests", "seats", "adults"):
            return found.value
    return None


def _without_time(words: Sequence[str]) -> Sequence[str]:
    """The words without a time of day that is surely one."""
    time = time_in(words)
    sure = time is not None and time.start > 0 and words[time.start - 1] == "at"
    return [*words[: time.start], *words[time.end :]] if time is not None and sure else words


def _introduced(words: Sequence[str]) -> str | None:
    line = f" {' '.join(words)} "
    for phrase in _INTRODUCED[:5]:
        _, found, after = line.partition(f" {phrase} ")
        if found and after.split():
            return " ".join(after.split()[:2]).title()
    return None


def _without_introduction(raw: str) -> str:
    text = raw.strip().strip(".,!?").strip()
    for phrase in _INTRODUCED:
        if text.lower().startswith(f"{phrase} "):
            return text[len(phrase) :].strip()
    return text


def read_back(values: Sequence[Any]) -> str:
    """Values as one reads them back, in one line."""
    return ", ".join(map(said, values))
