"""The whole vocabulary of a call: what happens is an event, what is to be done is a command.

Three doors lead into the core, and each has two families of messages:

=========  ==========================  =====================================
door       comes in                    goes out
=========  ==========================  =====================================
carrier    `CarrierEvent`              `CarrierCommand`
upstream   `UpstreamEvent`             `UpstreamCommand`
session    `SessionCommand` (wishes)   `SessionEvent` (what became of them)
=========  ==========================  =====================================

Besides the doors there are `ShellEvent`, what the shell around the core has to say (the clock, admission,
sockets that came or went), and `ShellCommand`, what only the shell can do (dial, end). An `Event` is whatever
`Call.receive` takes, an `Action` whatever it returns.

Audio crosses as the base64 text it came in, with its decoded length beside it: nobody here decodes it. Times
are integers, milliseconds since the call was accepted. Names that come from a vendor keep the vendor's words
(`item_id`); our own ids are counters, never random. Every upstream message carries the `epoch` of its
upstream session: 1 for the first one of the call.

Messages are frozen, compare by value and cost 0.04 us to make; all of them can be written to a recording and
read back.
"""

from __future__ import annotations

import enum
from typing import Any, Final, TypeAlias, final

import msgspec


class Message(msgspec.Struct, frozen=True, gc=False, tag_field="is", tag=True):
    """Base of everything that enters or leaves the core."""


HIDDEN_KEY: Final = "•"
"""What stands in a recording for a key that a handler read: one whose value is not known."""


class Phase(enum.Enum):
    """A call as seen from outside."""

    SETUP = "setup"
    LIVE = "live"
    DRAINING = "draining"
    ENDED = "ended"


class Reason(enum.Enum):
    """How a call ended, in the words of its summary."""

    CALLER_HUNG_UP = "the caller hung up"
    WE_HUNG_UP = "we hung up"
    TRANSFERRED = "the call was sent on"
    HANDED_OVER = "the call was handed over to another process"
    CARRIER_LOST = "the carrier's socket was lost"
    CARRIER_GIVEN_UP = "we gave the carrier's socket up"
    NO_MEDIA = "the carrier sent no media"
    UPSTREAM_LOST = "the model's socket was lost"
    UPSTREAM_UNREACHABLE = "the model could not be reached"
    UPSTREAM_REFUSED = "the model refused our configuration"
    UNCLAIMED = "the carrier never opened its stream"
    LIMIT = "a limit of this call was reached"
    SHUTDOWN = "this process is shutting down"
    BROKEN = "a rule of ours was broken"
    HANDLER_FAILED = "the handler failed"


class Sound(msgspec.Struct, frozen=True, gc=False):
    """Bundled speech: base64 text of carrier audio, its length, and the words it holds (for the
    conversation's record).
    """

    audio: str
    size_bytes: int
    text: str = ""


# --- carrier door
# -----------------------------------------------------------------------------------------------------


class Started(Message, frozen=True, gc=False):
    """The carrier opened a stream; `parameters` are ours, with secrets already taken out.

    A second one with another `stream_id` says that a newer stream has taken the place of the first (its token
    was the newer one). The shell has admitted it, sends to it from now on, and says nothing any more of the
    first: neither its frames nor its end.
    """

    stream_id: str
    call_id: str
    account_id: str
    parameters: dict[str, str] = {}


class CallerAudio(Message, frozen=True, gc=False):
    """One frame of the caller's sound; `at_ms` is the carrier's stream clock, which does not start at 0."""

    audio: str
    size_bytes: int
    at_ms: int = 0


class MarkReached(Message, frozen=True, gc=False):
    """An echo: playout reached the mark, or a clear flushed it. Which of the two, only the ledger knows."""

    name: str


class DigitPressed(Message, frozen=True, gc=False):
    """The caller pressed a key; `HIDDEN_KEY` where a recording does not say which."""

    digit: str


class Stopped(Message, frozen=True, gc=False):
    """The carrier says that its stream is over: the caller hung up, or the call was taken elsewhere."""


CarrierEvent: TypeAlias = Started | CallerAudio | MarkReached | DigitPressed | Stopped


