"""Whose turn it is with a model that listens and speaks at once, and tells neither.

Its sound says when it speaks and when it has stopped, our own ear when the caller does. The caller who speaks
cuts nothing: the model may mean to go on. If it stops for them, what of it waits on the line is cleared.
"""

from __future__ import annotations

from . import (
    answers,
    caller_turns,
    caller_words,
    delegation,
    ending,
    inaudible,
    late_words,
    model_commands,
    recovery,
    responses,
    state,
)
from . import messages as m
from .conversation import LEAST_LETTERS
from .debts import ANSWERED, Kind
from .due import NEVER
from .duplex import HANG_MS, Segment
from .duplex_session import PAUSE_MS, DuplexSession
from .limits import Silence
from .messages import Phase
from .state import CallState
from .words import MOST_OF_A_FRAGMENT, TimedText

UNSAID_MS = 2_500
"""After the model was asked to say something and has not begun to: it is asked once more."""
RESULT_MS = 10_000
"""The same after its backend was to go on with a tool's result: never asked twice."""
UNANSWERED_MS = 8_000
"""After the caller's turn: it answers by itself, but not always."""
WORDLESS_MS = 2_500
"""After the caller's voice for words to come of it: without any it was a noise, and no answer is owed."""
MODERATED_MS = 1_000
"""After its words were filtered the model may go on by itself; then it is asked to."""
PAUSED_MS = 100
"""Of quiet by our ear, when the model begins to speak: the caller had ended."""


def session_of(call: CallState, epoch: int) -> DuplexSession:
    """The session in use, from its first word on."""
    duplex = call.playout.duplex
    if duplex is None or duplex.epoch != epoch:
        duplex = call.playout.duplex = DuplexSession(epoch, call.config.bytes_per_ms)
    return duplex


# --- the model speaks


def sound(call: CallState, event: m.StreamAudio, now_ms: int) -> None:
    """A piece of the model's stream has come."""
    playout, duplex = call.playout, session_of(call, event.epoch)
    stream, line = duplex.stream, playout.line
    if not playout.ready:
        call.stats.late_bytes += event.size_bytes
        return
    # A call that ends when its last word was heard has nothing more to say, nor one whose caller is away.
    over = call.ending is not None and playout.gate.idle and call.ending.farewell_ms == NEVER
    wanted = not over and call.phase is not Phase.AWAY
    before, lag_ms = stream.segment, line.remaining_ms(now_ms)
    ours = bool(line.spans.of(""))
    pieces = stream.take(event.audio, event.size_bytes, event.loud, lag_ms, ours=ours, wanted=wanted)
    if stream.segment is not None and stream.segment is not before:
        begin(call, duplex, stream.segment, now_ms)
    item = duplex.item
    if item is not None:
        playout.audible = not event.faint if event.loud else playout.audible
        for audio, size_bytes in pieces:
            delta = m.AudioDelta(item.response_id, item.item_id, 0, audio, size_bytes, event.epoch)
            responses.sound(call, delta, now_ms)
    if before is not None and stream.segment is None:
        duplex.utterance_over()
        playout.item_finished(before.span.item_id, 0, now_ms)
    if duplex.unwanted and duplex.unwanted == duplex.response_id:
        duplex.unwanted = ""
        playout.interrupt(now_ms, ours=True)
    voice_ago_ms = now_ms - call.caller_audio.voice_ended_ms
    heard = line.ledger.heard_bytes
    if not call.uninterruptible and stream.yields(voice_ago_ms, lambda span: heard(span, now_ms)):
        call.out.append(m.Noted("the model stopped for the caller", "what it said before is cleared"))
        playout.interrupt(now_ms, ours=False, by_caller=True)


def begin(call: CallState, duplex: DuplexSession, segment: Segment, now_ms: int) -> None:
    """An utterance begins, and a response with it where the model was silent."""
    playout = call.playout
    if call.caller_speaking and now_ms - call.caller_audio.voice_ended_ms >= PAUSED_MS:
        stopped(call, now_ms)
    continues = duplex.response_id
    item = duplex.utterance(segment)
    if not continues:
        gate = playout.gate
        tag = "" if gate.asked is None or gate.stale else gate.asked.tag
        if gate.stale:
            gate.asked, gate.stale = None, False
        duplex.asked_ms, duplex.asked_twice = NEVER, ""
        playout.response_started(m.ResponseStarted(item.response_id, tag, epoch=duplex.epoch), now_ms)
    playout.conversation.enter(item)
    playout.line.spans.begin(segment.span)


