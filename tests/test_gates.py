"""The front door: only what the carrier signed comes in, a stream belongs to one call, and few may wait."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from bridge.errors import SignatureError
from bridge.server.gates import NO_TOKEN, PendingSockets, Signatures, StreamTokens
from bridge.server.store.used_calls import UsedCalls
from bridge.settings.settings import Settings

HEADER = "X-Twilio-Signature"
SETTINGS_HEADER = "X-Twilio-Webhooks-Signature-Settings"
PATH = "/myapp.php?foo=1&bar=2"
FIRST = {
    "Digits": "1234",
    "To": "+18005551212",
    "From": "+14158675310",
    "Caller": "+14158675310",
    "CallSid": "CA1234567890ABCDE",
}
SECOND = {**FIRST, "From": "+14158675309", "Caller": "+14158675309"}
JSON_BODY = '{"property": "value", "boolean": true}'
JSON_PATH = f"{PATH}&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
REPEATED = [
    ("Sid", "CA123"),
    ("SidAccount", "AC123"),
    ("Digits", "5678"),
    ("Digits", "1234"),
    ("Digits", "1234"),
]


def signatures(base: str = "https://mycompany.com", token: str = "12345", **more: Any) -> Signatures:
    return Signatures(Settings(_env_file=None, demo=True, public_url=base, twilio_auth_token=token, **more))


def sign(text: str, key: str = "12345", digest: str = "sha1") -> str:
    return base64.b64encode(hmac.digest(key.encode(), text.encode(), digest)).decode()


def fields(form: dict[str, str]) -> list[tuple[str, str]]:
    return list(form.items())


def refused(check: Callable[[], object]) -> str:
    with pytest.raises(SignatureError) as caught:
        check()
    return str(caught.value)


class _Counted(str):
    """A field's name that counts how often it is compared."""

    __slots__ = ()
    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        _Counted.compared += 1
        return str.__eq__(self, other)


def test_a_form_of_many_fields_costs_what_its_fields_cost() -> None:
    """Anybody may send one; each of its names was once compared with each other."""

    def compared(count: int) -> int:
        _Counted.compared = 0
        sent = [(_Counted(f"Field{n}"), "x") for n in range(count)]
        refused(lambda: signatures().check_webhook("POST", PATH, sent, {HEADER: "A" * 28}))
        return _Counted.compared

    assert compared(500) <= 20 * 500


# -- the vectors of the vendor's pages and SDK