class PlayAudio(Message, frozen=True, gc=False):
    audio: str
    size_bytes: int


class SendMark(Message, frozen=True, gc=False):
    name: str


class ClearPlayout(Message, frozen=True, gc=False):
    """Empty the carrier's buffer: the caller stops hearing us."""


CarrierCommand: TypeAlias = PlayAudio | SendMark | ClearPlayout


# --- upstream door
# ----------------------------------------------------------------------------------------------------


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one response; `cached_*` are a subset of the matching input count."""

    text_in: int = 0
    audio_in: int = 0
    image_in: int = 0
    cached_text: int = 0
    cached_audio: int = 0
    cached_image: int = 0
    text_out: int = 0
    audio_out: int = 0


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
    item_id: str = ""
    at_ms: int = 0
    epoch: int = 1


class TurnCommitted(Message, frozen=True, gc=False):
    item_id: str
    epoch: int = 1


class CallerIdled(Message, frozen=True, gc=False):
    """The vendor's own idle timer fired; it answers by itself."""

    item_id: str = ""
    epoch: int = 1


class ItemAdded(Message, frozen=True, gc=False):
    """An item stands in the model's conversation. `kind` is message, function_call, …; `text` what it holds
    so far.
    """

    item_id: str
    kind: str
    role: str = ""
    text: str = ""
    previous_id: str | None = None
    response_id: str = ""
    epoch: int = 1


class ItemGone(Message, frozen=True, gc=False):
    item_id: str
    epoch: int = 1


class CallerTranscribed(Message, frozen=True, gc=False):
    """What the caller said in that item; late, out of order, or (with `failed`) not to be had."""

    item_id: str
    text: str
    failed: bool = False
    seconds: float = 0.0
    usage: Usage | None = None
    epoch: int = 1


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
    response_id: str
    item_id: str
    part: int = 0
    epoch: int = 1


class TextDelta(Message, frozen=True, gc=False):
    """Words of a model item: the transcript of its sound, or plain text of a text-only response (`spoken`
    false).
    """

    response_id: str
    item_id: str
    part: int
    text: str
    spoken: bool = True
    epoch: int = 1


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
    reason or code.
    """

    response_id: str
    status: str = "completed"
    why: str = ""
    usage: Usage | None = None
    epoch: int = 1


class UpstreamFaulted(Message, frozen=True, gc=False):
    """A vendor's `error` event; most leave the session open. `about` is the event id of the command it
    answers, if any.
    """

    code: str
    message: str = ""
    about: str = ""
    param: str = ""
    kind: str = ""
    epoch: int = 1


class SignOfLife(Message, frozen=True, gc=False):
    """The answer to a `Probe`, whatever it was; it tells nothing else."""

    epoch: int = 1


class VendorNote(Message, frozen=True, gc=False):
    """Something upstream that only user code may care for (MCP approval asked, tool list ready …), as the
    vendor put it.
    """

    kind: str
    body: str = ""
    epoch: int = 1


UpstreamEvent: TypeAlias = (
    SessionCreated
    | SessionUpdated
    | SpeechStarted
    | SpeechStopped
    | TurnCommitted
    | CallerIdled
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
    | SignOfLife
    | VendorNote
)


class ServerVad(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="server_vad"):
    """Turn detection by loudness; silence of `silence_duration_ms` ends a turn. Defaults are the vendor's."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    create_response: bool = True
    interrupt_response: bool = True
    idle_timeout_ms: int | None = None


class SemanticVad(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="semantic_vad"):
    """Turn detection by meaning; `eagerness` low, medium, high or auto."""

    eagerness: str = "auto"
    create_response: bool = True
    interrupt_response: bool = True


TurnDetection: TypeAlias = ServerVad | SemanticVad


class ToolConfig(msgspec.Struct, frozen=True, gc=False):
    """How the core treats one tool of a session; the model does not see it. A tool without one has these
    defaults.

    `filler` names the phrase that is played when this tool's answer is owed for `filler_after_ms` (None: this
    tool is never covered by one). `deadline_ms` is when `ToolFinished` is due at the latest, approval by a
    human included: past it and a grace of half a second the core answers the model itself with an error
    result, and what still comes is dropped. That only happens when user code blocks its own loop.
    """

    name: str
    filler: str | None = "filler"
    filler_after_ms: int = 1_500
    deadline_ms: int = 10_000


