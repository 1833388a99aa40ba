"""Turns without end: what is done when the model takes the caller to be speaking for longer than can be.

Realtime guide, "Voice activity detection": the server ends turns. One that it does not end is committed and
answered as soon as our own ear has been quiet for long enough; sound that is no voice is cleared instead. A
rule at the end of every event: what has happened since is in the state.
"""

from __future__ import annotations

from . import answers, caller_turns, ending, recovery, state
from . import messages as m
from .caller_audio import VOICE_MS
from .debts import Kind
from .due import NEVER
from .messages import Phase, Reason
from .open_turn import Bound
from .state import CallState
from .upstream_leg import Leg

NOTE = "turn without end"
COMMIT_MS = 1_500
"""For the model to say that a turn is an item, when it was told to make it one."""
TAKEN_MS = 1_000
"""The same after it said by itself that the caller stopped."""
SESSIONS = 2
"""That may fail to, one after another: then the model is out."""
UNTAKEN = "it does not take the caller's turn"
WISH = "Ask the caller whether they are still there."


def settle(call: CallState, now_ms: int) -> None:
    """Before `answers.ask`: a turn that ends here is asked for at once."""
    turn, bounds, up = call.open_turn, call.playout.agent.turn_bounds, call.up
    if turn.epoch != up.epoch or up.state is not Leg.READY:
        turn.lost(up.epoch)
    turn.due_ms = NEVER
    if bounds is None or call.phase is not Phase.LIVE or not call.playout.ready:
        return
    if turn.overruled_ms is not None and turn.since_ms is None:
        hear_again(call, now_ms)
    if turn.hold_ms is not None:
        hold(call, now_ms)
    if turn.commit_ms is not None:
        acknowledge(call, now_ms)
    if turn.since_ms is None:
        if not turn.committed and call.playout.debts.open:
            take(call, now_ms)
        return
    listens_ms = max(up.ready_ms, call.overheard_until_ms - caller_turns.OVERHEARD_MS)
    while (found := turn.bound(bounds, call.caller_audio, listens_ms)) is not None:
        if now_ms < found[0]:
            turn.due_ms = min(turn.due_ms, found[0])
            return
        end(call, found[1], now_ms)


def hear_again(call: CallState, now_ms: int) -> None:
    """We have ended a turn, and the model has not noticed that the caller speaks again."""
    turn, caller_audio = call.open_turn, call.caller_audio
    if caller_audio.voice_ms >= VOICE_MS and caller_audio.voice_ended_ms > (turn.overruled_ms or 0):
        turn.heard_again(now_ms)


def end(call: CallState, bound: Bound, now_ms: int) -> None:
    """A bound of the open turn is reached."""
    turn = call.open_turn
    if turn.confirm_due_ms != NEVER:
        caller_turns.confirmed(call, now_ms)
    if bound is Bound.WORDLESS:
        clear(call, now_ms)
    elif turn.believed:
        end_and_ask(call, bound, now_ms)
    else:
        turn.stopped()
        turn.overruled_ms = now_ms


def end_and_ask(call: CallState, bound: Bound, now_ms: int) -> None:
    """The turn is over, whatever the model says: it is to be an item, and is answered."""
    turn, since_ms = call.open_turn, call.open_turn.since_ms or now_ms
    call.out.append(m.Noted(NOTE, f"{bound.value}: ended after {now_ms - since_ms} ms"))
    over(call)
    turn.stopped()
    turn.overruled_ms = now_ms
    commit(call, now_ms)
    if turn.hold_ms is None:
        caller_turns.owe_answer(call, now_ms, caller_turns.last_word_ms(call, now_ms), began=True, asked=True)
    if call.playout.config.transcription is None:
        caller_turns.voice(call, now_ms)


def over(call: CallState) -> None:
    """The model does not say that the caller has stopped: everything else goes on as if it had."""
    call.open_turn.pad_due_ms = NEVER
    if call.caller_speaking:
        call.caller_speaking = False
        call.out.append(m.CallerSpoke(False, call.open_turn.item_id))