@pytest.mark.parametrize(
    ("base", "path", "sent", "signature"),
    [
        ("https://example.com", PATH, fields(FIRST), "L/OH5YylLD5NRKLltdqwSvS0BnU="),
        ("https://mycompany.com", PATH, fields(SECOND), "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        ("https://mycompany.com", PATH, fields(SECOND), "kvajT1Ptam85bY51eRf/AJRuM3w="),  # signed with :443
        ("https://mycompany.com", JSON_PATH, JSON_BODY, "a9nBmqA0ju/hNViExpshrM61xv4="),
        ("https://mycompany.com", JSON_PATH, JSON_BODY.encode(), "a9nBmqA0ju/hNViExpshrM61xv4="),
        ("https://mycompany.com", PATH, REPEATED, "IK+Dwps556ElfBT0I3Rgjkr1wJU="),
    ],
)
def test_a_webhook_that_the_carrier_signed_comes_in(base: str, path: str, sent: Any, signature: str) -> None:
    signatures(base).check_webhook("POST", path, sent, {HEADER: signature})


@pytest.mark.parametrize("signature", ["jFDHVhI8XO69C49uXR3xmdZPylY=", "BXF4dPv/qKwfALEQ/o2fVPPvK/c="])
@pytest.mark.parametrize("path", ["/media", "/media/"])
def test_an_upgrade_that_the_carrier_signed_comes_in_with_and_without_slash(
    path: str, signature: str
) -> None:
    signatures("https://voice.example.com").check_upgrade(path, {HEADER: signature})


def test_the_signature_of_the_https_url_opens_no_stream() -> None:
    gate = signatures("https://voice.example.com")
    https = "2A768no+sGy6/ZLDxHITQfda/E8="
    gate.check_webhook("GET", "/media", [], {HEADER: https})
    refused(lambda: gate.check_upgrade("/media", {HEADER: https}))


# -- tampering


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize("change", ["altered", "removed", "renamed", "emptied", "twice", "spaced"])
def test_every_field_of_the_form_counts(name: str, change: str) -> None:
    form = fields(FIRST)
    place = list(FIRST).index(name)
    form[place : place + 1] = {
        "altered": [(name, FIRST[name] + "1")],
        "removed": [],
        "renamed": [(name.lower(), FIRST[name])],
        "emptied": [(name, "")],
        "twice": [(name, FIRST[name]), (name, "other")],
        "spaced": [(name, FIRST[name] + " ")],
    }[change]
    gate = signatures("https://example.com")
    refused(lambda: gate.check_webhook("POST", PATH, form, {HEADER: "L/OH5YylLD5NRKLltdqwSvS0BnU="}))


def test_a_blank_field_that_was_added_counts() -> None:
    gate = signatures("https://example.com")
    form = [*fields(FIRST), ("FromCity", "")]
    refused(lambda: gate.check_webhook("POST", PATH, form, {HEADER: "L/OH5YylLD5NRKLltdqwSvS0BnU="}))


@pytest.mark.parametrize(
    "path",
    [
        "/myapp.php",
        "/myapp.php?foo=1&bar=3",
        "/myapp.php?bar=2&foo=1",
        "/myapp.php?foo=1&bar=%32",
        "/myapp.php/?foo=1&bar=2",
        "/Myapp.php?foo=1&bar=2",
        "/myapp.php?foo=1&bar=2&baz=3",
        "//myapp.php?foo=1&bar=2",
        "myapp.php?foo=1&bar=2",
        ".evil.example/myapp.php?foo=1&bar=2",
        "@evil.example/myapp.php?foo=1&bar=2",
        "",
    ],
)
def test_path_and_query_count_to_the_byte(path: str) -> None:
    gate = signatures("https://example.com")
    refused(lambda: gate.check_webhook("POST", path, fields(FIRST), {HEADER: "L/OH5YylLD5NRKLltdqwSvS0BnU="}))


@pytest.mark.parametrize("body", [JSON_BODY + " ", "{}", "", b"\xff\xfe", REPEATED])
def test_a_body_that_is_not_the_hashed_one_is_refused(body: Any) -> None:
    gate = signatures()
    refused(lambda: gate.check_webhook("POST", JSON_PATH, body, {HEADER: "a9nBmqA0ju/hNViExpshrM61xv4="}))


@pytest.mark.parametrize("body", [JSON_BODY, JSON_BODY.encode()])
def test_a_body_without_a_hash_is_refused_and_nothing_worse(body: str | bytes) -> None:
    refused(
        lambda: signatures().check_webhook("POST", PATH, body, {HEADER: sign(f"https://mycompany.com{PATH}")})
    )


def test_what_was_signed_as_a_get_is_no_post_with_fields() -> None:
    gate = signatures()
    signature = {HEADER: sign(f"https://mycompany.com{PATH}")}
    gate.check_webhook("GET", PATH, [], signature)
    refused(lambda: gate.check_webhook("POST", PATH, fields(FIRST), signature))


@pytest.mark.parametrize("method", ["GET", "get", "HEAD"])
@pytest.mark.parametrize("sent", [[("CallSid", "CA2")], "CallSid=CA2", b"{}"])
def test_what_comes_with_a_signed_get_is_a_stranger_s(method: str, sent: Any) -> None:
    signature = {HEADER: sign(f"https://mycompany.com{PATH}")}
    for empty in ([], "", b""):  # type: ignore[var-annotated]
        signatures().check_webhook(method, PATH, empty, signature)
    assert "a GET with a body" in refused(lambda: signatures().check_webhook(method, PATH, sent, signature))


# -- the header


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {HEADER: ""},
        {HEADER: " "},
        {HEADER: "nonsense"},
        {HEADER: "L/OH5YylLD5NRKLltdqwSvS0BnU"},
        {HEADER: "l/oh5yylld5nrklltdqwsvs0bnu="},
        {HEADER: "µµµµµµµµµµµµµµµµµµµµµµµµµµµµ"},
        {HEADER: "L/OH5YylLD5NRKLltdqwSvS0BnU=" * 10_000},
        {"Authorization": "L/OH5YylLD5NRKLltdqwSvS0BnU="},
    ],
    ids=lambda headers: str(headers)[:40],
)
def test_a_missing_or_odd_header_is_refused_and_nothing_worse(headers: dict[str, str]) -> None:
    gate = signatures("https://example.com")
    refused(lambda: gate.check_webhook("POST", PATH, fields(FIRST), headers))
    refused(lambda: gate.check_upgrade("/media-stream", headers))


