"""Twilio Media Streams.

https://www.twilio.com/docs/voice/media-streams/websocket-messages ("WebSocket Messages"), and for what Twilio
refuses from us: https://www.twilio.com/docs/api/errors/31951 (31950, 31951).

A frame of sound is decoded once; its base64 stays text. Unknown kinds and fields are ignored.
"""

from __future__ import annotations

import re
from typing import Any, Final, assert_never

import msgspec

from bridge.codecs import PCMU, AudioFormat, clean_size_bytes, plain_size_bytes
from bridge.core.messages import (
    HIDDEN_KEY,
    CallerAudio,
    CarrierCommand,
    CarrierEvent,
    ClearPlayout,
    DigitPressed,
    MarkReached,
    PlayAudio,
    SendMark,
    Started,
    Stopped,
)
from bridge.errors import BrokenInvariant, CarrierError, elide

from .twilio_frames import (
    AnyFrame,
    Dtmf,
    DtmfFrame,
    Mark,
    MarkFrame,
    MediaFrame,
    StartingFrame,
    StopFrame,
    decode_frame,
    decode_kind,
    decode_start,
)

MAX_FRAME_CHARACTERS: Final = 64 * 1024
"""Of a frame we accept; the socket has the same limit. A frame of sound has about 400."""

NOT_BASE64: Final = "media whose payload is not base64"

# What only the gates may see, wherever it stands in a start: parameters that prove something, by name, and
# phone numbers.
_SECRET_NAME: Final = re.compile(r"token|secret|password|authorization|api_?key", re.IGNORECASE)
_PHONE_NUMBER: Final = re.compile(r"\+[0-9]{6,15}")
_DIGITS: Final = frozenset("0123456789*#ABCD" + HIDDEN_KEY)


# What bad input raises: DecodeError and UnicodeError are ValueErrors, and arrays may be nested too deep.
_UNREADABLE = (ValueError, RecursionError)
_KNOWN: Final = frozenset({"start", "media", "dtmf", "mark", "stop"})
_PLAIN: Final = frozenset({"connected", "media", "dtmf", "mark", "stop"})


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


