"""Tenants that attack each other: each has a token of its own, and wants the other's agent, call or money."""

from __future__ import annotations

import contextlib
import queue
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import WebSocketTestSession
from starlette.websockets import WebSocketDisconnect
from twilio.request_validator import RequestValidator

from bridge import Agent, Forward
from bridge.doubles.carrier_frames import CarrierFrames
from bridge.server.gates import Signatures
from tests.field.test_own_twiml import KEY
from tests.routing.world import ACCOUNTS, BAR, MAIN, NUMBERS, PUBLIC, SHOP, TOKENS, World, sid, targets, world

EVIL = f"AC{66:032x}"
DESK, NIGHT = "+15550005555", "+15550006666"
TABLE: dict[str, Any] = {
    "accounts": ACCOUNTS,
    "routes": [
        {
            "to": NUMBERS[SHOP],
            "account": "shop",
            "agent": Agent("You are the shop.", resolver=lambda _fields: Forward("desk")),
            "transfers": {"desk": DESK},
        },
        {"to": NUMBERS[BAR], "account": "bar", "agent": Agent("You are the bar.")},
        {"to": "+1999*", "account": "bar", "agent": Agent("You are the bar.", name="any")},
        {"to": NUMBERS[MAIN], "agent": Agent("You are the operator.")},
    ],
}


@pytest.fixture(scope="module")
def ours() -> Iterator[World]:
    """One bridge for all: each test has calls of its own."""
    with world(TABLE, api_keys=f"ops={KEY}") as bridge:
        yield bridge


def parameters(document: str) -> dict[str, str]:
    return {one.get("name", ""): one.get("value", "") for one in ET.fromstring(document).iter("Parameter")}


@contextlib.contextmanager
def upgraded(ours: World, token: str) -> Iterator[WebSocketTestSession]:
    """A websocket whose upgrade is signed with that token."""
    url = f"ws{PUBLIC.removeprefix('http')}/media-stream"
    headers = {"X-Twilio-Signature": RequestValidator(token).compute_signature(url, {})}
    with ours.client.websocket_connect("/media-stream", headers=headers) as websocket:
        yield websocket


@contextlib.contextmanager
def started(
    ours: World, given: dict[str, str], *, call: int, account: str, signed_by: str
) -> Iterator[WebSocketTestSession]:
    """A stream of that account's call has started, under an upgrade that another may have signed."""
    frames = CarrierFrames(sid(call), account, f"MZ{call:032x}")
    with upgraded(ours, TOKENS[signed_by]) as websocket:
        websocket.send_text(frames.connected())
        websocket.send_text(frames.start(given))
        yield websocket


def refused(ours: World, given: dict[str, str], *, call: int, account: str, signed_by: str) -> int:
    """The code that such a stream is closed with."""
    with started(ours, given, call=call, account=account, signed_by=signed_by) as websocket:
        with pytest.raises(WebSocketDisconnect) as closed:
            websocket.receive_text()
        return int(closed.value.code)


def begins(ours: World, given: dict[str, str], *, call: int, account: str) -> bool:
    """Whether its own account's stream gets its call."""
    streams = ours.service.services.control.intents.streams
    with started(ours, given, call=call, account=account, signed_by=account):
        until = time.monotonic() + 5
        while time.monotonic() < until and not streams(sid(call)):
            time.sleep(0.005)
    return streams(sid(call)) == 1


def test_each_rings_its_own_agent(ours: World) -> None:
    assert targets(ours.rings(call=11, account=SHOP)) == [DESK]
    assert "<Connect" in ours.rings(call=12, account=BAR)
    assert ours.config(12).instructions == "You are the bar."
    assert "<Connect" in ours.rings(call=13, account=MAIN)
    assert ours.config(13).instructions == "You are the operator."
    assert "<Connect" in ours.rings(call=14, account=BAR, To="+19995550000")


