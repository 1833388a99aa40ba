"""The shell around the core: the clock, admission, sockets that came or went, and what only it can do."""

from __future__ import annotations

from typing import ClassVar, TypeAlias

from msgspec import UNSET, UnsetType

from ..config import CallSnapshot
from .answered import AnswerEvent
from .base import Message
from .detour import DetourCommand, DetourEvent


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


class UpstreamOpened(Message, frozen=True, gc=False):
    """The socket is there, and the server waits for us to begin. Told only where `Capabilities.server_first`
    is false.
    """

    epoch: int = 1


class UpstreamClosed(Message, frozen=True, gc=False):
    code: int
    reason: str = ""
    epoch: int = 1


class CallerVoice(Message, frozen=True, gc=False, omit_defaults=True):
    """From the caller's next frame on their sound is `loud` enough to hold a voice, or no longer so. The gate
    glances at the sound; the core never does. `steady`: it has been loud for long in a way that no voice is,
    as hold music, hum and tones are.
    """

    loud: bool
    steady: bool = False


class ModelVoice(Message, frozen=True, gc=False):
    """From the model's next delta on its sound is `audible`, or no longer so: `codecs.audible` says when."""

    audible: bool


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


class BrokenOnPurpose(Message, frozen=True, gc=False):
    """An engineer has made a fault, to hear what follows; `what` it is, in a sentence. It is noted as
    `named`.
    """

    named: ClassVar[str] = "broken on purpose"
    what: str


class OperatorActed(Message, frozen=True, gc=False):
    """An operator has looked into this call or laid hands on it; `what` they did, in a few words, without
    what they wrote. It changes nothing: what they wish comes as wishes do. It is
    noted as `named`.
    """

    named: ClassVar[str] = "operator"
    what: str


class WakeUp(Message, frozen=True, gc=False):
    """`Call.deadline_ms` has come."""


class ShutDown(Message, frozen=True, gc=False):
    """The process is asked to go: end politely at once."""


class HandOver(Message, frozen=True, gc=False):
    """The process will go soon, and another one goes on with the call. At the next turn boundary (neither
    side speaks, no answer is owed, no tool runs), and at the latest in `within_ms`, the core answers with
    `NoteIntent("handover")`, `HandedOver`, `CloseCarrier` and `Ended` (`Reason.HANDED_OVER`), without a
    goodbye. A call that is ending anyway ends as it would; in `within_ms` at the latest.
    """

    within_ms: int


class TakenOver(Message, frozen=True, gc=False):
    """The call is another machine's: this one stood still for too long, or was cut off from the others. It
    ends here without a word (`Reason.TAKEN_OVER`) and intends nothing. `by` is that machine.
    """

    by: str


class Moved(Message, frozen=True, gc=False):
    """The call has come from another machine, and is heard again. `how` is `handover` or `crash`; `silent_ms`
    is from the carrier's question to the first sound, or to the moment when both hear each other where the
    caller is owed nothing; `items` of the conversation came along, of which the
    model may say up to `said_twice` again.
    """

    from_machine: str
    to_machine: str
    how: str
    silent_ms: int
    items: int
    said_twice: int

    @property
    def words(self) -> str:
        """In a sentence."""
        twice = f"at most {self.said_twice} said twice" if self.said_twice else "none said twice"
        where = f"from {self.from_machine or 'a machine that is not known'} to {self.to_machine} ({self.how})"
        return f"{where}, {self.silent_ms} ms silent, {self.items} items came along, {twice}"


ShellEvent: TypeAlias = (
    Ringing
    | Admitted
    | FrameRefused
    | CarrierClosed
    | CarrierGivenUp
    | DialFailed
    | UpstreamOpened
    | UpstreamClosed
    | FramesDropped
    | OutboxFull
    | HoldRefused
    | BrokenOnPurpose
    | OperatorActed
    | CallerVoice
    | ModelVoice
    | WakeUp
    | ShutDown
    | HandOver
    | TakenOver
    | Moved
    | DetourEvent
    | AnswerEvent
)


class DialUpstream(Message, frozen=True, gc=False):
    """Dial a session. `vendor` is its name in the table of upstreams; unset: the one the call began with."""

    epoch: int = 1
    vendor: str | UnsetType = UNSET


class CloseUpstream(Message, frozen=True, gc=False):
    epoch: int = 1


class CloseCarrier(Message, frozen=True, gc=False):
    code: int = 1000


class BillClosed(Message, frozen=True, gc=False):
    """Behind an `Ended` that was `unbilled`: what the call has cost is known now, but for that of
    `unconfirmed` sessions, of which the vendor has not said for how long they were open.
    """

    unconfirmed: int = 0


class NoteIntent(Message, frozen=True, gc=False):
    """Write down why the carrier leg is about to end on purpose: `ended`, `transfer:<name>` or `handover`."""

    intent: str


class HandedOver(Message, frozen=True, gc=False):
    """Keep this where the next process finds it, before the carrier's socket is closed."""

    carried: CallSnapshot


class HoldSound(Message, frozen=True, gc=False):
    """Up to `size_bytes` of memory hold sound of the model's that the carrier may not have yet: more than
    before, or less. If there is less, the answer is `HoldRefused`; otherwise no answer comes.
    """

    size_bytes: int


ShellCommand: TypeAlias = (
    DialUpstream
    | CloseUpstream
    | CloseCarrier
    | BillClosed
    | NoteIntent
    | HandedOver
    | HoldSound
    | DetourCommand
)
