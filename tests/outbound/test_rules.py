"""What may be called, when, and how the settings say so."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import phonenumbers
import pytest

from bridge.server.outbound.do_not_call import DoNotCall
from bridge.server.outbound.numbers import Numbers
from bridge.server.outbound.record import Record
from bridge.server.outbound.rules import Rules
from bridge.settings import rules as settings_rules
from bridge.settings.calling import CallHours
from bridge.settings.rules import WrongSettings
from tests.outbound.kit import CONSENT, NUMBER, PERSON, settings


def at(text: str, zone: str) -> float:
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def rules(now_s: float, zones: list[str], **more: Any) -> Rules:
    one = Rules(settings(call_hours="09:00-20:00", **more), DoNotCall(None), clock=lambda: now_s)
    assert one.numbers is not None
    one.numbers.zones = lambda _number: zones  # type: ignore[method-assign,assignment]
    return one


@pytest.mark.parametrize(
    ("when", "zone", "wait_s"),
    [
        ("2027-01-14T08:59:30", "America/New_York", 30),
        ("2027-01-14T09:00:00", "America/New_York", None),
        ("2027-01-14T19:59:59", "America/New_York", None),
        ("2027-01-14T20:00:00", "America/New_York", 13 * 3600),
        ("2027-01-14T02:15:00", "Asia/Kathmandu", (6 * 60 + 45) * 60),
        ("2027-07-14T19:59:00", "Europe/London", None),
    ],
)
def test_hours_are_those_of_the_called_number(when: str, zone: str, wait_s: int | None) -> None:
    broken = rules(at(when, zone), [zone]).hours(PERSON)
    assert (None if broken is None else broken.wait_s) == wait_s


def test_of_several_possible_zones_all_have_to_allow_it() -> None:
    zones = ["America/New_York", "America/Los_Angeles"]
    morning = at("2027-01-14T09:30:00", "America/New_York")
    broken = rules(morning, zones).hours(PERSON)
    assert broken is not None
    assert broken.wait_s == (2 * 60 + 30) * 60
    assert rules(morning + 3 * 3600, zones).hours(PERSON) is None
    evening = at("2027-01-14T20:30:00", "America/New_York")
    assert rules(evening, zones).hours(PERSON) is not None


@pytest.mark.parametrize("zones", [[], ["Mars/Base"]])
def test_where_nobody_knows_the_time_nobody_is_called(zones: list[str]) -> None:
    broken = rules(at("2027-01-14T12:00:00", "UTC"), zones).hours(PERSON)
    assert broken is not None
    assert broken.rule == "call_hours"
    assert broken.wait_s is None


def test_zones_and_countries_are_those_of_the_numbering_plans() -> None:
    numbers = Numbers(NUMBER)
    assert numbers.home == "US"
    for region, zone in (("DE", "Europe/Berlin"), ("AU", "Australia/Sydney"), ("US", "America/New_York")):
        plan = phonenumbers.example_number(region)
        assert plan is not None
        example = phonenumbers.format_number(plan, 0)
        found = numbers.read(example)
        assert found is not None
        assert (found.e164, found.country, found.kind) == (example, region, "")
        assert zone in numbers.zones(example)


def test_what_costs_a_fortune_is_never_called_in_any_country() -> None:
    numbers = Numbers(NUMBER)
    kinds = phonenumbers.PhoneNumberType
    checked = 0
    for region in ("US", "CA", "GB", "DE", "FR", "ES", "IT", "AU", "JP", "BR", "AT", "CH", "NL", "PL", "SE"):
        for kind in (kinds.PREMIUM_RATE, kinds.SHARED_COST, kinds.PERSONAL_NUMBER, kinds.PAGER):
            example = phonenumbers.example_number_for_type(region, kind)
            if example is None:
                continue
            text = phonenumbers.format_number(example, 0)
            found = numbers.read(text)
            # A number type in the plan of one region may be an ordinary one in another of the same code.
            if found is not None and phonenumbers.number_type(example) == kind:
                checked += 1
                assert found.kind, (region, kind)
    assert checked > 20
    for emergency in (
        "911",
        "112",
        "999",
        "+1911",
        "110",
        "+1 911 555 1234",
        "1-911-000-1111",
        "(911) 555-0100",
    ):
        assert numbers.read(emergency) is None


def test_the_readers_of_settings() -> None:
    read = settings(call_hours="8:30 - 21:00", call_countries="us, ca", call_from=f"{NUMBER},+1 555 000 3333")
    assert read.call_hours == CallHours(510, 1260)
    assert read.call_countries == {"US", "CA"}
    assert read.call_from == (NUMBER, "+15550003333")
    assert settings(call_hours="off").call_hours.always
    wrong = {
        "call_countries": "Germany",
        "call_from": "+19005550100",
        "calls_a_second": "0",
        "key_day_cost": "-1",
    }
    for hours in ("20:00-09:00", "nine to five", "09:00-24:30"):
        with pytest.raises(WrongSettings) as told:
            settings(call_hours=hours, **wrong)
        assert len(told.value.mistakes) == 5


def test_settings_that_cannot_call_say_so_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WrongSettings, match="BRIDGE_CALL_FROM names no number"):
        settings(call_from="")
    with pytest.raises(WrongSettings, match="TWILIO_ACCOUNT_SID"):
        settings(twilio_account_sid=None)
    with pytest.raises(WrongSettings, match="under BRIDGE_INSECURE"):
        settings(insecure=True)
    monkeypatch.setattr(settings_rules, "find_spec", lambda _name: None)
    with pytest.raises(WrongSettings, match="pip install phonenumbers"):
        settings(calls_out=7)  # not read before
    settings(outbound=False, calls_out=7)


def test_the_first_rule_that_is_broken_is_told() -> None:
    one = rules(at("2027-01-14T03:00:00", "UTC"), ["UTC"])
    record = Record(ref="r", to=PERSON, from_=NUMBER, asked_s=0.0, consent=CONSENT)
    broken = one.broken(record, [])
    assert broken is not None
    assert broken.rule == "call_hours"
    one.do_not_call.add(PERSON)
    broken = one.broken(record, [])
    assert broken is not None
    assert broken.rule == "do_not_call"
