"""Numbers, times of day and days as they are spoken: in them and out of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

UNITS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEENS: Final = (
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)  # fmt: skip
TENS: Final = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
DAYS: Final = (
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "today",
    "tomorrow",
)
_UNIT: Final = {**{word: n for n, word in enumerate(UNITS)}, "oh": 0, "o": 0, "nought": 0}
_TEEN: Final = {word: n for n, word in enumerate(TEENS, 10)}
_TEN: Final = {word: 10 * n for n, word in enumerate(TENS, 2)}
_BEFORE_A_TIME: Final = frozenset({"at", "by", "around", "about", "before", "after", "until", "till", "from"})
_MORNING: Final = frozenset({"morning", "am"})
_EVENING: Final = frozenset({"afternoon", "evening", "night", "pm", "tonight"})
_CLOCK: Final = frozenset({"oclock"})
_DATE_WORDS: Final = frozenset({
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
    "november", "december", "first", "second", "third", "week", "weekend", "month",
})  # fmt: skip
_WHEN: Final = (
    "a m", "p m", "in the morning", "in the afternoon", "in the evening", "at night", "this morning",
    "this afternoon", "this evening",
)  # fmt: skip
FIRST_MORNING_HOUR: Final = 8
"""An hour below it is one of the afternoon, unless the caller says otherwise."""


class Found(NamedTuple):
    """A value, and the words [start, end) that it was made of."""

    value: int
    start: int
    end: int


def in_words(digits: str) -> list[str]:
    """A written number in words: a time and two digits as one says them, longer ones digit by digit."""
    if ":" in digits:
        hour, minute = map(int, digits.split(":"))
        return [*_below_hundred(hour), *(_minutes(minute) if minute else ["oclock"])]
    if len(digits) <= 2 and not (len(digits) == 2 and digits[0] == "0"):
        return _below_hundred(int(digits))
    return [UNITS[int(digit)] for digit in digits]


def _below_hundred(number: int) -> list[str]:
    if number < 10:
        return [UNITS[number]]
    if number < 20:
        return [TEENS[number - 10]]
    if number < 100:
        return [TENS[number // 10 - 2], *([UNITS[number % 10]] if number % 10 else [])]
    return [UNITS[int(digit)] for digit in str(number)]


def _minutes(minute: int) -> list[str]:
    return ["oh", *_below_hundred(minute)] if minute < 10 else _below_hundred(minute)


def clock_words(hour: int, minute: int) -> str:
    """A time of day as it is said: 19:30 is `seven thirty`."""
    if (hour, minute) in ((12, 0), (0, 0)):
        return "noon" if hour else "midnight"
    said = _below_hundred(hour - 12 if hour > 12 else hour or 12)
    return " ".join([*said, *(_minutes(minute) if minute else ["o'clock"])])


def number_at(words: Sequence[str], at: int) -> Found | None:
    """The number that begins at this word, below a hundred or with hundreds and thousands; None for none."""
    small = _small(words, at)
    if small is None:
        return None
    total, end = small.value, small.end
    for scale, size in (("hundred", 100), ("thousand", 1000)):
        if end < len(words) and words[end] == scale:
            total, end = total * size, end + 1
            after = end + 1 if end < len(words) and words[end] == "and" else end
            rest = number_at(words, after)
            if rest is not None and rest.value < size:
                total, end = total + rest.value, rest.end
    return Found(total, at, end)


def _small(words: Sequence[str], at: int) -> Found | None:
    if at >= len(words):
        return None
    word = words[at]
    if word in _TEN:
        unit = _UNIT.get(words[at + 1], 0) if at + 1 < len(words) else 0
        return Found(_TEN[word] + unit, at, at + 2 if unit else at + 1)
    value = _UNIT.get(word, _TEEN.get(word))
    return None if value is None else Found(value, at, at + 1)


def numbers_in(words: Sequence[str]) -> list[Found]:
    """All numbers, in their order. `o` and `oh` are none by themselves."""
    found: list[Found] = []
    at = 0
    while at < len(words):
        one = None if words[at] in ("o", "oh") else number_at(words, at)
        if one is not None:
            found.append(one)
        at = at + 1 if one is None else one.end
    return found


def digits_in(words: Sequence[str]) -> str:
    """The longest run of digits, "" for none: `four two one seven` is 4217, `double five` 55."""
    best = run = ""
    at = 0
    while at < len(words):
        times = {"double": 2, "triple": 3}.get(words[at], 1)
        one = number_at(words, at + (times > 1))
        if one is None or (words[at] in ("o", "oh") and not run):
            run, at = "", at + 1
            continue
        run += str(one.value) * times
        at = one.end
        best = max(best, run, key=len)
    return best


def time_in(words: Sequence[str], *, asked: bool = False) -> Found | None:
    """The time of day, in minutes since midnight; None for none. When it was `asked` for, an hour by itself
    is one; else there has to be a word that makes it one: at, o'clock, in the morning, or its minutes.
    """
    for at, word in enumerate(words):
        if word in ("noon", "midday", "midnight"):
            return Found(0 if word == "midnight" else 12 * 60, at, at + 1)
    hits = [found for at in range(len(words)) if (found := _time_at(words, at, asked)) is not None]
    return max(
        hits, key=lambda hit: (hit.start > 0 and words[hit.start - 1] == "at", -hit.start), default=None
    )


def _time_at(words: Sequence[str], at: int, asked: bool) -> Found | None:
    if words[at] in ("half", "quarter") and at + 2 < len(words) and words[at + 1] in ("past", "to"):
        hour = _small(words, at + 2)
        if hour is None or not 1 <= hour.value <= 12:
            return None
        away = (30 if words[at] == "half" else 15) * (1 if words[at + 1] == "past" else -1)
        return _told(words, 60 * hour.value + away, at, hour.end)
    hour = _hour(words, at)
    if hour is None or (at > 0 and words[at - 1] in _TEN):
        return None
    minute = _minute(words, hour.end)
    end = minute.end if minute is not None else hour.end
    after = words[end : end + 3]
    sure = (at > 0 and words[at - 1] in _BEFORE_A_TIME) or minute is not None or _says_when(after)
    if not sure and not asked:
        return None
    return _told(words, 60 * hour.value + (minute.value if minute else 0), at, end)


def _hour(words: Sequence[str], at: int) -> Found | None:
    """An hour, 0 to 24. `twenty` is the minutes of nothing, and `seven` is not the hour of `seven five`."""
    hour = _small(words, at)
    if hour is None or words[at] in ("o", "oh") or hour.value > 24:
        return None
    following = _small(words, hour.end)
    if following is not None and words[hour.end] not in ("o", "oh") and following.value < 10:
        return None  # a run of digits
    return hour


def _minute(words: Sequence[str], at: int) -> Found | None:
    if at < len(words) and words[at] in ("o", "oh"):
        after = _small(words, at + 1)
        return None if after is None or after.value > 9 else Found(after.value, at, after.end)
    found = _small(words, at)
    return found if found is not None and 10 <= found.value < 60 else None


def _says_when(after: Sequence[str]) -> bool:
    if after and after[0] in _MORNING | _EVENING | _CLOCK:
        return True
    return " ".join(after).startswith(_WHEN)


def _told(words: Sequence[str], minutes: int, start: int, end: int) -> Found:
    """In 24 hours: what is said of morning or evening counts, else hours below 8 are of the afternoon."""
    after = [word for word in words[end : end + 4] if word not in _CLOCK]
    spelled = " ".join(after[:2])
    morning = bool(_MORNING & {*after}) or spelled == "a m"
    evening = bool(_EVENING & {*after}) or spelled == "p m"
    if minutes < 12 * 60 and (evening or (not morning and minutes < FIRST_MORNING_HOUR * 60)):
        minutes += 12 * 60
    if morning and 12 * 60 <= minutes < 13 * 60:
        minutes -= 12 * 60
    while end < len(words) and words[end] in {*_CLOCK, *_MORNING, *_EVENING, "in", "the", "a", "p", "m"}:
        end += 1
    return Found(minutes % (24 * 60), start, end)


def is_date(words: Sequence[str]) -> bool:
    """Whether they may name a date other than the days of `day_in`."""
    return any(word in _DATE_WORDS or word.endswith("th") or number_at((word,), 0) for word in words)


def day_in(words: Sequence[str]) -> str:
    """The day as it is said, "" for none."""
    for word in words:
        if word == "tonight":
            return "today"
        if word in DAYS or (word[:-1] in DAYS and word.endswith("s")):
            return word if word in DAYS else word[:-1]
    return ""
