"""Who answers a call that we placed, and what we do about it: the rules of each stage.

The stages are those of `callee.Stage`. What is heard, said, reported or decided changes the evidence;
`settle` then runs at the end of every event, as long as it is a question who is there. An inbound call never
gets here.

Over 400 lines: the rules of the stages decide against each other, and are read together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from . import messages as m
from . import state
from .answer_actions import (
    TAIL_MS,
    ask,
    drop,
    drop_greeted_turn,
    hang_up,
    human,
    known,
    left,
    message_over,
    prepare,
    sentence,
    stop,
    talk,
    talk_on,
    tell_left,
    wait,
)
from .answer_evidence import ANSWERED_US_BYTES, count_turns
from .callee import MACHINES, MONOLOGUE_MS, PERSON_MS, Stage
from .callee_speech import PAUSE_MS, Utterance
from .debts import Kind
from .messages import AnswerKind, Phase
from .state import CallState

AFTER_BEEP_MS: Final = 450
"""From the end of the tone to the message. Mailboxes record from 0 to 300 ms after it."""
GREETING_OVER_MS: Final = 1_500
"""Of silence after a long utterance end it."""
TONE_MS: Final = 6_000
"""The same where a tone was announced: some mailboxes take their time."""
CARRIER_ALONE_MS: Final = 3_000
"""The same where the carrier's detection alone says that it is a machine."""
SILENT_MS: Final = 10_000
GREETING_GOES_ON_MS: Final = 600
"""A voice that begins so soon after our message is that of the greeting, which was not over."""
EARLY_VOICE_MS: Final = 60
"""Of a voice stop the message then; later a person is listening, and it takes a little more."""
PERSON_VOICE_MS: Final = 240
MOST_MESSAGES: Final = 2
SCREENED_MS: Final = 60_000
WORDS_MS: Final = 1_200
"""For the words of a short utterance that may be a person's, or the assistant's "please hold"."""
HELD_WORDS_MS: Final = 4_000
"""The same while the line is held, where sounds without words are usual."""
WAITED_MS: Final = 120_000
DECIDED_MS: Final = 60_000
INTERRUPTED: Final = (
    "A person has answered after all: they heard the beginning of a message that was meant for a mailbox. "
    "Apologise in a few words, and go on with the call."
)
MENU: Final = "This is the menu of a telephone system, not a person."


# --- the rules of each stage


def settle(call: CallState, now_ms: int) -> None:
    """At the end of every event; nothing in an inbound call, and when a person has proven to be one."""
    callee = call.callee
    callee.look()
    if not callee.open or ended(call):
        return
    hear(call, now_ms)
    count_turns(call, now_ms)
    seen: set[Stage] = set()
    while callee.stage not in seen and not ended(call):  # one may lead to another
        seen.add(callee.stage)
        if callee.stage in RULES:
            RULES[callee.stage](call, now_ms)
    if callee.silent and not ended(call):
        hush(call, now_ms)
    callee.looked(now_ms)


def ended(call: CallState) -> bool:
    """Whether a rule has ended the call."""
    return call.phase is Phase.ENDED


def hear(call: CallState, now_ms: int) -> None:
    """An utterance that begins may be an answer to what was heard of us. One after a tone says that the tone
    was no mailbox's, or not its last.
    """
    callee, speech = call.callee, call.callee.speech
    if speech.sounding and speech.unbroken_ms(now_ms) == 0:
        callee.heard_to = call.playout.line.ledger.position(now_ms)
    if callee.signals.beep_ended_ms is not None:
        began_ms = speech.began_ms or 0
        if speech.toning or (
            began_ms > callee.signals.beep_ended_ms and speech.voice_ms(now_ms) >= EARLY_VOICE_MS
        ):
            callee.signals.beep_ended_ms = None
        elif speech.sounding:
            callee.look_again(now_ms + EARLY_VOICE_MS)
    if speech.monologue_ms >= MONOLOGUE_MS and not call.caller_audio.steady:
        callee.signals.monologue = True


