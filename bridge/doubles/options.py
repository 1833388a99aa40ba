"""How a Realtime server may behave, within what real ones have been seen to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from .ears import Ears
from .items import Item
from .turns import SpeechDetector
from .wire import Wire


class Drop(NamedTuple):
    """Close the socket right after the n-th event of a type; 1006 asks for a cut without a close frame."""

    after: str
    nth: int = 1
    code: int = 1011
    reason: str = ""


def said_so_long(item: Item) -> str | None:
    """The transcript of who can't understand: how long the caller spoke."""
    return f"({item.audio_ms} ms of speech)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """The defaults are a server in a good mood; each option is one thing that has been seen in the field."""

    # --- how it speaks
    speed: float = 5.0
    """How many times faster than it sounds the sound leaves; `math.inf` for all at once."""
    latency_ms: int = 200
    """From `response.created` to the first output."""
    delta_bytes: tuple[int, ...] = (800, 3200, 1600, 2400)
    """Sizes of the audio deltas in turn, in the output format; 1 and 60000 are possible too."""
    words_ahead_ms: int = 0
    """How far the transcript runs ahead of the sound; `sys.maxsize` for all words before any sound."""
    items_overlap: bool = False
    """An item ends only after the next one has begun: its `*.done` follow the next one's first delta."""
    done_ms: int = 0
    """From the last output to `response.done`. A caller who speaks meanwhile cancels a response whose calls
    are complete.
    """

    # --- interruption
    late_deltas: int = 0
    """Audio deltas that still arrive after a cancel, before its `response.done`."""
    cancel_ms: int = 0
    """From a cancel to its `response.done`; the late deltas come in between."""
    done_first: bool = False
    """The cancelled `response.done` comes before `speech_started`, as compatible servers do it."""
    short_by_ms: int = 0
    """The server believes items to be this much shorter than what it sent (85 has been measured)."""

    # --- the caller's side
    detector: SpeechDetector | None = None
    """Decides what is speech, in place of the level. webrtcvad's keeps state: one object a session."""
    min_speech_ms: int = 40
    ears: Ears | None = None
    """Makes out the words of each turn, for an agent that answers words. One object a session."""
    transcribe: Callable[[Item], str | None] = said_so_long
    """The caller's words, None for `…transcription.failed`; asked only where transcription is configured."""
    transcription_ms: tuple[int, ...] = (300,)
    """How long each transcription takes, in turn: uneven ones arrive out of order."""
    transcription_word_ms: int | None = None
    """Each word in a delta of its own, with this gap between two; None for one delta."""
    transcription_last: bool = False
    """A transcription begins only once a response is done."""

    transcribers: frozenset[str] | None = None
    """The names that a transcription may have; each turn of another one fails. None: any will do."""
    deaf_until_configured: bool = False
    """Sound before the first `session.updated` is lost."""

    # --- errors and accounts
    coded_errors: bool = True
    """False for older servers, whose truncate errors have no code."""
    echo_create_id: bool = True
    """False for older servers: `conversation_already_has_active_response` without the client's event id."""
    refuse: Mapping[str, str] = field(default_factory=dict)
    """Error codes for client events, by type, that are always refused."""
    unknown_fields: frozenset[str] = frozenset()
    """Paths in a session, like `reasoning`, that this server does not know: they refuse the whole update."""
    voices: frozenset[str] | None = None
    """Those that it has; another one refuses the whole update. None: any will do."""
    usage: bool = True
    """False for `usage: null`."""
    rate_limits: bool = True
    late_rate_limits: bool = False
    """`rate_limits.updated` comes after `response.done` instead of after `response.created`."""
    metadata: bool = True
    """False for servers whose response object has no `metadata`."""

    # --- the session
    model: str = "gpt-realtime-2.1"
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Branches of the session tree before the client's first update, and of what it leaves out."""
    impose: Mapping[str, Any] = field(default_factory=dict)
    """Branches of the session tree that are so whatever is asked for."""
    expires_after_ms: int = 3_600_000
    """Session length; then `session_expired` and 1001."""
    created_at_s: int = 1_700_000_000
    """Unix time at 0 ms of the machine's clock, for `expires_at`: it has no clock of its own."""

    ping_ms: int | None = None
    """A JSON `ping` comes so often."""

    # --- oddities
    wire: Callable[[], Wire] | None = None
    """How what it sends and takes differs from the vendor who coined the dialect; one object a session."""
    withhold: frozenset[str] = frozenset()
    """Types of events that never come."""
    strange: bool = False
    """Unknown fields in all events, an unknown event in each response."""
    drops: tuple[Drop, ...] = ()

    def __post_init__(self) -> None:
        if not self.delta_bytes or min(self.delta_bytes) < 1 or self.speed <= 0:
            raise ValueError("deltas have at least one byte, and speech takes a positive speed")


CancelReason = Literal["turn_detected", "client_cancelled"]