def test_the_header_s_case_does_not_matter_and_two_of_them_are_refused() -> None:
    gate = signatures("https://voice.example.com")
    signature = b"jFDHVhI8XO69C49uXR3xmdZPylY="
    gate.check_upgrade("/media", Headers(raw=[(b"x-twilio-signature", signature)]))
    twice = Headers(raw=[(b"x-twilio-signature", signature)] * 2)
    assert "2 headers" in refused(lambda: gate.check_upgrade("/media", twice))


def test_no_header_says_where_we_are() -> None:
    gate = signatures("https://voice.example.com")
    spoofed = {
        "Host": "evil.example",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "http",
        "Forwarded": "host=evil.example;proto=http",
        "X-Original-URL": "/other",
    }
    gate.check_upgrade("/media", {**spoofed, HEADER: "jFDHVhI8XO69C49uXR3xmdZPylY="})
    foreign = {**spoofed, HEADER: sign("wss://evil.example/media")}
    refused(lambda: gate.check_upgrade("/media", foreign))


def test_a_stream_url_has_no_query() -> None:
    gate = signatures("https://voice.example.com")
    signature = {HEADER: sign("wss://voice.example.com/media?a=1")}
    assert refused(lambda: gate.check_upgrade("/media?a=1", signature)) == "a stream URL has no query"


def test_a_base_with_a_path_is_part_of_what_is_signed() -> None:
    gate = signatures("https://voice.example.com/phone/")
    gate.check_webhook(
        "GET", "/incoming-call", [], {HEADER: sign("https://voice.example.com/phone/incoming-call")}
    )
    gate.check_upgrade("/media-stream", {HEADER: sign("wss://voice.example.com/phone/media-stream")})
    refused(
        lambda: gate.check_upgrade("/media-stream", {HEADER: sign("wss://voice.example.com/media-stream")})
    )


def test_a_simulator_on_this_machine_may_sign_its_port_or_leave_it_off() -> None:
    gate = signatures("http://127.0.0.1:5050")
    for url in ("ws://127.0.0.1:5050/media-stream", "ws://127.0.0.1/media-stream"):
        gate.check_upgrade("/media-stream", {HEADER: sign(url)})


# -- keys


def test_while_rotating_both_tokens_sign() -> None:
    gate = signatures("https://voice.example.com", token="12345,newer")
    for key in ("12345", "newer"):
        gate.check_upgrade("/media", {HEADER: sign("wss://voice.example.com/media", key)})
    refused(lambda: gate.check_upgrade("/media", {HEADER: sign("wss://voice.example.com/media", "other")}))


def test_every_key_is_tried_even_after_one_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = signatures("https://voice.example.com", token="12345,newer")
    tried: list[str] = []
    for validator, name in zip(gate._tokens, ("12345", "newer"), strict=True):
        real = validator.validate
        monkeypatch.setattr(
            validator,
            "validate",
            lambda *args, _real=real, _name=name: (tried.append(_name), _real(*args))[1],  # type: ignore[func-returns-value]
        )
    gate.check_upgrade("/media", {HEADER: "jFDHVhI8XO69C49uXR3xmdZPylY="})
    assert sorted(tried) == ["12345", "12345", "newer", "newer"]


@pytest.mark.parametrize(
    ("settings_header", "digest"),
    [
        ("key=webhooks_sharedkey_1,algorithm=HMAC_SHA256", "sha256"),
        ("algorithm=hmac_sha256, key=webhooks_sharedkey_1", "sha256"),
        ("key=webhooks_sharedkey_1,algorithm=HMAC_SHA1", "sha1"),
        ("key=webhooks_sharedkey_1", "sha1"),
    ],
)
def test_a_webhook_signed_with_a_shared_key(settings_header: str, digest: str) -> None:
    gate = signatures("https://voice.example.com", shared_keys="webhooks_sharedkey_1=another")
    headers = {
        HEADER: sign("wss://voice.example.com/media", "another", digest),
        SETTINGS_HEADER: settings_header,
    }
    gate.check_upgrade("/media", headers)
    # The key alone is nothing, the header has to say that it is the one.
    refused(lambda: gate.check_upgrade("/media", {HEADER: headers[HEADER]}))


