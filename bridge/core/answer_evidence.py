"""What is learnt of who has answered: by our ear, the carrier, the model, user code, and turns."""

from __future__ import annotations

from typing import Final

from . import messages as m
from . import state
from .answer_actions import human, known, talk_on, wait
from .callee import BEEP_MS, CARRIER_WORDS, MACHINES, Stage
from .messages import AnswerKind
from .messages.answered import AnswerEvidence
from .state import CallState

RINGING_HZ: Final = 400, 450
RINGING_MS: Final = 900
"""A tone of that pitch and length, before anybody has spoken or while a person is looked for, is an exchange
that rings on: 425 Hz for 1 to 1.5 s in most of Europe (ITU-T E.180).
"""
ANSWERED_US_BYTES: Final = 8_000
"""They heard a second of our speech before: their words after it are an answer."""


def learn(call: CallState, event: AnswerEvidence, now_ms: int) -> None:
    """Something that tells who is there."""
    match event:
        case m.CallerTone():
            tone(call, event, now_ms)
        case m.MachineVerdict():
            verdict(call, event, now_ms)
        case m.AnswerWords():
            words(call, event, now_ms)
        case m.ReportAnswer():
            reported(call, event, now_ms)
        case m.DecideMachine():
            decided(call, event, now_ms)


def tone(call: CallState, event: m.CallerTone, now_ms: int) -> None:
    """A tone begins, or has ended with or without silence after it."""
    callee = call.callee
    began_ms = now_ms - event.quiet_ms - event.duration_ms
    if not event.over:
        callee.speech.tone(began_ms, now_ms)
        return
    callee.speech.tone_over(now_ms - event.quiet_ms, now_ms)
    short_ms, long_ms = BEEP_MS
    rings = RINGING_HZ[0] <= event.hz <= RINGING_HZ[1] and event.duration_ms >= RINGING_MS
    if rings and (callee.stage is Stage.SCREENED or not callee.speech.heard):
        return
    if event.quiet_ms and short_ms <= event.duration_ms <= long_ms and callee.beep_counts(began_ms):
        ended_ms = now_ms - event.quiet_ms
        callee.signals.beep_ended_ms, callee.signals.beeped = ended_ms, True
        call.out.append(m.Beep(ended_ms, event.hz, event.duration_ms))


def verdict(call: CallState, event: m.MachineVerdict, now_ms: int) -> None:
    """The carrier's detection counts by where the call stands, not by its age."""
    callee, kind = call.callee, CARRIER_WORDS.get(event.answered_by)
    noted = f"{event.answered_by} after {event.duration_ms} ms"
    call.out.append(m.Noted("machine detection", noted))
    if not callee.open or kind is None or callee.stage is Stage.DROPPING:
        return
    callee.signals.carrier = kind
    if kind in MACHINES:
        # Its word for a tone that our ear has not heard is not enough: who says "hello?" is no mailbox.
        heard_out = callee.signals.long or callee.signals.suspects
        if event.answered_by == "machine_end_beep" and heard_out and callee.signals.beep_ended_ms is None:
            callee.signals.beep_ended_ms = now_ms - callee.speech.silent_ms(now_ms)
        if callee.signals.words is not AnswerKind.HUMAN:
            suspect(call, now_ms)
    elif callee.stage is Stage.LISTENING:
        human(call, "carrier", now_ms)


def words(call: CallState, event: m.AnswerWords, now_ms: int) -> None:
    """They have said what tells who it is."""
    callee = call.callee
    if not callee.open:
        return
    callee.signals.say(event.kind, sure=event.sure)
    callee.signals.tone |= event.tone
    if event.kind in MACHINES and event.sure:
        known(call, event.kind, "words", now_ms)
        suspect(call, now_ms)


def reported(call: CallState, event: m.ReportAnswer, now_ms: int) -> None:
    """The model, or a handler, says who it is."""
    callee = call.callee
    if not callee.open:
        return
    callee.signals.model = event.kind
    if event.kind in MACHINES:
        suspect(call, now_ms)
    elif event.kind is AnswerKind.HUMAN and callee.unanswered:
        human(call, "model", now_ms)
    elif event.kind in (AnswerKind.SCREENING, AnswerKind.IVR):
        callee.signals.say(event.kind, sure=True)


def decided(call: CallState, event: m.DecideMachine, now_ms: int) -> None:
    """User code has decided what becomes of the machine."""
    callee = call.callee
    if callee.stage is not Stage.ASKED:
        return
    callee.decision = event.action
    if event.action == "talk":
        callee.enter(Stage.CLOSED, now_ms)
        talk_on(call, now_ms)
    else:
        callee.enter(Stage.WAITING, now_ms)


def suspect(call: CallState, now_ms: int) -> None:
    """It may be a machine: nothing more is said to it, unless a person has answered us."""
    if call.callee.stage in (Stage.LISTENING, Stage.TALKING):
        wait(call, now_ms)


def count_turns(call: CallState, now_ms: int) -> None:
    """A person who has answered twice is one, whatever comes later."""
    callee = call.callee
    transcribed = state.transcribed(call)
    callee.signals.worded |= not transcribed
    for turn in call.out:
        callee.signals.worded |= isinstance(turn, m.Turn) and bool(turn.text.strip())
        if not isinstance(turn, m.Turn) or callee.stage not in (Stage.TALKING, Stage.LISTENING):
            continue
        if callee.signals.words in MACHINES or (transcribed and not turn.text.strip()):
            continue
        answers_us = callee.heard_to - callee.heard_from >= ANSWERED_US_BYTES
        if callee.turns and not answers_us:
            continue
        callee.turns += 1
        callee.heard_from = callee.heard_to
        if callee.turns == 1 and callee.stage is Stage.LISTENING and not callee.speech.heard:
            human(call, "words", now_ms)  # our own ear has not heard them
        if callee.turns > 1:
            known(call, AnswerKind.HUMAN, "words" if transcribed else "ear", now_ms)
            callee.enter(Stage.CLOSED, now_ms)
            return
