"""Opening hours: the days of the week in one zone, and holidays, by the clock on the wall there.

A range that ends before it begins (`fri 22:00-02:00`) ends on the next day and belongs to the day on which it
began. By a wall clock an hour that daylight saving repeats is open twice, and one that it skips is never.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bridge.settings.values import Wrong

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MIN: Final = 24 * 60
Ranges: TypeAlias = tuple[tuple[int, int], ...]
"""Of one day, each from a minute to one after it, counted from the day's midnight."""

_RANGE: Final = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})")
_CURE: Final = "write it like mon-fri 09:00-12:00 13:00-17:30"
_HOLIDAY_CURE: Final = "write a date like 2026-12-25 or 12-25, and hours behind it where it is not all closed"


@dataclass(frozen=True, slots=True)
class Hours:
    """`week` has the ranges of each day, Monday first. `holidays` have those of a date, which replace its
    weekday's; `yearly` the same by month and day.
    """

    zone: ZoneInfo
    week: tuple[Ranges, ...]
    holidays: Mapping[dt.date, Ranges] = field(default_factory=dict)
    yearly: Mapping[tuple[int, int], Ranges] = field(default_factory=dict)

    def is_open(self, at: dt.datetime) -> bool:
        """Whether it is open at that moment, which knows its zone."""
        local = at.astimezone(self.zone)
        today, minute = local.date(), local.hour * 60 + local.minute
        yesterday = today - dt.timedelta(days=1)
        return _within(self._of(today), minute) or _within(self._of(yesterday), minute + DAY_MIN)

    def _of(self, day: dt.date) -> Ranges:
        found = self.holidays.get(day)
        if found is None:
            found = self.yearly.get((day.month, day.day))
        return self.week[day.weekday()] if found is None else found


def hours(zone: str, lines: Iterable[str], holidays: Path | None = None) -> Hours:
    """The hours that these lines say, each of days and ranges: `mon-fri 09:00-17:30`, `sat,sun 10:00-14:00`,
    `daily 00:00-24:00`. Days of which none speaks are closed. Raises Wrong.
    """
    week: list[Ranges] = [()] * len(DAYS)
    for line in lines:
        days, _, ranges = line.strip().lower().partition(" ")
        for day in _days(days, line):
            week[day] = tuple(sorted((*week[day], *_ranges(ranges, line))))
    if not any(week):
        raise Wrong("opens on no day", _CURE)
    by_date, by_day = ({}, {}) if holidays is None else _holidays(holidays)
    return Hours(_zone(zone), tuple(week), by_date, by_day)


def _within(ranges: Ranges, minute: int) -> bool:
    return any(begins <= minute < ends for begins, ends in ranges)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        cure = "name it like Europe/Berlin; where the system has no zones at all, pip install tzdata"
        raise Wrong(f"has an unknown zone, {name[:60]!r}", cure) from None


def _days(text: str, line: str) -> list[int]:
    if text in ("daily", "mon-sun"):
        return list(range(len(DAYS)))
    found = []
    for piece in text.split(","):
        first, dash, last = piece.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise Wrong(f"has a line without days, {line[:60]!r}", _CURE)
        begins, ends = DAYS.index(first), DAYS.index(last if dash else first)
        found += [(begins + more) % len(DAYS) for more in range((ends - begins) % len(DAYS) + 1)]
    return found


def _ranges(text: str, line: str) -> Ranges:
    found = []
    for piece in text.replace(",", " ").split():
        match = _RANGE.fullmatch(piece)
        begins, ends = (
            (-1, -1) if match is None else (_minute(match[1], match[2]), _minute(match[3], match[4]))
        )
        if min(begins, ends) < 0 or begins in (ends, DAY_MIN):
            raise Wrong(f"has a line with an invalid range, {line[:60]!r}", _CURE)
        found.append((begins, ends if ends > begins else ends + DAY_MIN))
    if not found:
        raise Wrong(f"has a line without hours, {line[:60]!r}", _CURE)
    return tuple(found)


def _minute(hour: str, minute: str) -> int:
    """Of the day; -1 for none."""
    whole = int(hour) * 60 + int(minute)
    return whole if int(minute) < 60 and whole <= DAY_MIN else -1


def _holidays(path: Path) -> tuple[dict[dt.date, Ranges], dict[tuple[int, int], Ranges]]:
    """Those of a file: a date a line, with hours behind it unless all day is closed; `#` begins a comment."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        raise Wrong(f"has holidays that cannot be read, {path.name}", "name an existing file") from None
    by_date: dict[dt.date, Ranges] = {}
    by_day: dict[tuple[int, int], Ranges] = {}
    for number, line in enumerate(lines, 1):
        text, _, ranges = line.partition("#")[0].strip().partition(" ")
        if not text:
            continue
        open_on = _ranges(ranges, line) if ranges.strip() else ()
        try:
            if len(text) == len("12-25"):
                # A leap year: 02-29 is a day.
                day = dt.date.fromisoformat(f"2024-{text}")
                by_day[day.month, day.day] = open_on
            else:
                by_date[dt.date.fromisoformat(text)] = open_on
        except ValueError:
            raise Wrong(f"has a line in {path.name} that is no date, line {number}", _HOLIDAY_CURE) from None
    return by_date, by_day