@pytest.mark.parametrize(
    "settings_header",
    [
        "key=webhooks_sharedkey_2,algorithm=HMAC_SHA256",
        "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256",
        "key=webhooks_sharedkey_1,algorithm=NONE",
        "key=,algorithm=HMAC_SHA1",
        "algorithm=HMAC_SHA1",
        "nonsense",
        ",,==,",
    ],
)
def test_a_key_or_algorithm_that_we_do_not_have_is_refused_whoever_signed(settings_header: str) -> None:
    gate = signatures("https://voice.example.com", shared_keys="webhooks_sharedkey_1:HMAC_SHA1=another")
    for key, digest in (("12345", "sha1"), ("another", "sha256"), ("12345", "sha256")):
        headers = {
            HEADER: sign("wss://voice.example.com/media", key, digest),
            SETTINGS_HEADER: settings_header,
        }
        refused(lambda: gate.check_upgrade("/media", headers))  # noqa: B023


def test_an_insecure_bridge_asks_for_nothing() -> None:
    gate = Signatures(Settings(_env_file=None, insecure=True))
    assert not gate.demanded
    gate.check_webhook("POST", "/incoming-call", [], {})
    gate.check_upgrade("/media-stream", {})


def test_what_is_refused_says_no_secret() -> None:
    gate = signatures("https://voice.example.com", token="hunter2")
    assert "hunter2" not in refused(lambda: gate.check_upgrade("/media", {HEADER: "x"}))


# -- over Starlette, whose form parser reads what the carrier posts


async def webhook(request: Request) -> Response:
    form = (await request.form()).multi_items()
    query = request.scope["query_string"].decode("latin-1")
    path = request.scope["path"] + (f"?{query}" if query else "")
    try:
        request.app.state.gate.check_webhook(request.method, path, form, request.headers)
    except SignatureError:
        return Response(status_code=403)
    return Response(status_code=204)


@pytest.mark.parametrize(
    "form",
    [
        fields(FIRST),
        [("CallSid", "CA1"), ("FromCity", ""), ("FromZip", ""), ("CallerName", " Zoë & co = 100% ")],
        REPEATED,
        [("SpeechResult", "été à 5 €\r\n+1")],
    ],
)
def test_a_posted_form_is_read_as_the_carrier_signed_it(form: list[tuple[str, str]]) -> None:
    app = Starlette(routes=[Route("/incoming-call", webhook, methods=["POST"])])
    app.state.gate = signatures("https://voice.example.com")
    signed = "https://voice.example.com/incoming-call?a=%20b&c" + "".join(
        name + value for name, value in sorted(set(form))
    )
    with TestClient(app, base_url="http://10.0.0.1:5050") as client:
        for signature, status in ((sign(signed), 204), (sign(signed + " "), 403)):
            answer = client.post(
                "/incoming-call?a=%20b&c",
                content=urlencode(form),
                headers={"Content-Type": "application/x-www-form-urlencoded", HEADER: signature},
            )
            assert answer.status_code == status


# -- stream tokens


class Clock:
    now_s = 1_000_000_000.5

    def __call__(self) -> float:
        return self.now_s


CALL, ACCOUNT = "CA" + "1" * 32, "AC" + "2" * 32
SECRET = hashlib.sha256(b"a key").digest()


def test_a_token_opens_one_stream_of_one_call() -> None:
    tokens = StreamTokens(SECRET, Clock())
    token = tokens.mint(CALL, ACCOUNT)
    assert tokens.redeem(token, CALL, ACCOUNT) is None
    assert tokens.redeem(token, CALL, ACCOUNT) == "a stream token that was used before"


def test_it_fits_into_a_parameter() -> None:
    token = StreamTokens(SECRET).mint(CALL, ACCOUNT)
    assert len("token") + len(token) < 500
    assert token.isascii()
    assert "sha1" not in token


def test_it_is_good_for_a_minute() -> None:
    clock = Clock()
    for age_s, fault in ((0, None), (60, None), (61, "a stream token that is too old")):
        tokens = StreamTokens(SECRET, clock, clock)
        token = tokens.mint(CALL, ACCOUNT)
        clock.now_s += age_s
        assert tokens.redeem(token, CALL, ACCOUNT) == fault


