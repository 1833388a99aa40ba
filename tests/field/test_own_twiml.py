"""A stream from TwiML that is not ours: let in with a token of `POST /stream-tokens`, and not without.
Seen elsewhere: numbers with a TwiML Bin, and outbound calls with TwiML of their own.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from httpx2 import Response
from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from twilio.request_validator import RequestValidator

from bridge import Agent, Refuse, create_app, load_settings
from bridge.doubles.carrier_frames import CarrierFrames
from bridge.ops.metrics import GATES
from bridge.server.api_keys import AT_ONCE, ApiKeys
from bridge.server.own_streams import MEMBERS, MOST_BYTES
from bridge.server.own_tokens import MOST_OUT, Grant, OwnTokens, TooLong
from bridge.server.service import Service
from bridge.server.store import EmbeddedStore
from bridge.settings.rules import WrongSettings
from bridge.settings.settings import Settings
from tests.calls import ACCOUNT, TOKEN

PUBLIC = "https://voice.example.com"
KEY = "0123456789abcdef-of-a-program"
CALL, OTHER = f"CA{33:032x}", f"CA{34:032x}"
FIELDS: dict[str, str] = {}
"""Of the last call that a resolver was asked about."""


def _resolver(fields: Mapping[str, str]) -> Refuse | None:
    FIELDS.clear()
    FIELDS.update(fields)
    return Refuse() if "refuse" in fields else None


class Bridge:
    """The application, asked by a program with a key, and by the carrier. Its model cannot be reached."""

    def __init__(self, client: TestClient, service: Service) -> None:
        self.client, self.service = client, service

    def asks(self, body: Any = None, **headers: str) -> Response:
        """The answer to a request for a token."""
        content = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        usual = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        given = {**usual, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.client.post("/stream-tokens", content=content, headers=given)

    def rejects(self) -> float:
        registry = self.service.services.metrics.registry
        return sum(
            registry.get_sample_value("phonebridge_rejects_total", {"gate": gate}) or 0 for gate in GATES
        )

    def token(self, **asked: Any) -> str:
        answer = self.asks(asked)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    def stream(self, parameters: dict[str, str], call_sid: str = CALL, account: str = ACCOUNT) -> int | None:
        """A stream with these parameters: the code that it is closed with, None for one that got its call."""
        signature = RequestValidator(TOKEN).compute_signature("wss://voice.example.com/media-stream", {})
        headers = {"X-Twilio-Signature": signature, "host": "127.0.0.1:8080"}
        frames = CarrierFrames(call_sid, account, f"MZ{secrets.token_hex(16)}")
        rejects = self.rejects()
        with self.client.websocket_connect("/media-stream", headers=headers) as websocket:
            websocket.send_text(frames.connected())
            websocket.send_text(frames.start(parameters))
            runner, until_s = None, time.monotonic() + 2
            while time.monotonic() < until_s:
                runner = self.service.registry.runner(call_sid)
                if self.rejects() > rejects:
                    break
                if runner is not None and runner.call.stats.started_ms is not None:
                    websocket.send_text(frames.stop())
                    return None
                time.sleep(0.002)
            with pytest.raises(WebSocketDisconnect) as closed:
                websocket.receive_text()
            return closed.value.code


@contextlib.contextmanager
def bridge(**given: Any) -> Iterator[Bridge]:
    doors: dict[str, Any] = {"public_url": PUBLIC, "twilio_auth_token": TOKEN}
    if given.get("insecure"):
        doors = {}
    usual = {
        "upstream": "openai",
        "upstream_url": "ws://127.0.0.1:9",
        "verify_calls": "off",
        "twilio_api_url": "http://127.0.0.1:9",
    }
    keys = {"journal": None, "api_keys": f"ops={KEY}"}
    settings = load_settings(env_file=None, **{**doors, **usual, **keys, **given})
    app = create_app(settings, Agent("Default.", resolver=_resolver))
    with TestClient(app, base_url="http://127.0.0.1:8080") as client:
        assert client.portal is not None
        yield Bridge(client, app.state.service)
        client.portal.call(app.state.service.registry.shut_down)
        client.portal.call(partial(app.state.service.registry.drained, 1.0))
        app.state.service.close()


# --- a stream


def test_a_token_admits_one_stream_of_its_call_with_its_fields_and_none_admits_nothing() -> None:
    with bridge() as asked:
        assert asked.stream({"campaign": "42"}) == 1008
    with bridge() as asked:
        answer = asked.asks({"call_sid": CALL, "account_sid": ACCOUNT, "parameters": {"campaign": "42"}})
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        told = answer.json()
        assert (told["url"], told["expires_in"]) == ("wss://voice.example.com/media-stream", 60)
        assert asked.stream({"token": told["token"], "room": "7", "resumed": "handover"}) is None
        assert FIELDS == {"CallSid": CALL, "AccountSid": ACCOUNT, "campaign": "42", "room": "7"}
        assert asked.stream({"token": told["token"]}) == 1008  # never twice


@pytest.mark.hostile  # streams take their time
def test_nor_is_it_good_for_another_call_or_account() -> None:
    with bridge() as asked:
        token = asked.token(call_sid=CALL)
        assert asked.stream({"token": token}, OTHER) == 1008
    with bridge() as asked:
        token = asked.token(account_sid=ACCOUNT)
        assert asked.stream({"token": token}, account=f"AC{9:032x}") == 1008


def test_a_token_for_no_call_in_particular_admits_any_once() -> None:
    """A call that is about to be placed has no id yet."""
    with bridge() as asked:
        token = asked.token()
        assert asked.stream({"token": token}, OTHER) is None
        assert asked.stream({"token": token}) == 1008


@pytest.mark.hostile  # streams take their time
def test_the_second_stream_of_a_call_has_a_token_of_its_own() -> None:
    with bridge() as asked:
        for number in (1, 2):
            assert asked.stream({"token": asked.token(call_sid=CALL)}) is None
            assert asked.service.services.control.intents.streams(CALL) == number
            asked.service.services.control.note(CALL, "")  # that stream was not the end of the call


def test_the_twiml_of_the_answer_opens_the_stream_and_asks_what_comes_next() -> None:
    with bridge() as asked:
        document = ET.fromstring(asked.asks({"call_sid": CALL}).json()["twiml"])
        [connect] = document
        [stream] = connect
        given = {one.get("name", ""): one.get("value", "") for one in stream}
        assert stream.get("url") == "wss://voice.example.com/media-stream"
        assert asked.stream(given) is None
        action = urlsplit(connect.get("action", ""))
        form = {"CallSid": CALL, "AccountSid": ACCOUNT, "CallStatus": "in-progress"}
        path = f"{action.path}?{action.query}"
        signature = RequestValidator(TOKEN).compute_signature(f"{PUBLIC}{path}", form)
        answer = asked.client.post(path, data=form, headers={"X-Twilio-Signature": signature})
        assert [verb.tag for verb in ET.fromstring(answer.text)] == ["Hangup"]  # the caller has hung up


def test_without_a_call_sid_the_twiml_behind_connect_goes_on() -> None:
    with bridge() as asked:
        [connect] = ET.fromstring(asked.asks().json()["twiml"])
        assert connect.attrib == {}


@pytest.mark.hostile  # streams take their time
def test_what_the_resolver_refuses_is_refused_here_too() -> None:
    with bridge() as asked:
        assert asked.stream({"token": asked.token(parameters={"refuse": "1"})}) == 1008
        assert FIELDS["refuse"] == "1"


@pytest.mark.hostile  # streams take their time
def test_an_insecure_bridge_gives_tokens_and_keeps_to_them() -> None:
    with bridge(insecure=True) as asked:
        told = asked.asks({"call_sid": CALL}).json()
        assert told["url"].startswith("ws://")
        assert asked.stream({"token": told["token"]}) is None
        assert asked.stream({"token": told["token"]}) == 1008
        assert asked.client.post("/stream-tokens", headers={"x-forwarded-for": "10.0.0.1"}).status_code == 403


@pytest.mark.parametrize("status", ["in-progress", "ringing"])
def test_twiml_that_sends_the_call_to_us_needs_no_token(status: str) -> None:
    """`<Redirect>`, or the `url` of an outbound call: the query has the fields of the operator's."""
    with bridge() as asked:
        form = {"CallSid": CALL, "AccountSid": ACCOUNT, "CallStatus": status, "Direction": "outbound-api"}
        path = "/incoming-call?campaign=42"
        signature = RequestValidator(TOKEN).compute_signature(f"{PUBLIC}{path}", form)
        answer = asked.client.post(path, data=form, headers={"X-Twilio-Signature": signature})
        [connect] = ET.fromstring(answer.text)
        assert connect.tag == "Connect"
        assert FIELDS["campaign"] == "42"