def settle(call: CallState, now_ms: int) -> None:
    """The rules at the end of every event of a call with a duplex model."""
    duplex, ear = call.playout.duplex, call.caller_audio
    if duplex is None or call.phase is Phase.ENDED:
        return
    if not call.caller_speaking and ear.speaks(now_ms) and ear.voice_ended_ms > duplex.stopped_ms:
        started(call, duplex, now_ms)
    elif call.caller_speaking and not ear.speaks(now_ms):
        stopped(call, now_ms)
    if duplex.caller_text.due_ms <= now_ms and not ear.speaks(now_ms):
        caller_words.worded(call, duplex, duplex.caller_text.over(), now_ms)
    if duplex.response_id:
        response_over(call, duplex, now_ms)
    wordless(call, duplex, now_ms)
    unanswered(call, now_ms)
    unsaid(call, duplex, now_ms)
    unsounded(call, duplex, now_ms)
    late_words.settle(call, duplex)


def response_over(call: CallState, duplex: DuplexSession, now_ms: int) -> None:
    """What the model was saying is over: it has been quiet for long enough, or was cut."""
    response_id = duplex.response_id
    cut = response_id in call.playout.muted
    if not cut and (duplex.stream.segment is not None or duplex.stream.quiet_ms < PAUSE_MS):
        return
    duplex.response_id = ""
    status, why = ("cancelled", "interrupted") if cut else ("completed", "")
    responses.response_done(call, m.ResponseDone(response_id, status, why, epoch=duplex.epoch), now_ms)


def unsaid(call: CallState, duplex: DuplexSession, now_ms: int) -> None:
    """The model was asked to say something and does not: once more, and then it is not waited for."""
    gate = call.playout.gate
    if gate.asked is None:
        duplex.asked_ms = NEVER
        return
    if duplex.asked_ms == NEVER:
        duplex.asked_ms = now_ms
    patience_ms = RESULT_MS if gate.asked.tag.startswith("tool:") else UNSAID_MS
    if now_ms >= duplex.asked_ms + patience_ms and not call.caller_speaking:
        not_said(call, duplex, gate.asked.tag, now_ms)


def not_said(call: CallState, duplex: DuplexSession, tag: str, now_ms: int) -> None:
    """What the model was asked for by that tag was not said, or without sound: once more. Where that was the
    caller's answer, another session may do better.
    """
    playout = call.playout
    again = duplex.asked_twice != tag and not playout.gate.stale and not tag.startswith("tool:")
    owed = any(debt.tag == tag and debt.kind in ANSWERED for debt in playout.debts.open.values())
    duplex.asked_ms, duplex.asked_twice = NEVER, tag
    playout.refused(tag, again=again)
    if again:
        return
    call.out.append(m.Noted("not said", f"{tag}: the model was asked twice"))
    if owed and call.ending is None:
        answers.owe_resumed(call, now_ms)
        recovery.give_up(call, "it owes an answer and says nothing", now_ms)
    elif tag == responses.GREETING and (phrase := playout.phrases.get("restored")) is not None:
        playout.play(f"unsaid:{duplex.epoch}", phrase, now_ms)


def moderated(call: CallState, event: m.UpstreamFaulted, now_ms: int) -> None:
    """The vendor's filter has cut off what the model says: it yields, and what waits on the line is not for
    the caller either. They wait for what it says instead; where it does not go on, it is asked to.
    """
    playout, duplex = call.playout, call.playout.duplex
    call.out.append(m.Noted("a filter cut what was said", event.code or event.kind))
    said = duplex is not None and duplex.response_id
    if duplex is not None and said:
        playout.interrupt(now_ms, ours=False)
        duplex.stream.hush()
    if ending.leaving(call):
        ending.not_generated(call, now_ms)
    elif said or playout.debts.open:
        debt = playout.debts.owe(model_commands.MODERATED, Kind.RESUMED, now_ms)
        debt.not_before_ms = now_ms + MODERATED_MS


