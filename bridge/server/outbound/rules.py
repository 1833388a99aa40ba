"""Whether a call may be placed, by the operator's rules. Checked when it is asked for, and right before it is
placed: a call that waited may have come into the night.

US law in short, and no legal advice: a generated voice counts as an artificial one (FCC 24-17), which wants
prior express consent, says who calls, and offers a way to opt out (47 CFR 64.1200).
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bridge.server.outbound.do_not_call import DoNotCall
from bridge.server.outbound.numbers import Number, Numbers
from bridge.server.outbound.record import Record
from bridge.settings.settings import Settings

DAY_S: Final = 24 * 3600
MOST_CONSENT: Final = 500


class Broken(NamedTuple):
    """The rule that forbids a call, by its name, in words; and when to ask again, None for never."""

    rule: str
    words: str
    wait_s: int | None = None


class Rules:
    """The rules of one service. `clock` is seconds since 1970."""

    def __init__(
        self, settings: Settings, do_not_call: DoNotCall, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._clock = clock
        self.do_not_call = do_not_call
        home = settings.call_from[0] if settings.call_from else ""
        self.numbers: Numbers | None = Numbers(home) if settings.outbound else None
        usual = {self.numbers.home} - {""} if self.numbers is not None else set()
        self._countries = settings.call_countries or frozenset(usual)

    def broken(self, record: Record, others: Iterable[Record]) -> Broken | None:
        """Why this call may not be placed now, None if it may. `others` are those of the last day."""
        if not self._settings.outbound or self.numbers is None:
            return Broken("outbound", "calls out are off (BRIDGE_OUTBOUND)")
        if record.from_ not in self._settings.call_from:
            return Broken("from", "the number to call from is not one of BRIDGE_CALL_FROM")
        number = self.numbers.read(record.to)
        if number is None:
            return Broken("number", "that is no phone number that can be called; write it like +15550100001")
        return (
            self._never(number)
            or self._consent(record)
            or self._attempts(record, others)
            or self.hours(number.e164)
        )

    def _never(self, number: Number) -> Broken | None:
        if number.kind:
            return Broken("kind", f"{number.kind} numbers are never called")
        if number.country not in self._countries:
            allowed = ", ".join(sorted(self._countries)) or "none"
            where = number.country or "no country"
            return Broken("country", f"{where} is not called (BRIDGE_CALL_COUNTRIES: {allowed})")
        if self.do_not_call.has(number.e164):
            return Broken("do_not_call", "that number is not to be called (BRIDGE_DO_NOT_CALL)")
        return None

    def _consent(self, record: Record) -> Broken | None:
        if record.consent.strip():
            return None
        return Broken("consent", "say when and how this person agreed to be called (`consent`)")

    def _attempts(self, record: Record, others: Iterable[Record]) -> Broken | None:
        since_s, most = self._clock() - DAY_S, self._settings.call_attempts
        same = [other for other in others if other.to == record.to and other.ref != record.ref]
        if any(not other.done for other in same):
            return Broken("at_once", "that number is being called now", 60)
        at_s = sorted(other.posted_s for other in same if other.was_posted and other.posted_s > since_s)
        if len(at_s) < most:
            return None
        words = f"that number was called {len(at_s)} times within a day (BRIDGE_CALL_ATTEMPTS)"
        return Broken("attempts", words, int(at_s[-most] - since_s) + 1)

    def hours(self, e164: str) -> Broken | None:
        """Whether it is too early or too late where that number may be."""
        hours = self._settings.call_hours
        if hours.always or self.numbers is None:
            return None
        zones = self.numbers.zones(e164)
        if not zones:
            words = "the local time at that number is unknown; BRIDGE_CALL_HOURS=off calls it at any time"
            return Broken("call_hours", words)
        now = dt.datetime.fromtimestamp(self._clock(), dt.UTC)
        try:
            there = [now.astimezone(ZoneInfo(zone)) for zone in zones]
        except (ZoneInfoNotFoundError, ValueError):
            words = f"this machine does not know the time zone {zones[0]}: the package tzdata does"
            return Broken("call_hours", words)
        waits = [wait for moment in there if (wait := _wait_s(moment, *hours)) is not None]
        if not waits:
            return None
        one = f"it is {there[0]:%H:%M} there" if len(zones) == 1 else "it may be too early or too late there"
        return Broken("call_hours", f"{one}; calls are placed {hours} (BRIDGE_CALL_HOURS)", max(waits))


def _wait_s(there: dt.datetime, from_min: int, to_min: int) -> int | None:
    """Seconds until calls may be placed where it is that time; None if they may now."""
    minute = there.hour * 60 + there.minute
    if from_min <= minute < to_min:
        return None
    return ((from_min - minute) % (24 * 60)) * 60 - there.second