def hush(call: CallState, now_ms: int) -> None:
    """Some vendors answer by themselves what they were told not to."""
    playout, active = call.playout, call.playout.gate.active
    if active is not None and active not in playout.muted:
        playout.interrupt(now_ms, ours=True)


def listening(call: CallState, now_ms: int) -> None:
    """Until we know who is there."""
    callee, speech, rules = call.callee, call.callee.speech, call.callee.rules
    if moves(call, now_ms):
        return
    if too_long(call, now_ms):
        wait(call, now_ms)
        return
    one = speech.take(now_ms)
    if one is not None:
        human(call, "ear", now_ms)
        return
    started_ms = call.stats.started_ms
    if started_ms is None or speech.heard or speech.began_ms is not None or speech.toning:
        watch(call, now_ms)
    elif now_ms >= started_ms + rules.greet_after_ms:
        talk(call, now_ms)
    else:
        callee.look_again(started_ms + rules.greet_after_ms)


def talking(call: CallState, now_ms: int) -> None:
    """To a callee who seems to be a person."""
    callee, speech = call.callee, call.callee.speech
    if moves(call, now_ms):
        return
    began = callee.heard_to - callee.heard_from
    excused = speech.began_ms is not None and speech.began_ms == callee.excused_ms
    if began < ANSWERED_US_BYTES and not excused and too_long(call, now_ms):
        wait(call, now_ms)
        return
    one = speech.take(now_ms)
    if one is not None and callee.kind is None and one.lasted_ms <= PERSON_MS:
        known(call, AnswerKind.HUMAN, "ear", now_ms)
    drop_greeted_turn(call)
    watch(call, now_ms)
    started_ms = call.stats.started_ms
    if callee.kind is None and started_ms is not None and not speech.heard:
        if now_ms >= started_ms + SILENT_MS:
            known(call, AnswerKind.SILENCE, "clock", now_ms)
        else:
            callee.look_again(started_ms + SILENT_MS)


def waiting(call: CallState, now_ms: int) -> None:
    """Until the machine has finished, or turns out to be none."""
    callee, speech, signals = call.callee, call.callee.speech, call.callee.signals
    prepare(call)
    if moves(call, now_ms):
        return
    if signals.words is AnswerKind.HUMAN and signals.sure:
        human(call, "words", now_ms)
        return
    too_long(call, now_ms)
    one = speech.take(now_ms)
    if one is not None and is_a_persons(one) and not signals.suspects:
        human(call, "ear", now_ms)
        return
    watch(call, now_ms)
    wait_ms = GREETING_OVER_MS
    if signals.suspects:
        wait_ms = SILENT_MS
    elif signals.carrier in MACHINES:
        wait_ms = CARRIER_ALONE_MS
    over_ms = max(speech.ended_ms, callee.since_ms) + wait_ms
    if speech.sounding or speech.toning:
        over_ms = callee.since_ms + WAITED_MS
    if now_ms < over_ms:
        callee.look_again(over_ms)
    elif signals.suspects and not signals.silent:
        signals.silent = True
        waiting(call, now_ms)
    else:
        talk(call, now_ms)


def asked(call: CallState, now_ms: int) -> None:
    """Until user code has decided."""
    prepare(call)
    due_ms = call.callee.since_ms + DECIDED_MS
    if now_ms >= due_ms:
        hang_up(call, "user code has not decided about the machine", now_ms)
    else:
        call.callee.look_again(due_ms)


