"""Nobody but the carrier gets in: no audio, item, response or tool, no usage, no money, for anybody else."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from twilio.request_validator import RequestValidator

from bridge.core import messages as m
from bridge.doubles.agents import Parrot
from bridge.doubles.carrier_frames import CarrierFrames
from bridge.server import pending_stream as arrival
from bridge.server.gates import Signatures, StreamTokens
from bridge.server.store.used_calls import UsedCalls
from bridge.simulators.carrier import CarrierSimulator
from bridge.simulators.phone import Kind
from bridge.sockets.dial import DialError, StreamSocket, dial
from tests.calls import ACCOUNT, TOKEN
from tests.door.rig import Door, door, kinds, run, until

pytestmark = pytest.mark.runs_with(function=run)

SID = f"CA{5:032x}"

MOST_OF_A_STRANGER = {"session.update"}
"""All that may have gone upstream before a call is proven: its configuration."""


def signed(url: str, token: str = TOKEN) -> dict[str, str]:
    return {"X-Twilio-Signature": RequestValidator(token).compute_signature(url, {})}


class Stranger:
    """Somebody at the stream, with frames as a carrier would send them."""

    def __init__(self, socket: StreamSocket, call_sid: str = SID) -> None:
        self.socket = socket
        self.frames = CarrierFrames(call_sid, ACCOUNT, f"MZ{5:032x}")
        self.got: list[str] = []
        self.closed: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        socket.start(lambda frame: self.got.append(str(frame)), lambda *end: self.closed.set_result(end))

    def start(self, parameters: dict[str, str] | None) -> None:
        self.socket.send(self.frames.connected())
        self.socket.send(self.frames.start(parameters))

    async def speaks(self, seconds: float = 0.4) -> None:
        """Loud enough for any voice detection."""
        for number in range(int(seconds * 50)):
            self.socket.send(self.frames.media(b"\x10\x90" * 80, 100 + 20 * number))
            await asyncio.sleep(0.01)


def conversation(house: Door) -> list[str]:
    """The kinds of all events that went upstream beyond a connection's configuration."""
    sent = [json.loads(frame)["type"] for server in house.servers() for frame in server.got]
    return [kind for kind in sent if kind not in MOST_OF_A_STRANGER]


def used(house: Door) -> int:
    return sum(len(server.usage) for server in house.servers())


async def webhook_token(house: Door, call_sid: str = SID) -> str:
    """What the carrier's own webhook gets for this call."""
    document = await house.handset(call_sid=call_sid).webhook(house.webhook, {"CallStatus": "ringing"})
    parameter = document.find("./Connect/Stream/Parameter")
    assert parameter is not None
    return parameter.get("value", "")


# --- at the stream -----------------------------------------------------------------------------------------


async def test_without_our_signature_there_is_no_socket() -> None:
    elsewhere = "wss://voice.example.com/media-stream"

    async with door(Parrot()) as house:
        for headers in (
            {},
            {"X-Twilio-Signature": ""},
            {"X-Twilio-Signature": "nonsense"},
            signed(elsewhere),
            signed(house.stream, "a-token-of-somebody-else"),
            {**signed(house.stream), "X-Twilio-Webhooks-Signature-Settings": "key=x,algorithm=HMAC_SHA1"},
        ):
            with pytest.raises(DialError) as refused:
                await dial(house.stream, headers)
            assert refused.value.status == 403
        assert conversation(house) == []


Proof = Callable[[Door, str], Any]


async def _of(
    keys: tuple[bytes, ...] | bytes, call_sid: str, account: str = ACCOUNT, late_s: float = 0
) -> Any:
    return {"token": StreamTokens(keys, lambda: time.time() - late_s).mint(call_sid, account)}


async def _tampered(house: Door, call_sid: str) -> dict[str, str]:
    token = await webhook_token(house, call_sid)
    # Not the last letter, which base64 can write in four ways.
    return {"token": token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]}


