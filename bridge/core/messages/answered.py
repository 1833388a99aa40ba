"""Who has answered a call that we placed: a person or a machine; and the message left with it."""

from __future__ import annotations

import enum
from typing import TypeAlias

from .base import Message


class AnswerKind(enum.Enum):
    """Who or what has answered: a closed set."""

    HUMAN = "human"
    MACHINE = "machine"
    """A machine of some kind, as the carrier says it."""
    VOICEMAIL = "voicemail"
    SCREENING = "screening"
    """An assistant asks who calls and why; a person reads along and may come."""
    IVR = "ivr"
    """A menu: "press one for sales"."""
    UNAVAILABLE = "unavailable"
    """No message can be left: the mailbox is full or not set up, the number not in service."""
    FAX = "fax"
    SILENCE = "silence"
    """Nothing was heard for ten seconds."""
    UNKNOWN = "unknown"


class AnswerEvidence(Message, frozen=True, gc=False):
    """Base of all that comes in about who has answered."""


class MachineVerdict(AnswerEvidence, frozen=True, gc=False):
    """The carrier's own detection, once a call and often late. `answered_by` is the vendor's word: Twilio,
    "AnsweredBy": human, machine_start, machine_end_beep, machine_end_silence, machine_end_other, fax,
    unknown. `duration_ms` is how long it took.
    """

    answered_by: str
    duration_ms: int = 0


class CallerTone(AnswerEvidence, frozen=True, gc=False):
    """A single tone on the line. Told when it has begun (`over` false), and once more when `quiet_ms` of
    silence have followed its end. `duration_ms` is how long it has sounded. Told only while it is a question
    who has answered.
    """

    hz: int
    duration_ms: int
    over: bool = False
    quiet_ms: int = 0


class AnswerWords(AnswerEvidence, frozen=True, gc=False):
    """Words on the line tell who has answered; told only while that is a question. `sure`: they are what only
    that kind says, as "leave a message after the tone"; not sure are "you have reached" or "not available".
    `tone`: they announce one.
    """

    kind: AnswerKind
    sure: bool = True
    tone: bool = False


class ReportAnswer(AnswerEvidence, frozen=True, gc=False):
    """The model, or a handler, says who has answered."""

    kind: AnswerKind


class DecideMachine(AnswerEvidence, frozen=True, gc=False):
    """The answer to `MachineFound`: hang_up, voicemail or talk."""

    action: str


class Answered(Message, frozen=True, gc=False):
    """Who has answered, as far as we know now: told when it changes. `source` names the signals that say so,
    joined by "+": ear, words, beep, carrier, model, clock. `at_ms` is when that was known, in milliseconds of
    the call's clock.
    """

    by: AnswerKind
    source: str
    at_ms: int


class Beep(Message, frozen=True, gc=False):
    """A mailbox's tone was heard; `at_ms` is when it ended."""

    at_ms: int
    hz: int = 0
    duration_ms: int = 0


class MessageLeft(Message, frozen=True, gc=False):
    """Our message to a mailbox is over. `heard_ms` is how much of it the mailbox was played, of `of_ms`; the
    message is `whole` if that is all of it.
    """

    heard_ms: int
    of_ms: int = 0
    whole: bool = True


class MachineFound(Message, frozen=True, gc=False):
    """A machine has answered, and `Agent.on_machine` is a function: `DecideMachine` is wanted. `transcript`
    is what it said so far, "" where there are no words; `beep` whether its tone was heard.
    """

    kind: AnswerKind
    beep: bool
    transcript: str
    at_ms: int


AnswerEvent: TypeAlias = MachineVerdict | CallerTone | AnswerWords
AnswerCommand: TypeAlias = ReportAnswer | DecideMachine
AnswerNotice: TypeAlias = Answered | Beep | MessageLeft | MachineFound
