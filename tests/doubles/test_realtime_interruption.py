"""A caller who speaks while the model does, and what the client tells about it.

Realtime guide, "Interruption and truncation"; on a websocket the client owns playout and truncates itself.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest

from bridge.doubles.agents import Speech, ToolCall
from tests.doubles.conftest import AT_ONCE, Client, error_of, scripted, silence

CLOSING = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]
DELTA = "response.output_audio.delta"


def talking(voice: bytes, **options: Any) -> tuple[Client, list[dict[str, Any]]]:
    """Ten seconds of speech are being sent at real time when the caller cuts in; what came from there on."""
    client = scripted(
        Speech(10_000, "a b c d e f g h i j"), Speech(500), speed=1, delta_bytes=(800,), **options
    )
    client.responds()
    client.hears(silence(2000))
    return client, client.hears(voice[: 8 * 40])


def test_speech_cancels_the_response_after_speech_started(voice: bytes) -> None:
    client, events = talking(voice, late_deltas=0)
    kinds = client.kinds(events)
    cut = kinds.index("input_audio_buffer.speech_started")
    assert kinds[cut + 1 :] == CLOSING
    response = client.last("response.done")["response"]
    assert response["status"] == "cancelled"
    assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    (item,) = response["output"]
    assert item["status"] == "incomplete"
    assert item["content"] == [{"type": "output_audio", "transcript": "a b "}]
    assert client.server.items[item["id"]].audio_ms == 1800 == len(client.audio(item["id"])) // 8
    client.until(10_000)
    assert client.of(DELTA)[-1]["item_id"] == item["id"]
    assert client.kinds().count("response.done") == 1


def test_compatible_servers_say_done_first(voice: bytes) -> None:
    client, events = talking(voice, done_first=True)
    assert client.kinds(events)[-2:] == ["response.done", "input_audio_buffer.speech_started"]


def test_late_deltas_arrive_before_response_done(voice: bytes) -> None:
    client, events = talking(voice, late_deltas=3)
    kinds = client.kinds(events)
    cut = kinds.index("input_audio_buffer.speech_started")
    assert [kind for kind in kinds[cut + 1 :] if "transcript.delta" not in kind] == [DELTA] * 3 + CLOSING
    assert client.server.items["item_1"].audio_ms == 1800 + 300


def test_late_deltas_can_take_their_time(voice: bytes) -> None:
    client, _ = talking(voice, late_deltas=2, cancel_ms=90)
    began_ms = client.now_ms
    client.until(began_ms + 500)
    late = [
        (at - began_ms, event["type"])
        for at, event in zip(client.times, client.events, strict=True)
        if event["type"] in (DELTA, "response.done")
    ]
    assert late[-3:] == [(30, DELTA), (60, DELTA), (90, "response.done")]


def test_nothing_is_late_when_nothing_is_left(voice: bytes) -> None:
    client = scripted([Speech(100), ToolCall("slow", ms=10_000)], latency_ms=0, speed=1, late_deltas=5)
    client.responds()
    client.hears(silence(1000) + voice)
    assert len(client.of(DELTA)) == 1


@pytest.mark.parametrize("missing", ["response.done", "input_audio_buffer.speech_started"])
def test_either_event_can_fail_to_come(missing: str, voice: bytes) -> None:
    client, events = talking(voice, withhold=frozenset({missing}))
    kinds = client.kinds(events)
    assert missing not in kinds
    assert {"response.output_item.done"} < set(kinds)
    assert client.server.active is None


def test_where_the_server_does_not_interrupt_the_client_cancels(voice: bytes) -> None:
    detection = {"type": "server_vad", "interrupt_response": False}
    client = scripted(Speech(10_000), detection=detection, speed=1)
    client.responds()
    client.hears(silence(500) + voice)
    assert client.server.active is not None
    events = client.now("response.cancel", response_id="resp_1")
    assert client.kinds(events)[-1] == "response.done"
    details = client.last("response.done")["response"]["status_details"]
    assert details == {"type": "cancelled", "reason": "client_cancelled"}


def test_a_cancel_without_an_active_response_is_an_error(voice: bytes) -> None:
    client, _ = talking(voice, cancel_ms=100)
    error = {"code": "response_cancel_not_active", "param": None, "event_id": "x"}
    assert error_of(client.now("response.cancel", event_id="x")) == error  # it is being cancelled
    client.until(client.now_ms + 1000)
    assert error_of(client.now("response.cancel", event_id="x")) == error
    assert error_of(client.now("response.cancel", response_id="resp_9", event_id="x")) == error


def test_a_function_call_cut_by_the_caller_is_incomplete(voice: bytes) -> None:
    client = scripted(
        [Speech(100), ToolCall("book", {"name": "Ada Lovelace"}, ms=2000)], latency_ms=0, speed=10
    )
    client.responds()
    client.hears(silence(1000) + voice[:320])
    call = client.last("response.output_item.done")["item"]
    assert call["type"] == "function_call"
    assert call["status"] == "incomplete"
    assert call["arguments"] == '{"name": "Ada'[: len(call["arguments"])]
    assert client.last("response.function_call_arguments.done")["arguments"] == call["arguments"]
    assert client.last("response.done")["response"]["status"] == "cancelled"


def test_a_response_that_still_thinks_is_cancelled_without_an_item(voice: bytes) -> None:
    client = scripted(Speech(1000), latency_ms=5000)
    client.responds()
    client.hears(voice)
    assert client.last("response.done")["response"]["output"] == []
    assert client.of("response.output_item.added") == []


def test_a_second_start_of_speech_cancels_nothing_twice(voice: bytes) -> None:
    client, _ = talking(voice, cancel_ms=5000)
    cut_ms = client.now_ms
    client.hears(voice + silence(600) + voice)
    client.until(client.now_ms + 6000)
    assert len(client.of("input_audio_buffer.speech_started")) == 2
    done_ms = [at for at, kind in zip(client.times, client.kinds(), strict=True) if kind == "response.done"]
    assert done_ms == [cut_ms + 5000]


def test_an_answer_to_the_interruption_is_a_new_response(voice: bytes) -> None:
    client, _ = talking(voice)
    client.hears(voice + silence(600))
    client.until(client.now_ms + 2000)
    assert [done["response"]["status"] for done in client.of("response.done")] == ["cancelled", "completed"]
    assert list(client.server.items) == ["item_1", "item_2", "item_3"]


# --- truncate


def said(ms: int = 5000, **options: Any) -> Client:
    client = scripted(Speech(ms, "All of it."), **AT_ONCE, **options)
    client.responds()
    return client


def truncate(client: Client, ms: int, item_id: str = "item_1", index: int = 0) -> list[dict[str, Any]]:
    cut = {"item_id": item_id, "content_index": index, "audio_end_ms": ms}
    return client.now("conversation.item.truncate", event_id="t1", **cut)


def test_a_truncated_item_is_as_long_as_was_heard_and_has_no_words() -> None:
    client = said()
    (event,) = truncate(client, 1300)
    assert event == {
        "type": "conversation.item.truncated",
        "event_id": event["event_id"],
        "item_id": "item_1",
        "content_index": 0,
        "audio_end_ms": 1300,
    }
    assert client.server.truncations == {"item_1": 1300}
    (event,) = client.now("conversation.item.retrieve", item_id="item_1")
    (part,) = event["item"]["content"]
    assert b64decode(part["audio"]) == b"\x01" * 10_400
    assert "transcript" not in part


def test_all_of_it_can_be_kept_and_nothing() -> None:
    client = said(5000)
    assert client.kinds(truncate(client, 5000)) == ["conversation.item.truncated"]
    assert client.kinds(truncate(client, 0)) == ["conversation.item.truncated"]


def test_more_than_there_is_can_not_be_kept() -> None:
    client = said(3700)
    events = truncate(client, 3760)
    assert error_of(events) == {"code": "invalid_value", "param": "audio_end_ms", "event_id": "t1"}
    assert events[0]["error"]["message"] == "Audio content of 3700ms is already shorter than 3760ms"
    assert client.server.truncations == {}


def test_a_length_is_rounded_down() -> None:
    client = scripted(Speech(b"\x01" * 803), **AT_ONCE)
    client.responds()
    assert truncate(client, 101)[0]["error"]["message"].startswith(
        "Audio content of 100ms is already shorter"
    )
    assert truncate(client, 100)[0]["type"] == "conversation.item.truncated"


def test_the_second_truncation_can_only_take_more_away() -> None:
    client = said()
    truncate(client, 1300)
    assert (
        truncate(client, 1301)[0]["error"]["message"]
        == "Audio content of 1300ms is already shorter than 1301ms"
    )
    assert truncate(client, 900)[0]["type"] == "conversation.item.truncated"


def test_only_what_was_sent_counts_and_late_sound_adds_nothing(voice: bytes) -> None:
    client, _ = talking(voice, late_deltas=3, cancel_ms=100)
    assert truncate(client, 1801)[0]["error"]["code"] == "invalid_value"
    assert truncate(client, 1000)[0]["type"] == "conversation.item.truncated"
    client.until(client.now_ms + 500)
    assert client.server.items["item_1"].audio_ms == 1000
    assert client.last("response.done")["response"]["output"][0]["content"] == [{"type": "output_audio"}]


def test_a_server_can_count_short() -> None:
    client = said(5000, short_by_ms=85)
    assert (
        truncate(client, 5000)[0]["error"]["message"]
        == "Audio content of 4915ms is already shorter than 5000ms"
    )
    assert truncate(client, 4915)[0]["type"] == "conversation.item.truncated"


def test_an_item_nobody_knows_can_not_be_truncated() -> None:
    client = said()
    error = {"code": "item_truncate_invalid_item_id", "param": "item_id", "event_id": "t1"}
    assert error_of(truncate(client, 1, "item_77")) == error
    client.now("conversation.item.delete", item_id="item_1")
    assert error_of(truncate(client, 1, "item_1")) == error


def test_only_model_sound_can_be_truncated(voice: bytes) -> None:
    client = scripted([Speech(b"", "no sound"), ToolCall("f")], Speech(200, "words"), **AT_ONCE)
    client.hears(voice + silence(600))
    client.now("response.create", response={"output_modalities": ["text"]})
    client.now(
        "conversation.item.create",
        item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
    )
    kinds = [(item.type, item.role) for item in client.server.items.values()]
    assert kinds == [
        ("message", "user"),
        ("message", "assistant"),
        ("function_call", ""),
        ("message", "assistant"),
        ("message", "user"),
    ]
    for item_id in client.server.items:
        events = truncate(client, 0, item_id)
        assert error_of(events) == {"code": "unsupported_content_type", "param": "item_id", "event_id": "t1"}
        assert events[0]["error"]["message"] == "Only model output audio messages can be truncated"


def test_another_part_or_a_negative_end_is_no_value() -> None:
    client = said()
    assert error_of(truncate(client, 100, index=1))["param"] == "content_index"
    assert error_of(truncate(client, -1))["param"] == "audio_end_ms"
    assert (
        error_of(
            client.now("conversation.item.truncate", item_id="item_1", content_index=0, audio_end_ms=1.5)
        )["code"]
        == "invalid_type"
    )


def test_older_servers_give_truncate_errors_no_code() -> None:
    client = said(coded_errors=False)
    assert error_of(truncate(client, 9999))["code"] is None
    assert error_of(truncate(client, 1, "item_77"))["code"] == "item_truncate_invalid_item_id"