async def _of_another_call(house: Door, _call_sid: str) -> dict[str, str]:
    return {"token": await webhook_token(house, f"CA{4:032x}")}


async def _misnamed(house: Door, call_sid: str) -> dict[str, str]:
    return {"Token": await webhook_token(house, call_sid)}


async def _given(parameters: dict[str, str] | None) -> dict[str, str] | None:
    return parameters


PROOFS: dict[str, Proof] = {
    "no parameters": lambda _house, _sid: _given(None),
    "no token": lambda _house, _sid: _given({"name": "value"}),
    "an empty one": lambda _house, _sid: _given({"token": ""}),
    "the word for a spent one": lambda _house, _sid: _given({"token": "spent"}),
    "another installation's": lambda _house, sid: _of(b"another key", sid),
    "an old one": lambda house, sid: _of(house.settings.stream_token_secret(), sid, late_s=70),
    "one of tomorrow": lambda house, sid: _of(house.settings.stream_token_secret(), sid, late_s=-70),
    "another account's": lambda house, sid: _of(house.settings.stream_token_secret(), sid, f"AC{8:032x}"),
    "another call's": _of_another_call,
    "a tampered one": _tampered,
    "one under another name": _misnamed,
}


async def test_the_right_signature_without_the_right_token() -> None:
    """The signature of a fixed URL is the same for every call: whoever saw one once can show it again."""

    async def comes(house: Door, number: int, proof: Proof) -> tuple[int, list[str]]:
        call_sid = f"CA{100 + number:032x}"
        parameters = await proof(house, call_sid)
        stranger = Stranger(await dial(house.stream, signed(house.stream)), call_sid)
        stranger.start(parameters)
        await stranger.speaks()
        code, _ = await stranger.closed
        return code, stranger.got

    async with door(Parrot()) as house:
        all_of_them = [comes(house, number, proof) for number, proof in enumerate(PROOFS.values())]
        found = await asyncio.gather(*all_of_them)
        assert dict(zip(PROOFS, found, strict=True)) == dict.fromkeys(PROOFS, (1008, []))
        assert all(m.CallBegan() not in did for did in house.log.did.values())
        assert conversation(house) == []
        assert used(house) == 0
        text = house.service.services.metrics.render()[0].decode()
        assert f'phonebridge_rejects_total{{gate="token"}} {len(PROOFS)}.0' in text


async def test_a_token_is_good_once() -> None:
    """The first stream is a call; the second one, with all that the first had, is closed, and the call stays
    with the first.
    """

    async with door(Parrot()) as house:
        token = await webhook_token(house)
        first = Stranger(await dial(house.stream, signed(house.stream)))
        first.start({"token": token})
        await until(lambda: first.got)
        second = Stranger(await dial(house.stream, signed(house.stream)))
        second.start({"token": token})
        code, _ = await second.closed
        assert code == 1008
        assert second.got == []
        assert not first.closed.done()
        assert len(house.upstream.sessions) == 1
        first.socket.close()
        await first.closed


@pytest.mark.parametrize("frames", [0, 3], ids=["says nothing", "never says start"])
async def test_who_does_not_start_is_closed(frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrival, "START_S", 0.2)

    async with door(Parrot()) as house:
        stranger = Stranger(await dial(house.stream, signed(house.stream)))
        for _ in range(frames):
            stranger.socket.send(stranger.frames.media(b"\x10" * 160, 100))
        assert (await stranger.closed)[0] == 1008
        assert house.upstream.sessions == []


async def test_a_message_of_a_stranger_is_at_most_64_kib() -> None:
    async with door(Parrot()) as house:
        stranger = Stranger(await dial(house.stream, signed(house.stream)))
        stranger.socket.send("x" * 70_000)
        assert (await stranger.closed)[0] == 1009


