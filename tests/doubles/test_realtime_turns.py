"""How the server hears: voice detection on true µ-law, counted in audio written; commits; idle timeout."""

from __future__ import annotations

import struct
import time
from typing import Any

import pytest

from bridge.codecs.g711 import pcm_to_pcmu
from bridge.doubles.agents import Parrot, Speech
from bridge.doubles.formats import Ear, spoken
from bridge.doubles.tones import tone
from bridge.doubles.turns import FRAME_BYTES, InputBuffer, TurnStarted, TurnStopped
from tests.doubles.conftest import AT_ONCE, Client, append, error_of, phone_client, scripted, silence

VAD: dict[str, Any] = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
}


def heard(sound: bytes, step: int = 160, **config: Any) -> list[object]:
    buffer = InputBuffer()
    buffer.configure({**VAD, **config})
    return [
        noticed
        for start in range(0, len(sound), step)
        for noticed in buffer.write(sound[start : start + step])
    ]


def test_a_turn_begins_a_prefix_before_the_sound_and_ends_after_the_silence(voice: bytes) -> None:
    started, stopped = heard(silence(1000) + voice + silence(1000))
    assert started == TurnStarted(1000 - 300)
    assert isinstance(stopped, TurnStopped)
    assert stopped.audio_end_ms == 2000 + 500
    assert stopped.sound == silence(300) + voice + silence(500)


def test_the_prefix_can_not_reach_before_the_beginning(voice: bytes) -> None:
    assert heard(silence(100) + voice)[0] == TurnStarted(0)


def test_it_counts_what_was_written_however_it_was_cut(voice: bytes) -> None:
    sound = (silence(1000) + voice + silence(700)) * 2
    wanted = heard(sound)
    assert len(wanted) == 4
    for step in (1, 7, 160, 1111, len(sound)):
        assert heard(sound, step) == wanted


def test_speech_is_noticed_after_40_ms_and_a_click_is_none(voice: bytes) -> None:
    click = tone(20, 300)
    assert heard(silence(400) + click + silence(400)) == []
    buffer = InputBuffer()
    buffer.configure(VAD)
    assert buffer.write(silence(400) + voice[: 8 * 40 - 1]) == []
    assert len(buffer.write(voice[8 * 40 - 1 : 8 * 40])) == 1


def test_a_pause_shorter_than_the_silence_belongs_to_the_turn(voice: bytes) -> None:
    assert len(heard(voice + silence(480) + voice + silence(500))) == 2
    assert len(heard(voice + silence(500) + voice + silence(500))) == 4


@pytest.mark.parametrize(
    ("dbfs", "threshold", "turns"), [(-20, 0.5, 1), (-50, 0.5, 0), (-50, 0.1, 1), (-20, 1.0, 0)]
)
def test_the_threshold_is_a_level(dbfs: int, threshold: float, turns: int) -> None:
    noticed = heard(silence(100) + tone(400, 300, dbfs), threshold=threshold)
    assert len(noticed) == turns


def test_a_quiet_line_is_no_speech_and_no_growing_memory() -> None:
    buffer = InputBuffer()
    buffer.configure(VAD)
    hiss = bytes([0xFC, 0x7D, 0xFE, 0x7B]) * 40
    for _ in range(50 * 120):
        assert buffer.write(hiss) == []
    assert buffer.written_ms == 120_000
    assert buffer.buffered_ms < 2_000


def test_any_detector_with_is_speech_will_do() -> None:
    calls: list[tuple[int, int]] = []

    class Detector:
        def is_speech(self, buf: bytes, sample_rate: int) -> bool:
            calls.append((len(buf), sample_rate))
            return True

    buffer = InputBuffer(Detector())
    buffer.configure(VAD)
    assert buffer.write(b"\x7e" * 480) == [TurnStarted(0)]
    assert set(calls) == {(320, 8000)}


