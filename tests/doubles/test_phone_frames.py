"""What the phone sends, in exactly the documented shapes.

Twilio, "WebSocket messages": https://www.twilio.com/docs/voice/media-streams/websocket-messages
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from bridge.doubles.phone import Phone, PhoneOptions

SPEECH = bytes(range(1, 101)) * 4  # 400 bytes: two and a half frames


def read(frames: list[str]) -> list[dict[str, Any]]:
    return [json.loads(frame) for frame in frames]


def test_a_call_begins_with_connected_and_start() -> None:
    phone = Phone("CA1", "AC2", "MZ3", {"token": 'a "b"'})
    assert read(phone.start(1000)) == [
        {"event": "connected", "protocol": "Call", "version": "1.0.0"},
        {
            "event": "start",
            "sequenceNumber": "1",
            "streamSid": "MZ3",
            "start": {
                "streamSid": "MZ3",
                "accountSid": "AC2",
                "callSid": "CA1",
                "tracks": ["inbound"],
                "customParameters": {"token": 'a "b"'},
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            },
        },
    ]


@pytest.mark.parametrize(("parameters", "field"), [({}, {"customParameters": {}}), (None, {})])
def test_parameters_can_be_none_at_all(parameters: dict[str, str] | None, field: dict[str, Any]) -> None:
    start = read(Phone(parameters=parameters).start(0))[1]["start"]
    assert {name: start[name] for name in start if name == "customParameters"} == field


def test_media_comes_every_20_ms_with_the_stream_s_own_clock() -> None:
    phone = Phone(stream_sid="MZ3", speech=SPEECH)
    phone.start(1000)
    assert phone.deadline_ms == 1120
    assert phone.wake(1119) == []
    first, second, third = read(phone.wake(1160))
    assert first == {
        "event": "media",
        "sequenceNumber": "2",
        "streamSid": "MZ3",
        "media": {
            "track": "inbound",
            "chunk": "1",
            "timestamp": "120",
            "payload": base64.b64encode(SPEECH[:160]).decode(),
        },
    }
    assert [second["media"]["timestamp"], third["media"]["timestamp"]] == ["142", "159"]
    assert len(first["media"]["payload"]) == 216
    assert base64.b64decode(third["media"]["payload"]) == SPEECH[320:] + b"\xff" * 80


def test_timestamps_wander_by_at_most_3_ms_and_never_drift() -> None:
    phone = Phone()
    phone.start(0)
    timestamps = [int(frame["media"]["timestamp"]) for frame in read(phone.wake(120 + 20 * 500 - 4))]
    assert len(timestamps) == 500
    assert {at - 120 - 20 * index for index, at in enumerate(timestamps)} == {-3, -2, -1, 0, 1, 2, 3}


def test_each_frame_goes_out_at_its_own_timestamp() -> None:
    phone = Phone()
    phone.start(5000)
    for _ in range(100):
        due_ms = phone.deadline_ms
        assert due_ms is not None
        (frame,) = read(phone.wake(due_ms))
        assert due_ms - 5000 == int(frame["media"]["timestamp"])


def test_the_sequence_counts_everything_and_the_chunk_media_only() -> None:
    phone = Phone(stream_sid="MZ1")
    out = phone.start(0)
    out += phone.wake(145)
    out += phone.press("5", 146)
    out += phone.receive('{"event":"mark","streamSid":"MZ1","mark":{"name":"7"}}', 150)
    out += phone.wake(160)
    out += phone.hang_up(165)
    events = read(out)[1:]
    assert [event["event"] for event in events] == [
        "start",
        "media",
        "media",
        "dtmf",
        "mark",
        "media",
        "stop",
    ]
    assert [event["sequenceNumber"] for event in events] == ["1", "2", "3", "4", "5", "6", "7"]
    assert [event["media"]["chunk"] for event in events if event["event"] == "media"] == ["1", "2", "3"]


def test_a_key_is_a_dtmf_message_of_the_inbound_track() -> None:
    phone = Phone("CA1", "AC2", "MZ3")
    phone.start(0)
    assert read(phone.press("#", 10)) == [
        {
            "event": "dtmf",
            "sequenceNumber": "2",
            "streamSid": "MZ3",
            "dtmf": {"track": "inbound_track", "digit": "#"},
        }
    ]


@pytest.mark.parametrize("digit", ["", "A", "12", "５"])
def test_only_keys_can_be_pressed(digit: str) -> None:
    phone = Phone()
    phone.start(0)
    with pytest.raises(ValueError, match="no key"):
        phone.press(digit, 10)


def test_hanging_up_says_stop_and_then_nothing_any_more() -> None:
    phone = Phone("CA1", "AC2", "MZ3")
    phone.start(0)
    assert read(phone.hang_up(100)) == [
        {
            "event": "stop",
            "sequenceNumber": "2",
            "streamSid": "MZ3",
            "stop": {"accountSid": "AC2", "callSid": "CA1"},
        }
    ]
    assert phone.close == (1000, "")
    assert phone.deadline_ms is None
    assert phone.wake(10_000) == phone.press("1", 10_000) == phone.hang_up(10_000) == []


def test_a_lost_call_closes_without_a_stop() -> None:
    phone = Phone()
    phone.start(0)
    assert phone.drop(100) == []
    assert phone.close == (1006, "")


def test_when_the_other_side_has_closed_there_is_nothing_to_close_and_nothing_to_say() -> None:
    phone = Phone()
    phone.start(0)
    assert phone.gone(200) == phone.hang_up(300) == phone.drop(300) == phone.wake(10_000) == []
    assert phone.closed
    assert phone.close is None
    assert phone.recording() == (b"\xff" * 1600,) * 2


def test_media_can_fail_to_come_while_the_clock_runs_on() -> None:
    phone = Phone(speech=b"\x01" * 160 * 20)
    phone.start(0)
    before = read(phone.wake(205))
    phone.withhold_media(10_000, 205)
    assert phone.wake(10_204) == []
    after = read(phone.wake(10_230))
    assert int(after[0]["media"]["chunk"]) == int(before[-1]["media"]["chunk"]) + 1
    assert int(after[0]["media"]["timestamp"]) == pytest.approx(10_220, abs=3)
    assert base64.b64decode(after[0]["media"]["payload"]) == b"\x01" * 160


def test_speech_is_appended_or_put_in_the_place_of_what_was_being_said() -> None:
    phone = Phone(speech=b"\x01" * 240)
    phone.start(0)
    out = phone.wake(120)
    out += phone.say(b"\x02" * 160, 125)
    out += phone.wake(180)
    said = b"".join(base64.b64decode(frame["media"]["payload"]) for frame in read(out))
    assert said == b"\x01" * 240 + b"\x02" * 160 + b"\xff" * 80

    out = phone.say(b"\x03" * 1600, 184) + phone.say(b"\x04" * 160, 186, instead=True) + phone.wake(220)
    said = b"".join(base64.b64decode(frame["media"]["payload"]) for frame in read(out))
    assert said == b"\xff" * 160 + b"\x04" * 160


def test_the_first_timestamp_is_an_option() -> None:
    phone = Phone(options=PhoneOptions(first_media_ms=155, jitter_ms=(0,)))
    phone.start(0)
    assert [frame["media"]["timestamp"] for frame in read(phone.wake(195))] == ["155", "175", "195"]