class SessionConfig(msgspec.Struct, frozen=True, gc=False):
    """What we ask of a model for this call. Formats are not here: they are the bridge's, µ-law both ways."""

    model: str = "gpt-realtime-2.1"
    voice: str = "marin"
    instructions: str = ""
    turn_detection: TurnDetection | None = ServerVad()
    transcription: str | None = None
    language: str | None = None
    noise_reduction: str | None = None
    speed: float | None = None
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: str | dict[str, Any] = "auto"
    max_output_tokens: int | str = "inf"
    extra: dict[str, Any] = {}
    tool_configs: tuple[ToolConfig, ...] = ()


class ConfigureSession(Message, frozen=True, gc=False):
    """The whole configuration, once a session and before anything else; `again` leaves out what may not be
    sent twice.
    """

    config: SessionConfig
    again: bool = False
    epoch: int = 1


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
    """Put an item of ours into the conversation: `role` user, assistant or system with `text`, or a tool's
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
    """Ask the session for a `SignOfLife`, in a way that changes nothing and is always answered. Anything else
    that comes instead is one as well.
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
)


# --- session door
# -----------------------------------------------------------------------------------------------------


class Play(Message, frozen=True, gc=False):
    """Play a sound. `say_id` names it in `Heard`; a protected one cannot be cut and is played alone on the
    line.
    """

    say_id: str
    sound: Sound
    protected: bool = False


class Say(Message, frozen=True, gc=False):
    """Let the model speak these words; works while it speaks (then it waits for its turn)."""

    say_id: str
    text: str
    interruptible: bool = True


class Respond(Message, frozen=True, gc=False):
    """Let the model answer now, as it sees fit; `instructions` are added for this answer only."""

    say_id: str
    instructions: str = ""


class AddText(Message, frozen=True, gc=False):
    """Put text into the conversation as `role` (user or system) without asking for an answer."""

    text: str
    role: str = "user"


class Interrupt(Message, frozen=True, gc=False):
    """Stop what is being said, as if the caller had begun to speak. With `response_id` only if it is this
    response that is being generated, queued or heard; else nothing happens (a guardrail's verdict may come
    late).
    """

    response_id: str = ""


class HangUp(Message, frozen=True, gc=False):
    """End the call after the last queued word was heard; a caller who speaks meanwhile brings it back."""

    why: str = ""


class Transfer(Message, frozen=True, gc=False):
    """Send the caller to a configured target, by name, after the last queued word was heard."""

    name: str


class ToolFinished(Message, frozen=True, gc=False):
    call_id: str
    output: str
    respond: bool = True


class Reconfigure(Message, frozen=True, gc=False):
    """Change instructions and tools in the middle of a call; the voice stays. From here on it is the call's
    session, also for one that is restored. No response is asked for until it is in force or refused: one
    asked for after this command speaks with the new instructions.
    """

    config: SessionConfig


class Mute(Message, frozen=True, gc=False):
    """From now on (or, with `on` false, no longer) the model gets silence instead of the caller's sound."""

    on: bool = True


class ReadKeys(Message, frozen=True, gc=False):
    """From now on (or, with `on` false, no longer) user code waits for keys: they are for it alone, and no
    words for the model. With `secret` the model gets silence instead of the caller's sound meanwhile; with
    `clear` recordings hold the keys as they are.
    """

    on: bool = True
    secret: bool = False
    clear: bool = False


class PassOn(Message, frozen=True, gc=False):
    """Send a client event in the vendor's own words upstream."""

    body: str


class HandlerFailed(Message, frozen=True, gc=False):
    """The handler raised, so nobody answers this caller any more: stop what is being said, play the phrase
    `apology` and then drain, with `Reason.HANDLER_FAILED`. `detail` is for the log: a type's name, never what
    it said.
    """

    detail: str = ""


SessionCommand: TypeAlias = (
    Play
    | Say
    | Respond
    | AddText
    | Interrupt
    | HangUp
    | Transfer
    | ToolFinished
    | Reconfigure
    | Mute
    | ReadKeys
    | PassOn
    | HandlerFailed
)


