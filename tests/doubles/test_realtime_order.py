"""The order of events of a turn, and when they come.

Realtime API reference, "Server events"; the whole ladder stands in the guide "Realtime conversations".
"""

from __future__ import annotations

import json
import math

import pytest

from bridge.doubles.agents import Incomplete, Parrot, Pause, Scripted, Speech, ToolCall
from tests.doubles.conftest import AT_ONCE, Client, phone_client, scripted, silence

OPENING = [
    "response.created",
    "rate_limits.updated",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
]
CLOSING = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
]


def test_a_session_begins_with_its_defaults() -> None:
    client = Client(Parrot())
    created, conversation = client.events
    assert created["type"] == "session.created"
    assert created["session"]["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}
    assert created["session"]["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24000}
    assert created["session"]["audio"]["input"]["turn_detection"]["type"] == "server_vad"
    assert created["session"]["model"] == "gpt-realtime-2.1"
    assert created["session"]["expires_at"] == 1_700_000_000 + 3600
    assert conversation["type"] == "conversation.created"


def test_one_turn_from_the_first_sound_to_response_done(voice: bytes) -> None:
    client = scripted(Speech(100, "Hello there."), delta_bytes=(400,))
    before = len(client.events)
    client.hears(silence(400) + voice + silence(1500))
    assert client.kinds(client.events[before:]) == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        *OPENING,
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        *CLOSING,
        "response.done",
    ]
    started, stopped, committed = client.events[before : before + 3]
    assert started["item_id"] == stopped["item_id"] == committed["item_id"]
    assert committed["previous_item_id"] is None
    assert client.last("conversation.item.added")["previous_item_id"] == committed["item_id"]


def test_the_parts_tell_one_story() -> None:
    client = scripted(Speech(250, "One two three four."), **AT_ONCE, delta_bytes=(700, 1))
    client.responds()
    (added,) = client.of("response.output_item.added")
    assert added["item"]["status"] == "in_progress"
    assert added["item"]["content"] == []
    item_id = added["item"]["id"]
    assert client.audio(item_id) == b"\x01" * 2000
    said = "".join(event["delta"] for event in client.of("response.output_audio_transcript.delta"))
    assert said == "One two three four."
    assert client.last("response.output_audio_transcript.done")["transcript"] == said
    assert client.last("response.content_part.done")["part"] == {"type": "audio", "transcript": said}
    done = client.last("response.output_item.done")["item"]
    assert done["content"] == [{"type": "output_audio", "transcript": said}]
    response = client.last("response.done")["response"]
    assert response["status"] == "completed"
    assert response["status_details"] is None
    assert response["output"] == [done]
    assert response["conversation_id"] == "conv_1"
    assert "audio" not in json.dumps(response["output"]).replace("output_audio", "")


def test_ids_are_counters_and_every_event_has_its_own() -> None:
    client = scripted(Speech(100), Speech(100), **AT_ONCE)
    client.responds()
    client.responds()
    assert [event["event_id"] for event in client.events] == [
        f"event_{number + 1}" for number in range(len(client.events))
    ]
    assert [event["response"]["id"] for event in client.of("response.done")] == ["resp_1", "resp_2"]
    assert list(client.server.items) == ["item_1", "item_2"]


def test_sound_comes_faster_than_real_time_after_the_latency() -> None:
    client = scripted(Speech(1000), latency_ms=200, speed=5, delta_bytes=(1600, 4800))
    client.responds()
    client.until(2000)
    times = [
        at
        for at, kind in zip(client.times, client.kinds(), strict=True)
        if kind == "response.output_audio.delta"
    ]
    # 1600 bytes are 200 ms of sound and take 40; 4800 take 120; the last 1600 fill it up to 200.
    assert times == [200 + 40, 200 + 160, 200 + 200]
    assert client.times[-1] == 400
    assert client.kinds()[-1] == "response.done"


def test_a_machine_woken_late_does_not_drift() -> None:
    client = scripted(Speech(1000), latency_ms=0, speed=5, delta_bytes=(800,))
    client.responds()
    assert [json.loads(frame)["type"] for frame in client.server.wake(95)].count(
        "response.output_audio.delta"
    ) == 4
    assert client.server.deadline_ms == 100


def test_all_at_once_when_the_speed_is_infinite() -> None:
    client = scripted(Speech(60_000), latency_ms=0, speed=math.inf, delta_bytes=(60_000,))
    assert client.kinds(client.responds())[-1] == "response.done"
    assert client.server.deadline_ms == 3_600_000  # nothing but the end of the session


def test_a_pause_is_a_pause() -> None:
    client = scripted([Pause(700), Speech(100)], **AT_ONCE)
    assert client.kinds(client.responds()) == ["response.created", "rate_limits.updated"]
    client.until(699)
    assert client.server.active is not None
    assert client.kinds(client.until(700))[-1] == "response.done"


def test_several_items_in_one_response_follow_each_other() -> None:
    client = scripted([Speech(100, "First."), Speech(200, "Second.")], **AT_ONCE, delta_bytes=(60_000,))
    delta = ["response.output_audio_transcript.delta", "response.output_audio.delta"]
    one = OPENING[2:] + delta + CLOSING
    assert client.kinds(client.responds()) == OPENING[:2] + one + one + ["response.done"]
    assert [event["output_index"] for event in client.of("response.output_audio.delta")] == [0, 1]
    assert [client.audio(item_id) for item_id in client.server.items] == [b"\x01" * 800, b"\x02" * 1600]


def test_a_preamble_and_parallel_calls_in_one_response() -> None:
    client = scripted(
        [
            Speech(100, "Let me see."),
            ToolCall("weather", {"city": "Ulm"}),
            ToolCall("time", call_id="call_x"),
        ],
        **AT_ONCE,
    )
    client.responds()
    first, second = client.of("response.function_call_arguments.done")
    assert first["name"] == "weather"
    assert json.loads(first["arguments"]) == {"city": "Ulm"}
    deltas = [
        event["delta"]
        for event in client.of("response.function_call_arguments.delta")
        if event["call_id"] == first["call_id"]
    ]
    assert "".join(deltas) == first["arguments"]
    assert len(deltas) == 4
    assert second["call_id"] == "call_x"
    output = client.last("response.done")["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call", "function_call"]
    assert [item["status"] for item in output] == ["completed"] * 3
    order = client.kinds()
    assert order[-5:] == [
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]


def test_text_where_the_response_asks_for_text() -> None:
    client = scripted(Speech(500, "Only words."), **AT_ONCE)
    client.responds(output_modalities=["text"])
    assert client.of("response.output_audio.delta") == []
    assert "".join(event["delta"] for event in client.of("response.output_text.delta")) == "Only words."
    assert client.last("response.output_text.done")["text"] == "Only words."
    assert client.last("response.content_part.done")["part"] == {"type": "text", "text": "Only words."}
    (item,) = client.last("response.done")["response"]["output"]
    assert item["content"] == [{"type": "output_text", "text": "Only words."}]


def test_a_response_without_output_is_still_a_response() -> None:
    client = scripted([], **AT_ONCE)
    assert client.kinds(client.responds()) == ["response.created", "rate_limits.updated", "response.done"]


def test_rate_limits_need_not_come() -> None:
    client = scripted([], **AT_ONCE, rate_limits=False)
    assert client.kinds(client.responds()) == ["response.created", "response.done"]


@pytest.mark.parametrize("sizes", [(1,), (60_000,), (7, 333, 1, 4096)])
def test_deltas_of_any_size_add_up(sizes: tuple[int, ...]) -> None:
    client = phone_client(Scripted([Speech(bytes(range(256)) * 4)]), **AT_ONCE, delta_bytes=sizes)
    client.responds()
    assert client.audio("item_1") == bytes(range(256)) * 4


def test_an_answer_can_end_incomplete_in_the_middle_of_a_script() -> None:
    client = scripted([Speech(100), Incomplete("content_filter"), Speech(100)], **AT_ONCE)
    client.responds()
    response = client.last("response.done")["response"]
    assert response["status"] == "incomplete"
    assert response["status_details"] == {"type": "incomplete", "reason": "content_filter"}
    assert len(response["output"]) == 1
