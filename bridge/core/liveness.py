"""How long we wait for the model, and what the caller hears meanwhile.

Silence is filled before it lasts two seconds. A model that owes an answer and says nothing is asked for a
sign of life, for a socket can be dead for minutes without anybody being told; one that gives none is taken
for lost, and so is one that lives and still does not answer. The caller's voice is watched too: to a session
that is dead they may speak as long as they like, and no turn would be reported.
"""

from __future__ import annotations

from . import answers, ending, fillers, recovery, responses, speech, state, tool_calls
from . import messages as m
from .caller_audio import VOICE_MS
from .debts import Kind
from .due import NEVER
from .messages import Phase, Reason
from .state import CallState
from .upstream_leg import Leg

DEAD = "it gives no sign of life"
QUIET_MS = 1_000
"""Without a word from a model that owes an answer, before it is asked for a sign of life."""
UNHEARD_MS = 900
"""After the caller's last word. Voice detection ends a turn after half a second of silence, so its word is
due."""
NO_ECHO_MS = 2_500
"""After all that was sent must have been played: a carrier that has never echoed anything does not."""
WAITING_MS = 1_000
"""The same where a recorded sound is paced, or an ear is closed until one was heard: sooner, for silence
follows."""
HANDLER_FILLERS = 2
"""A handler that has let this many go by means to listen: then nothing is owed."""
STREAM_MS = 1_500
"""Without sound from a session that never pauses."""
LATE_MS = 250
"""That we may be late ourselves."""
MCP_MS = 60_000
"""What an MCP server's tool may take, which the vendor runs; then it is the model that says nothing."""
THINKING = 3
"""Times `stalled_ms`: what a model that has begun a response and shows signs of life may take to say
something."""


def owed_due(call: CallState, now_ms: int) -> None:
    """Silence has lasted long enough: a filler; or the model has been silent long enough that it must be
    dead.
    """
    playout, owed, line = call.playout, call.playout.owed, call.playout.line
    if owed.since_ms is None:
        return
    if call.ending is None and stalled(call, now_ms):
        return
    told = call.caller_speaking and not owed.doubtful and not speech.quiet(call, now_ms)
    if not line.over(now_ms) or told or call.caller_audio.speaks(now_ms):
        pass  # the caller hears something, or speaks
    elif call.ending is not None and call.ending.farewell_ms != NEVER and playout.conversation.answered:
        pass  # the model has spoken, and may have said its goodbye: it ends, with or without another
    elif ending.leaving(call):
        ending.not_generated(call, now_ms)
    else:
        tool = call.playout.conversation.tools.first
        config = None if tool is None else tool_calls.tool_config(call, tool.name)
        listens = tool is None and may_listen(call)
        most_ms = call.playout.agent.wait_ms
        if most_ms and config is not None:
            most_ms += config.approval_ms
        if most_ms and call.ending is None and now_ms >= owed.since_ms + most_ms:
            ending.waited_out(call, now_ms)
            owed.go_on(now_ms)
        if listens and owed.fillers >= HANDLER_FILLERS:
            owed.stop()
            call.playout.debts.cancel(Kind.TURN, reason="the handler listens")
            return
        # A tool may be quiet about its own result, and not about a turn that came after its call.
        own = None if call.playout.debts.of(Kind.TURN) else config
        name = fillers.WORDS if own is None else own.filler or ""
        fill(call, name, now_ms, tool=own is not None, listens=listens)
        return
    owed.sounding_until(now_ms + line.remaining_ms(now_ms))


def may_listen(call: CallState) -> bool:
    """Whether a handler that says nothing may mean to: it knows what the caller said, and has asked for
    nothing.
    """
    playout = call.playout
    asked = any(debt.kind is not Kind.TURN for debt in playout.debts.open.values())
    return playout.agent.handler and not call.transcripts.awaited and playout.gate.idle and not asked


