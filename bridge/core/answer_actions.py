"""Actions after the callee's side has answered: talk, wait, say who calls, leave a message, hang up."""

from __future__ import annotations

from typing import Final

from . import ending, responses, state
from . import messages as m
from .callee import Stage
from .callee_speech import PAUSE_MS
from .debts import Kind
from .mailbox_message import MESSAGE
from .messages import AnswerKind, Phase, Reason
from .state import CallState

SENTENCE_MS: Final = 8_000
"""The most that an assistant takes for an answer."""
TAIL_MS: Final = 400
"""Between the carrier and a mailbox, at the most."""
SCREENING: Final = "screening"
WHO_CALLS: Final = (
    "An assistant that screens calls has asked who is calling and why. Answer in one short sentence: your "
    "name, and the reason for this call. Nothing else."
)


def known(call: CallState, kind: AnswerKind, source: str, now_ms: int) -> None:
    """Tell who it is, if that is news."""
    if call.callee.kind is not kind:
        call.callee.kind = kind
        call.stats.answered_by = kind.value
        call.out.append(m.Answered(kind, source, now_ms))


def human(call: CallState, source: str, now_ms: int) -> None:
    """It is a person, as far as we know: talk to them."""
    known(call, AnswerKind.HUMAN, source, now_ms)
    talk(call, now_ms)


def talk(call: CallState, now_ms: int) -> None:
    """Begin the call, or begin it anew."""
    callee = call.callee
    callee.enter(Stage.TALKING, now_ms)
    callee.excused_ms = callee.speech.began_ms
    callee.heard_from = callee.heard_to = call.playout.line.ledger.position(now_ms)
    talk_on(call, now_ms)


def talk_on(call: CallState, now_ms: int, note: str = "") -> None:
    """Say what was kept, and the greeting; or answer what was said. `note` takes the greeting's place."""
    callee, playout = call.callee, call.playout
    state.owe(call, now_ms)
    responses.disclose(call, now_ms)
    kept, callee.kept = callee.kept, []
    for wish in kept:
        call.other_event(wish, now_ms)
    if call.phase is not Phase.LIVE:
        return  # then the call begins with the greeting
    if note:
        playout.debts.cancel(Kind.TURN, reason="a menu is answered")
        playout.ask("menu", note, Kind.RESPOND, now_ms)
    elif call.config.greeting and responses.GREETING not in playout.gate.waiting:
        playout.debts.cancel(Kind.TURN, reason="the greeting answers it")
        callee.greeted_turn = f"turn:{call.turn}"
        responses.protect_greeting(call)
        responses.greet(call, now_ms)


def drop_greeted_turn(call: CallState) -> None:
    """The greeting answers the word with which they picked up, also where its end is told later."""
    for debt in call.playout.debts.of(Kind.TURN):
        if debt.tag == call.callee.greeted_turn:
            call.playout.debts.close(debt, reason="the greeting answers it")


def wait(call: CallState, now_ms: int) -> None:
    """Say nothing more, and tell the model how much was heard."""
    callee, playout = call.callee, call.playout
    if call.ending is None and not (playout.line.quiet and playout.gate.idle):
        playout.interrupt(now_ms, ours=True)
    if call.config.greeting:
        playout.debts.cancel(*Kind, reason="a machine may have answered")
    playout.owed.stop()
    if callee.signals.words is AnswerKind.HUMAN:
        callee.signals.answered()  # what they say after it is no person's first word
    callee.enter(Stage.WAITING, now_ms)
    prepare(call)


def prepare(call: CallState) -> None:
    """Let the model make the message, if that is to be done."""
    callee, playout = call.callee, call.playout
    action = callee.decision or callee.rules.on_machine
    if action in ("voicemail", "ask") and playout.ready:
        request = callee.message.request(playout.config.instructions, call.up.epoch)
        if request is not None:
            call.out.append(request)


def ask(call: CallState, kind: AnswerKind, now_ms: int) -> None:
    """User code decides; until then nothing is said."""
    callee = call.callee
    wait(call, now_ms)
    callee.enter(Stage.ASKED, now_ms)
    said = [item.text for item in call.playout.conversation.items.values() if item.role == "user"]
    beep = callee.signals.beep_ended_ms is not None
    call.out.append(m.MachineFound(kind, beep, " ".join(filter(None, said)), now_ms))


def sentence(call: CallState, now_ms: int) -> None:
    """Say who calls and why, once for each time that is asked, and twice at the most; eight seconds of it."""
    callee, playout, speech = call.callee, call.playout, call.callee.speech
    asks = callee.signals.words is AnswerKind.SCREENING and callee.signals.sure
    if asks and speech.silent_ms(now_ms) >= PAUSE_MS:
        callee.signals.answered()
        callee.sentences += 1
        callee.sentence_ms = None
        callee.since_ms = now_ms
        text = callee.rules.screening
        wish = f'Say exactly this and nothing else: "{text}"' if text else WHO_CALLS
        playout.debts.cancel(Kind.TURN, reason="an assistant is answered")
        playout.ask(f"{SCREENING}:{callee.sentences}", wish, Kind.SAY, now_ms)
    if callee.sentence_ms is None and not playout.line.quiet:
        callee.sentence_ms = now_ms
    if callee.sentence_ms is None or playout.line.quiet:
        return
    if now_ms >= callee.sentence_ms + SENTENCE_MS:
        playout.interrupt(now_ms, ours=True)
    else:
        callee.look_again(callee.sentence_ms + SENTENCE_MS)


def drop(call: CallState, now_ms: int) -> None:
    """The message, whole and protected."""
    callee, sound = call.callee, call.callee.message.sound
    if sound is None:
        return
    callee.enter(Stage.DROPPING, now_ms)
    callee.tries += 1
    callee.speech.restart(now_ms)
    callee.signals.beep_ended_ms = None
    call.playout.play(MESSAGE, sound, now_ms, protected=True)


def stop(call: CallState, now_ms: int) -> int:
    """The mailbox hears no more of it. Returns how much it has heard, in milliseconds."""
    ending.release(call, MESSAGE)
    call.playout.interrupt(now_ms, ours=True)
    heard = message_over(call)
    call.callee.heard_ms = max(call.callee.heard_ms, 0 if heard is None else heard.heard_ms)
    return call.callee.heard_ms


def message_over(call: CallState) -> m.Heard | None:
    """What was heard of the message, if it was over just now."""
    return next((one for one in call.out if isinstance(one, m.Heard) and one.say_id == MESSAGE), None)


def left(call: CallState, heard: m.Heard, now_ms: int) -> None:
    """The message was heard to its end, or what is not ours has ended it: there is nothing more to say. An
    echo says what the carrier has played, and its last words are still on their way to the mailbox.
    """
    tell_left(call, heard.heard_ms, whole=not heard.cut)
    call.callee.hangs_up_ms = now_ms + TAIL_MS


def tell_left(call: CallState, heard_ms: int, *, whole: bool) -> None:
    """So much of the message was heard."""
    call.out += call.callee.left(heard_ms, whole=whole)
    call.stats.message = call.callee.outcome


def hang_up(call: CallState, detail: str, now_ms: int) -> None:
    """At once, and without a goodbye: no person listens."""
    call.out.append(m.NoteIntent("ended"))
    ending.end(call, Reason.WE_HUNG_UP, now_ms, detail)