def dropping(call: CallState, now_ms: int) -> None:
    """The message plays. A voice stops it: at its very beginning the greeting was not over; later a person is
    there.
    """
    callee, speech = call.callee, call.callee.speech
    if callee.hangs_up_ms is not None:
        if now_ms >= callee.hangs_up_ms:
            hang_up(call, "a message was left", now_ms)
        else:
            callee.look_again(callee.hangs_up_ms)
        return
    over = message_over(call)
    if over is not None:
        left(call, over, now_ms)
        callee.look_again(now_ms + TAIL_MS)
        return
    again = callee.tries < MOST_MESSAGES
    goes_on = again and (speech.began_ms or now_ms) - callee.since_ms <= GREETING_GOES_ON_MS
    if speech.toning and again and (goes_on or not callee.signals.beeped):
        stop(call, now_ms)  # the mailbox records from this tone on
        wait(call, now_ms)
        return
    least_ms = EARLY_VOICE_MS if goes_on else PERSON_VOICE_MS
    if speech.voice_ms(now_ms) >= least_ms:
        heard = stop(call, now_ms)
        if goes_on:
            wait(call, now_ms)
        else:
            interrupted(call, heard, "ear", now_ms)
    elif callee.signals.words is AnswerKind.SCREENING and callee.signals.sure:
        stop(call, now_ms)  # the tone was the assistant's, and its words come late
        callee.signals.beep_ended_ms = None
        wait(call, now_ms)
    elif callee.signals.words is AnswerKind.HUMAN and callee.signals.sure and not callee.signals.long:
        interrupted(call, stop(call, now_ms), "words", now_ms)  # those before a tone that was no mailbox's
    elif speech.sounding:
        callee.look_again(now_ms + least_ms - speech.voice_ms(now_ms))
    else:
        speech.take(now_ms)
        watch(call, now_ms)


def interrupted(call: CallState, heard_ms: int, source: str, now_ms: int) -> None:
    """It is a person who has heard so much of the message."""
    tell_left(call, heard_ms, whole=False)
    known(call, AnswerKind.HUMAN, source, now_ms)
    call.callee.enter(Stage.CLOSED, now_ms)
    state.owe(call, now_ms)
    call.playout.ask("interrupted", INTERRUPTED, Kind.RESPOND, now_ms)


def screened(call: CallState, now_ms: int) -> None:
    """One sentence for the assistant; then the person may come, within a minute."""
    callee, speech, signals = call.callee, call.callee.speech, call.callee.signals
    if signals.words is AnswerKind.SCREENING and signals.sure and callee.sentences > 1:
        signals.answered()  # no more of it
    if signals.words in MACHINES and signals.sure:
        wait(call, now_ms)
        return
    if certain(call, now_ms):
        return
    sentence(call, now_ms)
    if speech.sounding and speech.unbroken_ms(now_ms) == 0 and not signals.sure:
        callee.held |= signals.words is AnswerKind.SCREENING
        signals.answered()  # the next words count for themselves
    if signals.words is AnswerKind.HUMAN and signals.sure and callee.short_ended_ms is None:
        human(call, "words", now_ms)
        return
    if too_long(call, now_ms) and signals.words is None:
        wait(call, now_ms)
        return
    one = speech.take(now_ms)
    if callee.sentences and one is not None and one.began_ms >= callee.since_ms and is_a_persons(one):
        callee.short_ended_ms = one.ended_ms
    if callee.short_ended_ms is not None and came(call, callee.short_ended_ms, now_ms):
        human(call, "ear", now_ms)
        return
    watch(call, now_ms)
    due_ms = callee.since_ms + SCREENED_MS
    if now_ms >= due_ms:
        callee.outcome = call.stats.message = "screened"
        hang_up(call, "screened", now_ms)
    else:
        callee.look_again(due_ms)


RULES: Final[dict[Stage, Callable[[CallState, int], None]]] = {
    Stage.LISTENING: listening,
    Stage.TALKING: talking,
    Stage.WAITING: waiting,
    Stage.ASKED: asked,
    Stage.DROPPING: dropping,
    Stage.SCREENED: screened,
}


# --- what several of them need