class CallBegan(Message, frozen=True, gc=False):
    """Carrier admitted and model configured: caller and model can hear each other."""


class CallerSpoke(Message, frozen=True, gc=False):
    """The caller began (`speaking` true) or stopped speaking; `item_id` names the turn, where the vendor
    does.
    """

    speaking: bool
    item_id: str = ""


class Turn(Message, frozen=True, gc=False):
    """The caller said something; `text` is empty where transcription is off or failed.

    One for every turn that was committed: with transcription when it has come (or was given up), without at
    the commit. `seconds` and `usage` are what the transcription was billed for.
    """

    item_id: str
    text: str
    seconds: float = 0.0
    usage: Usage | None = None


class Spoken(Message, frozen=True, gc=False):
    """A model item came to its end on the line: what was generated, and what of it the caller heard."""

    item_id: str
    generated: str
    heard: str
    heard_ms: int
    cut: bool


class Cut(Message, frozen=True, gc=False):
    """A barge-in: the caller lost the rest of this item after `heard_ms`."""

    item_id: str
    heard_ms: int


class Heard(Message, frozen=True, gc=False):
    """What became of a `Play`, `Say` or `Respond`: how much the caller heard, and whether it was cut."""

    say_id: str
    heard_ms: int
    cut: bool
    text: str = ""


class DigitHeard(Message, frozen=True, gc=False):
    digit: str


class ToolWanted(Message, frozen=True, gc=False):
    call_id: str
    name: str
    arguments: str


class Saying(Message, frozen=True, gc=False):
    """Words the model has just generated, mostly before the caller hears them. One for each `TextDelta` of
    the conversation (not of asides, not of what is muted), and only with `CallConfig.running_words`.
    """

    response_id: str
    item_id: str
    text: str


class ResponseEnded(Message, frozen=True, gc=False):
    """A response is over upstream, though not yet heard: one for each `ResponseDone`, asides too. `say_id` is
    the `Say` or `Respond` that asked for it, empty for all others; `status`, `why` and `usage` are the
    vendor's.
    """

    response_id: str
    say_id: str = ""
    status: str = "completed"
    why: str = ""
    usage: Usage | None = None


class CallerSilent(Message, frozen=True, gc=False):
    """Nobody has said anything for `ms`: the caller does not speak, the line is quiet, no answer is owed, no
    response asked for or active. Comes after `CallConfig.silence_ms` of it and again after each further one,
    with the sum; speech, a key and a sound of ours begin anew.
    """

    ms: int


class TakenBack(Message, frozen=True, gc=False):
    """The caller spoke during our goodbye: the `HangUp` or `Transfer` is off and the call goes on."""


class Noted(Message, frozen=True, gc=False):
    """Something an operator may want in the log: a short name and a sentence. Never a secret, never a
    caller's words.
    """

    what: str
    detail: str = ""


class Ended(Message, frozen=True, gc=False):
    """The last message of every call."""

    reason: Reason
    detail: str = ""


SessionEvent: TypeAlias = (
    CallBegan
    | CallerSpoke
    | Turn
    | Spoken
    | Cut
    | Heard
    | DigitHeard
    | ToolWanted
    | VendorNote
    | Noted
    | Ended
    | Saying
    | ResponseEnded
    | CallerSilent
    | TakenBack
)


# --- the shell around the core
# ----------------------------------------------------------------------------------------


class Ringing(Message, frozen=True, gc=False):
    """The webhook arrived: the model may be dialled while the phone still rings."""


class Admitted(Message, frozen=True, gc=False):
    """The gates have proven that this stream is the carrier's: from here on audio may go upstream."""


class FrameRefused(Message, frozen=True, gc=False):
    """A peer sent what its protocol does not allow; the frame is dropped, the call goes on. `leg` carrier or
    upstream.
    """

    leg: str
    why: str


class CarrierClosed(Message, frozen=True, gc=False):
    code: int
    reason: str = ""


class CarrierGivenUp(Message, frozen=True, gc=False):
    """We ended the stream's socket: the peer does not read, or sent what it may not."""

    reason: str


