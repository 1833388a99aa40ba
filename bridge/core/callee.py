"""Who has answered a call that we placed: the evidence, the verdict, and where the call stands until then.

A person who speaks waits for an answer; a machine does not. So the first seconds tell most: a short utterance
and a pause is a person, a long one perhaps a machine. Hanging up and leaving a message are final, so they
need more: two signals that agree, or a tone with silence after it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from .callee_speech import CalleeSpeech
from .due import NEVER
from .mailbox_message import MESSAGE, MailboxMessage
from .messages import Action, AnswerKind, AnswerRules, CallConfig, Event, Heard, MessageLeft

PERSON_MS = 2_500
"""The longest first utterance of a person: one that goes on is perhaps a machine's."""
MONOLOGUE_MS = 7_000
"""Of one monologue are longer than a person's opening, whatever their company is called."""
BEEP_MS = 100, 1_540
"""The shortest and the longest tone of a mailbox, 120 and 1,500 ms, as it is measured: in whole frames."""
BEEP_WAITS_MS = 3_000
"""After the last word of a callee who seems to be a person: a later tone was made by a device of theirs."""
MACHINES = frozenset({AnswerKind.MACHINE, AnswerKind.VOICEMAIL, AnswerKind.UNAVAILABLE, AnswerKind.FAX})
"""Answers without a person who listens."""
CARRIER_WORDS = {
    "human": AnswerKind.HUMAN,
    "machine_start": AnswerKind.MACHINE,
    "machine_end_beep": AnswerKind.VOICEMAIL,
    "machine_end_silence": AnswerKind.MACHINE,
    "machine_end_other": AnswerKind.MACHINE,
    "fax": AnswerKind.FAX,
}
"""Twilio, "AnsweredBy", as ours; any other word says nothing."""


class Stage(enum.Enum):
    """Where an outbound call stands."""

    CLOSED = "closed"
    """It is no question who has answered: an inbound call, or a person has proven to be one."""
    LISTENING = "listening"
    """From the start: we say nothing until we know who is there."""
    TALKING = "talking"
    """It seems to be a person; that may turn out to be wrong."""
    WAITING = "waiting"
    """It seems to be a machine: we say nothing until it has finished."""
    ASKED = "asked"
    """User code decides what becomes of this machine."""
    DROPPING = "dropping"
    """A mailbox hears our message."""
    SCREENED = "screened"
    """An assistant has asked who calls, and a person may come."""


SILENT = frozenset({Stage.LISTENING, Stage.WAITING, Stage.DROPPING})
"""Nothing is asked of the model."""
UNANSWERED = SILENT | {Stage.ASKED, Stage.SCREENED}
"""Turns are not answered, and silence is not filled."""


@dataclass(slots=True)
class Signals:
    """What has been learnt so far, each from its own source. None: nothing."""

    words: AnswerKind | None = None
    sure: bool = False
    """The words are what only such a machine says."""
    tone: bool = False
    """They announce a tone, which is waited for."""
    carrier: AnswerKind | None = None
    model: AnswerKind | None = None
    long: bool = False
    """An utterance was longer than a person's first one."""
    monologue: bool = False
    """It was longer than any opening of a person's."""
    worded: bool = False
    """There were words in what was said, or none are to be had: hold music has none."""
    silent: bool = False
    """Ten seconds of silence followed."""
    beep_ended_ms: int | None = None
    """Of a mailbox's tone; None again when something follows it but silence."""
    beeped: bool = False
    """There was one, whatever followed."""

    def say(self, kind: AnswerKind, *, sure: bool) -> None:
        """Words tell that it is this kind. The latest count; but those that are not sure only where there are
        no sure ones.
        """
        if sure or not self.sure or self.words is AnswerKind.HUMAN:
            self.words, self.sure = kind, sure

    def answered(self) -> None:
        """What was said has been answered: the next words count for themselves."""
        self.words, self.sure = None, False

    def machine(self) -> tuple[AnswerKind, str] | None:
        """A machine for certain, and by which signals; None while it is not. The carrier's detection goes by
        the length of speech too: it and a long utterance are one signal, told twice, unless the utterance is
        longer than any person's.
        """
        if self.words is AnswerKind.SCREENING and self.sure:
            return None  # some of them have a tone, too
        if self.beep_ended_ms is not None:
            return AnswerKind.VOICEMAIL, "beep"
        if self.words not in (None, *MACHINES):
            return None
        carrier, model, beep = self.carrier in MACHINES, self.model in MACHINES, self.beeped
        spoken = self.words in MACHINES
        surely = spoken and self.sure
        monologue = self.monologue and self.worded
        votes = {
            "words": surely or (spoken and (carrier or model or beep)),
            "carrier": carrier,
            "model": model,
            "beep": beep,
            "ear": (self.long and (surely or model)) or (monologue and (carrier or beep)),
            "clock": self.silent and (surely or model),
        }
        sources = [name for name, agrees in votes.items() if agrees]
        if len(sources) < 2:
            return None
        kinds = [kind for kind in (self.words, self.model, self.carrier) if kind in MACHINES]
        known = [kind for kind in kinds if kind is not AnswerKind.MACHINE]
        return (known or kinds or [AnswerKind.VOICEMAIL])[0], "+".join(sources)

    @property
    def suspects(self) -> bool:
        """The words, or the model, say that it is a machine."""
        return (self.words in MACHINES and self.sure) or self.model in MACHINES


