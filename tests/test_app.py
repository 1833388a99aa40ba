"""A call over plain ASGI: Starlette's test client in the place of uvicorn, so no transport can be taken over.

The client is the carrier: it signs with the token, posts the webhook, follows the TwiML, speaks and hears.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import xml.etree.ElementTree as ET
from base64 import b64decode
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect
from twilio.request_validator import RequestValidator

from bridge.doubles.agents import Parrot
from bridge.doubles.carrier_frames import CarrierFrames
from bridge.doubles.options import ServerOptions
from bridge.doubles.tones import marked, tone
from bridge.server.service import create_app
from bridge.settings.settings import load_settings
from bridge.simulators.servers import EmbeddedUpstream
from tests.calls import ACCOUNT, TOKEN, KeepingServer, carrier_message
from tests.upstreams.published import client_event

PUBLIC = "https://voice.example.com"
CALL, STREAM = f"CA{1:032x}", f"MZ{1:032x}"
WORDS = tone(400, 500)


@pytest.fixture
def upstream() -> Iterator[EmbeddedUpstream]:
    """A parrot on loopback, on a thread and loop of its own: the test client has its own as well."""
    embedded = EmbeddedUpstream(
        lambda: KeepingServer(Parrot(marked(1, 200)), ServerOptions(latency_ms=10, speed=50))
    )
    ready, done = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with embedded.serve():
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(5)
    yield embedded
    loop.call_soon_threadsafe(done.set)
    thread.join(5)
    loop.close()


@pytest.fixture
def client(upstream: EmbeddedUpstream) -> Iterator[TestClient]:
    settings = load_settings(
        env_file=None,
        public_url=PUBLIC,
        twilio_auth_token=TOKEN,
        upstream="openai",
        upstream_url=upstream.url,
        disclosure=False,
        journal=None,
        verify_calls="off",  # its address is not this machine's, and so is the API's
    )
    app = create_app(settings)
    with TestClient(app, base_url="http://10.0.0.7:8080") as client:
        assert client.portal is not None
        shut_down = partial(client.portal.call, app.state.service.registry.shut_down)
        patience = threading.Timer(15, shut_down)  # its sockets wait for ever
        patience.start()
        yield client
        patience.cancel()
        shut_down()
        app.state.service.close()


def signed(url: str, form: dict[str, str] | None = None, token: str = TOKEN) -> dict[str, str]:
    return {"X-Twilio-Signature": RequestValidator(token).compute_signature(url, form or {})}


def ring(client: TestClient, **fields: str) -> Any:
    form = {"CallSid": CALL, "AccountSid": ACCOUNT, "From": "+15550001111", **fields}
    headers = signed(f"{PUBLIC}/incoming-call", form)
    return client.post("/incoming-call", data=form, headers=headers)


def stream_of(document: str) -> tuple[str, dict[str, str]]:
    """The stream's URL and parameters, as the carrier reads them."""
    stream = ET.fromstring(document).find("./Connect/Stream")
    assert stream is not None
    return stream.get("url", ""), {p.get("name", ""): p.get("value", "") for p in stream.iter("Parameter")}


@contextlib.contextmanager
def stream(client: TestClient, parameters: dict[str, str]) -> Iterator[tuple[WebSocketTestSession, Any]]:
    headers = signed("wss://voice.example.com/media-stream")
    frames = CarrierFrames(CALL, ACCOUNT, STREAM)
    with client.websocket_connect("/media-stream", headers=headers) as websocket:
        websocket.send_text(frames.connected())
        websocket.send_text(frames.start(parameters))
        yield websocket, frames


def hear(websocket: WebSocketTestSession, frames: CarrierFrames, until: bytes) -> bytes:
    """What comes until that was heard. Marks are echoed at once: this caller hears very fast."""
    sound = b""
    while until not in sound:  # or the socket closes, which raises
        frame = websocket.receive_text()
        match carrier_message(frame, STREAM):
            case "media":
                sound += b64decode(json.loads(frame)["media"]["payload"])
            case "mark":
                websocket.send_text(frames.mark(json.loads(frame)["mark"]["name"]))
    return sound


def test_a_call_from_the_webhook_to_the_last_word(client: TestClient, upstream: EmbeddedUpstream) -> None:
    answer = ring(client)
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/xml")
    url, parameters = stream_of(answer.text)
    assert url == "wss://voice.example.com/media-stream"
    with stream(client, parameters) as (websocket, frames):
        assert hear(websocket, frames, marked(1, 200)) == marked(1, 200)
        said = b"\xff" * 4_000 + WORDS + b"\xff" * 8_000
        for at in range(0, len(said), 160):
            websocket.send_text(frames.media(said[at : at + 160], at // 8))
        hear(websocket, frames, WORDS)
        websocket.send_text(frames.stop())
        with pytest.raises(WebSocketDisconnect) as closed:
            hear(websocket, frames, b"nothing more")
        assert closed.value.code == 1000
    [session] = upstream.sessions
    assert isinstance(session.machine, KeepingServer)
    assert {client_event(str(frame))["type"] for frame in session.machine.got} >= {
        "session.update",
        "response.create",
        "input_audio_buffer.append",
    }


def test_the_model_is_dialled_when_the_phone_rings(client: TestClient, upstream: EmbeddedUpstream) -> None:
    ring(client)
    ring(client)  # a webhook that is tried again is still one call
    assert client.portal is not None
    client.portal.call(asyncio.sleep, 0.2)
    assert len(upstream.sessions) == 1
    server = upstream.sessions[0].machine
    assert isinstance(server, KeepingServer)
    # Before a stream is proven, the model gets its configuration and nothing else.
    assert [client_event(str(frame))["type"] for frame in server.got] == ["session.update"]


@pytest.mark.parametrize("route", ["/incoming-call", "/after-stream", "/stream-status"])
def test_a_webhook_that_is_not_the_carrier_s(
    client: TestClient, upstream: EmbeddedUpstream, route: str
) -> None:
    form = {"CallSid": CALL, "AccountSid": ACCOUNT}
    forged = [
        {},
        {"X-Twilio-Signature": "AAAAAAAAAAAAAAAAAAAAAAAAAAA="},
        signed(PUBLIC + route, form, token="somebody else's token, as long as ours"),
        signed(f"http://10.0.0.7:8080{route}", form),
        signed(PUBLIC + route, {**form, "CallSid": f"CA{2:032x}"}),
    ]
    assert [client.post(route, data=form, headers=headers).status_code for headers in forged] == [403] * 5
    assert client.post(route, data=form, headers=signed(PUBLIC + route, form)).status_code in (200, 204)
    assert len(upstream.sessions) <= 1


def test_a_stream_that_is_not_the_carrier_s(client: TestClient) -> None:
    _, parameters = stream_of(ring(client).text)
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/media-stream"):
        pass
    for token in ("", "forged", parameters["token"][:-3] + "abc"):
        with stream(client, {"token": token}) as (websocket, _):
            with pytest.raises(WebSocketDisconnect) as closed:
                websocket.receive_text()
            assert (closed.value.code, closed.value.reason) == (1008, "refused: token")
    with stream(client, parameters) as (websocket, frames):
        hear(websocket, frames, marked(1, 200))


def test_it_lives_and_says_whether_calls_may_come(client: TestClient) -> None:
    assert client.get("/healthz").status_code == 200
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["reasons"]) == (200, [])
