"""The caller speaks: when that begins, what it cuts, and when it is over.

A turn is open while the model takes the caller to be speaking. Realtime guide, "Voice activity detection":
the server ends turns. But its word may be wrong: speech that it never sees the end of, a line of music, a
flicker. Our own ear says when the line is quiet, and whether its sound can be a voice; from both follow the
bounds of a turn. One that the model does not end is committed and answered as soon as our ear has been quiet
for long enough; sound that is no voice is cleared instead.
`settle` is a rule at the end of every event: what has happened since is in the state.
"""

from __future__ import annotations

import enum

from . import answers, caller_turns, ending, recovery, responses, state
from . import messages as m
from .caller_audio import STALLED_MS, VOICE_MS
from .debts import Kind
from .due import NEVER
from .limits import Silence
from .messages import Phase, Reason, TurnBounds
from .state import CallState
from .upstream_leg import Leg

NOTE = "turn without end"
HANGOVER_MS = 300
"""After the last loud frame our ear is quiet."""
COMMIT_MS = 1_500
"""For the model to say that a turn is an item, when it was told to make it one."""
TAKEN_MS = 1_000
"""The same after it said by itself that the caller stopped."""
SESSIONS = 2
"""That may fail to, one after another: then the model is out."""
UNTAKEN = "it does not take the caller's turn"
WISH = "Ask the caller whether they are still there."


class Bound(enum.Enum):
    """Why a turn is ended by us; the values are codes for notes."""

    QUIET = "quiet_ear"
    LONGEST = "longest_turn"
    WORDLESS = "no_words"


def quiet(call: CallState, now_ms: int) -> bool:
    """Our ear, which is trusted in this call, does not hear the caller."""
    trusted = call.playout.agent.turn_bounds is not None
    return trusted and now_ms - call.caller_audio.voice_ended_ms >= HANGOVER_MS


def unheard(call: CallState, now_ms: int) -> bool:
    """It takes more than the model's word that the caller speaks to take an answer back that is owed, where
    our ear has heard nothing since; or to cut our question, where it hears the sound that we ask about.
    """
    if call.open_turn.clears and call.caller_audio.steady:
        return True
    turns = [debt for debt in call.playout.debts.of(Kind.TURN) if debt.due]
    return bool(turns) and quiet(call, now_ms) and call.caller_audio.voice_ended_ms < turns[0].since_ms


def started(call: CallState, event: m.SpeechStarted, now_ms: int) -> None:
    """The model says that the caller speaks: what is said is cut, unless that word is doubtful."""
    turn = call.open_turn
    if turn.overruled_ms is not None and turn.since_ms is None and quiet(call, now_ms):
        return
    begin(call, event, now_ms)
    resumes, call.up.resume_due_ms = call.up.resume_due_ms != NEVER, NEVER
    if resumes and not call.caller_audio.speaks(now_ms):
        resumed(call, event)
        return
    if now_ms < call.overheard_until_ms and not call.caller_audio.speaks(now_ms):
        overheard(call, event)
        return
    if (call.playout.debts.open or turn.clears) and unheard(call, now_ms):
        call.out.append(m.CallerSpoke(True, event.item_id))
        return
    turn.pad_due_ms = now_ms + STALLED_MS
    call.out.append(m.CallerSpoke(True, event.item_id))
    backchannel_ms = call.playout.agent.backchannel_ms
    if backchannel_ms and not call.playout.line.quiet:
        turn.confirm_due_ms = now_ms + backchannel_ms
        call.playout.debts.cancel(Kind.RESUMED, reason="the caller spoke")
        return
    confirmed(call, now_ms)


def begin(call: CallState, event: m.SpeechStarted, now_ms: int) -> None:
    """A turn of the caller's is open. One that is open already goes on."""
    turn = call.open_turn
    if turn.since_ms is None or not turn.believed:
        turn.since_ms = now_ms
    if call.caller_audio.voice_ended_ms > turn.first_ms:
        turn.first_ms = now_ms
    turn.item_id, turn.epoch, turn.believed = event.item_id, call.up.epoch, True
    turn.committed, turn.overruled_ms = False, None
    call.caller_speaking = True
    call.spoke_over = call.playout.gate.active
    call.playout.unanswered = None
    call.silence = Silence()


def resumed(call: CallState, event: m.SpeechStarted) -> None:
    """The new session hears what the caller said before it was there: the caller does not speak now, so
    nothing is cut, and who waits waits on.
    """
    call.turn += 1
    call.playout.debts.superseded()
    call.greeting_cut |= responses.GREETING in call.playout.drop_waiting()
    call.out.append(m.CallerSpoke(True, event.item_id))


def overheard(call: CallState, event: m.SpeechStarted) -> None:
    """The caller said it while they could not interrupt, and is silent now. It is a turn of theirs like any
    other, but it cuts no sound that they have not heard yet: a greeting that waited is said.
    """
    call.turn += 1
    call.out.append(m.CallerSpoke(True, event.item_id))