def unanswered(call: CallState, now_ms: int) -> None:
    """The caller has said something long ago, and no one works on it: the model is asked for its answer. One
    that hands work over is reminded of that instead (`delegation`).
    """
    playout = call.playout
    if playout.config.tools or playout.config.delegate or not playout.gate.idle or call.caller_speaking:
        return
    for debt in playout.debts.of(Kind.TURN):
        if debt.due and not debt.asked and now_ms >= debt.since_ms + UNANSWERED_MS:
            debt.asked = True
            playout.request(debt.tag, "", Kind.TURN)


def unsounded(call: CallState, duplex: DuplexSession, now_ms: int) -> None:
    """Words came, and no sound: the caller has heard nothing since, and is owed them. The model is told so,
    once; then another session may do better.
    """
    playout, words = call.playout, duplex.unsounded(now_ms)
    if not words:
        return
    told = playout.debts.open.get(model_commands.INAUDIBLE)
    if told is not None and words[0].came_ms < told.since_ms + UNSAID_MS:
        return  # the same words go on
    call.out.append(m.Noted("inaudible", "text without sound"))
    if sum(str.isalpha(letter) for one in words for letter in one.text) < LEAST_LETTERS:
        return
    call.inaudible += 1
    if call.inaudible >= inaudible.MOST or not playout.ready:
        return
    if ending.leaving(call):
        ending.not_generated(call, now_ms)
        return
    playout.debts.owe(model_commands.INAUDIBLE, Kind.RESUMED, now_ms)
    silent_ms = max(words[0].came_ms, playout.line.ledger.clock_end_ms - HANG_MS)
    state.owe(call, now_ms, silent_ms=silent_ms)
    if playout.gate.asked is not None:
        not_said(call, duplex, playout.gate.asked.tag, now_ms)


# --- the caller speaks


def started(call: CallState, duplex: DuplexSession, now_ms: int) -> None:
    """Our ear hears a voice. What the model says goes on; what was owed is answered with this turn."""
    item_id, duplex.spoke_ms = duplex.turn_begun(), now_ms
    item = call.playout.conversation.item(item_id)
    item.role, item.ours = "user", True
    call.turn += 1
    call.caller_speaking, call.spoke_over = True, call.playout.gate.active
    call.playout.unanswered, call.silence = None, Silence()
    call.playout.debts.superseded()
    call.out.append(m.CallerSpoke(True, item_id))
    if call.ending is not None and not call.detours.deaf and call.ending.reason in ending.TAKEN_BACK:
        ending.take_back(call)


def stopped(call: CallState, now_ms: int) -> None:
    """Our ear has heard no voice for a while. What the model says by now is its answer."""
    playout, duplex = call.playout, call.playout.duplex
    said_ms = call.caller_audio.voice_ended_ms
    call.caller_speaking = False
    if duplex is not None:
        duplex.stopped_ms = now_ms
    call.out.append(m.CallerSpoke(False, duplex.turns[-1] if duplex is not None and duplex.turns else ""))
    if call.ending is not None:
        return
    active = playout.gate.active
    call.spoke_over = None  # what the model goes on saying is meant for the caller who has stopped
    caller_turns.owe_answer(call, now_ms, said_ms, said_ms, began=active not in playout.muted)


def fragment(call: CallState, event: m.Fragment, now_ms: int) -> None:
    """Words of either side."""
    duplex = session_of(call, event.epoch)
    words = TimedText(event.text[:MOST_OF_A_FRAGMENT], event.start_ms, event.end_ms, now_ms)
    if event.role == "user":
        duplex.worded_ms = now_ms
        delegation.heard(call, event, now_ms)
        over = duplex.caller_text.add(words, now_ms)
        if over:
            caller_words.worded(call, duplex, over, now_ms)
        return
    duplex.word(words)
    if call.playout.agent.running_words and not duplex.stream.hushed:
        speaking = duplex.stream.segment
        item_id = duplex.upcoming if speaking is None else speaking.span.item_id
        call.out.append(m.TranscriptDelta(duplex.response_id or duplex.upcoming, item_id, event.text))


def wordless(call: CallState, duplex: DuplexSession, now_ms: int) -> None:
    """A noise was no turn: nothing is owed to it."""
    if call.caller_speaking or duplex.worded_ms >= duplex.spoke_ms:
        return
    for debt in call.playout.debts.of(Kind.TURN):
        if debt.due and not debt.asked and now_ms >= debt.since_ms + WORDLESS_MS:
            if duplex.turns:
                duplex.turns.pop()
            call.playout.debts.close(debt, reason="there were no words in it")
