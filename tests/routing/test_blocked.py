"""Callers that are not answered, and how many calls a minute are."""

from __future__ import annotations

import pytest

from bridge.server.routing.blocked import BlockList, block_list, is_anonymous, number_of
from bridge.server.routing.rates import CallsAMinute
from bridge.settings.values import Wrong

LIST = block_list(
    [
        "# nuisances",
        "+1 (555) 000-1111",
        "",
        "+1900*  # premium",
        "sip:Eve@evil.example.com",
        "client:mallory",
    ]
)


@pytest.mark.parametrize(
    ("caller", "held"),
    [
        ("+15550001111", True),
        ("+15550001112", False),
        ("+19005550001", True),
        ("+1900555", True),
        ("+18005550001", False),
        ("sip:+15550001111@pbx.example.com", True),  # the number in a SIP address is a number
        ("sip:eve@evil.example.com", True),
        ("sip:bob@evil.example.com", False),
        ("client:Mallory", True),
        ("anonymous", False),  # the list does not have that word
        ("", False),
        ("+266696687", False),
    ],
)
def test_who_is_on_the_list(caller: str, held: bool) -> None:
    assert LIST.holds(caller) is held


@pytest.mark.parametrize(
    "caller",
    [
        "", "anonymous", "Anonymous", "Restricted", "unavailable", "unknown",
        "+266696687", "+7378742833", "+2562533", "+8656696", "+86282452253",
        "sip:anonymous@anonymous.invalid", "12345", "+0123456789", "+1555000111122223333",
    ],
)  # fmt: skip
def test_who_shows_no_number(caller: str) -> None:
    assert is_anonymous(caller)
    assert number_of(caller) == ""
    assert block_list(["anonymous"]).holds(caller)
    assert not BlockList().holds(caller)


@pytest.mark.parametrize("caller", ["+15550001111", "client:ann", "sip:ann@example.com"])
def test_who_shows_one(caller: str) -> None:
    assert not block_list(["Anonymous"]).holds(caller)


@pytest.mark.parametrize("line", ["15550001111", "*", "+*", "+1555*000", "nobody", "00491234567", "+1555?"])
def test_a_line_that_is_no_number(line: str) -> None:
    with pytest.raises(Wrong, match="line 2") as wrong:
        block_list(["+15550001111", line])
    assert line not in wrong.value.what, "numbers get into no message"


def test_calls_a_minute() -> None:
    rates = CallsAMinute()
    assert [rates.allows("a", f"CA{call}", 3, 1_000 * call) for call in range(5)] == [True] * 3 + [False] * 2
    assert rates.allows("a", "CA1", 3, 5_000), "a webhook that is sent again is no other call"
    assert rates.allows("b", "CA9", 3, 5_000)
    assert not rates.allows("a", "CA5", 3, 59_999)
    assert rates.allows("a", "CA6", 3, 60_000), "the first is a minute old"
    assert not rates.allows("a", "CA7", 3, 60_999)
    assert rates.allows("a", "CA8", 3, 61_000)


def test_those_that_are_turned_away_are_not_counted() -> None:
    rates = CallsAMinute()
    rates.allows("a", "CA0", 1, 0)
    for call in range(1, 60):
        assert not rates.allows("a", f"CA{call}", 1, 1_000 * call)
    assert rates.allows("a", "CA60", 1, 60_000)


def test_many_callers_take_bounded_room() -> None:
    rates = CallsAMinute(most_keys=100)
    for caller in range(1_000):
        assert rates.allows(str(caller), f"CA{caller}", 1, 0)
    assert len(rates) == 100
    assert not rates.allows("999", "CA1000", 1, 1)
