"""The state of one call: its fields, and no rule."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from .callee import Callee
from .caller_audio import CallerAudioBuffer
from .delegated_work import Delegation
from .detours import Detours
from .due import NEVER
from .keys import Keys, KeySeries
from .limits import LimitWatch, Silence, Spending
from .messages import Action, CallConfig, Event, Phase, Reason, SessionConfig
from .open_turn import OpenTurn
from .playout import Playout
from .stats import Stats
from .transcripts import Transcripts
from .upstream_leg import Dialling, UpstreamSession


@dataclass(slots=True)
class Ending:
    """Why the call ends when the last word was heard."""

    reason: Reason
    detail: str
    words_due_ms: int
    """When the last word is not waited for any longer; NEVER once it is on the line."""
    due_ms: int = NEVER
    """When the last word should have been heard."""
    sent_bytes: int = 0
    """What had been sent to the carrier when that was reckoned."""
    said_goodbye: bool = False
    """By the phrase."""
    farewell_ms: int = NEVER
    """Until when a model that speaks by itself may begin a last word; NEVER where none is waited for."""
    before: str | None = None
    """What it was saying before that."""

    @property
    def next_ms(self) -> int:
        return min(self.due_ms, self.words_due_ms, self.farewell_ms)


class CallState:
    """What there is to know of one call. `Call` has the rules; the modules beside it are told this state.
    `out` is what this event has led to so far.
    """

    def __init__(self, config: CallConfig) -> None:
        self.config = config
        self.phase = Phase.SETUP
        self.stats = Stats()
        self.deadline_ms: int | None = None
        self.spare: UpstreamSession | None = None
        self.epochs = 0
        self.out: list[Action] = []
        self.playout = Playout(config, self.stats, self.out)
        self.up = self.playout.session
        self.caller_audio = CallerAudioBuffer(config)
        self.callee = Callee(config, self.playout.message)
        self.limits = LimitWatch(config.limits)
        self.detours = Detours(config)
        self.delegation = Delegation()
        self.silence = Silence()
        self.dialling = Dialling(config)
        before = config.carried.cost_micro_usd if config.carried else 0
        self.spending = Spending(config.limits, self.dialling.prices, before)
        self.parting: dict[int, int] = {}  # sessions whose last word is waited for, and until when
        self.stream_id: str | None = None
        self.admitted = self.disclosed = False  # disclosed by its phrase
        self.uninterruptible: set[str] = set()
        self.early: list[Event] = []
        self.ending: Ending | None = None
        self.carrier_due_ms = NEVER  # when its stream is overdue, or the next frame of it
        self.unheard_due_ms = NEVER  # when the model's word on what the caller said is due
        self.handover_due_ms = NEVER  # when the call leaves, quiet or not
        self.greeting_cut = False  # by what may be a turn
        self.caller_speaking = False  # the model has told us so, and not yet that they stopped
        self.spoke_over: str | None = None  # the response that was active when they began
        self.turn = self.committed_turn = 0
        self.open_turn = OpenTurn()
        self.keys = Keys(config)
        self.key_series = KeySeries()
        self.transcripts = Transcripts()
        self.failures = self.waited_ms = self.inaudible = self.upstream_ms = self.overheard_until_ms = 0
        self.untranscribed_why = ""
        self.lost_ms: int | None = None
        self.differs: set[str] = set()

    def session_of(self, epoch: int) -> UpstreamSession:
        """The upstream session of that epoch; for one that is over, the one in its place."""
        return self.spare if self.spare is not None and self.spare.epoch == epoch else self.up

    def other_event(self, event: Event, now_ms: int) -> None:
        """Take an event that belongs to no upstream session: `Call` does. Wishes that had to wait for a model
        come back in by this.
        """
        raise NotImplementedError


def transcribed(call: CallState) -> bool:
    """Whether the vendor that the call has now writes down a turn of the caller's."""
    return call.up.plan.transcription_of(call.playout.config) is not None


def asked_of(call: CallState, config: SessionConfig) -> SessionConfig:
    """What is asked of a session so that this configuration is in force. In a call that we placed the core
    asks for every answer: who has spoken is a question, and the vendor does not ask it.
    """
    detection = config.turn_detection
    if detection is None or not call.callee.open or not detection.create_response:
        return config
    detection = msgspec.structs.replace(detection, create_response=False)
    return msgspec.structs.replace(config, turn_detection=detection)


def owe(
    call: CallState,
    now_ms: int,
    patience_ms: int | None = None,
    silent_ms: int | None = None,
    *,
    doubtful: bool = False,
) -> None:
    """The caller waits for us from now on, and has heard nothing since `silent_ms`. While they are away, or
    about to leave, they do not.
    """
    if call.phase is Phase.AWAY or call.detours.draining:
        return
    call.playout.owed.way_ms = call.playout.line.ledger.lateness_ms
    call.playout.owed.start(now_ms, patience_ms, silent_ms, doubtful=doubtful)
