"""Opening hours by the clock on the wall, at its changes too.

The expected values are counted by hand from the zone's published changes: Berlin's clocks went from 02:00 to
03:00 on 2026-03-29 and from 03:00 back to 02:00 on 2026-10-25, both at 01:00 UTC.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from bridge.server.routing.hours import Hours, hours
from bridge.settings.values import Wrong

BERLIN = "Europe/Berlin"
OFFICE = ("mon-fri 09:00-12:00 13:00-17:30", "sat 10:00-14:00")


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(f"{text}+00:00")


def is_open(open_hours: Hours, text: str) -> bool:
    return open_hours.is_open(utc(text))


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-11-30 07:59", False),  # a Monday, 08:59 in Berlin
        ("2026-11-30 08:00", True),
        ("2026-11-30 10:59", True),
        ("2026-11-30 11:00", False),  # noon: the break begins
        ("2026-11-30 12:00", True),
        ("2026-11-30 16:29", True),
        ("2026-11-30 16:30", False),
        ("2026-12-05 09:30", True),  # Saturday
        ("2026-12-05 13:00", False),
        ("2026-12-06 10:00", False),  # Sunday
        ("2026-07-06 07:00", True),  # in summer the same hours are an hour earlier in UTC
        ("2026-07-06 06:59", False),
    ],
)
def test_a_week(moment: str, expected: bool) -> None:
    assert is_open(hours(BERLIN, OFFICE), moment) is expected


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-03-28 23:59", True),  # 00:59 on Sunday
        ("2026-03-29 00:59", True),  # 01:59, the last minute of winter
        ("2026-03-29 01:00", False),  # 03:00: there is no 02:00
        ("2026-10-24 22:00", True),  # 00:00 on Sunday
        ("2026-10-25 00:30", True),  # 02:30 the first time
        ("2026-10-25 01:30", True),  # 02:30 again
        ("2026-10-25 02:00", False),  # 03:00
    ],
)
def test_a_night_in_which_the_clocks_change(moment: str, expected: bool) -> None:
    assert is_open(hours(BERLIN, ["sun 00:00-03:00"]), moment) is expected


def test_the_hour_that_is_skipped_never_comes() -> None:
    skipped = hours(BERLIN, ["sun 02:00-03:00"])
    sunday = utc("2026-03-28 23:00")
    minutes = [sunday + dt.timedelta(minutes=minute) for minute in range(23 * 60)]  # the day has 23 hours
    assert not any(map(skipped.is_open, minutes))
    autumn = utc("2026-10-24 22:00")
    minutes = [autumn + dt.timedelta(minutes=minute) for minute in range(25 * 60)]
    assert sum(map(skipped.is_open, minutes)) == 120, "02:00 to 03:00 comes twice"


def test_a_night_belongs_to_the_day_on_which_it_begins() -> None:
    bar = hours(BERLIN, ["fri,sat 22:00-02:00"])
    for moment, expected in (
        ("2026-12-04 20:59", False),  # Friday 21:59
        ("2026-12-04 21:00", True),
        ("2026-12-05 00:59", True),  # Saturday 01:59
        ("2026-12-05 01:00", False),
        ("2026-12-06 00:59", True),
        ("2026-12-06 21:30", False),  # Sunday night
    ):
        assert is_open(bar, moment) is expected, moment


def test_every_day_all_day() -> None:
    always = hours("America/New_York", ["daily 00:00-24:00"])
    begin = utc("2026-03-08 00:00")
    assert all(always.is_open(begin + dt.timedelta(minutes=7 * step)) for step in range(1_500))


def test_weekdays_may_go_round_the_end_of_the_week() -> None:
    round_it = hours("UTC", ["fri-mon 08:00-09:00"])
    days = [is_open(round_it, f"2026-11-{day} 08:30") for day in range(23, 30)]  # Monday to Sunday
    assert days == [True, False, False, False, True, True, True]


def test_holidays_replace_their_weekday(tmp_path: Path) -> None:
    path = tmp_path / "holidays.txt"
    path.write_text("# bank holidays\n2026-12-24 09:00-12:00\n12-25  # every year\n\n2026-12-26\n")
    office = hours(BERLIN, ["daily 08:00-18:00"], path)
    for moment, expected in (
        ("2026-12-23 16:00", True),
        ("2026-12-24 10:00", True),
        ("2026-12-24 12:00", False),
        ("2026-12-25 10:00", False),
        ("2031-12-25 10:00", False),
        ("2026-12-26 10:00", False),
        ("2027-12-26 10:00", True),
        ("2026-12-25 23:30", False),  # 00:30 on the next day in Berlin, which is closed then as always
    ):
        assert is_open(office, moment) is expected, moment


def test_a_holiday_ends_at_midnight_there_and_not_here(tmp_path: Path) -> None:
    path = tmp_path / "holidays.txt"
    path.write_text("2026-12-25\n")
    always = hours("Pacific/Auckland", ["daily 00:00-24:00"], path)
    assert is_open(always, "2026-12-24 10:59")  # 23:59 on the 24th
    assert not is_open(always, "2026-12-24 11:00")
    assert not is_open(always, "2026-12-25 10:59")
    assert is_open(always, "2026-12-25 11:00")


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ([], "opens on no day"),
        (["monday 09:00-17:00"], "without days"),
        (["mon-fri"], "without hours"),
        (["mon 9-17"], "an invalid range"),
        (["mon 09:00-09:00"], "an invalid range"),
        (["mon 09:60-10:00"], "an invalid range"),
        (["mon 24:00-25:00"], "an invalid range"),
        (["mon,,tue 09:00-10:00"], "without days"),
    ],
)
def test_hours_that_are_none(lines: list[str], what: str) -> None:
    with pytest.raises(Wrong, match=what):
        hours(BERLIN, lines)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "CET\0"])
def test_a_zone_that_is_none(zone: str) -> None:
    with pytest.raises(Wrong, match="unknown zone"):
        hours(zone, OFFICE)


def test_a_line_that_is_no_date(tmp_path: Path) -> None:
    path = tmp_path / "holidays.txt"
    path.write_text("2026-12-24\n2026-02-30\n")
    with pytest.raises(Wrong, match="line 2"):
        hours(BERLIN, OFFICE, path)
    with pytest.raises(Wrong, match="cannot be read"):
        hours(BERLIN, OFFICE, tmp_path / "none.txt")
