"""The session's door: what the programmer's side wants, and what it is told."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import UNSET, UnsetType

from ..config import SessionConfig, Sound
from .answered import AnswerCommand, AnswerNotice
from .base import Message, Reason
from .detour import DetourNotice, DetourWish
from .upstream import VendorNote
from .usage import Usage


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
    """Another agent is in force from here on, or the same one changed: `config` is all that it decides, also
    for a session that is restored; voice and model stay. No response is asked for until it is in force or
    refused: one asked for after this command speaks with the new instructions. `phrases` are those of the
    agent's language, where it is another one than before.
    """

    config: SessionConfig
    phrases: dict[str, Sound] | UnsetType = UNSET


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


class SendRaw(Message, frozen=True, gc=False, tag="PassOn"):  # as recordings have it
    """Send a client event in the vendor's own words upstream."""

    body: str


class CommitTurn(Message, frozen=True, gc=False):
    """The caller's turn ends here: what they said since the last one is a turn. For sessions without turn
    detection; nothing happens, but for a note, where there is less than 100 ms of it.
    """


class ClearTurn(Message, frozen=True, gc=False):
    """What the caller has said since their last turn ended is no part of the next one."""


class HandlerFailed(Message, frozen=True, gc=False):
    """The handler raised, so the caller gets no answer any more: stop what is being said, play the phrase
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
    | SendRaw
    | CommitTurn
    | ClearTurn
    | HandlerFailed
    | DetourWish
    | AnswerCommand
)


class CallBegan(Message, frozen=True, gc=False, omit_defaults=True):
    """Caller and model can hear each other: the carrier is admitted and the model configured. `session` is
    the one in force, if the call began in another process.
    """

    session: SessionConfig | None = None


class CallerSpoke(Message, frozen=True, gc=False):
    """The caller began (`speaking` true) or stopped speaking. `item_id` names the turn where the vendor names
    it.
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
    """How much the caller heard of something said or played, and whether it was cut."""

    say_id: str
    heard_ms: int
    cut: bool
    text: str = ""


class DigitHeard(Message, frozen=True, gc=False, omit_defaults=True):
    """The caller pressed a key: 0 to 9, `*`, `#`, A to D. `words`: only the model reads it."""

    digit: str
    words: bool = False


class ToolWanted(Message, frozen=True, gc=False):
    """The model calls a tool; `arguments` is JSON."""

    call_id: str
    name: str
    arguments: str


class TranscriptDelta(Message, frozen=True, gc=False, tag="Saying"):  # as recordings have it
    """Words the model has just generated, mostly before the caller hears them. Only agents with guardrails
    get them.
    """

    response_id: str
    item_id: str
    text: str


class ResponseEnded(Message, frozen=True, gc=False):
    """The model has finished a response, which may not be heard yet. `say_id` is the id of the `say` or
    `respond` that asked for it, "" for all others; `status`, `why` and `usage` are the vendor's.
    """

    response_id: str
    say_id: str = ""
    status: str = "completed"
    why: str = ""
    usage: Usage | None = None


class SecondsBilled(Message, frozen=True, gc=False):
    """The vendor has counted so many more seconds, where time is what it sells."""

    seconds: float


class CallerSilent(Message, frozen=True, gc=False):
    """The call has been silent for `ms`: the caller does not speak, the line is quiet, no answer is owed, no
    response is asked for or active. Comes after each `silence_ms` of silence, with the sum. Speech, a key and
    any sound on the line start the count anew.
    """

    ms: int


class HangUpCancelled(Message, frozen=True, gc=False, tag="TakenBack"):  # as recordings have it
    """The caller spoke during the goodbye: hanging up or transferring is off, and the call goes on."""


class Noted(Message, frozen=True, gc=False):
    """Something an operator may want in the log: a short name and a sentence. Never a secret, never a
    caller's words.
    """

    what: str
    detail: str = ""


class Ended(Message, frozen=True, gc=False):
    """The last message of every call. `unbilled` is set where the vendor has still to say for how long its
    session was open: `BillClosed` follows for the shell, a second later at the latest.
    """

    reason: Reason
    detail: str = ""
    unbilled: bool | UnsetType = UNSET


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
    | TranscriptDelta
    | ResponseEnded
    | SecondsBilled
    | CallerSilent
    | HangUpCancelled
    | DetourNotice
    | AnswerNotice
)
