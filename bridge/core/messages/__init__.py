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

Audio crosses as the base64 text it came in, with its decoded length beside it: it is not decoded here. Times
are integers, milliseconds since the call was accepted. Names that come from a vendor keep the vendor's words
(`item_id`); our own ids are counters, never random. Every upstream message carries the `epoch` of its
upstream session: 1 for the first one of the call.

Messages are frozen, compare by value and cost 0.04 us to make; all of them can be written to a recording and
read back.
"""

from __future__ import annotations

from typing import TypeAlias

from ..capabilities import Capabilities
from ..config import (
    HIDDEN_KEY,
    AgentRules,
    AnswerRules,
    CallConfig,
    CallSnapshot,
    EchoSeen,
    Limits,
    SemanticVad,
    ServerVad,
    SessionConfig,
    SnapshotItem,
    Sound,
    ToolConfig,
    TurnBounds,
    TurnDetection,
    VendorPlan,
)
from .answered import (
    Answered,
    AnswerKind,
    AnswerWords,
    Beep,
    CallerTone,
    DecideMachine,
    MachineFound,
    MachineVerdict,
    MessageLeft,
    ReportAnswer,
)
from .base import (
    Message,
    Phase,
    Reason,
)
from .carrier import (
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
from .detour import (
    Afterwards,
    BringBack,
    CancelLeg,
    Detour,
    DetourCommand,
    DetourEnded,
    DetourEvent,
    DetourKind,
    DetourMoved,
    DetourNotice,
    DetourOver,
    DetourResult,
    DetourState,
    DetourWish,
    EndDetour,
    LeaveStream,
    LegState,
    LegStep,
    LookUp,
    PlaceLeg,
    Push,
    Returned,
    TransferMode,
    TransferOutcome,
    WentAway,
)
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
from .session import (
    AddText,
    CallBegan,
    CallerSilent,
    CallerSpoke,
    ClearTurn,
    CommitTurn,
    Cut,
    DigitHeard,
    Ended,
    HandlerFailed,
    HangUp,
    HangUpCancelled,
    Heard,
    Interrupt,
    Mute,
    Noted,
    Play,
    ReadKeys,
    Reconfigure,
    Respond,
    ResponseEnded,
    Say,
    SecondsBilled,
    SendRaw,
    SessionCommand,
    SessionEvent,
    Spoken,
    ToolFinished,
    ToolWanted,
    TranscriptDelta,
    Transfer,
    Turn,
)
from .shell import (
    Admitted,
    BillClosed,
    BrokenOnPurpose,
    CallerVoice,
    CarrierClosed,
    CarrierGivenUp,
    CloseCarrier,
    CloseUpstream,
    DialFailed,
    DialUpstream,
    FrameRefused,
    FramesDropped,
    HandedOver,
    HandOver,
    HoldRefused,
    HoldSound,
    ModelVoice,
    Moved,
    NoteIntent,
    OperatorActed,
    OutboxFull,
    Ringing,
    ShellCommand,
    ShellEvent,
    ShutDown,
    TakenOver,
    UpstreamClosed,
    UpstreamOpened,
    WakeUp,
)
from .upstream import (
    AppendAudio,
    AudioDelta,
    AudioDone,
    CallerIdled,
    CallerTranscribed,
    CallerWords,
    CancelResponse,
    CommitAudio,
    ConfigureSession,
    CreateItem,
    CreateResponse,
    DeleteItem,
    ForgetAudio,
    ItemAdded,
    ItemGone,
    Probe,
    ProbeAnswered,
    ResponseDone,
    ResponseStarted,
    SendVendorEvent,
    SessionCreated,
    SessionEnding,
    SessionUpdated,
    SpeechStarted,
    SpeechStopped,
    TextDelta,
    ToolCalled,
    TruncateItem,
    TurnCommitted,
    UpstreamCommand,
    UpstreamEvent,
    UpstreamFaulted,
    UsageSeen,
    VendorNote,
)
from .usage import Usage

Event: TypeAlias = CarrierEvent | UpstreamEvent | SessionCommand | ShellEvent

Action: TypeAlias = CarrierCommand | UpstreamCommand | SessionEvent | ShellCommand
