"""The wire of Media Streams, seen from the carrier's side: what it sends, and what it refuses.

Twilio, "WebSocket messages": https://www.twilio.com/docs/voice/media-streams/websocket-messages
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec

FRAME_BYTES: Final = 160
SILENT_FRAME: Final = b"\xff" * FRAME_BYTES


class _Shape(msgspec.Struct, tag_field="event", rename="camel", forbid_unknown_fields=True, gc=False): ...


class _Payload(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    payload: bytes


class _Name(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    name: str


class Media(_Shape, tag="media", gc=False):
    """Sound for the caller: µ-law, 8000 Hz, any size."""

    stream_sid: str
    media: _Payload


class Mark(_Shape, tag="mark", gc=False):
    """A name to be echoed when playout gets there."""

    stream_sid: str
    mark: _Name


class Clear(_Shape, tag="clear", gc=False):
    """Drop what is queued, return the marks that wait."""

    stream_sid: str


Message: TypeAlias = Media | Mark | Clear
_decode = msgspec.json.Decoder(Message).decode
_encode = msgspec.json.Encoder().encode

# Twilio, "31951": not JSON, unknown type, missing or extra field. The shapes again, to tell which of them it
# was.
_FIELDS: Final[dict[str, tuple[str, str]]] = {
    "media": ("media", "payload"),
    "mark": ("mark", "name"),
    "clear": ("", ""),
}


class Refused(Exception):
    """A message the carrier discards with a warning; the stream goes on. `reason` is its name in
    `Phone.refused`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse(frame: str | bytes, stream_sid: str) -> Message:
    """What the other side wants, in exactly one of the three documented shapes.

    Raises `Refused`: `binary_frame` (31950); `not_json`, `unknown_event`, `missing_field`, `extra_field`,
    `wrong_type`, `bad_payload` (no base64) or `wrong_stream_sid` (31951).
    """
    if not isinstance(frame, str):
        raise Refused("binary_frame")
    try:
        message: Message = _decode(frame)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise Refused(_reason(frame)) from None
    if message.stream_sid != stream_sid:
        raise Refused("wrong_stream_sid")
    return message


def _reason(frame: str) -> str:
    try:
        body: Any = msgspec.json.decode(frame)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return "not_json"
    if not isinstance(body, dict) or not isinstance(body.get("event"), str) or body["event"] not in _FIELDS:
        return "unknown_event"
    inner, field = _FIELDS[body["event"]]
    levels = [(body, {"event", "streamSid", inner} - {""})]
    if isinstance(body.get(inner), dict):
        levels.append((body[inner], {field}))
    for present, wanted in levels:
        if wanted - present.keys():
            return "missing_field"
        if present.keys() - wanted:
            return "extra_field"
    good_types = isinstance(body["streamSid"], str) and isinstance(levels[-1][0].get(field), str)
    return "bad_payload" if good_types else "wrong_type"


class CarrierFrames:
    """Writes the carrier's messages of one stream: one `sequenceNumber` over all of them, `chunk` over media.

    Twilio, "WebSocket messages": both counters and the timestamp are strings; `sampleRate` and `channels` are
    numbers; `connected` comes first and has neither counter nor stream id.
    """

    def __init__(self, call_sid: str, account_sid: str, stream_sid: str) -> None:
        self.call_sid = call_sid
        self.account_sid = account_sid
        self.stream_sid = stream_sid
        self._sequence = 0
        self._chunk = 0

    def connected(self) -> str:
        return '{"event":"connected","protocol":"Call","version":"1.0.0"}'

    def start(self, parameters: Mapping[str, str] | None) -> str:
        """`parameters` None leaves the field out, which no documentation promises not to happen."""
        start: dict[str, Any] = {
            "accountSid": self.account_sid,
            "streamSid": self.stream_sid,
            "callSid": self.call_sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        }
        if parameters is not None:
            start["customParameters"] = dict(parameters)
        return self._frame("start", {"start": start})

    def media(self, sound: bytes, timestamp_ms: int) -> str:
        self._sequence += 1
        self._chunk += 1
        payload = _SILENT_PAYLOAD if sound == SILENT_FRAME else _base64(sound)
        return (
            f'{{"event":"media","sequenceNumber":"{self._sequence}","media":{{"track":"inbound",'
            f'"chunk":"{self._chunk}","timestamp":"{timestamp_ms}","payload":"{payload}"}},'
            f'"streamSid":"{self.stream_sid}"}}'
        )

    def dtmf(self, digit: str) -> str:
        # Twilio, "DTMF message": the track is `inbound_track` here, not `inbound`.
        return self._frame("dtmf", {"dtmf": {"track": "inbound_track", "digit": digit}})

    def mark(self, name: str) -> str:
        return self._frame("mark", {"mark": {"name": name}})

    def stop(self) -> str:
        return self._frame("stop", {"stop": {"accountSid": self.account_sid, "callSid": self.call_sid}})

    def _frame(self, event: str, body: dict[str, Any]) -> str:
        self._sequence += 1
        head = {"event": event, "sequenceNumber": str(self._sequence), "streamSid": self.stream_sid}
        return _encode({**head, **body}).decode()


def _base64(sound: bytes) -> str:
    return binascii.b2a_base64(sound, newline=False).decode()


_SILENT_PAYLOAD: Final = _base64(SILENT_FRAME)