@pytest.mark.parametrize(
    ("claims", "signs"), [(SHOP, BAR), (BAR, SHOP), (MAIN, SHOP), (SHOP, MAIN), (EVIL, SHOP), (EVIL, MAIN)]
)
def test_only_the_claimed_accounts_own_token_signs(ours: World, claims: str, signs: str) -> None:
    before = ours.rejects("signature") or 0
    for path in ("/incoming-call", "/after-stream", "/stream-status", "/voicemail"):
        to = NUMBERS.get(claims, NUMBERS[SHOP])
        assert ours.asks(path, call=21, account=claims, token=TOKENS[signs], To=to).status_code == 403
    assert ours.rejects("signature") == before + 4
    assert ours.service.registry.runner(sid(21)) is None


def test_the_claim_is_where_the_carrier_writes_it() -> None:
    """In a GET it stands in the query; an account of the query does not outvote one of the form."""
    with world(TABLE) as ours:
        query = f"/incoming-call?AccountSid={BAR}&CallSid={sid(22)}&To={NUMBERS[BAR].replace('+', '%2B')}"
        for token, status in ((TOKENS[BAR], 200), (TOKENS[SHOP], 403)):
            signed = RequestValidator(token).compute_signature(f"{PUBLIC}{query}", {})
            answer = ours.client.get(query, headers={"X-Twilio-Signature": signed})
            assert answer.status_code == status
        both = f"/incoming-call?AccountSid={BAR}"
        answer = ours.asks(both, call=23, account=SHOP, token=TOKENS[BAR])
        assert answer.status_code == 403
        assert ours.asks(both, call=23, account=SHOP).status_code == 400  # signed, and not the carrier's form


def test_no_number_of_anothers_is_rung(ours: World) -> None:
    before = ours.rejects("route") or 0
    rung = [(BAR, NUMBERS[SHOP]), (BAR, NUMBERS[MAIN]), (SHOP, NUMBERS[BAR]), (SHOP, "+19995550000"),
            (SHOP, "+15559998888"), (MAIN, NUMBERS[SHOP])]  # fmt: skip
    for place, (account, to) in enumerate(rung):
        assert ours.rings(call=30 + place, account=account, To=to) == "403", (account, to)
    assert ours.rejects("route") == before + len(rung)
    assert "<Connect" in ours.rings(call=39, account=MAIN, To="+19995550000"), "no row of its own has it"


def test_a_call_that_does_not_say_its_number_rings_no_agent_of_anothers(ours: World) -> None:
    for place, fields in enumerate(({"To": "-"}, {"To": "-", "Direction": "-"}, {"To": "", "Direction": ""})):
        assert ours.rings(call=42 + place, account=SHOP, **fields) == "403"
        assert ours.service.registry.runner(sid(42 + place)) is None
    placed = {"Direction": "outbound-api", "From": NUMBERS[BAR], "To": "+15551234567"}
    assert ours.rings(call=47, account=SHOP, **placed) == "403", "as if it had placed the call itself"
    assert ours.rings(call=48, account=SHOP, **{**placed, "From": "+15557654321"}) == "403"
    assert targets(ours.rings(call=49, account=SHOP, **{**placed, "From": NUMBERS[SHOP]})) == [DESK]
    assert "<Connect" in ours.rings(call=46, account=MAIN, To="-")
    everybody = {"accounts": ACCOUNTS, "routes": [{"to": "*", "account": "shop", "agent": Agent("Any.")}]}
    with world(everybody) as other:
        assert "<Connect" in other.rings(account=SHOP, To="-")
        assert other.config().instructions == "Any."


def test_a_call_of_anothers_is_neither_ended_nor_resumed_nor_known(ours: World) -> None:
    document = ours.rings(call=41, account=BAR)
    assert "<Connect" in document
    attacks = [
        ("/incoming-call", {"CallStatus": "completed"}),
        ("/incoming-call", {}),
        ("/after-stream", {"CallStatus": "in-progress"}),
        ("/after-stream", {"CallStatus": "completed"}),
        ("/stream-status", {"StreamEvent": "stream-error", "StreamError": "x"}),
        ("/voicemail", {"RecordingSid": f"RE{1:032x}", "RecordingUrl": "https://example.com/"}),
    ]
    for account in (SHOP, MAIN):
        for path, fields in attacks:
            for to in (NUMBERS[account], "-"):
                answer = ours.asks(path, call=41, account=account, **{"To": to, **fields})
                assert (answer.status_code, answer.text) == (403, ""), (account, path, to)
    assert ours.service.services.control.intents.peek(sid(41)) is None
    assert ours.rings(call=41, account=BAR) == document, "the retried webhook finds the same token"