class Twilio:
    """The carrier leg of one call. Remembers the stream's id, as the pieces that it writes with."""

    __slots__ = ("_clear", "_mark", "_media", "_stream_id")

    audio: Final[AudioFormat] = PCMU
    marks: Final = True

    def __init__(self) -> None:
        self._stream_id: str | None = None
        self._media = self._mark = self._clear = ""

    def parse(self, frame: str | bytes) -> CarrierEvent | None:
        # Twilio, "Error 31950": a binary frame is malformed. What holds for our frames holds for theirs.
        if not isinstance(frame, str):
            raise CarrierError("a binary frame", frame=frame)
        if len(frame) > MAX_FRAME_CHARACTERS:
            raise CarrierError(f"a frame of more than {MAX_FRAME_CHARACTERS} characters", frame=frame)
        try:
            message = decode_frame(frame)
        except _UNREADABLE as unreadable:
            self._refuse_if_known(frame, unreadable)
            return None
        if type(message) is MediaFrame and message.stream_sid == self._stream_id:
            media = message.media
            if media is None:
                raise CarrierError("media without its media object", frame=frame)
            # It goes on as it came, inside of the upstream's JSON. What escapes have spelt could say
            # something there, unless it is base64; what stood in the frame letter by letter cannot.
            size_of = clean_size_bytes if "\\" in frame else plain_size_bytes
            payload_bytes = size_of(media.payload)
            if payload_bytes < 0:
                raise CarrierError(NOT_BASE64, frame=frame)
            if payload_bytes and media.track == "inbound":
                return CallerAudio(media.payload, payload_bytes, media.timestamp)
            return None  # nothing to hear, or our own sound come back
        return self._rare(message, frame)

    def _rare(self, message: AnyFrame, frame: str) -> CarrierEvent:
        if isinstance(message, StartingFrame):
            return self._start(frame)
        event = message.__struct_config__.tag
        if self._stream_id is None:
            raise CarrierError(f"{event} before start", frame=frame)
        if message.stream_sid != self._stream_id:
            raise CarrierError(f"{event} of another stream", frame=frame)
        match message:
            case StopFrame():
                return Stopped()
            case MarkFrame(mark=Mark(name=name)):
                return MarkReached(name)
            case DtmfFrame(dtmf=Dtmf(digit=digit)):
                # Twilio, "Dtmf message": one key. It may become words to the model, so it is checked to be
                # one.
                if digit not in _DIGITS:
                    raise CarrierError("dtmf that is not one key", frame=frame)
                return DigitPressed(digit)
        raise CarrierError(f"{event} without its {event} object", frame=frame)

    def _start(self, frame: str) -> Started:
        if self._stream_id is not None:
            raise CarrierError("a second start", frame=frame)
        try:
            message = decode_start(frame)
        except _UNREADABLE as unreadable:
            raise CarrierError(f"start not as documented: {unreadable}", frame=frame) from unreadable
        start = message.start
        if message.stream_sid != start.stream_sid:
            raise CarrierError("start whose two stream ids differ", frame=frame)
        # Twilio, "Start message": these three never change. But <Stream> has grown audioFormat and
        # sampleRate, and sound in another format would only be noise: anything else is refused.
        got = start.media_format
        if (got.encoding, got.sample_rate, got.channels) != ("audio/x-mulaw", 8000, 1):
            told = f"{got.encoding}/{got.sample_rate}/{got.channels}"
            raise CarrierError(f"start in the format {told}, not audio/x-mulaw/8000/1", frame=frame)
        self._remember(start.stream_sid)
        account, parameters = start.account_sid or "", start.custom_parameters or {}
        return Started(start.stream_sid, start.call_sid, account, parameters)

    def _remember(self, stream_id: str) -> None:
        # Twilio, "Error 31951": a message with a field too few or too many, or the id of another stream, is
        # lost, and only the first one is reported. So the three shapes exist once; only values are put in.
        self._stream_id = stream_id
        sid = _json(stream_id)
        self._media = f'{{"event":"media","streamSid":{sid},"media":{{"payload":"'
        self._mark = f'{{"event":"mark","streamSid":{sid},"mark":{{"name":'
        self._clear = f'{{"event":"clear","streamSid":{sid}}}'

    @staticmethod
    def _refuse_if_known(frame: str, unreadable: Exception) -> None:
        """Ignore a field of the wrong type in a message of an unknown kind."""
        try:
            event = decode_kind(frame).event
        except _UNREADABLE as cause:
            raise CarrierError(f"not a message of Twilio's: {cause}", frame=frame) from cause
        if event in _KNOWN:
            raise CarrierError(f"{event} not as documented: {unreadable}", frame=frame) from unreadable

    def write(self, command: CarrierCommand) -> str:
        if self._stream_id is None:
            # Every message we send names the stream, and it is start that names it to us.
            raise BrokenInvariant(f"{type(command).__name__} before the stream has started")
        match command:
            case PlayAudio():
                return f'{self._media}{command.audio}"}}}}'
            case SendMark():
                return f"{self._mark}{_json(command.name)}}}}}"
            case ClearPlayout():
                return self._clear
            case _:
                assert_never(command)

    @staticmethod
    def redact(frame: str | bytes) -> str:
        if isinstance(frame, str) and len(frame) <= MAX_FRAME_CHARACTERS:
            try:
                if decode_kind(frame).event in _PLAIN:
                    return frame
                return _json(_redacted(msgspec.json.decode(frame)))
            except _UNREADABLE:
                pass
        return elide(frame)

    @staticmethod
    def hide_key(frame: str) -> str:
        try:
            if decode_kind(frame).event != "dtmf":
                return frame
            tree = msgspec.json.decode(frame)
        except _UNREADABLE:
            return frame
        if isinstance(tree.get("dtmf"), dict):
            tree["dtmf"]["digit"] = HIDDEN_KEY
        return _json(tree)


def _redacted(value: Any) -> Any:
    """A tree without its secrets, whatever a carrier may one day add to its start."""
    if isinstance(value, str):
        return _PHONE_NUMBER.sub("+…", value)
    if isinstance(value, dict):
        shown = ((name, part) for name, part in value.items() if not _SECRET_NAME.search(name))
        return {_redacted(name): _redacted(part) for name, part in shown}
    if isinstance(value, list):
        return [_redacted(part) for part in value]
    return value
