"""The doubles of vendors who speak nearly the same: what each was seen to do on the wire."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest

from bridge.doubles.agents import Agent, Parrot, Scripted, Speech, ToolCall
from bridge.doubles.azure import PERSONA, SCRIBE, azure_options
from bridge.doubles.xai import xai_options
from tests.doubles.conftest import AT_ONCE, VOICE, Client, silence

TOOL = {"type": "function", "name": "hours", "parameters": {"type": "object", "properties": {}}}
THEIRS: dict[str, Any] = {
    "instructions": "Be brief.",
    "voice": "ara",
    "turn_detection": {"type": "server_vad", "create_response": True, "interrupt_response": True},
    "audio": {
        "input": {"format": {"type": "audio/pcmu"}, "transcription": {"model": "grok-transcribe"}},
        "output": {"format": {"type": "audio/pcmu"}},
    },
    "tools": [TOOL],
}
TRANSCRIPTION = "conversation.item.input_audio_transcription."


def xai(agent: Agent, **options: Any) -> Client:
    """A session that is configured in their shape."""
    client = Client(agent, made=xai_options, **AT_ONCE, **options)
    client.now("session.update", session=THEIRS)
    return client


# --- xAI


def test_a_session_is_told_in_their_shape() -> None:
    client = xai(Scripted([]))
    created = client.of("session.created")[0]["session"]
    assert created["turn_detection"] == {"type": None}
    assert created["voice"] == "ara"
    assert "audio" not in created
    updated = client.last("session.updated")["session"]
    assert updated["turn_detection"]["type"] == "server_vad"
    assert updated["input_audio_format"] == updated["output_audio_format"] == "not specified"
    assert updated["audio"]["output"] == {"format": {"type": "audio/pcmu"}, "transport": "json"}
    assert updated["audio"]["input"]["transcription"] == {"model": "grok-transcribe"}
    assert updated["turn_detection"] == THEIRS["turn_detection"], "as it was asked, without defaults"
    assert updated["tools"] == [
        {"type": "function", "function": {k: v for k, v in TOOL.items() if k != "type"}}
    ]


def test_a_response_is_bare_and_its_usage_stands_beside_it() -> None:
    client = xai(Scripted([Speech(2_090, "We are open.")]))
    client.responds(metadata={"tag": "greeting"})
    started, done = client.last("response.created")["response"], client.last("response.done")
    assert set(started) == {"id", "object", "output", "status", "status_details", "usage"}
    assert (done["response"]["usage"], done["response"]["status_details"]) == ({}, "unimplemented")
    assert done["response_id"] == done["response"]["id"]
    assert done["usage"]["output_audio_seconds"] == 2.09
    assert done["usage"]["billable_audio_seconds"] == 2
    assert done["usage"]["output_token_details"]["audio_tokens"] > 0


def test_the_callers_words_are_told_as_they_grow() -> None:
    client = xai(Parrot(), transcribe=lambda _item: "Hello, my name is Ann.")
    client.hears(VOICE + silence(600))
    client.until(client.now_ms + 1_000)
    told = [(event["transcript"], event.get("status")) for event in client.of(f"{TRANSCRIPTION}completed")]
    assert told == [
        ("Hello,?", "in_progress"),
        ("Hello, my name?", "in_progress"),
        ("Hello, my name is Ann.", "completed"),
    ]
    assert client.of(f"{TRANSCRIPTION}updated")[-1]["transcript"] == "Hello, my name is Ann."
    assert client.of(f"{TRANSCRIPTION}delta") == []


def test_its_own_words_are_whole_sentences_with_the_time_of_their_beginning() -> None:
    client = xai(Scripted([Speech(4_000, "One two. Three four.")]))
    client.responds()
    told = client.of("response.output_audio_transcript.delta")
    assert [(event["delta"], event["start_time"]) for event in told] == [
        ("One two. ", 0.0),
        ("Three four.", 1.8),
    ]
    sounds = client.of("response.output_audio.delta")
    assert sum(event["audio_duration_ms"] for event in sounds) == 4_000
    assert [event["ts"] for event in sounds[:2]] == [0, sounds[0]["audio_duration_ms"]]
    assert client.events.index(told[0]) < client.events.index(sounds[0])
    assert len(b64decode(sounds[0]["delta"])) == 8 * sounds[0]["audio_duration_ms"]


def test_truncate_is_refused_and_pings_come_by_themselves() -> None:
    client = xai(Scripted([Speech(1_000, "Hello.")]))
    client.responds()
    cut = {"item_id": client.last("response.output_audio.delta")["item_id"]}
    [error] = client.now("conversation.item.truncate", **cut, content_index=0, audio_end_ms=100)
    assert error["error"]["code"] == "unknown_event"
    client.until(30_000)
    assert [event["timestamp"] for event in client.of("ping")][:2] == [1_700_000_000_000, 1_700_000_010_000]


def test_sound_before_the_first_update_is_lost() -> None:
    client = Client(Parrot(), made=xai_options, **AT_ONCE)
    client.hears(VOICE)
    client.now("session.update", session=THEIRS)
    client.hears(silence(1_000))
    assert client.of("input_audio_buffer.speech_started") == []
    client.hears(VOICE)
    assert len(client.of("input_audio_buffer.speech_started")) == 1


def test_a_resumed_session_replays_what_was_generated_before_it_is_ready() -> None:
    said = (("user", "Opening hours?"), ("assistant", "We are open from nine to five."))
    client = xai(Scripted([]), replayed=said)
    kinds = client.kinds()
    assert kinds.count("conversation.item.added") == 2
    assert kinds.index("conversation.item.added") < kinds.index("session.updated")
    assert client.of("conversation.item.added")[1]["item"]["content"] == [
        {"type": "text", "text": "We are open from nine to five."}
    ]
    client.now("session.update", session={"instructions": "Again."})
    assert client.kinds().count("conversation.item.added") == 2


def test_what_stands_in_the_ga_place_is_taken_too() -> None:
    """Clients that know only the GA shape can talk to it, and do."""
    client = Client(Parrot(), made=xai_options, **AT_ONCE)
    heard = {"format": {"type": "audio/pcmu"}, "turn_detection": {"type": "server_vad"}}
    client.now("session.update", session={"type": "realtime", "audio": {"input": heard}})
    assert client.server.session.turn_detection is not None
    [error] = client.now("session.update", session={"instrucions": "Hello."})
    assert error["error"]["code"] == "unknown_parameter"


# --- Azure


def azure(agent: Agent, session: dict[str, Any] | None = None, **options: Any) -> Client:
    client = Client(agent, made=azure_options, **AT_ONCE, **options)
    client.now("session.update", session={"type": "realtime", **(session or {})})
    return client


def test_azures_defaults_differ() -> None:
    session = azure(Scripted([]), {"audio": {"input": {"turn_detection": {"type": "server_vad"}}}}).last(
        "session.updated"
    )["session"]
    assert session["instructions"] == PERSONA
    assert session["audio"]["output"]["voice"] == "alloy"
    assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 200


@pytest.mark.parametrize(("scribe", "fails"), [(SCRIBE, False), ("gpt-transcribe", True)])
def test_a_transcription_without_its_deployment_fails_each_turn(scribe: str, fails: bool) -> None:
    heard = {"format": {"type": "audio/pcmu"}, "transcription": {"model": scribe}}
    client = azure(Parrot(), {"audio": {"input": heard}})
    for _ in range(2):
        client.hears(VOICE + silence(1_000))
        client.until(client.now_ms + 3_000)
    failed = client.of(f"{TRANSCRIPTION}failed")
    assert [event["error"]["code"] for event in failed] == ["DeploymentNotFound"] * 2 * fails
    assert len(client.of(f"{TRANSCRIPTION}completed")) == 2 * (not fails)


def test_an_older_deployment_refuses_a_field_and_all_that_came_with_it() -> None:
    client = Client(
        Scripted([ToolCall("hours")]), made=azure_options, unknown_fields=frozenset({"reasoning"})
    )
    wanted = {"type": "realtime", "instructions": "Be brief.", "reasoning": {"effort": "low"}}
    [error] = client.now("session.update", session=wanted)
    assert (error["error"]["code"], error["error"]["param"]) == ("unknown_parameter", "session.reasoning")
    assert client.server.session.tree["instructions"] == PERSONA
