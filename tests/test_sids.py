"""What was signed once has many spellings as a form, and only the carrier's own is let in."""

from __future__ import annotations

import itertools
import random
import re
from itertools import pairwise
from urllib.parse import parse_qsl, quote, urlencode

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
    assert form_fault(WHOLE, twice, ACCOUNT) == "a field that is named twice"
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


NAME = "1-abcdefabcdef"
OTHERS = "CA" + "9b" * 16
SIP = f"z?AccountSid={ACCOUNT}&CallSid={OTHERS}&CallStatus=ringing&stream=7-zzzzzzzzzzzz&z="
GLUED = f"zAccountSid{ACCOUNT}CallSid{OTHERS}CallStatusringingZ"


@pytest.mark.parametrize(
    "name", ["", "?stream", "a b", "1st", "_x", "x[]", "Caller\n", "é", "x=", "&x", "x%20"]
)
def test_a_name_is_one_that_the_carrier_could_give(name: str) -> None:
    assert fault({**WHOLE, name: "x"}) is not None
    assert form_fault(WHOLE, list(WHOLE.items()), ACCOUNT, f"{quote(name)}=x") is not None


def test_a_query_of_the_user_s_own_is_let_in_and_ids_stand_in_one_place() -> None:
    fields = list(WHOLE.items())
    assert form_fault(WHOLE, fields, ACCOUNT, "tenant=5&stream=" + NAME) is None
    assert form_fault(WHOLE, [], ACCOUNT, urlencode(WHOLE)) is None
    for query in (
        f"CallSid={CALL}",
        f"ParentCallSid={PARENT}",
        "CallStatus=ringing",
        f"x=AccountSid{ACCOUNT}",
    ):
        assert form_fault(WHOLE, fields, ACCOUNT, query) is not None
    assert form_fault(WHOLE, [], ACCOUNT, f"{urlencode(WHOLE)}&CallSid={PARENT}") is not None
    # A caller by SIP may say anything, too: it names nothing, and what could be cut out of it is refused.
    assert fault({**WHOLE, "SipHeader_X-Note": "CallSid, in words: a call"}) is None
    assert fault({**WHOLE, "SipHeader_X-Note": SIP}) is not None


def decided(query: str, body: list[tuple[str, str]]) -> dict[str, str | None] | None:
    """What a webhook says that anything is decided by, None if it is refused."""
    asked = parse_qsl(query, keep_blank_values=True)
    fields = {**dict(asked), **dict(body)}
    if form_fault(fields, body, None, query) is not None:
        return None
    said: dict[str, str | None] = {name: fields.get(name) for name in DECISIVE}
    said["stream"] = str([value for name, value in asked if name == "stream"])
    return said


DECISIVE = (
    "AccountSid", "CallSid", "ParentCallSid", "DialCallSid", "StreamSid", "CallStatus", "DialCallStatus",
    "StreamEvent",
)  # fmt: skip
EVENT = {"StreamEvent": "stream-stopped", "StreamName": "x"}
REQUESTS = {
    "after a stream": (f"stream={NAME}", WHOLE),
    "with a query of their own": ("tenant=5&x=", {**WHOLE, **EVENT}),
    "what a SIP caller says": (f"stream={NAME}", {**WHOLE, "SipHeader_X-Note": SIP}),
    "the same, glued": (f"stream={NAME}", {**WHOLE, "SipHeader_A": GLUED}),
    "a GET": (urlencode({"stream": NAME, **WHOLE, **EVENT}), {}),
    "a GET of a SIP caller": (urlencode({"stream": NAME, **WHOLE, "SipHeader_X-Note": SIP}), {}),
    "a GET, glued": (urlencode({"A": GLUED, **WHOLE, "Sip": GLUED}), {}),
}


@pytest.mark.parametrize("request_of", REQUESTS)
def test_no_way_to_cut_query_and_form_anew_says_anything_else(request_of: str) -> None:
    """3,000 cuts each of one signed text, at any place between query and form, and between fields."""
    query, form = REQUESTS[request_of]
    chance, url = random.Random(request_of), "https://voice.example.com/after-stream"
    validator = RequestValidator("a token")
    form = {name: value for name, value in form.items() if value}
    signature = validator.compute_signature(f"{url}?{query}", form)
    pieces = [piece for field in sorted(form.items()) for piece in field]
    text = query + "".join(pieces)
    right = [len(query), *(len(query) + end for end in itertools.accumulate(map(len, pieces)))][:-1]
    words = "Parent|Dial|AccountSid|CallSid|CallStatus|StreamEvent|CA[0-9a-f]|AC7|MZ|[?&=]|ringing|stream"
    places = {at for found in re.finditer(words, text) for at in found.span()}
    places |= {at + step for at in right for step in (-1, 0, 1)}
    interesting = sorted(places & set(range(len(text) + 1)))
    honest = decided(query, sorted(form.items()))
    named = {name: (form or dict(parse_qsl(query))).get(name) for name in DECISIVE}
    named["stream"] = str([value for name, value in parse_qsl(query) if name == "stream"])
    assert honest in (None, named)
    kept = 0
    for _ in range(3_000):
        border = chance.choice([len(query), len(text), *interesting[:40], chance.choice(interesting)])
        fewer = set(right) - set(chance.sample(right, chance.randint(0, min(6, len(right)))))
        cuts = {*fewer, *chance.sample(interesting, chance.randint(0, 6))}
        cuts = {at for at in cuts if border < at < len(text)}
        if chance.random() < 0.5:
            cuts &= set(chance.sample(sorted(cuts), min(len(cuts), chance.randint(1, 9))))
        parts = [text[one:other] for one, other in pairwise([border, *sorted(cuts), len(text)])]
        parts = [part for part in parts if part]
        parts += [""] * (len(parts) % 2)
        body = list(zip(parts[::2], parts[1::2], strict=True))
        if body != sorted(body) or len({name for name, _ in body}) < len(body) or not text[:border]:
            continue
        kept += 1
        if kept < 20:
            cut = ImmutableMultiDict(body)
            assert validator.validate(f"{url}?{text[:border]}", cut, signature)
        says = decided(text[:border], body)
        assert says is None or says == named, (text[:border], body)
    assert kept > 100


def test_the_query_of_a_captured_request_does_not_go_into_its_form() -> None:
    fields = {"AccountSid": ACCOUNT, "CallSid": CALL, "CallStatus": "in-progress"}
    for name, value in (("", f"?stream={NAME}"), (f"?stream={NAME}", ""), ("?", f"stream={NAME}")):
        assert form_fault(fields, [(name, value), *fields.items()], ACCOUNT) is not None


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


def test_a_signed_stream_without_an_account_is_refused() -> None:
    """Simulators leave it out, and are let in where calls are not signed."""
    assert start_fault(Started(STREAM, CALL, ACCOUNT, {}), None) is None
    assert start_fault(Started(STREAM, CALL, "", {}), None) is not None