@pytest.mark.parametrize("step_s", [-3_600, -75, -3, 75, 3_600])
def test_a_step_of_the_wall_clock_costs_no_call_and_prolongs_nothing(step_s: int) -> None:
    """Of a token that was made here: it ages by a clock that nobody sets."""
    wall, steady = Clock(), Clock()
    tokens = StreamTokens(SECRET, wall, steady)
    token, late, used = (tokens.mint(call, ACCOUNT) for call in (CALL, "CA2", "CA3"))
    assert tokens.redeem(used, "CA3", ACCOUNT) is None
    wall.now_s += step_s
    assert tokens.mint(CALL, ACCOUNT) == token
    steady.now_s += 60
    assert tokens.redeem(token, CALL, ACCOUNT) is None
    steady.now_s += 1
    assert tokens.redeem(late, "CA2", ACCOUNT) == "a stream token that is too old"
    steady.now_s += 60
    assert tokens.redeem(used, "CA3", ACCOUNT) == "a stream token that was used before"


def test_a_token_of_another_process_goes_by_the_time_written_in_it() -> None:
    wall, steady = Clock(), Clock()
    before, after = StreamTokens(SECRET, wall, steady), StreamTokens(SECRET, wall, steady)
    tokens = [before.mint(f"CA{number}", ACCOUNT) for number in range(4)]
    for number, (step_s, fault) in enumerate([(-3, None), (-60, "too old"), (123, None), (1, "too old")]):
        wall.now_s += step_s
        said = after.redeem(tokens[number], f"CA{number}", ACCOUNT)
        assert said == (fault and f"a stream token that is {fault}")


@pytest.mark.parametrize(
    ("call", "account"),
    [("CA9", ACCOUNT), (CALL, "AC9"), ("", ""), (CALL, ""), ("CÄ", ""), ("\ud800", ACCOUNT)],
)
def test_a_token_of_another_call_is_refused_and_not_used_up(call: str, account: str) -> None:
    tokens = StreamTokens(SECRET, Clock())
    token = tokens.mint(CALL, ACCOUNT)
    assert tokens.redeem(token, call, account) == "a stream token of another call"
    assert tokens.redeem(token, CALL, ACCOUNT) is None


@pytest.mark.parametrize(
    "token", ["", " ", "x", "a.b.c", "....", "spent", "µ" * 50, "é.é.é", "A" * 100_000, "\x00", "\ud800"]
)
def test_what_is_no_token_is_refused(token: str) -> None:
    tokens = StreamTokens(SECRET, Clock())
    tokens.mint(CALL, ACCOUNT)
    assert tokens.redeem(token, CALL, ACCOUNT) in (NO_TOKEN, "a stream token that is not ours")


def test_a_token_altered_in_any_one_letter_opens_nothing_more() -> None:
    for place in range(len(StreamTokens(SECRET, Clock()).mint(CALL, ACCOUNT))):
        tokens = StreamTokens(SECRET, Clock())
        token = tokens.mint(CALL, ACCOUNT)
        for letter in "A-_.z":
            altered = token[:place] + letter + token[place + 1 :]
            if altered == token:
                continue
            opened = tokens.redeem(altered, CALL, ACCOUNT) is None
            # base64 has spare bits in its last letter: such a spelling is the same token, and used with it.
            assert not opened or place == len(token) - 1
            if opened:
                assert tokens.redeem(token, CALL, ACCOUNT) == "a stream token that was used before"
                break


def test_another_spelling_of_a_used_token_is_used() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    tokens = StreamTokens(SECRET, Clock())
    token = tokens.mint(CALL, ACCOUNT)
    assert tokens.redeem(token, CALL, ACCOUNT) is None
    same = token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]
    assert tokens._serializer.loads(same) == tokens._serializer.loads(token)
    assert tokens.redeem(same, CALL, ACCOUNT) == "a stream token that was used before"


def test_a_token_made_with_another_key_is_foreign() -> None:
    foreign = StreamTokens(b"another key", Clock()).mint(CALL, ACCOUNT)
    assert StreamTokens(SECRET, Clock()).redeem(foreign, CALL, ACCOUNT) == "a stream token that is not ours"


def test_while_the_auth_token_rotates_tokens_of_either_key_are_good() -> None:
    clock = Clock()
    old, new = StreamTokens(SECRET, clock, clock), StreamTokens([SECRET, b"newer"], clock, clock)
    assert new.redeem(old.mint(CALL, ACCOUNT), CALL, ACCOUNT) is None
    assert old.redeem(new.mint("CA2", ACCOUNT), "CA2", ACCOUNT) == "a stream token that is not ours"


