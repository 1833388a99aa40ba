"""The frames of Twilio Media Streams, as they are decoded: every field that is read, and no other.

https://www.twilio.com/docs/voice/media-streams/websocket-messages ("WebSocket Messages").
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec


class Media(msgspec.Struct, gc=False):
    """Sound, as base64; `timestamp` in ms of the stream's clock."""

    payload: str
    timestamp: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    track: str = "inbound"


class Mark(msgspec.Struct, gc=False):
    """A mark by its name."""

    name: str


class Dtmf(msgspec.Struct, gc=False):
    """A key."""

    digit: str


class Frame(msgspec.Struct, gc=False, rename="camel", tag_field="event"):
    """A message that names its stream, of a kind of its own. A start is read a second time, by itself."""

    stream_sid: str = ""


class MediaFrame(Frame, tag="media"):
    """Fifty times a second."""

    media: Media | None = None


class MarkFrame(Frame, tag="mark"):
    """Playout has reached the mark, or a clear flushed it."""

    mark: Mark | None = None


class DtmfFrame(Frame, tag="dtmf"):
    """The caller pressed a key."""

    dtmf: Dtmf | None = None


class StopFrame(Frame, tag="stop"):
    """The stream is over."""


class StartingFrame(Frame, tag="start"):
    """A `StartFrame`, by its kind alone."""


AnyFrame: TypeAlias = MediaFrame | MarkFrame | DtmfFrame | StopFrame | StartingFrame


class MediaFormat(msgspec.Struct, gc=False, rename="camel"):
    """The coding of a stream."""

    encoding: str
    sample_rate: int
    channels: int


class Start(msgspec.Struct, gc=False, rename="camel"):
    """What a stream is of."""

    call_sid: str
    stream_sid: Annotated[str, msgspec.Meta(pattern=r"^[\w.:-]{1,128}$")]
    media_format: MediaFormat
    account_sid: str | None = None  # simulators leave it out; where calls are signed, the gate misses it
    custom_parameters: dict[str, str] | None = None


class StartFrame(msgspec.Struct, gc=False, rename="camel"):
    """The first frame with the stream's id, read whole."""

    stream_sid: str
    start: Start


class Kind(msgspec.Struct, gc=False):
    """Of a frame that could not be read."""

    event: str


# The timestamp comes as a string, sampleRate as a number: lax decoding reads a number out of either.
decode_frame = msgspec.json.Decoder(AnyFrame, strict=False).decode
decode_start = msgspec.json.Decoder(StartFrame, strict=False).decode
decode_kind = msgspec.json.Decoder(Kind).decode
