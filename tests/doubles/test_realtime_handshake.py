"""Which requests the Realtime double gives a session, and in which words it refuses the others."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bridge.doubles.agents import Parrot
from bridge.doubles.handshake import beta_refusal, refusal
from bridge.doubles.realtime import RealtimeServer
from bridge.errors import ConfigError
from bridge.simulators.certificates import Certificate, self_signed
from bridge.simulators.servers import EmbeddedUpstream
from tests.doubles.conftest import published_types

MODEL = {"model": "gpt-realtime-2.1"}


@pytest.mark.parametrize(
    ("query", "headers", "subprotocols", "code"),
    [
        (MODEL, {"openai-beta": "realtime=v1"}, [], "beta_api_shape_disabled"),
        (MODEL, {"openai-beta": "assistants=v2, realtime=v1"}, [], "beta_api_shape_disabled"),
        (MODEL, {}, ["realtime", "openai-beta.realtime-v1"], "beta_api_shape_disabled"),
        ({}, {}, ["realtime"], "missing_model"),
        ({"model": ""}, {}, [], "missing_model"),
        ({"intent": "transcription"}, {}, [], "invalid_model"),
        ({"intent": "transcription", **MODEL}, {}, [], "invalid_model"),
    ],
)
def test_refused_in_an_event_and_then_a_close(
    query: dict[str, str], headers: dict[str, str], subprotocols: list[str], code: str
) -> None:
    refused = refusal(query, headers, subprotocols)
    assert refused is not None
    (frame,) = refused.frames
    published_types().validate_python(json.loads(frame))
    assert json.loads(frame)["error"]["code"] == code
    assert (refused.code, refused.reason) == (4000, f"invalid_request_error.{code}")


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        (MODEL, {"authorization": "Bearer any"}),
        (MODEL, {"openai-beta": "assistants=v2"}),
        (MODEL | {"intent": "conversation"}, {}),
        ({"deployment": "mine", "api-version": "2025-08-28"}, {"api-key": "any"}),
    ],
)
def test_let_in(query: dict[str, str], headers: dict[str, str]) -> None:
    assert refusal(query, headers) is None


def over_a_socket(rest: str, **options: Any) -> tuple[list[Any], tuple[int, str] | None]:
    """The first events that an independent client gets, and how it was closed."""

    async def main() -> tuple[list[Any], tuple[int, str] | None]:
        upstream = EmbeddedUpstream(lambda: RealtimeServer(Parrot(b"")))
        async with upstream.serve() as url, connect(url.removesuffix("/v1/realtime") + rest, **options) as ws:
            events: list[Any] = []
            try:
                while len(events) < 2:
                    events.append(json.loads(await ws.recv()))
            except ConnectionClosed as closed:
                got = closed.rcvd
                return events, (got.code, got.reason) if got else None
            return events, None

    return asyncio.run(asyncio.wait_for(main(), 10))


@pytest.mark.parametrize(
    ("rest", "model"),
    [
        ("/v1/realtime?model=gpt-realtime-mini", "gpt-realtime-mini"),
        ("/realtime?model=any%20name", "any name"),
        ("/openai/v1/realtime?model=my-deployment", "my-deployment"),
        ("/openai/realtime?api-version=2025-08-28&deployment=mine", "mine"),
    ],
)
def test_each_path_answers_and_the_session_has_the_model_of_the_url(rest: str, model: str) -> None:
    events, closed = over_a_socket(rest)
    assert [event["type"] for event in events] == ["session.created", "conversation.created"]
    assert events[0]["session"]["model"] == model
    assert closed is None


def test_a_refusal_reaches_a_client_of_the_beta() -> None:
    events, closed = over_a_socket("/v1/realtime?model=m", additional_headers={"OpenAI-Beta": "realtime=v1"})
    assert [event["error"]["code"] for event in events] == ["beta_api_shape_disabled"]
    assert closed == beta_refusal()[1:]


def test_a_refusal_reaches_who_names_no_model() -> None:
    events, closed = over_a_socket("/v1/realtime")
    assert [event["error"]["code"] for event in events] == ["missing_model"]
    assert closed == (4000, "invalid_request_error.missing_model")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_a_client_that_speaks_tls_only() -> None:
    async def main(certificate: Certificate) -> str:
        trusting = ssl.create_default_context(cafile=certificate.certificate)
        upstream = EmbeddedUpstream(lambda: RealtimeServer(Parrot(b"")))
        async with (
            upstream.serve(certificate=certificate) as url,
            connect(f"{url}?model=m", ssl=trusting) as ws,
        ):
            assert url.startswith("wss://127.0.0.1:")
            kind: str = json.loads(await ws.recv())["type"]
            return kind

    with self_signed() as certificate:
        assert asyncio.run(asyncio.wait_for(main(certificate), 10)) == "session.created"
    assert not certificate.key.exists()


def test_where_a_certificate_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="--tls needs the command openssl"), self_signed():
        pass
