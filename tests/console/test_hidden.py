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


@pytest.mark.parametrize(
    "name",
    [
        "pin", "PIN", "pinCode", "customer_pin_code", "userPin", "new-pin", "pins", "otp", "smsOTP", "pwd",
        "passphrase", "db_pwd", "Password", "x-api-key", "apiKey", "APIKey", "private_key", "accessKey",
        "security_code", "verificationCode", "one_time_code", "sort_code", "auth", "auth_header", "bearer",
        "cookie", "set-cookie", "signature", "card", "cardNumber", "card number", "card_no", "credit_card",
        "cvv2", "cvc", "IBAN", "ssn", "accountNumber", "routing_no", "id_token", "clientSecret",
        "Authorization", "authorisation",
    ],
)  # fmt: skip
def test_names_of_secrets(name: str) -> None:
    assert hidden.is_secret(name)
    assert hidden.fields(json.dumps({name: "4711"}), "input")[1] == [f"input.{name}"]


@pytest.mark.parametrize(
    "name",
    [
        "day", "name", "opinion", "spinning", "author", "authors", "discard", "cardinality", "keyboard",
        "postcard_motif", "key", "code", "postal_code", "account_holder", "instance", "tango", "order_number",
    ],
)  # fmt: skip
def test_names_of_no_secrets(name: str) -> None:
    assert not hidden.is_secret(name)


def test_half_a_surrogate_pair_stays_escaped_and_the_rest_is_readable() -> None:
    assert hidden.fields(r'{"a": "\ud83d\ude00"}', "input") == ('{"a": "\U0001f600"}', [])
    assert hidden.fields(r'{"a": "\ud83d"}', "input") == (r'{"a": "\ud83d"}', [])
    assert hidden.revealed(r'{"pin": "\ud83d"}', ["pin"]) == r'"\ud83d"'


def test_zero_and_one_are_values_true_is_none() -> None:
    assert hidden.fields('{"pin": 1, "cvv": 0, "has_card": true, "token": null}', "input")[1] == [
        "input.pin",
        "input.cvv",
    ]


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