async def test_where_nobody_signs_few_may_wait() -> None:
    """Ten from one address; whoever is turned away may come again when one has left."""

    async with door(Parrot(), insecure=True) as house:
        waiting = [Stranger(await dial(house.stream, {})) for _ in range(10)]
        with pytest.raises(DialError):
            await dial(house.stream, {})
        waiting[0].socket.close()
        await waiting[0].closed
        await asyncio.sleep(0.05)
        last = Stranger(await dial(house.stream, {}))
        last.start(None)
        await until(lambda: last.got)
        for stranger in (*waiting[1:], last):
            stranger.socket.close()


# --- at the webhook ----------------------------------------------------------------------------------------


async def _posted(url: str, form: dict[str, str], headers: dict[str, str]) -> int:
    async with httpx2.AsyncClient(trust_env=False, verify=False) as client:
        answer = await client.post(url, data=form, headers=headers)
        return answer.status_code


FORM = {
    "CallSid": SID,
    "AccountSid": ACCOUNT,
    "From": "+15550001111",
    "FromCity": "",
    "CallStatus": "ringing",
}
ROUTES = ["/incoming-call", "/after-stream", "/stream-status"]


@pytest.mark.parametrize("route", ROUTES)
async def test_every_webhook_wants_its_signature(route: str) -> None:
    """Also with a blank field, which is signed like any other; each field is tampered with in turn."""

    async with door(Parrot()) as house:
        url = house.base + route
        signature = RequestValidator(TOKEN).compute_signature(url, FORM)
        proof = {"X-Twilio-Signature": signature}
        assert await _posted(url, FORM, {}) == 403
        assert await _posted(url, FORM, {"X-Twilio-Signature": "nonsense"}) == 403
        assert await _posted(url, FORM, {"X-Twilio-Signature": signed(url)["X-Twilio-Signature"]}) == 403
        for name, value in FORM.items():
            without = {key: kept for key, kept in FORM.items() if key != name}
            assert await _posted(url, {**FORM, name: f"{value}x"}, proof) == 403
            assert await _posted(url, without, proof) == 403
        assert await _posted(url, {**FORM, "Extra": ""}, proof) == 403
        assert await _posted(f"{url}?a=b", FORM, proof) == 403
        assert await _posted(f"{url}/", FORM, proof) == 404
        assert house.upstream.sessions == []
        assert await _posted(url, FORM, proof) in (200, 204)


