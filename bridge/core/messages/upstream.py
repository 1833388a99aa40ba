"""The model's door: what its session says, and what it is told."""

from __future__ import annotations

from typing import TypeAlias, final

from ..config import SessionConfig, SnapshotItem
from .base import Message
from .duplex import (
    Accepted,
    BackendDone,
    CloseSession,
    ContinueBackend,
    Delegated,
    Fragment,
    MuteInput,
    StreamAudio,
    TellModel,
)
from .usage import Usage


class SessionCreated(Message, frozen=True, gc=False):
    epoch: int = 1
    session_id: str = ""
    expires_at_s: int = 0


class SessionUpdated(Message, frozen=True, gc=False):
    """The configuration in force. `differences` name each field that is not what we asked for."""

    epoch: int = 1
    formats_ok: bool = True
    interrupts: bool = True
    responds: bool = True
    differences: tuple[str, ...] = ()


class SpeechStarted(Message, frozen=True, gc=False):
    """The caller began to speak; `at_ms` counts audio written upstream, not our clock."""

    item_id: str = ""
    at_ms: int = 0
    epoch: int = 1


class SpeechStopped(Message, frozen=True, gc=False):
    """The caller stopped speaking; `at_ms` as in `SpeechStarted`."""

    item_id: str = ""
    at_ms: int = 0
    epoch: int = 1


class TurnCommitted(Message, frozen=True, gc=False):
    """The caller's turn is an item of the conversation now; its transcript may come later."""

    item_id: str
    epoch: int = 1


class CallerWords(Message, frozen=True, gc=False):
    """A piece of what the caller says or said in a turn, before its transcript is whole."""

    item_id: str
    text: str
    epoch: int = 1


class CallerIdled(Message, frozen=True, gc=False):
    """The vendor's own idle timer fired; it answers by itself."""

    item_id: str = ""
    epoch: int = 1


class ItemAdded(Message, frozen=True, gc=False):
    """An item stands in the model's conversation. `kind` is message, function_call, …; `text` what it holds
    so far. `commentary`: the model says it on its way to an answer.
    """

    item_id: str
    kind: str
    role: str = ""
    text: str = ""
    previous_id: str | None = None
    response_id: str = ""
    epoch: int = 1
    commentary: bool = False


class ItemGone(Message, frozen=True, gc=False):
    """The item was deleted from the conversation."""

    item_id: str
    epoch: int = 1


class CallerTranscribed(Message, frozen=True, gc=False):
    """What the caller said in that item; late, out of order, or (with `failed`, and `why`) not to be had.
    Where it is not `final`, a later one of the same item replaces it.
    """

    item_id: str
    text: str
    failed: bool = False
    seconds: float = 0.0
    usage: Usage | None = None
    epoch: int = 1
    why: str = ""
    final: bool = True


class ResponseStarted(Message, frozen=True, gc=False):
    """`tag` is ours when we asked for it, empty when voice detection did; `aside` marks one outside the
    conversation.
    """

    response_id: str
    tag: str = ""
    aside: bool = False
    epoch: int = 1


class AudioDelta(Message, frozen=True, gc=False):
    response_id: str
    item_id: str
    part: int
    audio: str
    size_bytes: int
    epoch: int = 1


class AudioDone(Message, frozen=True, gc=False):
    """All sound of this part was generated, though not yet heard."""

    response_id: str
    item_id: str
    part: int = 0
    epoch: int = 1


class TextDelta(Message, frozen=True, gc=False):
    """Words of a model item: the transcript of its sound, or plain text of a text-only response (`spoken`
    false). `start_ms` is where their sound begins in the item's, if the vendor says so.
    """

    response_id: str
    item_id: str
    part: int
    text: str
    spoken: bool = True
    epoch: int = 1
    start_ms: int | None = None


class ToolCalled(Message, frozen=True, gc=False):
    """The model wants a tool run. `complete` is false when it was cut off mid-call: then it must not run."""

    response_id: str
    item_id: str
    call_id: str
    name: str
    arguments: str
    complete: bool = True
    epoch: int = 1


class ResponseDone(Message, frozen=True, gc=False):
    """Always the last word on a response. `status` completed, cancelled, incomplete or failed; `why` its
    reason or code; `usage` None where it is unknown; `retry_ms` how long the vendor asks us to wait, 0 where
    it names no time.
    """

    response_id: str
    status: str = "completed"
    why: str = ""
    usage: Usage | None = None
    epoch: int = 1
    retry_ms: int = 0


class UpstreamFaulted(Message, frozen=True, gc=False):
    """A vendor's `error` event; most leave the session open. `about` is the event id of the command it
    answers, if any; `retry_ms` as in `ResponseDone`.
    """

    code: str
    message: str = ""
    about: str = ""
    param: str = ""
    kind: str = ""
    epoch: int = 1
    retry_ms: int = 0