def test_no_agent_is_told_of_anothers_message() -> None:
    told: queue.Queue[Any] = queue.Queue()
    table = {"accounts": ACCOUNTS, "routes": [{"to": NUMBERS[BAR], "account": "bar"}]}
    left = {"RecordingUrl": "https://example.com/1", "RecordingDuration": "3", "CallStatus": "in-progress"}
    with world(table, Agent("You are the operator.", on_voicemail=told.put)) as ours:
        for place, (account, to) in enumerate(((SHOP, "-"), (BAR, "-"), (BAR, NUMBERS[BAR]), (MAIN, "-"))):
            fields = {**left, "RecordingSid": f"RE{place:032x}", "To": to, "Direction": "-"}
            assert ours.asks("/voicemail", call=81 + place, account=account, **fields).status_code == 200
        accounts = {told.get(timeout=5)["account_sid"] for _ in range(2)}  # each call on a thread of its own
    assert accounts == {BAR, MAIN}, "the bar's number has a row without an agent: the operator's answers it"
    assert told.empty()


def test_a_stream_is_its_accounts_own(ours: World) -> None:
    token = parameters(ours.rings(call=51, account=BAR))
    assert refused(ours, token, call=51, account=SHOP, signed_by=SHOP) == 1008, "another account's call"
    assert refused(ours, token, call=51, account=BAR, signed_by=SHOP) == 1008, "signed with another's token"
    assert refused(ours, token, call=51, account=BAR, signed_by=MAIN) == 1008
    assert begins(ours, token, call=51, account=BAR)


def test_an_upgrade_that_no_account_signed(ours: World) -> None:
    for token in ("nobody-has-this", ""):
        with pytest.raises(WebSocketDisconnect), upgraded(ours, token or "x"):
            pass


def test_a_token_for_own_twiml_is_for_one_account(ours: World) -> None:
    def asks(**given: str) -> Any:
        return ours.client.post("/stream-tokens", json=given, headers={"authorization": f"Bearer {KEY}"})

    assert asks(account_sid=EVIL).status_code == 400
    given = asks(account_sid=BAR, call_sid=sid(61)).json()
    more = {"token": given["token"], "To": NUMBERS[BAR]}
    assert refused(ours, more, call=61, account=SHOP, signed_by=SHOP) == 1008
    given = asks(account_sid=SHOP, call_sid=sid(62)).json()
    theirs = {"token": given["token"], "To": NUMBERS[BAR]}
    assert refused(ours, theirs, call=62, account=SHOP, signed_by=SHOP) == 1008, "the number is the bar's"


def test_names_of_anothers_targets_lead_nowhere(ours: World) -> None:
    rest = ours.service.services.control.rest
    assert rest is not None
    ours.rings(call=71, account=BAR)
    outcome = ours.run(lambda: rest.transfer(sid(71), "desk", BAR))
    assert outcome.value == "no target of that name is configured"
    assert dict(ours.router.of(sid(71)).route.transfers) == {
        "front desk": "+15550007777",
        "night": "+15550008888",
    }


def test_a_thousand_accounts_cost_an_upgrade_nothing() -> None:
    accounts = {
        f"a{number}": {"sid": f"AC{number:032x}", "token": f"token-of-{number}"}
        for number in range(100, 1_100)
    }
    with world({"accounts": accounts, "routes": [{"to": "*", "account": "a777"}]}) as ours:
        check = Signatures(ours.service.settings, ours.service.routing.router).check_upgrade
        url = f"ws{PUBLIC.removeprefix('http')}/media-stream"
        for number in (100, 777, 1_099):
            signed = RequestValidator(f"token-of-{number}").compute_signature(url, {})
            account = check("/media-stream", {"X-Twilio-Signature": signed})
            assert account is not None
            assert account.sid == f"AC{number:032x}"
        began = time.process_time()
        for _ in range(100):
            check("/media-stream/", {"X-Twilio-Signature": signed})
        assert (time.process_time() - began) / 100 < 0.001, "looked up: all thousand would be 20 ms"