# --- a request


def test_without_a_key_there_is_no_such_route() -> None:
    with bridge(api_keys=None) as asked:
        assert asked.asks().status_code == 404
        assert asked.client.get("/stream-tokens").status_code == 404


@pytest.mark.parametrize(
    "authorization",
    [
        "", "Bearer", "Bearer ", f"Basic {KEY}", KEY, f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", "Bearer ops",
        f"Bearer ops={KEY}", f"Bearer {KEY} {KEY}", f"Bearer {KEY * 100}", f"bearer\t{KEY}",
    ],
)  # fmt: skip
def test_a_request_without_the_key_learns_nothing(authorization: str) -> None:
    keys = ApiKeys({"ops": SecretStr(KEY)})
    assert keys.owner(Headers({"authorization": authorization})) is None


def test_the_key_counts_once_in_one_header() -> None:
    keys = ApiKeys({"ops": SecretStr(KEY), "other": SecretStr(KEY[::-1])})
    assert keys.owner(Headers({"authorization": f"Bearer {KEY}"})) == "ops"
    assert keys.owner(Headers({"authorization": f"BEARER {KEY[::-1]}"})) == "other"
    twice = Headers(raw=[(b"authorization", f"Bearer {KEY}".encode())] * 2)
    assert keys.owner(twice) is None
    assert keys.owner(Headers()) is None