def confirmed(call: CallState, now_ms: int) -> None:
    """It is speech, and it is meant: what we say is cut, and this turn takes the place of what is owed. If no
    words are found in it, a greeting that it cost is owed again. During a goodbye it takes the goodbye back.
    """
    call.turn += 1
    call.open_turn.confirm_due_ms = NEVER
    if call.playout.debts.open:
        call.playout.debts.superseded()
    cut = call.playout.interrupt(now_ms, ours=bool(call.playout.agent.backchannel_ms), by_caller=True)
    call.greeting_cut |= responses.GREETING in cut
    if call.ending is None or call.detours.deaf:
        return
    if call.ending.reason in ending.TAKEN_BACK:
        ending.take_back(call)
    else:
        ending.say_goodbye(call, now_ms)


def stopped(call: CallState, event: m.SpeechStopped, now_ms: int) -> None:
    """The model says that the caller's turn is over."""
    turn = call.open_turn
    if turn.overruled_ms is not None and turn.since_ms is None:
        return  # we have ended this turn already
    backchannel = turn.confirm_due_ms != NEVER
    turn.stopped()
    began, call.caller_speaking = call.caller_speaking, False
    call.out.append(m.CallerSpoke(False, event.item_id))
    if backchannel:
        return  # a backchannel ("mm-hmm"): we go on speaking, and no answer is owed
    last_word_ms = caller_turns.vendors_last_word_ms(call, event, now_ms)
    silent_ms = now_ms - caller_turns.pause_ms(call)
    caller_turns.owe_answer(call, now_ms, silent_ms, last_word_ms, began=began)
    if not state.transcribed(call):
        caller_turns.voice(call, now_ms)


def pad(call: CallState, now_ms: int) -> None:
    """Voice detection counts audio written, not time: if frames stop while the caller speaks, the turn
    would not end.
    """
    flows = call.up.can.input_must_flow  # there silence goes up in any case
    if now_ms - call.caller_audio.last_ms >= STALLED_MS and call.caller_audio.open and not flows:
        call.out.append(call.caller_audio.stall(call.up.epoch))
    next_ms = max(call.caller_audio.last_ms, now_ms) + STALLED_MS
    call.open_turn.pad_due_ms = next_ms if call.caller_speaking else NEVER


# --- a turn without end


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
    while (found := next_bound(call, bounds)) is not None:
        if now_ms < found[0]:
            turn.due_ms = min(turn.due_ms, found[0])
            return
        end(call, found[1], now_ms)


def next_bound(call: CallState, bounds: TurnBounds) -> tuple[int, Bound] | None:
    """When the next bound of the open turn acts, as far as is known now, and which. None while no turn is
    open.
    """
    turn, caller_audio = call.open_turn, call.caller_audio
    since_ms = turn.since_ms
    if since_ms is None:
        return None
    found = []
    if bounds.longest_ms:
        found.append((since_ms + bounds.longest_ms, Bound.LONGEST))
    if bounds.quiet_ms:
        # Only from here on has the model heard all that we have.
        listens_ms = max(call.up.ready_ms, call.overheard_until_ms - caller_turns.OVERHEARD_MS)
        quiet_ms = max(caller_audio.voice_ended_ms, listens_ms, turn.first_ms) + bounds.quiet_ms
        if turn.own_words_ms >= since_ms:
            quiet_ms = max(quiet_ms, turn.own_words_ms + bounds.words_ms)
        found.append((quiet_ms, Bound.QUIET))
    if caller_audio.steady and bounds.wordless_ms:
        found.append((max(since_ms, turn.words_ms) + bounds.wordless_ms, Bound.WORDLESS))
    return min(found, key=lambda each: each[0], default=None)


def hear_again(call: CallState, now_ms: int) -> None:
    """We have ended a turn, and the model has not noticed that the caller speaks again."""
    turn, caller_audio = call.open_turn, call.caller_audio
    if caller_audio.voice_ms >= VOICE_MS and caller_audio.voice_ended_ms > (turn.overruled_ms or 0):
        turn.since_ms = turn.first_ms = now_ms
        turn.believed, turn.committed, turn.overruled_ms = True, False, None


def end(call: CallState, bound: Bound, now_ms: int) -> None:
    """A bound of the open turn is reached."""
    turn = call.open_turn
    if turn.confirm_due_ms != NEVER:
        confirmed(call, now_ms)
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
        silent_ms = caller_turns.last_word_ms(call, now_ms)
        caller_turns.owe_answer(call, now_ms, silent_ms, silent_ms, began=True, asked=True)
    if not state.transcribed(call):
        caller_turns.voice(call, now_ms)


def over(call: CallState) -> None:
    """The model does not say that the caller has stopped: everything else goes on as if it had."""
    call.open_turn.pad_due_ms = NEVER
    if call.caller_speaking:
        call.caller_speaking = False
        call.out.append(m.CallerSpoke(False, call.open_turn.item_id))


def clear(call: CallState, now_ms: int) -> None:
    """End a turn that had no voice for `wordless_ms`. The line goes on, and so does our watch. The caller is
    asked once whether they are there; the second time they are on hold.
    """
    turn = call.open_turn
    over(call)
    call.out.append(m.ForgetAudio(call.up.epoch))
    turn.since_ms, turn.believed = now_ms, False
    turn.clears += 1
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
    turn, bounds, playout = call.open_turn, call.playout.agent.turn_bounds, call.playout
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
    if unasked and active not in playout.muted:
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