def test_listening_costs_next_to_nothing(voice: bytes) -> None:
    buffer = InputBuffer()
    buffer.configure(VAD)
    sound = (voice + silence(1000)) * 10
    frames = [sound[start : start + FRAME_BYTES] for start in range(0, len(sound), FRAME_BYTES)]
    best_us = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for frame in frames:
            buffer.write(frame)
        best_us = min(best_us, (time.perf_counter() - began) / len(frames) * 1e6)
    assert best_us < 30


def test_the_events_name_the_item_that_the_turn_becomes(voice: bytes) -> None:
    client = phone_client(Parrot())
    client.hears(silence(400) + voice + silence(700))
    started, stopped = (
        client.last("input_audio_buffer.speech_started"),
        client.last("input_audio_buffer.speech_stopped"),
    )
    assert (started["audio_start_ms"], stopped["audio_end_ms"]) == (100, 1900)
    item = client.server.items[started["item_id"]]
    assert item.sound == silence(300) + voice + silence(500)
    assert item.role == "user"
    assert client.server.speech_started_ms == [440]


def test_until_the_session_is_updated_phone_audio_is_judged_as_pcm(voice: bytes) -> None:
    client = Client(Parrot())
    client.hears(silence(400) + voice + silence(700))
    # 2100 ms of µ-law are 350 ms of PCM: the times are wrong, and so is whatever is heard.
    assert client.server.log == [{"type": "input_audio_buffer.append", "frames": 105, "bytes": 16800}]
    assert all(event["audio_start_ms"] < 350 for event in client.of("input_audio_buffer.speech_started"))
    assert client.of("input_audio_buffer.speech_stopped") == []


@pytest.mark.parametrize("name", ["audio/pcmu", "audio/pcma", "audio/pcm"])
def test_a_parrot_gives_back_what_it_heard_in_every_format(name: str, voice: bytes) -> None:
    client = Client(Parrot(), **AT_ONCE, delta_bytes=(1001,))
    wire = {"format": {"type": name}}
    client.now("session.update", session={"type": "realtime", "audio": {"input": wire, "output": wire}})
    sent = spoken(voice + silence(600), name)
    for start in range(0, len(sent), 997):  # cut anywhere, also within a sample
        client.now("input_audio_buffer.append", audio=append(sent[start : start + 997])["audio"])
    (item,) = (item for item in client.server.items.values() if item.role == "assistant")
    assert Ear(name).hear(client.audio(item.id)) == client.server.items["item_1"].sound
    assert item.audio_ms == 1500


def test_pcm_is_heard_at_a_third_of_its_rate() -> None:
    pcm = struct.pack("<7h", 1000, 1, 2, -2000, 3, 4, 5)
    assert Ear("audio/pcm").hear(pcm) == pcm_to_pcmu(struct.pack("<2h", 1000, -2000))
    caller_audio = Ear("audio/pcm")
    assert b"".join(caller_audio.hear(pcm[n : n + 1]) for n in range(14)) == Ear("audio/pcm").hear(pcm)


def test_semantic_detection_waits_as_its_eagerness_says(voice: bytes) -> None:
    stops = {}
    for eagerness in ("high", "medium", "low"):
        client = scripted(detection={"type": "semantic_vad", "eagerness": eagerness})
        client.hears(voice + silence(2000))
        stops[eagerness] = client.last("input_audio_buffer.speech_stopped")["audio_end_ms"]
    assert stops == {"high": 1300, "medium": 1600, "low": 2200}


def test_without_create_response_there_are_only_items(voice: bytes) -> None:
    client = scripted(Speech(100), detection={**VAD, "create_response": False})
    client.hears(voice + silence(600))
    assert client.kinds()[-1] == "conversation.item.done"
    client.responds()
    assert client.kinds()[-2] == "response.created"


def test_a_turn_that_ends_while_a_response_runs_gets_none(voice: bytes) -> None:
    client = scripted(Speech(10_000), detection={**VAD, "interrupt_response": False}, speed=1)
    client.responds()
    client.hears(voice + silence(600))
    assert client.server.active is not None
    client.until(20_000)
    assert len(client.of("response.done")) == 1
    assert client.of("response.done")[0]["response"]["status"] == "completed"