def clear(call: CallState, now_ms: int) -> None:
    """For so long only sound that no voice makes: it is no turn. The caller is asked once whether they are
    there; the second time they are on hold.
    """
    turn = call.open_turn
    over(call)
    call.out.append(m.ForgetAudio(call.up.epoch))
    turn.cleared(now_ms)
    if turn.hold_ms is not None or call.callee.unanswered:
        return
    call.out.append(m.Noted(NOTE, f"{Bound.WORDLESS.value}: sound without words was cleared"))
    if turn.clears > 1:
        turn.hold_ms = now_ms
        call.out.append(m.Noted("on hold", "on_hold: no nudge and no answer until words come"))
    elif (phrase := call.config.phrases.get("still_there")) is not None:
        call.playout.play(f"sound:{now_ms}", phrase, now_ms)
    else:
        call.playout.ask(f"sound:{now_ms}", WISH, Kind.NUDGE, now_ms)


def hold(call: CallState, now_ms: int) -> None:
    """While the caller is on hold nothing is owed to them, and what the model says by itself is cut."""
    turn, bounds, playout = call.open_turn, call.agent.turn_bounds, call.playout
    if turn.hold_ms is None or bounds is None:
        return
    until_ms = turn.hold_ms + bounds.hold_ms
    worded = turn.words_ms >= turn.hold_ms
    if worded or now_ms >= until_ms:
        turn.hold_ms, turn.clears = None, 0
        call.out.append(m.Noted("on hold", "words: words came" if worded else "hold_over: long enough"))
        if worded and not call.caller_speaking and turn.committed:
            state.owe(call, now_ms)
            answers.owe_turn(call, now_ms, began=False).not_before_ms = now_ms
        return
    turn.due_ms = min(turn.due_ms, until_ms)
    playout.debts.cancel(Kind.TURN, Kind.RESUMED, Kind.NUDGE, reason="on hold")
    active = playout.gate.active
    unasked = active is not None and playout.gate.tags.get(active, "") not in playout.utterances
    if unasked and active not in playout.gate.muted:
        playout.interrupt(now_ms, ours=True)


# --- the turn as an item of the conversation


def commit(call: CallState, now_ms: int) -> None:
    """API reference, input_audio_buffer.commit: it makes an item, and no response."""
    call.out.append(m.CommitAudio(call.up.epoch))
    call.open_turn.committed, call.open_turn.commit_ms = True, now_ms
    call.open_turn.epoch = call.up.epoch


def take(call: CallState, now_ms: int) -> None:
    """The model said that the caller stopped, and does not make the turn an item: it is told to, before it is
    asked to answer.
    """
    turn = next((debt for debt in call.playout.debts.of(Kind.TURN) if debt.due), None)
    if turn is None or turn.asked:
        return
    due_ms = turn.since_ms + TAKEN_MS
    if now_ms < due_ms:
        call.open_turn.due_ms = min(call.open_turn.due_ms, due_ms)
        return
    call.out.append(m.Noted(NOTE, "not_committed: the model ended a turn and did not take it"))
    commit(call, now_ms)
    call.open_turn.overruled_ms = turn.not_before_ms = now_ms


def acknowledge(call: CallState, now_ms: int) -> None:
    """A session that does not take the caller's turn has not heard them, whatever it answers: the next one
    shall.
    """
    turn = call.open_turn
    due_ms = (turn.commit_ms or 0) + COMMIT_MS
    if now_ms < due_ms:
        turn.due_ms = min(turn.due_ms, due_ms)
        return
    if not call.playout.line.quiet or call.playout.gate.active is not None:
        return  # what it says is heard to its end
    turn.commit_ms = None
    turn.untaken += 1
    if turn.untaken >= SESSIONS:
        ending.fail(call, Reason.UPSTREAM_LOST, now_ms, UNTAKEN)
        return
    answers.owe_resumed(call, now_ms)
    state.owe(call, now_ms, silent_ms=call.silence.since_ms)
    recovery.give_up(call, UNTAKEN, now_ms)
