"""A call that goes on elsewhere: what it takes along, when it leaves, how it begins again; and a newer
stream.

Who leaves writes down `handover` and closes the carrier's socket; the carrier asks what comes next, and
another process opens the stream again with what was carried over. The caller hears nothing of it. A stream
that ended because of a crash goes on in the same way, with what the journal knows, and then the caller is
told.
"""

from __future__ import annotations

from . import answers, caller_words, ending, history, recovery, renewal
from . import messages as m
from .conversation import Item
from .debts import Kind
from .detours import became
from .messages import CallSnapshot, DetourResult, Phase, Reason, SnapshotItem, TransferOutcome
from .state import CallState
from .toolbox import ToolCall

GIVEN_UP = DetourResult(TransferOutcome.LOST)
"""The result for a target that was being called: no other process continues that call."""
BACK = (
    "The caller was sent on, no one was reached there, and they are back with you. Tell them so in one short "
    "sentence, by the reason above, and offer what you can do instead; do not greet."
)


# --- leaving


def hand_over(call: CallState, event: m.HandOver, now_ms: int) -> None:
    """At the next quiet moment, or when the time is over; a call that is ending has as long as that."""
    call.handover_due_ms = now_ms + event.within_ms


def leave_if_quiet(call: CallState, now_ms: int) -> None:
    """Hand over if the turn is over: then it is not noticed."""
    if call.phase in (Phase.LIVE, Phase.AWAY) and renewal.quiet(call, now_ms):
        leave(call, now_ms)


def leave(call: CallState, now_ms: int) -> None:
    """Now, even if one side speaks. Without a farewell: the call goes on."""
    caller_words.close(call, now_ms)
    if call.phase is Phase.AWAY:  # the intent says already where the caller is
        call.out.append(m.HandedOver(carried(call, now_ms)))
        ending.end(call, Reason.HANDED_OVER, now_ms)
        return
    if call.ending is not None:
        ending.last_word_heard(call, call.ending, now_ms)
        if call.detours.draining:  # it leaves its stream now, and this process then
            call.handover_due_ms = now_ms
        return
    owed = call.playout.owed.since_ms is not None or call.caller_speaking
    owed = owed or call.detours.under_way is not None  # they wait for a target that is no longer called
    if call.playout.lost(now_ms, leaves=True) or owed:
        answers.owe_resumed(call, now_ms)
    call.out += (m.NoteIntent("handover"), m.HandedOver(carried(call, now_ms)))
    ending.end(call, Reason.HANDED_OVER, now_ms)


def carried(call: CallState, now_ms: int) -> CallSnapshot:
    """What another process needs to go on with this call from this moment on."""
    config, stats, playout = call.config, call.stats, call.playout
    before = config.carried or CallSnapshot()
    record = playout.conversation.record(playout.line.ledger.unacknowledged(now_ms))
    began_ms = call.limits.began_ms
    heard = config.disclosure not in call.uninterruptible
    its = call.detours.under_way
    away = its is not None and call.phase is Phase.AWAY
    given_up = [] if its is None or away else [SnapshotItem("system", became(its.about, GIVEN_UP))]
    disclosed = call.admitted and config.disclosure in playout.phrases and heard
    return CallSnapshot(
        items=(*(history.plain(entry) for _, entry in record), *given_up),
        owed=bool(playout.debts.of(Kind.RESUMED)) or playout.owed.since_ms is not None,
        disclosed=before.disclosed or disclosed,
        session=playout.config,
        lasted_ms=0 if began_ms is None else now_ms - began_ms,
        cost_micro_usd=before.cost_micro_usd + stats.cost_micro_usd,
        tools=before.tools + stats.tools,
        detours=call.detours.begun,
        away=its.about if its is not None and away else "",
        ring_s=its.wish.ring_s if its is not None and away else 0,
        vendors=call.dialling.vendors,
        turns=before.turns + len(stats.turn_times),
        began_at_s=before.began_at_s or config.accepted_at_s,
    )


def shut_down(call: CallState, now_ms: int) -> None:
    """The process goes at once. A caller who is away is not cut off: another process may have them back."""
    if call.phase is Phase.AWAY:
        leave(call, now_ms)
    else:
        ending.shut_down(call, now_ms)


# --- going on


def take_over(call: CallState, before: CallSnapshot) -> None:
    """The conversation as it was carried here, as if it had been had with a session that is gone."""
    conversation = call.playout.conversation
    if before.session is not None:
        call.playout.configure(before.session)
    for number, item in enumerate(before.items):
        key = f"carried/{number}"
        if item.arguments is None:
            conversation.items[key] = Item(key, role=item.role, text=item.text)
            continue
        conversation.items[key] = Item(key, "function_call", call_id=item.call_id)
        made = ToolCall(item.call_id, key, item.name, item.arguments, 0, item.output)
        conversation.tools.calls[item.call_id] = made


def welcome_back(call: CallState, now_ms: int) -> None:
    """To a caller who heard that the line was cut."""
    phrase = call.playout.phrases.get("restored")
    if call.config.resumed and phrase is not None:
        call.playout.play("restored", phrase, now_ms)


def go_on(call: CallState, now_ms: int) -> None:
    """The model of a call that is not at its beginning is there: it is told what was said, and asked for an
    answer if the caller waits for one.
    """
    before, returned = call.config.carried, call.config.returned
    if returned:
        history.tell(call, call.up.epoch, returned)
    elif before is None:
        history.tell(call, call.up.epoch, history.CUT_OFF)
    else:
        history.tell(call, call.up.epoch)
    recovery.upstream_ready(call, now_ms)
    if returned:
        call.playout.ask("returned", BACK, Kind.RESUMED, now_ms)
    elif before is not None and before.owed:
        answers.owe_resumed(call, now_ms)


def elsewhere(call: CallState, event: m.TakenOver | m.Moved, now_ms: int) -> None:
    """The call is another machine's, and ends here without a word; or it has come from one."""
    if isinstance(event, m.Moved):
        call.out.append(m.Noted("moved", event.words))
    else:
        ending.end(call, Reason.TAKEN_OVER, now_ms, event.by)


# --- a newer stream


def newer_stream(call: CallState, now_ms: int) -> None:
    """The carrier has opened another stream for this call: what the one before had not played is lost. The
    model is told what was heard, and goes on from there.
    """
    call.out.append(m.Noted("newer stream", "the call goes on over it"))
    call.caller_audio.restart(now_ms)
    call.carrier_due_ms = now_ms + call.config.media_gap_ms
    owed = call.playout.owed.since_ms is not None or not call.playout.line.quiet
    call.out += call.playout.line.restart(now_ms)
    call.playout.interrupt(now_ms, ours=True)
    if call.ending is not None:
        ending.say_goodbye(call, now_ms)
    elif owed and call.phase is Phase.LIVE:
        call.playout.ask("restored", history.RESTORED, Kind.RESUMED, now_ms)
