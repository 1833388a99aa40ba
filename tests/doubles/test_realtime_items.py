"""Items that the client makes, reads and deletes, and transcripts that come late or not at all."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import pytest

from bridge.doubles.agents import Parrot, Speech
from tests.doubles.conftest import AT_ONCE, error_of, phone_client, scripted, silence

HI: dict[str, Any] = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi."}]}


def test_an_item_is_added_and_done() -> None:
    client = scripted()
    added, done = client.now("conversation.item.create", item={**HI, "id": "mine"})
    assert (added["type"], done["type"]) == ("conversation.item.added", "conversation.item.done")
    assert added["item"] == done["item"]
    assert added["item"] == {**HI, "id": "mine", "object": "realtime.item", "status": "completed"}
    assert added["previous_item_id"] is None


def test_items_go_where_they_are_put() -> None:
    client = scripted()
    for item_id, after in (("a", None), ("b", None), ("c", "a"), ("d", "root")):
        place = {} if after is None else {"previous_item_id": after}
        client.now("conversation.item.create", item={**HI, "id": item_id}, **place)
    assert list(client.server.items) == ["d", "a", "c", "b"]
    assert [event["previous_item_id"] for event in client.of("conversation.item.added")] == [
        None,
        "a",
        "a",
        None,
    ]


def test_an_item_without_id_gets_one_that_is_free() -> None:
    client = scripted()
    client.now("conversation.item.create", item={**HI, "id": "item_1"})
    client.now("conversation.item.create", item=HI)
    assert list(client.server.items) == ["item_1", "item_2"]


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ({"item": {**HI, "id": "taken"}}, "item_create_duplicate_item_id", "item.id"),
        ({"item": {**HI, "id": "x" * 33}}, "invalid_value", "item.id"),
        (
            {"item": HI, "previous_item_id": "gone"},
            "item_create_invalid_previous_item_id",
            "previous_item_id",
        ),
        ({"item": {**HI, "type": "poem"}}, "invalid_value", "item.type"),
        ({"item": {**HI, "role": "developer"}}, "invalid_value", "item.role"),
        (
            {"item": {**HI, "content": [{"type": "text", "text": "x"}]}},
            "invalid_value",
            "item.content[0].type",
        ),
        (
            {"item": {**HI, "content": [{"type": "output_text", "text": "x"}]}},
            "invalid_value",
            "item.content",
        ),
        (
            {"item": {**HI, "role": "assistant", "content": [{"type": "output_audio", "audio": "////"}]}},
            "invalid_value",
            "item.content[0].type",
        ),
        (
            {"item": {**HI, "content": [{"type": "input_audio", "audio": "?"}]}},
            "invalid_value",
            "item.content",
        ),
        (
            {"item": {"type": "function_call_output", "call_id": "c"}},
            "missing_required_parameter",
            "item.output",
        ),
    ],
)
def test_an_item_that_can_not_be(event: dict[str, Any], code: str, param: str) -> None:
    client = scripted()
    client.now("conversation.item.create", item={**HI, "id": "taken"})
    events = client.now("conversation.item.create", event_id="i1", **event)
    assert error_of(events) == {"code": code, "param": param, "event_id": "i1"}
    assert list(client.server.items) == ["taken"]


def test_a_history_can_be_restored_with_its_tool_calls() -> None:
    client = phone_client(Parrot(), **AT_ONCE)
    history: list[dict[str, Any]] = [
        {"id": "u1", **HI},
        {
            "id": "a1",
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Yes?"}],
        },
        {"id": "f1", "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"id": "o1", "type": "function_call_output", "call_id": "c1", "output": "42"},
        {
            "id": "s1",
            "type": "message",
            "role": "system",
            "content": [{"type": "input_text", "text": "Go on."}],
        },
    ]
    for item in history:
        client.now("conversation.item.create", item=item)
    assert list(client.server.items) == ["u1", "a1", "f1", "o1", "s1"]
    assert client.server.errors == []


def test_sound_can_be_inserted_for_the_caller(voice: bytes) -> None:
    client = phone_client(Parrot(), **AT_ONCE)
    part = {"type": "input_audio", "audio": b64encode(voice).decode(), "transcript": "Hum."}
    added, _ = client.now("conversation.item.create", item={**HI, "content": [part]})
    assert added["item"]["content"] == [{"type": "input_audio", "transcript": "Hum."}]
    client.responds()
    assert client.audio("item_2") == voice
    assert client.last("response.output_audio_transcript.done")["transcript"] == "Hum."


def test_an_item_is_retrieved_with_its_sound(voice: bytes) -> None:
    client = scripted(Speech(1000, "Hello."), **AT_ONCE)
    client.hears(voice + silence(600))
    sounds = {}
    for item_id in ("item_1", "item_2"):
        (event,) = client.now("conversation.item.retrieve", item_id=item_id)
        assert event["type"] == "conversation.item.retrieved"
        sounds[event["item"]["role"]] = b64decode(event["item"]["content"][0]["audio"])
    assert sounds == {"user": voice + silence(500), "assistant": b"\x01" * 8000}
    assert error_of(client.now("conversation.item.retrieve", item_id="x")) == {
        "code": "item_retrieve_invalid_item_id",
        "param": "item_id",
        "event_id": None,
    }


def test_an_item_without_sound_is_retrieved_as_it_is() -> None:
    client = scripted()
    added, _ = client.now("conversation.item.create", item={**HI, "id": "mine"})
    (event,) = client.now("conversation.item.retrieve", item_id="mine")
    assert event["item"] == added["item"]


def test_a_deleted_item_is_gone() -> None:
    client = scripted(Speech(1000), **AT_ONCE)
    client.responds()
    (event,) = client.now("conversation.item.delete", item_id="item_1")
    assert (event["type"], event["item_id"]) == ("conversation.item.deleted", "item_1")
    assert client.server.deleted == ["item_1"]
    assert client.server.items == {}
    assert client.server.conversation.ever["item_1"].audio_ms == 1000
    error = error_of(client.now("conversation.item.delete", item_id="item_1", event_id="d"))
    assert error == {"code": "item_delete_invalid_item_id", "param": "item_id", "event_id": "d"}


def test_an_item_can_be_deleted_while_it_is_made() -> None:
    client = scripted(Speech(2000), latency_ms=0, speed=1)
    client.responds()
    client.until(1000)
    assert client.kinds(client.now("conversation.item.delete", item_id="item_1")) == [
        "conversation.item.deleted"
    ]
    client.until(3000)
    assert client.of("conversation.item.done") == []
    assert client.kinds()[-2:] == ["response.output_item.done", "response.done"]


# --- the caller's words

TRANSCRIBED = "conversation.item.input_audio_transcription."
EARS = {"audio": {"input": {"format": {"type": "audio/pcmu"}, "transcription": {"model": "gpt-transcribe"}}}}


def test_without_configuration_nobody_transcribes(voice: bytes) -> None:
    client = scripted(Speech(100), **AT_ONCE)
    client.hears(voice + silence(2000))
    assert not any(kind.startswith(TRANSCRIBED) for kind in client.kinds())


def test_a_transcript_comes_after_the_turn(voice: bytes) -> None:
    client = scripted(Speech(100), **AT_ONCE, session=EARS, transcribe=lambda _: "Two words.")
    client.hears(voice + silence(1000))
    assert client.kinds()[-3:] == ["response.done", TRANSCRIBED + "delta", TRANSCRIBED + "completed"]
    completed = client.events[-1]
    assert (completed["transcript"], completed["item_id"]) == ("Two words.", "item_1")
    assert completed["usage"]["input_token_details"] == {"text_tokens": 0, "audio_tokens": 15}
    assert client.server.items["item_1"].text == "Two words."


def test_transcripts_can_overtake_each_other(voice: bytes) -> None:
    client = scripted(detection=None, session=EARS, transcription_ms=(5000, 100))
    client.now("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
    for _ in range(2):
        client.hears(voice)
        client.now("input_audio_buffer.commit")
    client.until(10_000)
    assert [event["item_id"] for event in client.of(TRANSCRIBED + "completed")] == ["item_2", "item_1"]


def test_a_transcription_can_fail(voice: bytes) -> None:
    client = scripted(Speech(100), **AT_ONCE, session=EARS, transcribe=lambda _: None)
    client.hears(voice + silence(1000))
    failed = client.last(TRANSCRIBED + "failed")
    assert failed["item_id"] == "item_1"
    assert failed["error"]["code"] == "audio_unintelligible"