def moves(call: CallState, now_ms: int) -> bool:
    """Whether what is known by now has led to another stage, or to the end."""
    callee, signals = call.callee, call.callee.signals
    if certain(call, now_ms):
        return True
    if signals.words is AnswerKind.SCREENING and signals.sure:
        if callee.speech.silent_ms(now_ms) < PAUSE_MS:
            callee.look_again(now_ms + PAUSE_MS - callee.speech.silent_ms(now_ms))
            return False
        known(call, AnswerKind.SCREENING, "words", now_ms)
        call.playout.interrupt(now_ms, ours=True)
        callee.enter(Stage.SCREENED, now_ms)
        callee.signals.beep_ended_ms, callee.signals.beeped = None, False  # it was the assistant's
        callee.sentences = 0
        return True
    if signals.words is AnswerKind.IVR and callee.stage is not Stage.TALKING:
        known(call, AnswerKind.IVR, "words", now_ms)
        talk_on(call, now_ms, MENU)
        callee.enter(Stage.TALKING, now_ms)
        return True
    return False


def certain(call: CallState, now_ms: int) -> bool:
    """If it is a machine for certain, do as the agent declares. Returns whether that led to another stage or
    to the end.
    """
    callee = call.callee
    found = callee.signals.machine()
    if found is None:
        return False
    kind, source = found
    silent_ms = callee.speech.silent_ms(now_ms)
    beep_ms = callee.signals.beep_ended_ms
    if beep_ms is not None and now_ms < beep_ms + AFTER_BEEP_MS:
        callee.look_again(beep_ms + AFTER_BEEP_MS)
        if callee.stage is Stage.TALKING:
            wait(call, now_ms)
        return True
    known(call, kind, source, now_ms)
    action = callee.decision or callee.rules.on_machine
    if action == "ask":
        ask(call, kind, now_ms)
        return True
    if (
        action != "voicemail"
        or kind in (AnswerKind.UNAVAILABLE, AnswerKind.FAX)
        or not callee.message.possible
    ):
        hang_up(call, f"answered by {kind.value}", now_ms)
        return True
    if callee.stage is not Stage.WAITING:
        wait(call, now_ms)
        return True
    over_ms = 0
    if beep_ms is None:
        over_ms = TONE_MS if callee.signals.tone and not callee.signals.beeped else GREETING_OVER_MS
    if silent_ms < over_ms:
        callee.look_again(now_ms + over_ms - silent_ms)
    elif not callee.speech.toning and callee.message.sound is not None:
        drop(call, now_ms)
        return True
    return False


def watch(call: CallState, now_ms: int) -> None:
    """Look again when the utterance is over, or has become too long."""
    callee, speech = call.callee, call.callee.speech
    if speech.began_ms is None:
        return
    if speech.sounding:
        if not callee.signals.long:
            callee.look_again(speech.began_ms + PERSON_MS)
    elif not speech.toning:
        callee.look_again(max(speech.ended_ms + PAUSE_MS, now_ms + 1))


def too_long(call: CallState, now_ms: int) -> bool:
    """Whether they speak for longer, without a pause, than a person does who has just answered."""
    if call.callee.speech.unbroken_ms(now_ms) < PERSON_MS:
        return False
    call.callee.signals.long = True
    return True


def is_a_persons(one: Utterance) -> bool:
    """A short utterance after a pause: a person waits for an answer."""
    return one.lasted_ms <= PERSON_MS and one.after_ms >= PAUSE_MS


def came(call: CallState, ended_ms: int, now_ms: int) -> bool:
    """Whether the short utterance that ended then is a person's: its words say nothing else, or there are
    none to be had.
    """
    callee = call.callee
    if callee.signals.words is AnswerKind.SCREENING:
        callee.short_ended_ms = None
        return False
    transcribed = state.transcribed(call)
    turns = [turn.text.strip() for turn in call.out if isinstance(turn, m.Turn)]
    if turns and transcribed and callee.held and not any(turns):
        callee.short_ended_ms = None
        return False
    due_ms = ended_ms + PAUSE_MS
    if transcribed:
        due_ms = ended_ms + (HELD_WORDS_MS if callee.held else WORDS_MS)
    if any(turns) or now_ms >= due_ms:
        callee.short_ended_ms = None
        return True
    callee.look_again(due_ms)
    return False