# --- the client's own commits


def test_a_manual_commit_becomes_an_item_and_no_response(voice: bytes) -> None:
    client = phone_client(Parrot(), detection=None)
    client.hears(voice)
    assert client.kinds(client.now("input_audio_buffer.commit")) == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert client.server.items["item_1"].sound == voice
    client.until(10_000)
    assert client.of("response.created") == []


def test_less_than_100_ms_can_not_be_committed() -> None:
    client = scripted(detection=None)
    client.hears(silence(80))
    events = client.now("input_audio_buffer.commit", event_id="c1")
    assert error_of(events) == {"code": "input_audio_buffer_commit_empty", "param": None, "event_id": "c1"}
    assert "only has 80.00ms" in events[0]["error"]["message"]
    client.hears(silence(20))
    assert client.now("input_audio_buffer.commit")[0]["type"] == "input_audio_buffer.committed"


def test_a_cleared_buffer_is_empty_and_offsets_count_on(voice: bytes) -> None:
    client = scripted(detection=None)
    client.hears(voice)
    assert client.kinds(client.now("input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]
    assert error_of(client.now("input_audio_buffer.commit"))["code"] == "input_audio_buffer_commit_empty"
    client.now("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": VAD}}})
    client.hears(silence(500) + voice)
    assert client.last("input_audio_buffer.speech_started")["audio_start_ms"] == 1000 + 200


def test_a_commit_in_the_middle_of_a_turn_takes_the_turn_s_item(voice: bytes) -> None:
    client = scripted(Speech(100))
    client.hears(voice)
    client.now("input_audio_buffer.commit")
    started = client.last("input_audio_buffer.speech_started")
    assert client.last("input_audio_buffer.committed")["item_id"] == started["item_id"]
    client.hears(silence(1000))
    assert client.of("input_audio_buffer.speech_stopped") == []


@pytest.mark.parametrize("audio", ["no base64", "AAA", "A=AA", 7, None])
def test_sound_that_is_no_base64_is_an_error(audio: object) -> None:
    client = scripted()
    events = client.now("input_audio_buffer.append", audio=audio, event_id="a1")
    assert error_of(events) == {"code": "invalid_value", "param": "audio", "event_id": "a1"}


# --- idle


def test_nobody_speaking_for_the_idle_timeout_gets_a_response() -> None:
    client = phone_client(Parrot(b"\x11" * 8000), detection={**VAD, "idle_timeout_ms": 5000}, **AT_ONCE)
    client.responds()
    assert client.kinds()[-1] == "response.done"
    client.hears(silence(5980))  # a second of greeting, then the timeout
    assert client.of("input_audio_buffer.timeout_triggered") == []
    kinds = client.kinds(client.hears(silence(40)))
    assert kinds[:6] == [
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        "rate_limits.updated",
    ]
    triggered = client.last("input_audio_buffer.timeout_triggered")
    assert triggered["audio_end_ms"] == 5980
    assert triggered["item_id"] == client.last("input_audio_buffer.committed")["item_id"]


def test_speech_or_another_response_disarms_the_idle_timeout(voice: bytes) -> None:
    client = scripted(Speech(100), Speech(100), detection={**VAD, "idle_timeout_ms": 5000}, **AT_ONCE)
    client.responds()
    client.hears(voice + silence(400))
    client.until(9000)
    assert client.of("input_audio_buffer.timeout_triggered") == []


def test_the_log_holds_sizes_and_no_sound(voice: bytes) -> None:
    client = scripted()
    client.hears(voice)
    client.now("input_audio_buffer.clear", event_id="x")
    client.hears(silence(40))
    assert client.server.log[1:] == [
        {"type": "input_audio_buffer.append", "frames": 50, "bytes": 8000},
        {"type": "input_audio_buffer.clear", "event_id": "x"},
        {"type": "input_audio_buffer.append", "frames": 2, "bytes": 320},
    ]
