"""Which vendor answers, with whose key, at which address, and with which models where none are named."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from bridge.core.messages import SessionConfig
from bridge.server.model_dial import proof_for
from bridge.settings.rules import WrongSettings
from bridge.settings.settings import Settings, load_settings
from bridge.sockets.dial import DialError
from bridge.upstreams import UPSTREAMS

REAL: dict[str, Any] = {
    "env_file": None,
    "public_url": "https://voice.example.com",
    "twilio_auth_token": "0123456789abcdef0123456789abcdef",
}
KEYS: dict[str, Any] = {
    "openai_api_key": "sk-of-openai",
    "azure_api_key": "of-azure",
    "xai_api_key": "xai-of-xai",
}
AZURE: dict[str, Any] = {
    "upstream": "azure",
    "azure_endpoint": "https://mine.openai.azure.com/",
    "azure_api_key": "of-azure",
    "model": "voice-eu",
    "transcribe": "scribe-eu",
}


def settings(**given: Any) -> Settings:
    return load_settings(**{**REAL, **given})


def mistakes(**given: Any) -> dict[str, str]:
    with pytest.raises(WrongSettings) as caught:
        settings(**given)
    return {one.name: one.what for one in caught.value.mistakes}


def proof(made: Settings) -> dict[str, str]:
    """The headers of the dial that these settings lead to."""
    dialled = UPSTREAMS[made.upstream](1, made.vendor_url(made.upstream)).dial(
        SessionConfig(model=made.model)
    )
    return asyncio.run(proof_for(made, dialled))


# --- models and addresses


@pytest.mark.parametrize(
    ("upstream", "model", "voice", "transcription"),
    [
        ("openai", "gpt-realtime-2.1", "marin", "gpt-transcribe"),
        ("xai", "grok-voice-latest", "ara", "grok-transcribe"),
    ],
)
def test_what_is_not_set_is_as_it_is_usual_at_that_vendor(
    upstream: str, model: str, voice: str, transcription: str
) -> None:
    session = settings(upstream=upstream, **KEYS).session_config()
    assert (session.model, session.voice, session.transcription) == (model, voice, transcription)
    named = settings(upstream=upstream, **KEYS, model="m", voice="v", transcribe="off").session_config()
    assert (named.model, named.voice, named.transcription) == ("m", "v", None)


def test_azure_knows_models_by_the_names_of_deployments() -> None:
    made = settings(**AZURE)
    assert made.vendor_url("azure") == "https://mine.openai.azure.com"
    dialled = UPSTREAMS["azure"](1, made.vendor_url("azure")).dial(made.session_config())
    assert dialled.url == "wss://mine.openai.azure.com/openai/v1/realtime?model=voice-eu"
    unnamed = mistakes(**{name: AZURE[name] for name in AZURE if name not in ("model", "transcribe")})
    assert set(unnamed) == {"BRIDGE_MODEL", "BRIDGE_TRANSCRIBE"}
    assert "deployments" in unnamed["BRIDGE_MODEL"]


@pytest.mark.parametrize(
    ("missing", "name"),
    [("azure_endpoint", "AZURE_OPENAI_ENDPOINT"), ("azure_api_key", "AZURE_OPENAI_API_KEY")],
)
def test_what_azure_cannot_do_without(missing: str, name: str) -> None:
    assert list(mistakes(**{**AZURE, missing: None})) == [name]


@pytest.mark.parametrize(
    "endpoint",
    [
        "mine.openai.azure.com",
        "http://mine.openai.azure.com",
        "https://mine.openai.azure.com/voice-live/realtime",
        "https://mine.openai.azure.com/?api-key=secret",
        "https://key@mine.openai.azure.com",
    ],
)
def test_an_endpoint_that_is_none_is_refused_without_being_repeated(endpoint: str) -> None:
    with pytest.raises(WrongSettings) as caught:
        settings(**{**AZURE, "azure_endpoint": endpoint})
    assert caught.value.mistakes[0].name == "AZURE_OPENAI_ENDPOINT"
    assert "secret" not in str(caught.value)


# --- keys


@pytest.mark.parametrize(
    ("given", "headers"),
    [
        ({"upstream": "openai"}, {"Authorization": "Bearer sk-of-openai"}),
        ({"upstream": "xai"}, {"Authorization": "Bearer xai-of-xai"}),
        (AZURE, {"api-key": "of-azure"}),
    ],
    ids=["openai", "xai", "azure"],
)
def test_only_the_vendor_gets_the_vendors_key(given: dict[str, Any], headers: dict[str, str]) -> None:
    assert proof(settings(**{**KEYS, **given})) == headers


def test_the_key_of_another_vendor_answers_no_call() -> None:
    with pytest.raises(WrongSettings) as caught:
        settings(xai_api_key="xai-of-xai")
    [mistake] = caught.value.mistakes
    assert mistake.name == "OPENAI_API_KEY"
    assert "BRIDGE_UPSTREAM=xai" in mistake.cure
    assert mistakes(upstream="xai", openai_api_key="sk-of-openai") == {
        "XAI_API_KEY": "is not set, so no call could be answered"
    }


def test_no_key_is_ever_told() -> None:
    made = settings(**{**KEYS, **AZURE})
    assert {"sk-of-openai", "of-azure", "xai-of-xai"} <= set(made.unspeakable())
    assert "of-azure" not in repr(made)


# --- a token of Microsoft Entra


async def later() -> str:
    return "a.token.made.later"


@pytest.mark.parametrize(
    ("source", "token"), [(lambda: "a.token", "a.token"), (later, "a.token.made.later")], ids=["now", "later"]
)
def test_a_function_gives_the_token_for_each_dial(source: Any, token: str) -> None:
    made = settings(**{**AZURE, "azure_api_key": None, "azure_token": source})
    assert proof(made) == {"Authorization": f"Bearer {token}"}


def test_the_function_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "entra_tokens.py").write_text(
        "count = 0\ndef fresh():\n global count; count += 1\n return f't{count}'\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    made = settings(**{**AZURE, "azure_token": "entra_tokens:fresh"})
    assert [proof(made)["Authorization"] for _ in range(2)] == ["Bearer t1", "Bearer t2"]
    assert mistakes(**{**AZURE, "azure_token": "entra_tokens:stale"}) == {
        "BRIDGE_AZURE_TOKEN": "names no function"
    }
    assert list(mistakes(**{**AZURE, "azure_token": "no_such_module:x"})) == ["BRIDGE_AZURE_TOKEN"]


def fails() -> str:
    raise RuntimeError("the token is secret")


@pytest.mark.parametrize("source", [fails, lambda: "", lambda: None, lambda: "two\nlines", lambda: b"bytes"])
def test_without_a_token_there_is_no_dial_and_nothing_of_it_is_told(source: Any) -> None:
    made = settings(**{**AZURE, "azure_token": source})
    with pytest.raises(DialError) as caught:
        proof(made)
    assert caught.value.code == "token"
    assert "secret" not in str(caught.value)


def test_a_token_that_does_not_come_keeps_no_dial_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.server.model_dial.TOKEN_S", 0.02)

    done, began_s = threading.Event(), time.monotonic()

    async def never() -> str:
        await asyncio.to_thread(done.wait, 5)
        return "late"

    for source in (never, lambda: done.wait(5)):
        with pytest.raises(DialError, match="TimeoutError"):
            proof(settings(**{**AZURE, "azure_token": source}))  # its loop ends: no thread is waited for
    assert time.monotonic() - began_s < 4
    done.set()