class ProbeAnswered(Message, frozen=True, gc=False, tag="SignOfLife"):  # as recordings have it
    """The answer to a `Probe`, whatever it was; it tells nothing else."""

    epoch: int = 1


class VendorNote(Message, frozen=True, gc=False):
    """Something upstream that user code may care for (MCP approval asked, tool list ready …), as the vendor
    put it. `item_id` is the call's where it is about one of an MCP server's tools. `why` is the label of
    an MCP server whose tools could not be listed, and the reason as far as the vendor says it.
    """

    kind: str
    body: str = ""
    item_id: str = ""
    epoch: int = 1
    why: str = ""


class UsageSeen(Message, frozen=True, gc=False):
    """What a session has cost, told beside any response. `seconds_total` is that of the session so far, and
    replaces what was told before; None where it is not told. `tokens` add to those told before. `final`:
    nothing more will be told.
    """

    epoch: int = 1
    seconds_total: float | None = None
    tokens: Usage | None = None
    final: bool = False


class SessionEnding(Message, frozen=True, gc=False):
    """The vendor will end the session in `in_ms`, and says `why` (expired, go_away, content, full …). 0: it
    has, or is about to.
    """

    in_ms: int
    why: str = ""
    epoch: int = 1


UpstreamEvent: TypeAlias = (
    SessionCreated
    | SessionUpdated
    | SpeechStarted
    | SpeechStopped
    | TurnCommitted
    | CallerIdled
    | CallerWords
    | ItemAdded
    | ItemGone
    | CallerTranscribed
    | ResponseStarted
    | AudioDelta
    | AudioDone
    | TextDelta
    | ToolCalled
    | ResponseDone
    | UpstreamFaulted
    | ProbeAnswered
    | VendorNote
    | UsageSeen
    | SessionEnding
    | StreamAudio
    | Fragment
    | Delegated
    | BackendDone
    | Accepted
)


class ConfigureSession(Message, frozen=True, gc=False):
    """The whole configuration, once a session and before anything else; `again` leaves out what may not be
    sent twice. `history` is what was said before, for a vendor that takes it here (`Capabilities.history`).
    """

    config: SessionConfig
    again: bool = False
    epoch: int = 1
    history: tuple[SnapshotItem, ...] = ()


@final
class AppendAudio(Message, frozen=True, gc=False):
    audio: str
    size_bytes: int
    epoch: int = 1


class CommitAudio(Message, frozen=True, gc=False):
    epoch: int = 1


class ForgetAudio(Message, frozen=True, gc=False):
    """Drop caller audio that was appended and not yet committed."""

    epoch: int = 1


class CreateItem(Message, frozen=True, gc=False):
    """Put an item into the conversation: `role` user, assistant or system with `text`, or a tool's
    result.
    """

    item_id: str
    role: str = ""
    text: str = ""
    call_id: str = ""
    name: str = ""
    arguments: str | None = None
    output: str | None = None
    epoch: int = 1


class DeleteItem(Message, frozen=True, gc=False):
    item_id: str
    epoch: int = 1


class TruncateItem(Message, frozen=True, gc=False):
    """Tell the model that its item was cut: the caller heard `heard_ms` of it."""

    item_id: str
    part: int
    heard_ms: int
    epoch: int = 1


class CreateResponse(Message, frozen=True, gc=False):
    """Ask the model to speak. `tag` comes back in `ResponseStarted`; `instructions` replace the session's for
    this one.
    """

    tag: str
    instructions: str | None = None
    tool_choice: str | None = None
    aside: bool = False
    text_only: bool = False
    epoch: int = 1


class CancelResponse(Message, frozen=True, gc=False):
    response_id: str
    epoch: int = 1


class Probe(Message, frozen=True, gc=False):
    """Ask the session for a `ProbeAnswered`, in a way that changes nothing and is always answered. Whatever
    else comes instead is a sign of life as well.
    """

    epoch: int = 1


class SendVendorEvent(Message, frozen=True, gc=False):
    """A client event in the vendor's own words, for what this vocabulary does not name (an MCP approval,
    say).
    """

    body: str
    epoch: int = 1


UpstreamCommand: TypeAlias = (
    ConfigureSession
    | AppendAudio
    | CommitAudio
    | ForgetAudio
    | CreateItem
    | DeleteItem
    | TruncateItem
    | CreateResponse
    | CancelResponse
    | Probe
    | SendVendorEvent
    | TellModel
    | ContinueBackend
    | MuteInput
    | CloseSession
)
