"""What real servers do beside the documented order, each an option of the double."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from bridge.doubles.agents import Asked, Pause, Speech, ToolCall
from tests.doubles.conftest import AT_ONCE, Client, phone_client, scripted, silence

TRANSCRIBED: dict[str, Any] = {
    "audio": {
        "input": {"format": {"type": "audio/pcmu"}, "transcription": {"model": "gpt-transcribe"}},
        "output": {"format": {"type": "audio/pcmu"}},
    }
}


def heard(client: Client, kind: str, *, by: int) -> str:
    """The words of that kind among the first events of the session."""
    return "".join(event["delta"] for event in client.events[:by] if event["type"] == kind)


@pytest.mark.parametrize(("ahead_ms", "words"), [(0, "one "), (200, "one two three "), (sys.maxsize, None)])
def test_words_run_ahead_of_the_sound(ahead_ms: int, words: str | None) -> None:
    text = "one two three four five"
    client = scripted(Speech(500, text), **AT_ONCE, delta_bytes=(800,), words_ahead_ms=ahead_ms)
    client.responds()
    first = client.kinds().index("response.output_audio.delta")
    assert heard(client, "response.output_audio_transcript.delta", by=first) == (words or text)
    assert client.last("response.output_audio_transcript.done")["transcript"] == text


@pytest.mark.parametrize("second", [Speech(100, "Two."), ToolCall("look", {"a": 1})])
def test_an_item_ends_after_the_next_one_began(second: Speech | ToolCall) -> None:
    client = scripted([Speech(100, "One."), second], **AT_ONCE, items_overlap=True)
    client.responds()
    kinds = [
        (event["type"].removeprefix("response.output_item."), event["output_index"])
        for event in client.events
        if event["type"].startswith("response.output_item.")
    ]
    assert kinds == [("added", 0), ("added", 1), ("done", 0), ("done", 1)]
    items = client.last("response.done")["response"]["output"]
    assert [item["status"] for item in items] == ["completed", "completed"]
    assert client.audio(items[0]["id"]) == client.server.conversation.ever[items[0]["id"]].sound


def test_overlapping_items_of_a_cancelled_response_all_end(voice: bytes) -> None:
    client = scripted([Speech(100, "One."), Speech(5_000, "Two.")], latency_ms=0, speed=1, items_overlap=True)
    client.responds()
    client.hears(silence(400) + voice)
    statuses = [item["status"] for item in client.last("response.done")["response"]["output"]]
    assert statuses == ["completed", "incomplete"]
    assert len(client.of("response.output_item.done")) == 2


def test_a_completed_call_is_followed_by_a_late_cancel(voice: bytes) -> None:
    client = scripted(ToolCall("look"), **AT_ONCE, done_ms=2_000)
    client.responds()
    (call,) = client.of("response.output_item.done")
    assert call["item"]["status"] == "completed"
    client.hears(silence(200) + voice)
    kinds = client.kinds()
    assert kinds.index("input_audio_buffer.speech_started") < kinds.index("response.done")
    response = client.last("response.done")["response"]
    assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert response["output"][0]["status"] == "completed"


def test_metadata_is_absent_and_not_null() -> None:
    client = scripted([], **AT_ONCE, metadata=False)
    client.responds(metadata={"from": "us"})
    assert ["metadata" in event["response"] for event in client.events if "response" in event] == [False] * 2


def test_rate_limits_come_after_the_response() -> None:
    client = scripted([], **AT_ONCE, late_rate_limits=True)
    assert client.kinds(client.responds()) == ["response.created", "response.done", "rate_limits.updated"]


def test_a_transcript_comes_word_by_word(voice: bytes) -> None:
    options: dict[str, Any] = {"transcribe": lambda _: "a table for two", "transcription_word_ms": 40}
    client = phone_client(Quiet(), session=TRANSCRIBED, **options)
    client.hears(silence(200) + voice + silence(2_000))
    kind = "conversation.item.input_audio_transcription."
    found = [
        (event, ms) for event, ms in zip(client.events, client.times, strict=True) if kind in event["type"]
    ]
    words = [(event["delta"], ms) for event, ms in found[:-1]]
    assert [word for word, _ in words] == ["a ", "table ", "for ", "two"]
    assert [ms - words[0][1] for _, ms in words] == [0, 40, 80, 120]
    (done, done_ms) = found[-1]
    assert (done["type"], done["transcript"]) == (kind + "completed", "a table for two")
    assert done_ms - words[0][1] == 120


def test_a_transcript_without_words_is_one_delta(voice: bytes) -> None:
    client = phone_client(Quiet(), session=TRANSCRIBED, transcribe=lambda _: "", transcription_word_ms=40)
    client.hears(silence(200) + voice + silence(2_000))
    kind = "conversation.item.input_audio_transcription."
    assert [event["type"] for event in client.events if kind in event["type"]] == [
        kind + "delta", kind + "completed"
    ]  # fmt: skip


def test_a_transcript_comes_after_the_response(voice: bytes) -> None:
    client = phone_client(Quiet(2_000), session=TRANSCRIBED, transcription_last=True, transcription_ms=(100,))
    client.hears(silence(200) + voice + silence(5_000))
    kinds = client.kinds()
    completed = kinds.index("conversation.item.input_audio_transcription.completed")
    done = kinds.index("response.done")
    assert client.times[completed] == client.times[done] + 100


class Quiet:
    """Thinks about each turn for so long, and says nothing."""

    def __init__(self, ms: int = 0) -> None:
        self.ms = ms

    def answer(self, _asked: Asked) -> list[Pause]:
        return [Pause(self.ms)]
