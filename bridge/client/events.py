"""The events of a `RealtimeModel`'s listeners: these, and some of a call's."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from bridge.core import messages as m


class ConnectionState(enum.Enum):
    """Where a model stands with its endpoint."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"


class Phase(enum.Enum):
    """What the conversation does: nothing, the user speaks, a response is on its way, its sound plays."""

    IDLE = "idle"
    LISTENING = "listening"
    THINKING = "thinking"
    SPEAKING = "speaking"


class ConnectionChanged(msgspec.Struct, frozen=True):
    """The connection is in another state now."""

    state: ConnectionState


class RawEvent(msgspec.Struct, frozen=True):
    """A server frame before it is read. `event` is None if the frame is not a JSON object."""

    frame: str
    event: Mapping[str, Any] | None = None


class Failed(msgspec.Struct, frozen=True):
    """An error on this side of the wire, which the conversation survives; `what` says where. An error of the
    vendor's is an `UpstreamFaulted`.
    """

    error: Exception
    what: str


class SessionInForce(msgspec.Struct, frozen=True):
    """The session as the server has just told it; `created` for the first word of all."""

    session: Mapping[str, Any]
    created: bool = False


class Audio(msgspec.Struct, frozen=True):
    """Sound to play now, in the session's output format."""

    response_id: str
    item_id: str
    part: int
    sound: bytes


class AudioInterrupted(msgspec.Struct, frozen=True):
    """Stop playing and throw away what waits: this item was cut after `heard_ms`."""

    item_id: str
    part: int
    heard_ms: int


class MarkWanted(msgspec.Struct, frozen=True):
    """Only with ``playback="marks"``: call `mark_reached(name)` once all sound before this was played."""

    name: str


class Part(msgspec.Struct, frozen=True):
    """A part of a message: `text`, or `audio` whose words are the `transcript`; both None where there are
    none.
    """

    kind: str
    text: str | None = None
    transcript: str | None = None


class Item(msgspec.Struct, frozen=True):
    """An item of the conversation in one spelling, whichever event told of it. `status` is in_progress,
    completed or incomplete; `kind` message, function_call and so on.
    """

    item_id: str
    kind: str = "message"
    role: str = ""
    status: str = "completed"
    parts: tuple[Part, ...] = ()
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    output: str | None = None
    previous_id: str | None = None

    @property
    def text(self) -> str:
        """All its words."""
        return "".join(part.text or part.transcript or "" for part in self.parts)


class ItemUpdated(msgspec.Struct, frozen=True):
    """An item is new, or there is more of it."""

    item: Item


class Idled(msgspec.Struct, frozen=True):
    """The server's idle timeout fired; times count audio written."""

    item_id: str
    audio_start_ms: int
    audio_end_ms: int


class ResponseTraced(msgspec.Struct, frozen=True):
    """One response in milliseconds of the model's clock: asked for (None where the server began by itself),
    begun, first sound (None without any), over.
    """

    response_id: str
    asked_ms: int | None
    started_ms: int
    first_audio_ms: int | None
    ended_ms: int
    status: str
    usage: m.Usage | None


ModelEvent: TypeAlias = (
    ConnectionChanged
    | RawEvent
    | Failed
    | SessionInForce
    | Audio
    | AudioInterrupted
    | MarkWanted
    | ItemUpdated
    | Idled
    | ResponseTraced
    | m.SpeechStarted
    | m.SpeechStopped
    | m.TurnCommitted
    | m.ItemGone
    | m.CallerTranscribed
    | m.ResponseStarted
    | m.AudioDone
    | m.TextDelta
    | m.ToolCalled
    | m.ResponseDone
    | m.UpstreamFaulted
    | m.VendorNote
    | m.Noted
    | m.Spoken
    | m.Cut
    | m.Heard
)
"""Any event of a listener."""