def fill(call: CallState, name: str, now_ms: int, *, tool: bool, listens: bool) -> None:
    """Play what is due, and settle when the next is."""
    owed, playout = call.playout.owed, call.playout
    filler = fillers.due(owed, playout.phrases, name, now_ms, tool=tool, listens=listens)
    if filler is not None:
        playout.play(*filler, now_ms, record=False)
    end_ms = now_ms + playout.line.remaining_ms(now_ms)
    owed.sounding_until(end_ms)
    if filler is not None and filler[0].startswith(fillers.WAITING):
        playout.waiting = filler[0]
        if call.ending is None:  # else the model has its time for a last word
            again_ms = min(end_ms + fillers.REPEATED_MS, fillers.words_due_ms(owed, name))
            owed.due_ms = min(owed.due_ms, max(again_ms, end_ms))


def stalled(call: CallState, now_ms: int) -> bool:
    """Whether the model was given up just now: it owes an answer and says nothing. Or it turns out to owe
    none.
    """
    owed = call.playout.owed
    remote_ms = call.playout.debts.remote_since_ms()
    runs = remote_ms is not None and now_ms - remote_ms < MCP_MS
    runs = runs or bool(call.playout.conversation.tools.running)
    if owed.since_ms is None or call.up.state is not Leg.READY or runs:
        return False
    if call.playout.agent.handler and call.playout.gate.idle:
        return False  # the handler thinks, and has asked the model for nothing
    if call.playout.gate.again_due_ms != NEVER:
        return False  # it is not asked yet
    silent_ms = now_ms - max(owed.since_ms, call.upstream_ms)
    active = call.playout.gate.active
    if active is not None and call.playout.all_said(active):
        late = silent_ms >= call.config.stalled_ms and not call.playout.debts.waits_for(active)
        if late or call.playout.gate.loses_ends:
            responses.response_done(call, m.ResponseDone(active, epoch=call.up.epoch), now_ms)
            return not call.playout.debts.open  # its end was lost: nothing is awaited
    if silent_ms >= call.config.stalled_ms * (THINKING if active else 1):
        recovery.give_up(call, "it owes an answer and says nothing", now_ms)
        return True
    if silent_ms >= QUIET_MS:
        probe(call, now_ms)
    return False


def unanswered(call: CallState, now_ms: int) -> None:
    """The vendor has had its time to answer the caller's turn: it is asked for (by `answers`), or this
    session never will. A response that was cut and has not ended by now has lost its end.
    """
    call.playout.debts.due_ms = NEVER
    cut, cut_ms = call.playout.gate.active, call.playout.gate.cut_ms
    if cut is not None and cut_ms is not None and now_ms >= cut_ms + answers.UNENDED_MS:
        responses.response_done(call, m.ResponseDone(cut, "cancelled", epoch=call.up.epoch), now_ms)
    turn = next((debt for debt in call.playout.debts.of(Kind.TURN) if debt.due), None)
    gate, silent = call.playout.gate, call.up.state is Leg.READY and not call.caller_speaking
    if turn is None or not silent or gate.active is not None or gate.again_due_ms != NEVER or gate.held:
        return
    if now_ms >= answers.give_up_ms(call, turn):
        recovery.give_up(call, "it has not begun to answer", now_ms)


# --- signs of life


def probe(call: CallState, now_ms: int) -> None:
    """Ask for a sign of life, unless that was done already, or there is no question for it."""
    if call.config.probe_ms and call.up.probe_due_ms == NEVER and call.up.can.probes:
        call.out.append(m.Probe(call.up.epoch))
        call.up.probe_due_ms = now_ms + call.config.probe_ms


def answered(call: CallState) -> None:
    """The model lives."""
    call.up.probe_due_ms = NEVER
    if call.playout.owed.doubtful:
        call.playout.owed.stop()


def no_sign_of_life(call: CallState, now_ms: int) -> None:
    """We asked, and nothing at all has come since."""
    call.up.probe_due_ms = NEVER
    if call.up.state is Leg.READY and call.dialling.next is not None:
        ending.fail(call, Reason.UPSTREAM_LOST, now_ms, DEAD)
    elif call.up.state is Leg.READY:
        recovery.give_up(call, DEAD, now_ms)