def test_the_process_that_took_over_honours_the_tokens_of_the_one_before() -> None:
    clock = Clock()
    before, after = StreamTokens(SECRET, clock, clock), StreamTokens(SECRET, clock, clock)
    token = before.mint(CALL, ACCOUNT)
    assert after.redeem(token, CALL, ACCOUNT) is None
    assert after.redeem(token, CALL, ACCOUNT) == "a stream token that was used before"
    # ...and the webhook replayed there opens nothing either.
    assert after.redeem(after.mint(CALL, ACCOUNT), CALL, ACCOUNT) == "a stream token that is not ours"


def test_a_retried_webhook_gets_the_same_token() -> None:
    clock = Clock()
    tokens = StreamTokens(SECRET, clock, clock)
    token = tokens.mint(CALL, ACCOUNT)
    clock.now_s += 59
    assert tokens.mint(CALL, ACCOUNT) == token
    assert tokens.is_waiting(CALL, 1)
    clock.now_s += 2
    assert not tokens.is_waiting(CALL, 1)


@pytest.mark.parametrize("after_s", [1, 61, 100_000])
@pytest.mark.parametrize("used", [True, False])
def test_a_webhook_replayed_later_opens_no_second_session(after_s: int, used: bool) -> None:
    clock = Clock()
    tokens = StreamTokens(SECRET, clock, clock)
    first = tokens.mint(CALL, ACCOUNT)
    if used:
        assert tokens.redeem(first, CALL, ACCOUNT) is None
    clock.now_s += after_s
    replayed = tokens.mint(CALL, ACCOUNT)
    if not used and after_s < 60:
        assert replayed == first  # nobody has used it yet: this is a retry
    else:
        assert tokens.redeem(replayed, CALL, ACCOUNT) is not None


def test_a_call_that_resumes_gets_a_new_token_and_its_retry_the_same() -> None:
    clock = Clock()
    tokens = StreamTokens(SECRET, clock, clock)
    first = tokens.mint(CALL, ACCOUNT)
    assert tokens.redeem(first, CALL, ACCOUNT) is None
    second = tokens.mint(CALL, ACCOUNT, stream=2)
    assert second not in (first, "spent")
    assert tokens.mint(CALL, ACCOUNT, stream=2) == second
    assert tokens.redeem(second, CALL, ACCOUNT) is None
    assert tokens.redeem(second, CALL, ACCOUNT) is not None


def test_what_it_remembers_is_bounded() -> None:
    clock = Clock()
    used = UsedCalls(None, clock, most=5_000)
    tokens = StreamTokens(SECRET, clock, clock, used)
    for call in range(11_000):
        clock.now_s += 1
        token = tokens.mint(f"CA{call}", ACCOUNT)
        if call >= 500:
            assert tokens.redeem(token, f"CA{call}", ACCOUNT) is None
    assert 5_000 <= len(used) <= 10_001
    assert len(tokens._waiting) <= 61
    assert len(tokens._redeemed) == 10_000


# -- the lobby


def enter_all(pending_sockets: PendingSockets, addresses: Iterable[str]) -> list[bool]:
    return [pending_sockets.enter(address) is not None for address in addresses]


def test_ten_may_wait_from_one_address() -> None:
    pending_sockets = PendingSockets()
    assert enter_all(pending_sockets, ["10.0.0.1"] * 11) == [True] * 10 + [False]
    assert pending_sockets.enter("10.0.0.2") is not None


def test_fifty_may_wait_in_all() -> None:
    pending_sockets = PendingSockets()
    assert enter_all(pending_sockets, [f"10.0.0.{n}" for n in range(51)]) == [True] * 50 + [False]
    assert len(pending_sockets) == 50


def test_a_place_left_is_free_again_and_is_left_once() -> None:
    pending_sockets = PendingSockets(in_all=2, an_address=1)
    place = pending_sockets.enter("a")
    assert place is not None
    other = pending_sockets.enter("b")
    assert other is not None
    place.leave()
    place.leave()
    assert len(pending_sockets) == 1
    with pytest.raises(RuntimeError, match="gone"), other:
        raise RuntimeError("gone")
    assert len(pending_sockets) == 0
    assert pending_sockets._waiting == {}