class DialFailed(Message, frozen=True, gc=False):
    """No socket: `status` is the HTTP answer (0 if none came), `code` what the body or the network said."""

    epoch: int = 1
    status: int = 0
    code: str = ""
    retry_after_ms: int = 0


class UpstreamClosed(Message, frozen=True, gc=False):
    code: int
    reason: str = ""
    epoch: int = 1


class CallerVoice(Message, frozen=True, gc=False):
    """From the caller's next frame on their sound is `loud` enough to hold a voice, or no longer so. The gate
    glances at the sound; the core never does.
    """

    loud: bool


class FramesDropped(Message, frozen=True, gc=False):
    """Caller audio that waited too long in the upstream outbox and was thrown away."""

    frames: int


class OutboxFull(Message, frozen=True, gc=False):
    """The carrier's socket holds as much as it should that the network has not taken: no sound goes out until
    it has room again (`full` false).
    """

    full: bool


class HoldRefused(Message, frozen=True, gc=False):
    """The answer to a `HoldSound` for which there is no memory: this call may hold `limit_bytes` of sound."""

    limit_bytes: int


class WakeUp(Message, frozen=True, gc=False):
    """`Call.deadline_ms` has come."""


class ShutDown(Message, frozen=True, gc=False):
    """The process is asked to go: end politely at once."""


class HandOver(Message, frozen=True, gc=False):
    """The process will go soon, and another one goes on with the call. At the next turn boundary (nobody
    speaks, no answer is owed, no tool runs), and at the latest in `within_ms`, the core answers with
    `NoteIntent("handover")`, `HandedOver`, `CloseCarrier` and `Ended` (`Reason.HANDED_OVER`), and nobody says
    goodbye. A call that is ending anyway ends as it would; in `within_ms` at the latest.
    """

    within_ms: int


ShellEvent: TypeAlias = (
    Ringing
    | Admitted
    | FrameRefused
    | CarrierClosed
    | CarrierGivenUp
    | DialFailed
    | UpstreamClosed
    | FramesDropped
    | OutboxFull
    | HoldRefused
    | CallerVoice
    | WakeUp
    | ShutDown
    | HandOver
)


class DialUpstream(Message, frozen=True, gc=False):
    epoch: int = 1


class CloseUpstream(Message, frozen=True, gc=False):
    epoch: int = 1


class CloseCarrier(Message, frozen=True, gc=False):
    code: int = 1000


class NoteIntent(Message, frozen=True, gc=False):
    """Write down why the carrier leg is about to end on purpose: `ended`, `transfer:<name>` or `handover`."""

    intent: str


class CarriedItem(msgspec.Struct, frozen=True, gc=False):
    """One thing of a conversation: words of `role` (user, assistant as far as they were heard, system), or,
    where `arguments` are given, a tool's call with its result.
    """

    role: str = ""
    text: str = ""
    call_id: str = ""
    name: str = ""
    arguments: str | None = None
    output: str | None = None


class Carried(msgspec.Struct, frozen=True, gc=False):
    """What a call takes along to the process that goes on with it: plain values, no sound, no secret.

    `Call.carried(now_ms)` tells it at any moment, `HandedOver` at the last; `CallConfig.carried` takes it in.
    `owed`: the caller waits for an answer. `disclosed`: they have heard the disclosure to its end. `session`
    is the configuration that was in force, `lasted_ms`, `cost_micro_usd` and `tools` are what the limits have
    counted.
    """

    items: tuple[CarriedItem, ...] = ()
    owed: bool = False
    disclosed: bool = False
    session: SessionConfig | None = None
    lasted_ms: int = 0
    cost_micro_usd: int = 0
    tools: int = 0


class HandedOver(Message, frozen=True, gc=False):
    """Keep this where the next process finds it, before the carrier's socket is closed."""

    carried: Carried


class HoldSound(Message, frozen=True, gc=False):
    """Up to `size_bytes` of memory hold sound of the model's that the carrier may not have yet: more than
    before, or less. Where there is not so much, `HoldRefused` is the answer; else there is none.
    """

    size_bytes: int


