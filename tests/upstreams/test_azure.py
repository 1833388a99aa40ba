"""Azure OpenAI Realtime: its addresses, its deployments, and defaults that are no differences."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.core import messages as m
from bridge.errors import ConfigError
from bridge.upstreams import UPSTREAMS, Azure
from bridge.upstreams.dial import Auth
from tests.upstreams import published

HOST = "wss://mine.openai.azure.com"
PERSONA = "You are a helpful assistant. " * 18


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("https://mine.openai.azure.com", f"{HOST}/openai/v1/realtime?model=voice"),
        ("https://mine.openai.azure.com/", f"{HOST}/openai/v1/realtime?model=voice"),
        ("https://mine.openai.azure.com/openai/v1/", f"{HOST}/openai/v1/realtime?model=voice"),
        ("wss://mine.openai.azure.com/openai/v1/realtime", f"{HOST}/openai/v1/realtime?model=voice"),
        ("https://gateway.example.com/ai/realtime", "wss://gateway.example.com/ai/realtime?model=voice"),
        ("http://127.0.0.1:9000", "ws://127.0.0.1:9000/openai/v1/realtime?model=voice"),
    ],
)
def test_a_resources_address_and_its_deployment(endpoint: str, url: str) -> None:
    dial = Azure(1, endpoint).dial(m.SessionConfig(model="voice"))
    assert dial.url == url
    assert (dial.auth, dial.key) == (Auth.API_KEY, "AZURE_OPENAI_API_KEY")


def test_without_an_endpoint_there_is_no_place_to_dial() -> None:
    with pytest.raises(ConfigError, match="AZURE_OPENAI_ENDPOINT"):
        Azure()


@pytest.mark.parametrize("path", ["/voice-live/realtime", "/voice-live/", "/voice-live"])
def test_voice_live_is_another_api(path: str) -> None:
    with pytest.raises(ConfigError, match="Voice Live"):
        Azure(1, f"https://mine.services.ai.azure.com{path}")


def test_all_that_has_another_default_there_is_sent() -> None:
    config = m.SessionConfig(model="voice", instructions="Be brief.", transcription="scribe")
    session = published.client_event(Azure(1, HOST).write(m.ConfigureSession(config)))["session"]
    heard = session["audio"]["input"]
    assert heard["turn_detection"]["silence_duration_ms"] == 500
    assert heard["turn_detection"]["prefix_padding_ms"] == 300
    assert heard["transcription"] == {"model": "scribe"}
    assert session["audio"]["output"]["voice"] == "marin"
    assert session["instructions"] == "Be brief."


@pytest.mark.parametrize(("instructions", "differs"), [("", 0), ("Be brief.", 1)])
def test_a_prompt_of_its_own_in_the_place_of_a_blank_one_is_no_difference(
    instructions: str, differs: int
) -> None:
    model = Azure(1, HOST)
    config = m.SessionConfig(model="voice", instructions=instructions)
    sent: dict[str, Any] = json.loads(model.write(m.ConfigureSession(config, again=True)))["session"]
    told = {**sent, "instructions": PERSONA}
    updated = model.parse(json.dumps({"type": "session.updated", "session": told}))
    assert isinstance(updated, m.SessionUpdated)
    assert len(updated.differences) == differs


def test_a_transcription_without_its_deployment_says_why() -> None:
    failed = Azure(1, HOST).parse(
        json.dumps({
            "type": "conversation.item.input_audio_transcription.failed",
            "item_id": "item_1",
            "content_index": 0,
            "error": {
                "type": "server_error",
                "code": "DeploymentNotFound",
                "message": "Input transcription failed for item 'item_1'.",
                "param": None,
            },
        })
    )  # fmt: skip
    assert isinstance(failed, m.CallerTranscribed)
    assert failed.failed
    assert failed.why.startswith("DeploymentNotFound: ")


def test_a_rate_limit_tells_its_time_in_words() -> None:
    error = {
        "type": "tokens",
        "code": "inference_rate_limit_exceeded",
        "message": "Rate limit reached. Please try again in 6.946s.",
    }
    details = {"type": "failed", "error": error}
    response = {"id": "r1", "status": "failed", "status_details": details, "usage": None, "metadata": None}
    done = Azure(1, HOST).parse(json.dumps({"type": "response.done", "response": response}))
    assert isinstance(done, m.ResponseDone)
    assert (done.why, done.retry_ms) == ("inference_rate_limit_exceeded", 6_946)


def test_it_can_all_that_openai_can() -> None:
    assert UPSTREAMS["azure"].capabilities == UPSTREAMS["openai"].capabilities
