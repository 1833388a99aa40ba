"""The eight published signatures: each as it stands, and then with every single thing about it changed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import pytest

from bridge.errors import SignatureError
from bridge.server.gates import Signatures
from bridge.settings.settings import Settings

HEADER = "X-Twilio-Signature"
TOKEN = "12345"
PATH = "/myapp.php?foo=1&bar=2"
CALL = [("Digits", "1234"), ("To", "+18005551212"), ("CallSid", "CA1234567890ABCDE")]
FROM_0 = [*CALL, ("From", "+14158675310"), ("Caller", "+14158675310")]
FROM_9 = [*CALL, ("From", "+14158675309"), ("Caller", "+14158675309")]
REPEATED = [("Sid", "CA123"), ("SidAccount", "AC123"), ("Digits", "5678"), ("Digits", "1234")]
BODY = '{"property": "value", "boolean": true}'
HASHED = f"{PATH}&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"


class Vector(NamedTuple):
    """One signature and what it was made over. `method` WS is an upgrade."""

    signature: str
    method: str
    base: str
    path: str
    sent: list[tuple[str, str]] | str = []  # noqa: RUF012  nobody appends to it


VECTORS = [
    Vector("L/OH5YylLD5NRKLltdqwSvS0BnU=", "POST", "https://example.com", PATH, FROM_0),
    Vector("RSOYDt4T1cUTdK1PDd93/VVr8B8=", "POST", "https://mycompany.com", PATH, FROM_9),
    Vector("kvajT1Ptam85bY51eRf/AJRuM3w=", "POST", "https://mycompany.com", PATH, FROM_9),  # over :443
    Vector("a9nBmqA0ju/hNViExpshrM61xv4=", "POST", "https://mycompany.com", HASHED, BODY),
    Vector("IK+Dwps556ElfBT0I3Rgjkr1wJU=", "POST", "https://mycompany.com", PATH, REPEATED),
    Vector("jFDHVhI8XO69C49uXR3xmdZPylY=", "WS", "https://voice.example.com", "/media"),
    Vector("BXF4dPv/qKwfALEQ/o2fVPPvK/c=", "WS", "https://voice.example.com", "/media"),  # over /media/
    Vector("2A768no+sGy6/ZLDxHITQfda/E8=", "GET", "https://voice.example.com", "/media"),
]
NAMES = ["the page's", "the SDK's", "port 443", "a body", "repeated names", "wss", "wss with slash", "https"]


@cache
def gate_of(base: str, token: str) -> Signatures:
    return Signatures(Settings(_env_file=None, demo=True, public_url=base, twilio_auth_token=token))


def comes_in(vector: Vector, token: str = TOKEN) -> bool:
    gate, headers = gate_of(vector.base, token), {HEADER: vector.signature}
    with contextlib.suppress(SignatureError):
        if vector.method == "WS":
            gate.check_upgrade(vector.path, headers)
        else:
            gate.check_webhook(vector.method, vector.path, vector.sent, headers)
        return True
    return False


def tampered(one: Vector) -> Iterator[Vector]:
    """The same request with one thing changed."""
    for place in range(len(one.signature) - 2):  # the last letter of base64 can be written in four ways
        other = "A" if one.signature[place] != "A" else "B"
        yield one._replace(signature=one.signature[:place] + other + one.signature[place + 1 :])
    yield one._replace(signature=one.signature.lower())
    yield one._replace(base=one.base.replace("https://", "https://x"))
    yield one._replace(base="https://evil.example.com")
    for path in (f"{one.path}x", f"/x{one.path}", one.path.upper(), f"{one.path}&a=b", f"{one.path}?a=b"):
        yield one._replace(path=path)
    if "?" in one.path:
        yield one._replace(path=one.path.partition("?")[0])
        yield one._replace(path=one.path.replace("foo=1", "foo=2"))
        yield one._replace(path=one.path.replace("foo=1&bar=2", "bar=2&foo=1"))
    if isinstance(one.sent, str):
        for body in ("", "{}", f"{one.sent} ", one.sent.replace("true", "false")):
            yield one._replace(sent=body)
        return
    for place, (name, value) in enumerate(one.sent):
        rest = [*one.sent[:place], *one.sent[place + 1 :]]
        changes = [[], [(name, "")], [(name, f"{value} ")], [(name, f"{value}1")], [(f"{name}x", value)]]
        for change in [*changes, [(name.lower(), value)], [(name, value), (name, "")]]:
            yield one._replace(sent=[*rest, *change])
    if one.method != "WS":  # an upgrade has no body
        yield one._replace(sent=[*one.sent, ("FromCity", "")])


@pytest.mark.parametrize("vector", VECTORS, ids=NAMES)
def test_a_published_signature_comes_in_and_nothing_near_it_does(vector: Vector) -> None:
    assert comes_in(vector)
    assert not comes_in(vector, token="12346")
    changed = [one for one in tampered(vector) if one != vector]
    assert len(changed) > 30
    assert [one for one in changed if comes_in(one)] == []


def test_what_was_signed_for_one_door_opens_no_other() -> None:
    """The signature of the https URL is not that of the stream, nor is a stream's that of a webhook."""
    wss, slashed, https = VECTORS[5:]
    assert not comes_in(https._replace(method="WS"))
    for stream in (wss, slashed):
        assert comes_in(stream._replace(path="/media/")), "with the slash and without"
        for method in ("GET", "POST"):
            assert not comes_in(stream._replace(method=method))
