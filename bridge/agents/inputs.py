"""A handler's input: what the caller did, and how much they heard of what was said to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias

from bridge.core.messages import Reason


@dataclass(frozen=True, slots=True)
class Turn:
    """The caller said something and paused.

    `text` is the transcript, empty where transcription is off or failed. `audio` is the sound itself,
    `audio_format` at 8 bytes a millisecond, for agents with `turn_audio=True`; otherwise empty. `item_id` is
    the turn's name in the model's conversation. `metadata` is the call's.
    """

    text: str
    item_id: str = ""
    audio: bytes = b""
    audio_format: str = "audio/pcmu"
    channel: str = "phone"
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def transcript(self) -> str:
        """The same as `text`."""
        return self.text


@dataclass(frozen=True, slots=True)
class Digit:
    """The caller pressed a key: 0 to 9, `*`, `#`, A to D."""

    digit: str


@dataclass(frozen=True, slots=True)
class Silence:
    """Neither side has said anything for this many milliseconds (agents with `silence_ms`)."""

    ms: int


Happening: TypeAlias = Turn | Digit | Silence


@dataclass(frozen=True, slots=True)
class Said:
    """What became of something said or played: how much the caller heard, whether they cut it short, and the
    words they heard of it (up to the word at which it was cut).
    """

    heard_ms: int
    cut: bool
    text: str = ""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One thing a handler has said or played. `said` is None while the caller has not heard it out."""

    say_id: str
    type: str
    text: str
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    said: Said | None = None


ENDED_BY: Final[Mapping[Reason, str]] = {
    Reason.CALLER_HUNG_UP: "caller",
    Reason.CARRIER_LOST: "carrier",
    Reason.NO_MEDIA: "carrier",
    Reason.UNCLAIMED: "carrier",
    Reason.UPSTREAM_LOST: "model",
    Reason.UPSTREAM_UNREACHABLE: "model",
    Reason.UPSTREAM_REFUSED: "model",
    Reason.WE_HUNG_UP: "us",
    Reason.TRANSFERRED: "us",
    Reason.HANDLER_FAILED: "us",
}
"""Which side ended a call, by its reason; any other is the bridge's own."""
