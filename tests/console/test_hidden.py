"""What the console leaves out of what it shows."""

from __future__ import annotations

import json

import pytest

from bridge.server.console import hidden


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+15550100034", "+1 … 34"),
        ("", ""),
        ("client:softphone", "client:softphone"),
        ("15550100034", "… 34"),
        ("sip:15550100034@pbx.example.com", "… om"),
    ],
)
def test_numbers(number: str, shown: str) -> None:
    assert hidden.number(number) == shown


def test_fields_named_like_secrets_and_what_looks_like_one() -> None:
    given = {
        "day": "friday",
        "pin": "4711",
        "card_number": "4242 4242",
        "who": [{"api_key": "k", "name": "Ann"}],
        "note": "call me at +15550100034, Bearer abcdefghijklmnop",
        "token": None,
    }
    shown, paths = hidden.fields(json.dumps(given), "input")
    assert paths == ["input.pin", "input.card_number", "input.who.0.api_key"]
    for secret in ("4711", "4242", "5550100034", "abcdefghijklmnop", '"k"'):
        assert secret not in shown
    assert json.loads(shown)["day"] == "friday"
    assert hidden.revealed(json.dumps(given), ["who", "0", "api_key"]) == '"k"'
    assert hidden.revealed(json.dumps(given), ["who", "7", "api_key"]) is None
    assert hidden.revealed("no json", ["x"]) is None


def test_what_is_no_json_or_too_deep_or_too_long() -> None:
    assert hidden.fields("plain +15550100034", "output") == ("plain +…", [])
    assert len(hidden.fields(json.dumps("x" * 9_000), "output")[0]) == hidden.MOST_CHARACTERS
    assert "too many" in hidden.fields("x" * 40_000, "output")[0]
    deep = "[" * 5_000 + "]" * 5_000
    assert hidden.fields(deep, "output")[0]


def test_keys_that_the_model_is_told_of() -> None:
    told = "[The caller pressed 4 7 1 1 # on the keypad.]"
    assert hidden.keys(told) == "[The caller pressed • on the keypad.]"
    assert hidden.keys("I live at 4711 Main Street") == "I live at 4711 Main Street"