def test_unsigned_webhooks_without_end_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with door(Parrot()) as house:
            for number in range(100):
                assert await _posted(house.webhook, {**FORM, "CallSid": f"CA{number:032x}"}, {}) == 403

    run(main())
    assert [record.getMessage() for record in caplog.records if "refused" in record.getMessage()] == [
        "webhook refused: no X-Twilio-Signature"
    ]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example.com"},
        {"X-Forwarded-Host": "evil.example.com"},
        {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Port": "443"},
        {"Forwarded": "host=evil.example.com;proto=https"},
        {"X-Original-URL": "/evil", "X-Rewrite-URL": "/evil"},
    ],
    ids=lambda headers: next(iter(headers)),
)
async def test_spoofed_headers_change_nothing(headers: dict[str, str]) -> None:
    """Neither whether the signature holds nor one letter of the answer."""

    async with door(Parrot()) as house, httpx2.AsyncClient(trust_env=False, verify=False) as client:
        proof = {"X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(house.webhook, FORM)}
        plain = await client.post(house.webhook, data=FORM, headers=proof)
        spoofed = await client.post(house.webhook, data=FORM, headers={**proof, **headers})
        assert (spoofed.status_code, spoofed.text) == (200, plain.text)
        assert "evil" not in spoofed.text
        for scheme, host in (("https", "evil.example.com"), ("http", "evil.example.com")):
            theirs = RequestValidator(TOKEN).compute_signature(f"{scheme}://{host}/incoming-call", FORM)
            refused = await client.post(
                house.webhook, data=FORM, headers={"X-Twilio-Signature": theirs, **headers}
            )
            assert refused.status_code == 403


async def test_nobody_is_sent_to_the_host_that_they_name() -> None:
    """A slash too many is not found, here and where we are mounted; a redirect would name their host."""

    async with door(Parrot()) as house, httpx2.AsyncClient(trust_env=False, verify=False) as client:
        for route in (*ROUTES, "/readyz"):
            for method in ("GET", "POST"):
                answer = await client.request(
                    method, f"{house.base}{route}/", headers={"Host": "evil.example.com"}
                )
                assert (answer.status_code, answer.headers.get("location")) == (404, None)


async def test_a_signature_is_over_the_path_byte_for_byte() -> None:
    """A path that is only equal when it is decoded was not signed."""

    async with door(Parrot()) as house, httpx2.AsyncClient(trust_env=False, verify=False) as client:
        proof = {"X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(house.webhook, FORM)}
        written_otherwise = house.webhook.replace("incoming-call", "incoming%2Dcall")
        assert (await client.post(written_otherwise, data=FORM, headers=proof)).status_code == 403


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"a" * 70_000, "application/x-www-form-urlencoded", 413),
        (b"&".join(b"a=b" for _ in range(600)), "application/x-www-form-urlencoded", 400),
        (b"a=" + b"%41" * 4_097, "application/x-www-form-urlencoded", 400),
        (b"a=" + b"%41" * 4_096, "application/x-www-form-urlencoded", 403),
        (b"\xff\xfe=%zz", "application/x-www-form-urlencoded", 403),
        (b'{"CallSid": "CA"}', "application/json", 403),
        (b"--x\r\n", "multipart/form-data; boundary=x", 403),
        (b"", "", 403),
    ],
    ids=[
        "too large",
        "too many fields",
        "too many escapes",
        "many escapes",
        "not text",
        "json",
        "multipart",
        "empty",
    ],
)
async def test_what_is_no_webhook_is_never_our_fault(content: bytes, kind: str, status: int) -> None:
    async with door(Parrot()) as house, httpx2.AsyncClient(trust_env=False, verify=False) as client:
        for route in ROUTES:
            headers = {"Content-Type": kind, "X-Twilio-Signature": "AAAA"}
            answer = await client.post(house.base + route, content=content, headers=headers)
            assert answer.status_code == status
        answer = await client.post(house.webhook, content=_endless(), headers={"Content-Type": "x/y"})
        assert answer.status_code == 413


async def test_a_query_longer_than_any_webhook_s_is_refused_before_its_signature_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A GET webhook has all its fields there, with the caller's SIP headers; that is a few KiB."""
    checked = []
    check = Signatures.check_webhook

    def counted(*given: Any) -> None:
        checked.append(given)
        check(*given)

    monkeypatch.setattr(Signatures, "check_webhook", counted)
    headers = {f"SipHeader_X-Field-{n}": "%" * 100 for n in range(10)}
    refused = ("stream=a&" * 1_600, "a=" + "b" * 9_000, "a&" * 200)
    served = (urllib.parse.urlencode({**FORM, **headers}), "a=" + "b" * 8_000, "a&" * 199)

    async with door(Parrot()) as house, httpx2.AsyncClient(trust_env=False, verify=False) as client:
        for route in ROUTES:
            for query in refused:
                for method in ("GET", "POST"):
                    answer = await client.request(method, f"{house.base}{route}?{query}")
                    assert answer.status_code == 414
                    assert answer.headers["connection"] == "close"
        assert checked == []
        for query in served:
            assert (await client.get(f"{house.webhook}?{query}")).status_code == 403
        assert len(checked) == len(served)