def test_every_key_is_compared_even_after_one_has_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr("bridge.server.api_keys.hmac.compare_digest", compare)
    keys = ApiKeys({name: SecretStr(f"{KEY}-{name}") for name in ("a", "b", "c")})
    assert keys.owner(Headers({"authorization": f"Bearer {KEY}-a"})) == "a"
    assert len(compared) == 3
    assert {len(one) for one in compared} == {32}


def test_each_key_has_a_rate_of_its_own() -> None:
    now_s = [1000.0]
    keys = ApiKeys({"ops": SecretStr(KEY)}, now=lambda: now_s[0])
    assert [keys.wait_s("ops") for _ in range(AT_ONCE)] == [0.0] * AT_ONCE
    assert 0 < keys.wait_s("ops") <= 0.1
    assert keys.wait_s("other") == 0
    now_s[0] += 0.1
    assert keys.wait_s("ops") == 0
    assert keys.wait_s("ops") > 0


def test_what_is_refused_is_told_in_words() -> None:
    with bridge() as asked:
        refused = asked.asks(authorization="Bearer another")
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert "BRIDGE_API_KEYS" in refused.json()["error"]
        assert asked.asks(origin="https://evil.example").status_code == 403
        assert asked.asks(sec_fetch_site="cross-site").status_code == 403
        assert asked.client.get("/stream-tokens").status_code == 405
        for _ in range(AT_ONCE + 10):
            answer = asked.asks()
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert "too many requests" in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 2_000, "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ([], "a JSON object"),
        ("CA1", "a JSON object"),
        ({"callSid": CALL}, "'callSid' is unknown; there is " + ", ".join(MEMBERS)),
        ({"call_sid": "CA1"}, "call_sid has to be"),
        ({"call_sid": f"{CALL}\n"}, "call_sid has to be"),
        ({"call_sid": 5}, "call_sid has to be"),
        ({"account_sid": "AC1"}, "account_sid has to be"),
        ({"expires_in": 0}, "expires_in"),
        ({"expires_in": 601}, "expires_in"),
        ({"expires_in": True}, "expires_in"),
        ({"expires_in": "60"}, "expires_in"),
        ({"parameters": [["a", "b"]]}, "an object of texts"),
        ({"parameters": {"a": 1}}, "an object of texts"),
        ({"parameters": {"a b": "1"}}, "no name of a parameter"),
        ({"parameters": {"a": "\ud800"}}, "half a surrogate pair"),
        ({"parameters": {"token": "1"}}, "the bridge's own"),
        ({"parameters": {"resumed": "1"}}, "the bridge's own"),
        ({"parameters": {"returned": "busy"}}, "the bridge's own"),
        ({"parameters": {f"p{number}": "" for number in range(21)}}, "more than 20"),
        ({"parameters": {"a": secrets.token_urlsafe(400)}}, "do not fit into a token"),
        (b" " * (MOST_BYTES + 1), f"more than {MOST_BYTES} bytes"),
    ],
    ids=lambda one: str(one)[:22],
)
def test_a_body_that_cannot_be_is_refused_in_words(client: Bridge, body: Any, words: str) -> None:
    answer = client.asks(body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


@pytest.fixture(scope="module")
def client() -> Iterator[Bridge]:
    with bridge() as asked:
        yield asked


def test_a_form_is_no_json(client: Bridge) -> None:
    """A page may send one anywhere, unasked."""
    answer = client.asks({}, content_type="text/plain")
    assert (answer.status_code, answer.json()["error"]) == (400, "the body has to be application/json")


def test_another_account_than_ours_is_refused() -> None:
    with bridge(twilio_account_sid=ACCOUNT) as asked:
        assert asked.asks({"account_sid": f"AC{9:032x}"}).status_code == 400
        assert asked.asks({"account_sid": ACCOUNT}).status_code == 200


def test_no_token_is_given_for_a_call_that_cannot_come_in() -> None:
    with bridge(max_calls=1) as asked:
        asked.service.registry.draining = True
        answer = asked.asks({"call_sid": CALL})
        assert answer.status_code == 503
        assert answer.json()["error"] == "no call may come in now: draining"


# --- a token


class Clocks:
    """A wall clock and one that is never set."""

    def __init__(self) -> None:
        self.now_s, self.clock_s = 1_750_000_000.0, 100.0

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds
        self.clock_s += seconds


def tokens(clocks: Clocks, store: EmbeddedStore | None = None, key: bytes = b"k") -> OwnTokens:
    return OwnTokens([key], store or EmbeddedStore(None), lambda: clocks.now_s, lambda: clocks.clock_s)


def test_a_token_lives_as_long_as_was_asked_for() -> None:
    clocks = Clocks()
    made = tokens(clocks)
    short, long = made.mint(Grant(CALL)), made.mint(Grant(CALL), 120)
    clocks.pass_s(61)
    assert made.redeem(short, CALL, ACCOUNT) == "a stream token that is too old"
    assert made.redeem(long, CALL, ACCOUNT) == Grant(CALL)


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_a_step_of_the_wall_clock_costs_no_token_and_prolongs_none(step_s: float) -> None:
    clocks = Clocks()
    made = tokens(clocks)
    one, other = made.mint(Grant()), made.mint(Grant())
    clocks.now_s += step_s
    assert made.redeem(one, CALL, ACCOUNT) == Grant()
    clocks.clock_s += 61
    assert made.redeem(other, CALL, ACCOUNT) == "a stream token that is too old"


def test_processes_that_share_a_store_take_each_others_tokens_once(tmp_path: Path) -> None:
    clocks = Clocks()
    journal = tmp_path / "journal"
    one, other = tokens(clocks, EmbeddedStore(journal)), tokens(clocks, EmbeddedStore(journal))
    first, second, third = (one.mint(Grant(CALL)) for _ in range(3))
    assert one.redeem(first, CALL, ACCOUNT) == Grant(CALL)
    assert other.redeem(first, CALL, ACCOUNT) == "a stream token that was used before"
    assert other.redeem(second, CALL, ACCOUNT) == Grant(CALL)
    assert one.redeem(second, CALL, ACCOUNT) == "a stream token that was used before"
    clocks.pass_s(66)
    assert other.redeem(third, CALL, ACCOUNT) == "a stream token that is too old"


def test_where_nothing_is_shared_none_is_taken_of_another() -> None:
    """It could be used there and here."""
    clocks = Clocks()
    token = tokens(clocks).mint(Grant(CALL))
    assert tokens(clocks).redeem(token, CALL, ACCOUNT) == "a stream token that another machine has made"


def test_a_token_of_another_key_or_changed_in_any_letter_is_none() -> None:
    clocks = Clocks()
    store = EmbeddedStore(None)
    made = tokens(clocks, store)
    token = made.mint(Grant(CALL))
    assert tokens(clocks, store, b"other").redeem(token, CALL, ACCOUNT) == "a stream token that is not ours"
    for at in range(4, len(token) - 1):  # the last letter of base64 can be written in four ways
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        assert isinstance(made.redeem(changed, CALL, ACCOUNT), str), at
    for odd in ("own.", "own.x", "own." + "x" * 1_000, "own.ä", "own.\ud800", f"{token} ", ""):
        assert made.redeem(odd, CALL, ACCOUNT) == "a stream token that is not ours"
    assert made.redeem(token, CALL, ACCOUNT) == Grant(CALL)


def test_a_refused_use_leaves_the_token_to_its_own_call() -> None:
    made = tokens(Clocks())
    token = made.mint(Grant(CALL, ACCOUNT, {"a": "ü \U0001f600 <&>"}))
    assert made.redeem(token, OTHER, ACCOUNT) == "a stream token of another call"
    assert made.redeem(token, CALL, f"AC{9:032x}") == "a stream token of another call"
    assert made.redeem(token, CALL, ACCOUNT) == Grant(CALL, ACCOUNT, {"a": "ü \U0001f600 <&>"})


def test_few_are_remembered_and_none_is_too_long() -> None:
    made = tokens(Clocks())
    for _ in range(MOST_OUT // 100):
        made.mint(Grant())
    assert len(made._out) == MOST_OUT // 100
    made._out |= {f"older {number}": 0.0 for number in range(MOST_OUT)}
    made.mint(Grant())
    assert len(made._out) == MOST_OUT
    with pytest.raises(TooLong, match="characters too many"):
        made.mint(Grant(parameters={"a": secrets.token_urlsafe(500)}))


# --- settings


def test_keys_are_secrets_with_names() -> None:
    settings = load_settings(env_file=None, insecure=True, api_keys=f"ops={KEY}, ci={KEY[::-1]}")
    assert set(settings.api_keys) == {"ops", "ci"}
    assert KEY not in repr(settings)
    assert {KEY, KEY[::-1]} <= set(settings.unspeakable())


@pytest.mark.parametrize(
    "keys",
    ["ops", "ops=", f"={KEY}", "ops=short", f"ops={KEY},ops={KEY}x", f"ops={KEY},ci={KEY}", "ops=a b" + KEY],
)
def test_keys_that_are_none_are_refused_at_start_without_being_told(keys: str) -> None:
    with pytest.raises(WrongSettings, match="BRIDGE_API_KEYS") as caught:
        load_settings(env_file=None, insecure=True, api_keys=keys)
    assert KEY not in str(caught.value)


def test_nor_is_the_carriers_token_one() -> None:
    with pytest.raises(WrongSettings, match="BRIDGE_API_KEYS holds the carrier's auth token"):
        Settings(
            _env_file=None,
            public_url=PUBLIC,
            twilio_auth_token=TOKEN,
            upstream="embedded",
            api_keys=f"ops={TOKEN}",
        )