class Callee:
    """What one call knows of who has answered it. The rules are in `answered_by`."""

    def __init__(self, config: CallConfig, message: MailboxMessage) -> None:
        rules = config.outbound
        goes_on = config.carried is not None or config.resumed or bool(config.returned)
        open_ = rules is not None and rules.on_machine != "talk" and not goes_on
        self.rules = rules or AnswerRules()
        self._bytes_per_ms = config.bytes_per_ms
        self.stage = Stage.CLOSED
        if open_:
            self.stage = Stage.TALKING if self.rules.speak_first else Stage.LISTENING
        self.speech = CalleeSpeech()
        self.signals = Signals()
        self.kind: AnswerKind | None = None
        self.since_ms = 0
        """Since when the stage lasts."""
        self.turns = 0
        """Of a person's: their first utterance, and answers to what we said."""
        self.heard_from = self.heard_to = 0
        """Of our sound, in bytes: what was heard by the last of these, and by the latest utterance."""
        self.message = message
        self.tries = self.heard_ms = 0
        """How often the message has begun, and how much was heard of one that was stopped."""
        self.outcome = ""
        """Of the message: voicemail_left or message_partial; or screened."""
        self.decision = ""
        """Of user code, where `on_machine` asks for one."""
        self.sentences = 0
        """That were said to an assistant."""
        self.sentence_ms: int | None = None
        """When the last of them began to be heard."""
        self.held = False
        """The assistant has asked us to hold: what comes without words is ringing, or music."""
        self.short_ended_ms: int | None = None  # an utterance that may be a person's: its words are awaited
        self.hangs_up_ms: int | None = None  # the message was heard
        self.greeted_turn = ""  # the debt of the turn that the greeting answers
        self.excused_ms: int | None = None
        """When the utterance began during which it turned out to be a person: it is not too long for one."""
        self.kept: list[Event] = []
        """Sounds of user code that wait until a person listens."""
        self.due_ms = NEVER
        """When to look again."""

    def look(self) -> None:
        """All rules are looked at now."""
        self.due_ms = NEVER

    def looked(self, now_ms: int) -> None:
        """They were: the next time is later."""
        self.due_ms = max(self.due_ms, now_ms + 1)

    def look_again(self, due_ms: int) -> None:
        """At that time, if nothing else comes before."""
        self.due_ms = min(due_ms, self.due_ms)

    def left(self, heard_ms: int, *, whole: bool) -> list[Action]:
        """What became of the message, told once."""
        if self.outcome:
            return []
        self.outcome = "voicemail_left" if whole else "message_partial"
        sound = self.message.sound
        of_ms = 0 if sound is None else sound.size_bytes // self._bytes_per_ms
        return [MessageLeft(heard_ms, of_ms, whole)]

    def ended(self, out: list[Action]) -> list[Action]:
        """The call ends now, and with it a message that is being left; `out` says what was heard of it."""
        heard = next((one for one in out if isinstance(one, Heard) and one.say_id == MESSAGE), None)
        if heard is not None:
            self.heard_ms = max(self.heard_ms, heard.heard_ms)
        if not self.tries:
            return []
        return self.left(self.heard_ms, whole=heard is not None and not heard.cut)

    @property
    def open(self) -> bool:
        """Whether it is still a question who has answered."""
        return self.stage is not Stage.CLOSED

    @property
    def silent(self) -> bool:
        """Nothing is asked of the model, not even by user code."""
        return self.stage in SILENT

    @property
    def unanswered(self) -> bool:
        """Turns are not answered and silence is not filled: no person waits for us."""
        return self.stage in UNANSWERED

    def enter(self, stage: Stage, now_ms: int) -> None:
        self.stage, self.since_ms = stage, now_ms

    def beep_counts(self, began_ms: int) -> bool:
        """Whether a tone that began then may be a mailbox's, by all that is known of who is there."""
        signals = self.signals
        if self.stage is Stage.SCREENED:
            return self.speech.ended_ms > self.since_ms  # a mailbox speaks first; else it is the assistant's
        if self.stage in (Stage.LISTENING, Stage.WAITING, Stage.ASKED):
            return True
        if self.stage is not Stage.TALKING:
            return False
        if signals.suspects or signals.long or signals.carrier in MACHINES:
            return True
        late = self.speech.heard and began_ms - self.speech.ended_ms > BEEP_WAITS_MS
        return signals.words is not AnswerKind.HUMAN and not late