@pytest.mark.parametrize("route", ROUTES)
async def test_an_answer_to_a_webhook_ends_its_connection_and_a_page_s_does_not(route: str) -> None:
    async with door(Parrot()) as house, httpx2.AsyncClient(trust_env=False, verify=False) as client:
        url = house.base + route
        proof = {"X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(url, FORM)}
        for headers in (proof, {}, {"X-Twilio-Signature": "nonsense"}):
            answer = await client.post(url, data=FORM, headers=headers)
            assert answer.headers.get("connection") == "close", answer.status_code
        assert (await client.get(url)).headers.get("connection") == "close"
        for page in ("/healthz", "/readyz", "/metrics"):
            assert (await client.get(house.base + page)).headers.get("connection") is None


async def test_a_connection_that_proves_nothing_is_counted() -> None:
    async with door(Parrot()) as house:
        reader, writer = await asyncio.open_connection(*house.base.removeprefix("http://").split(":"))
        writer.write(b"\x16\x03\x01\x02\x00\x01\x00")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()
        text = house.service.services.metrics.render()[0].decode()
        assert 'phonebridge_rejects_total{gate="connection"} 1.0' in text


async def _endless() -> Any:
    """A body without a length, as long as anybody reads it."""
    for _ in range(2_000):
        yield b"a" * 1_000


async def test_one_webhook_replayed_gives_no_second_session() -> None:
    """While the call goes on, and when it is over: the same answer, signed by the carrier, opens nothing."""

    async with door(Parrot()) as house, httpx2.AsyncClient(trust_env=False, verify=False) as client:
        call = house.dial(house.caller())
        await until(lambda: call.streaming.is_set() and call.phone.played_bytes)
        form = {"CallSid": call.handset.call_sid, "AccountSid": ACCOUNT, "CallStatus": "ringing"}
        proof = {"X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(house.webhook, form)}
        for after in (False, True):
            if after:
                call.hang_up()
                await until(lambda: call.over and house.log.ended)
            replayed = await client.post(house.webhook, data=form, headers=proof)
            assert replayed.status_code == 200
            if after:
                assert "<Hangup" in replayed.text
                continue
            token = replayed.text.partition('value="')[2].partition('"')[0]
            stranger = Stranger(await dial(house.stream, signed(house.stream)), call.handset.call_sid)
            stranger.start({"token": token})
            assert (await stranger.closed)[0] == 1008
            assert not call.over
        assert len(house.upstream.sessions) == 1
        assert kinds(call)[-1] is Kind.CALLER_LEFT


async def test_a_webhook_that_was_refused_is_not_let_in_when_it_is_replayed_later() -> None:
    """All lines were taken, and the caller was told so. A minute is left for the carrier's own retry."""

    async with door(Parrot(), max_calls=1, verify_calls="off") as house:
        call = house.dial(house.caller())
        await until(call.streaming.is_set)
        assert kinds(await house.placed_call(call_sid=SID)) == [Kind.ASKED, Kind.SAID, Kind.HUNG_UP]
        call.hang_up()
        await until(lambda: len(house.service.registry) == 0)
        used = house.service.services.store.used
        assert isinstance(used, UsedCalls)
        assert not used.has(SID)
        used._now = lambda: time.time() + 61
        assert used.has(SID)
        assert await webhook_token(house) == "spent"
        assert len(house.upstream.sessions) == 1


LETTERED = f"CA{15:032x}"


PARENT = f"CA{14:032x}"


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "cut",
    [
        {"AccountSid": ACCOUNT, "CallSid": f"{LETTERED}CallStatusringing", "From": "+15550001111"},
        {"AccountSid": ACCOUNT, "CallSid": f"{LETTERED}C", "allStatusringingFrom+15550001111": ""},
        {"AccountSid": ACCOUNT, "CallSid": LETTERED[:-1], "fCallStatusringingFrom": "+15550001111"},
        {"AccountSid": f"{ACCOUNT}CallSid{LETTERED}", "CallStatus": "ringing", "From": "+15550001111"},
        {
            "AccountSid": ACCOUNT,
            "Ca": f"llSid{LETTERED}CallStatusringingFrom+15550001111Parent",
            "CallSid": PARENT,
        },
    ],
    ids=["the next field too", "a letter more", "a letter less", "in another's value", "the parent's"],
)
async def test_a_signed_webhook_that_is_cut_in_other_places_names_no_new_call(
    cut: dict[str, str], route: str
) -> None:
    """Nothing is signed between names and values: these have the signature of the call that they were."""
    form = {"AccountSid": ACCOUNT, "CallSid": LETTERED, "CallStatus": "ringing", "From": "+15550001111"}
    if cut.get("CallSid") == PARENT:
        form["ParentCallSid"] = PARENT

    async with door(Parrot()) as house:
        url, validator = house.base + route, RequestValidator(TOKEN)
        proof = {"X-Twilio-Signature": validator.compute_signature(url, form)}
        assert validator.validate(url, cut, proof["X-Twilio-Signature"])
        assert await _posted(url, cut, proof) == 400
        assert house.upstream.sessions == []
        assert await _posted(url, form, proof) in (200, 204)


async def test_the_name_of_a_stream_is_not_cut_off_the_question_after_it() -> None:
    """An empty name sorts first, right behind the URL: the query in its value has the same signature."""

    async with door(Parrot()) as house:
        document = await house.handset(call_sid=SID).webhook(house.webhook, {})
        connect = document.find("Connect")
        assert connect is not None
        url = connect.attrib["action"]
        route, _, query = url.partition("?")
        validator, form = RequestValidator(TOKEN), {**FORM, "CallStatus": "in-progress"}
        proof = {"X-Twilio-Signature": validator.compute_signature(url, form)}
        cut = {"": f"?{query}", **form}
        assert validator.validate(route, cut, proof["X-Twilio-Signature"])
        assert await _posted(route, cut, proof) == 400
        assert await _posted(url, form, proof) == 200


async def test_a_retried_webhook_rings_once_and_gets_the_same_token() -> None:
    async with door(Parrot()) as house:
        tokens = await asyncio.gather(*(webhook_token(house) for _ in range(3)))
        assert len(set(tokens)) == 1
        await until(lambda: house.upstream.sessions)
        assert len(house.upstream.sessions) == 1


async def test_the_upgrade_is_signed_with_or_without_a_slash() -> None:
    """Twilio, "Security", notes: if it does not match, append a slash."""

    async with door(Parrot()) as house:
        for url in (house.stream, f"{house.stream}/"):
            socket = await dial(house.stream, signed(url))
            stranger = Stranger(socket)
            stranger.socket.close()
            await stranger.closed
        https = house.stream.replace("ws://", "http://")
        with pytest.raises(DialError):
            await dial(house.stream, signed(https))
        with pytest.raises(DialError):
            await dial(f"{house.stream}?token=1", signed(f"{house.stream}?token=1"))


async def test_a_webhook_may_be_a_get_with_everything_in_its_query() -> None:
    async with door(Parrot()) as house, httpx2.AsyncClient(trust_env=False, verify=False) as client:
        url = f"{house.webhook}?{urllib.parse.urlencode(FORM)}"
        house.knows(SID)
        answer = await client.get(url, headers=signed(url))
        assert answer.status_code == 200
        assert "<Stream" in answer.text
        assert (await client.get(f"{url}x", headers=signed(url))).status_code == 403


async def test_other_peoples_simulators_may_come_in_where_we_say_so() -> None:
    """No signature, no token, ids of their own, twice the same: under BRIDGE_INSECURE."""

    async with door(Parrot(), insecure=True) as house:
        for _ in range(2):
            handset = CarrierSimulator(call_sid="CAxxx", account_sid="ACxxx")
            simulation = await handset.call(house.stream)
            phone: Any = simulation.machine
            await until(lambda phone=phone: phone.received_bytes)
            simulation.send(phone.hang_up(simulation.now_ms()))
            await simulation.closed
            await until(lambda: len(house.service.registry) == 0)
