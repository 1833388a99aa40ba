"""What Twilio discards with a warning, the phone discards and counts; the stream goes on.

Twilio, error 31950 (binary frames) and 31951 (everything else): https://www.twilio.com/docs/api/errors/31951
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.doubles.phone import Phone

MEDIA: dict[str, Any] = {"event": "media", "streamSid": "MZ1", "media": {"payload": "////"}}
MARK: dict[str, Any] = {"event": "mark", "streamSid": "MZ1", "mark": {"name": "a"}}
CLEAR: dict[str, Any] = {"event": "clear", "streamSid": "MZ1"}


def without(message: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != field}


@pytest.mark.parametrize("message", [MEDIA, MARK, CLEAR])
def test_the_three_documented_shapes_are_taken(message: dict[str, Any]) -> None:
    phone = Phone(stream_sid="MZ1")
    phone.start(0)
    phone.receive(json.dumps(message), 10)
    assert phone.refused == {}


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (json.dumps(MEDIA).encode(), "binary_frame"),
        (b"\xff" * 160, "binary_frame"),
        ("", "not_json"),
        ("{", "not_json"),
        ("\ud800", "not_json"),
        ("[]", "unknown_event"),
        ("7", "unknown_event"),
        ({"event": "stop", "streamSid": "MZ1"}, "unknown_event"),
        ({"event": ["media"], "streamSid": "MZ1"}, "unknown_event"),
        (without(MEDIA, "event"), "unknown_event"),
        (without(MEDIA, "streamSid"), "missing_field"),
        (without(MEDIA, "media"), "missing_field"),
        (MEDIA | {"media": {}}, "missing_field"),
        (without(MARK, "mark"), "missing_field"),
        (MARK | {"mark": {}}, "missing_field"),
        (without(CLEAR, "streamSid"), "missing_field"),
        (MEDIA | {"sequenceNumber": "1"}, "extra_field"),
        (MEDIA | {"media": {"payload": "////", "track": "outbound"}}, "extra_field"),
        (MARK | {"mark": {"name": "a", "at": 1}}, "extra_field"),
        (CLEAR | {"mark": {"name": "a"}}, "extra_field"),
        (MEDIA | {"streamSid": 1}, "wrong_type"),
        (MEDIA | {"media": "////"}, "wrong_type"),
        (MEDIA | {"media": {"payload": 7}}, "wrong_type"),
        (MARK | {"mark": {"name": 1}}, "wrong_type"),
        (MEDIA | {"media": {"payload": "no base64!"}}, "bad_payload"),
        (MEDIA | {"streamSid": "MZ2"}, "wrong_stream_sid"),
        (MARK | {"streamSid": ""}, "wrong_stream_sid"),
        (CLEAR | {"streamSid": "mz1"}, "wrong_stream_sid"),
    ],
)
def test_anything_else_is_refused_by_name(frame: str | bytes | dict[str, Any], reason: str) -> None:
    phone = Phone(stream_sid="MZ1")
    phone.start(0)
    phone.receive(json.dumps(frame) if isinstance(frame, dict) else frame, 10)
    assert phone.refused == {reason: 1}
    assert not phone.closed
    assert not phone.playing(10)
    assert len(phone.wake(120)) == 1  # the stream goes on
    assert len(phone.receive(json.dumps(MARK), 120)) == 1


def test_nothing_can_be_sent_before_start() -> None:
    phone = Phone(stream_sid="MZ1")
    assert phone.receive(json.dumps(MARK), 0) == []
    assert phone.refused == {"before_start": 1}