# --- a stream that never pauses


def streams(call: CallState, now_ms: int) -> None:
    """The rule at the end of every event of a session whose sound never pauses: without any for
    `STREAM_MS` it is lost.
    """
    up = call.up
    if up.state is not Leg.READY or call.phase not in (Phase.LIVE, Phase.AWAY):
        up.stream_due_ms = NEVER
    elif up.stream_due_ms == NEVER:
        up.stream_due_ms = now_ms + STREAM_MS


def stream_late(call: CallState, now_ms: int) -> None:
    """Look whether something has come. If we are late ourselves, it waits at our socket: it has once more."""
    up, late_ms = call.up, now_ms - call.up.stream_due_ms
    up.stream_due_ms = max(call.upstream_ms, up.ready_ms) + STREAM_MS
    if now_ms < up.stream_due_ms:
        return
    if late_ms >= LATE_MS:
        up.stream_due_ms = now_ms + STREAM_MS
        return
    up.stream_due_ms = NEVER
    recovery.give_up(call, "its sound has stopped", now_ms)


# --- the caller speaks, as far as we can tell


def voice(call: CallState, event: m.CallerVoice, now_ms: int) -> None:
    """The caller has begun to say something, or stopped."""
    call.caller_audio.voice(event.loud, now_ms, steady=event.steady)
    call.callee.speech.voice(event.loud and not event.steady, now_ms)
    if call.caller_audio.loud:
        call.unheard_due_ms = now_ms + UNHEARD_MS


def unheard(call: CallState, now_ms: int) -> None:
    """They have said it; whether the model noticed is another matter."""
    caller_audio, ended_ms = call.caller_audio, call.caller_audio.voice_ended_ms
    call.unheard_due_ms = NEVER
    if now_ms < ended_ms + UNHEARD_MS:
        call.unheard_due_ms = ended_ms + UNHEARD_MS
    elif caller_audio.voice_ms < VOICE_MS or not call.admitted or call.ending is not None:
        return
    elif call.up.state is not Leg.READY:
        answers.owe_resumed(call, now_ms)
        state.owe(call, now_ms, silent_ms=ended_ms)
    elif caller_audio.open and call.upstream_ms < ended_ms and call.config.probe_ms and call.up.can.probes:
        state.owe(call, now_ms, silent_ms=ended_ms, doubtful=True)
        probe(call, now_ms)


# --- echoes


def watch_echoes(call: CallState) -> None:
    """Whenever the carrier has something to play, and may say that it did."""
    ledger = call.playout.line.ledger
    if ledger.check_due_ms == NEVER:
        ledger.check_due_ms = echoes_due_ms(call)


def echoes_due_ms(call: CallState) -> int:
    """When an echo that has not come is too late, NEVER where none is awaited.

    A carrier that has never echoed anything may be one that does not: soon, where something waits for it. One
    that always has, and has sound that it does not play, is stuck, or is not read.
    """
    line = call.playout.line
    ledger, first_ms = line.ledger, line.ledger.echo_due_ms
    if first_ms is None:
        return NEVER
    if ledger.echoed:
        return first_ms + call.config.unplayed_ms
    return first_ms + WAITING_MS if line.waiting or call.uninterruptible else ledger.clock_end_ms + NO_ECHO_MS


def echoes_late(call: CallState, now_ms: int) -> None:
    """Look whether they are."""
    line = call.playout.line
    line.ledger.check_due_ms = due_ms = echoes_due_ms(call)
    if now_ms < due_ms:
        return
    if line.ledger.echoed:
        detail = f"our sound has not been played for {call.config.unplayed_ms} ms"
        ending.end(call, Reason.CARRIER_LOST, now_ms, detail)
        return
    call.out.append(m.Noted("no echoes", "the carrier returns no marks: what is heard goes by the clock"))
    line.trust_the_clock()
    call.playout.settle(now_ms)
