"""What was signed once has many spellings as a form, and only the carrier's own is let in."""

from __future__ import annotations

import itertools
import random
import re
from itertools import pairwise

import pytest
from starlette.datastructures import ImmutableMultiDict
from twilio.request_validator import RequestValidator

from bridge.core.messages import Started
from bridge.server.sids import form_fault, start_fault

ACCOUNT, CALL, PARENT, DIALLED = "AC" + "7" * 32, "CA" + "1e" * 16, "CA" + "2f" * 16, "CA" + "3d" * 16
STREAM = "MZ" + "4c" * 16
WHOLE = {
    "AccountSid": ACCOUNT, "ApiVersion": "2010-04-01", "CallSid": CALL, "CallStatus": "in-progress",
    "CallToken": '{"parentCallInfoToken":"eyJhbGciOiJFUzI1NiJ9"}', "Called": "+15550002222",
    "Caller": "+15550001111", "DialCallDuration": "3", "DialCallSid": DIALLED,
    "DialCallStatus": "completed", "Direction": "inbound", "From": "+15550001111", "FromCity": "",
    "ParentCallSid": PARENT, "SipHeader_X-Twilio-CallSid": CALL, "StreamSid": STREAM, "To": "+15550002222",
}  # fmt: skip


def fault(fields: dict[str, str], account: str | None = ACCOUNT) -> str | None:
    return form_fault(fields, list(fields.items()), account)


def test_what_the_carrier_sends_is_let_in() -> None:
    assert fault(WHOLE) is None
    assert fault(WHOLE, None) is None
    assert fault({**WHOLE, "ParentCallSid": "", "DialCallSid": ""}) is None
    assert fault({"AccountSid": ACCOUNT, "CallSid": CALL.replace("e", "E")}) is None


@pytest.mark.parametrize("name", ["AccountSid", "CallSid", "ParentCallSid", "DialCallSid", "StreamSid"])
def test_an_id_has_one_form(name: str) -> None:
    good = WHOLE[name]
    for bad in (
        good[:-1],
        good + "0",
        good + "\n",
        f" {good}",
        "XX" + good[2:],
        good[:-1] + "g",
        good + CALL,
    ):
        assert fault({**WHOLE, name: bad}) is not None, bad
    if name in ("AccountSid", "CallSid"):
        assert fault({**WHOLE, name: ""}) is not None
        assert fault({other: value for other, value in WHOLE.items() if other != name}) is not None


def test_another_account_is_a_stranger_where_ours_is_configured() -> None:
    other = {**WHOLE, "AccountSid": "AC" + "8" * 32}
    assert fault(other, None) is None
    assert fault(other) == "AccountSid is another account's"


@pytest.mark.parametrize(
    "cut",
    [
        # The parent's call, or the dialled one, in the place of the call's own.
        {"AccountSid": ACCOUNT, "ApiVersion": f"2010-04-01CallSid{CALL}CallStatusringingParent",
         "CallSid": PARENT},
        {"AccountSid": ACCOUNT, "ApiVersion": f"2010-04-01CallSid{CALL}DialCallDuration3Dial",
         "CallSid": DIALLED, "DialCallStatus": "completed"},
        # The same, with the end of one value as the name of the next.
        {"AccountSid": ACCOUNT, "ApiVersion": "2010-04-01CallSid",
         f"{CALL}CallStatusringingParent": "", "CallSid": PARENT},
        # How the call is, hidden in another field; and how a dialled one was, in its place.
        {"AccountSid": ACCOUNT, "CallSid": CALL, "CallStatu": "scompleted"},
        {"AccountSid": ACCOUNT, "CallSid": CALL, "CallStatuscompleted": ""},
        {"AccountSid": ACCOUNT, "CallSid": CALL, "CallStatu": "sin-progressDial", "CallStatus": "busy"},
        # A query that was signed with the URL.
        {"?stream=1-abcdefabcdef": "", "AccountSid": ACCOUNT, "CallSid": CALL},
        {"?stream": "1-abcdefabcdef", "AccountSid": ACCOUNT, "CallSid": CALL},
    ],
)  # fmt: skip
def test_a_form_cut_anew_is_refused_though_its_ids_are_well_formed(cut: dict[str, str]) -> None:
    assert fault(cut) is not None


def test_an_id_comes_once() -> None:
    twice = [*WHOLE.items(), ("CallSid", PARENT)]
    assert form_fault(WHOLE, twice, ACCOUNT) == "an id that is named twice"
    assert form_fault(WHOLE, [*WHOLE.items(), ("CallSid", CALL)], ACCOUNT) is None


def test_no_way_to_cut_a_signed_form_anew_names_another_call() -> None:
    """Thousands of cuts that keep the signature, most of them at the borders of names and ids."""
    chance, url = random.Random(4), "https://voice.example.com/after-stream"
    validator = RequestValidator("a token")
    whole = {name: value for name, value in WHOLE.items() if value}
    signature = validator.compute_signature(url, whole)
    pieces = [piece for field in sorted(whole.items()) for piece in field]
    text, right = "".join(pieces), list(itertools.accumulate(map(len, pieces)))[:-1]
    ids = [name for name in whole if name.endswith(("Sid", "CallStatus"))]
    interesting = {found.start() for found in re.finditer(f"Parent|Dial|CallSid|{CALL}", text)}
    interesting |= {at + step for at in right for step in (-2, -1, 0, 1, 2)} & set(range(1, len(text)))
    kept, passed = 0, 0
    for _ in range(20_000):
        fewer = set(right) - set(chance.sample(right, chance.randint(0, 6)))
        cuts = sorted(fewer | set(chance.sample(sorted(interesting), chance.randint(0, 4))))
        pieces = [text[one:other] for one, other in pairwise([0, *cuts, len(text)])]
        pieces += [""] * (len(pieces) % 2)
        fields = list(zip(pieces[::2], pieces[1::2], strict=True))
        if fields != sorted(fields) or len(dict(fields)) < len(fields):
            continue
        cut, kept = dict(fields), kept + 1
        if kept < 50:
            assert validator.validate(url, ImmutableMultiDict(fields), signature)
        if fault(cut, None) is None:
            passed += 1
            assert {name: cut.get(name, WHOLE[name]) for name in ids} == {name: WHOLE[name] for name in ids}
    assert kept > 500
    assert 0 < passed < kept


@pytest.mark.parametrize(
    ("call", "account", "stream"),
    [
        (CALL + "0", ACCOUNT, STREAM), (CALL[:-1], ACCOUNT, STREAM), (f"{CALL}\n", ACCOUNT, STREAM),
        (ACCOUNT, ACCOUNT, STREAM), (CALL, CALL, STREAM), (CALL, ACCOUNT + "0", STREAM),
        (CALL, "AC" + "8" * 32, STREAM), (CALL, ACCOUNT, "MZ1"), (CALL, ACCOUNT, CALL), ("", "", ""),
    ],
)  # fmt: skip
def test_a_start_names_a_stream_of_one_of_our_calls(call: str, account: str, stream: str) -> None:
    assert start_fault(Started(stream, call, account), ACCOUNT) is not None


def test_a_start_of_ours_is_let_in() -> None:
    assert start_fault(Started(STREAM, CALL, ACCOUNT), ACCOUNT) is None
    assert start_fault(Started(STREAM, CALL, "AC" + "8" * 32), None) is None