ShellCommand: TypeAlias = DialUpstream | CloseUpstream | CloseCarrier | NoteIntent | HandedOver | HoldSound

Event: TypeAlias = CarrierEvent | UpstreamEvent | SessionCommand | ShellEvent
Action: TypeAlias = CarrierCommand | UpstreamCommand | SessionEvent | ShellCommand


class Limits(msgspec.Struct, frozen=True, gc=False):
    """What one call may take: it ends politely, `goodbye_ms` (or `goodbye_micro_usd`) before the limit.

    Money is in millionths of a US dollar. With `nudge_ms` a silent caller is asked `nudges` times whether
    they are there, then the call ends; 0 never asks.
    """

    call_ms: int = 3_600_000
    goodbye_ms: int = 15_000
    cost_micro_usd: int | None = None
    goodbye_micro_usd: int = 20_000
    tools: int = 200
    nudge_ms: int = 0
    nudges: int = 2


class CallConfig(msgspec.Struct, frozen=True, gc=False):
    """Everything a call needs to know before it begins; stands in the recording's header, so it holds no
    secret.
    """

    session: SessionConfig = SessionConfig()
    greeting: str | None = None
    bytes_per_ms: int = 8
    marks: bool = True
    auto_cancels: bool = True
    phrases: dict[str, Sound] = {}
    kept_audio_ms: int = 5_000
    unclaimed_ms: int = 15_000
    media_gap_ms: int = 5_000
    drain_slack_ms: int = 2_000
    playout_lead_ms: int = 5_000
    """How far the model's sound may run ahead, at the carrier, of what has been played; the rest waits in the
    core. 0: as far as it comes."""
    unplayed_ms: int = 30_000
    """Sound of ours that the carrier has not played for so long: nobody can hear us, and the call ends."""
    handler: bool = False
    """A handler answers the caller: the core asks for no response of its own accord, except for the results
    of tools that were called in a response which the handler let the model give."""
    silence_ms: int | None = None
    """After so much silence of both sides there is a `CallerSilent`; None: never."""
    backchannel_ms: int = 0
    """0: whatever the caller says interrupts, as the vendor hears it. Else caller speech of which we are told
    within so many ms that it ended ("mm-hm", while we speak) neither interrupts nor is answered; the session
    then has `interrupt_response` and `create_response` off, and the core interrupts and asks for responses.
    The vendor tells an end `silence_duration_ms` late, so this is more than that."""
    running_words: bool = False
    """Tell the session door each piece of the model's text as it comes (`Saying`)."""
    disclosure: str = ""
    """The phrase that is played first and cannot be cut; caller audio goes upstream only after it."""
    fallback: str = ""
    """Transfer target for the day nothing works, by name."""
    digits: str = "event"
    """Keys go to the handler as `DigitHeard`. With `text` or `interrupt` they also go to the model as text,
    unless a handler answers the caller or `ReadKeys` is on; with `interrupt` the first key cuts what is being
    said."""
    digits_gap_ms: int = 1_500
    limits: Limits = Limits()
    prices: dict[str, float] = {}
    """USD per million tokens by the names of `Usage`'s fields, and `transcription_minute`."""
    jitter_seed: int = 0
    carried: Carried | None = None
    """The call was begun elsewhere: it goes on with this conversation, without greeting; the disclosure is
    played only if it was not heard."""
    resumed: bool = False
    """The caller heard that the call broke off: they are told so (phrase `restored`), and not greeted.
    Without `carried` nothing is known of what was said."""
    dial_attempts: int = 3
    dial_total_ms: int = 6_000
    session_ms: int = 3_000
    """From dialling to a configured session; then the attempt counts as failed."""
    filler_dial_ms: int = 700
    filler_ms: int = 1_500
    stalled_ms: int = 8_000
    """An answer owed for so long, without a word from the model: its session is taken for dead."""
    probe_ms: int = 1_000
    """What a model that has fallen silent has for a sign of life, when asked for one; then its session is
    taken for dead. 0 where the vendor has no answer to a `Probe`: nobody asks."""
    renew_ms: int = 3_000_000
    renew_forced_ms: int = 3_480_000
    renew_again_ms: int = 60_000
