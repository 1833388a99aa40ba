"""Who answers, and when: asks for the responses that the ledger of debts still lacks.

The vendor answers a turn by itself, and a handler does where there is one; all else is asked for here. This
is a rule at the end of every event: nothing that happens has to remember it.
"""

from __future__ import annotations

from . import state
from .debts import Debt, Kind
from .due import NEVER
from .messages import Phase
from .model_commands import INAUDIBLE, MODERATED, RETRY
from .state import CallState

UNANSWERED_MS = 3_000
"""After a turn that the vendor was to answer by itself, and has not begun to: it is asked, once."""
NOISE_MS = 1_000
"""After the vendor took something for speech and cut its response: the turn that it heard is due by then."""
UNENDED_MS = 3_000
"""After a response was cut: its `response.done` is due within moments, and what is owed waits for it."""
UNTOLD_MS = 5_000
"""After a request, where a response does not say whose it is: then it is no longer taken for ours."""
UNHEARD = (INAUDIBLE, MODERATED)
"""Of what the model has said the caller has heard nothing, or not all: it is told so in any case."""
CONTINUED = "continued"
RETURNED = "returned"
GO_ON = "Your last message was cut off. Say the rest of it, from where it was cut off; do not begin it again."


def owe_turn(call: CallState, now_ms: int, *, began: bool) -> Debt:
    """The caller has ended a turn. Some vendors begin the response before they tell us so: with `began` (we
    were told when the caller began to speak) one that is new since then answers this turn.
    """
    debt = call.playout.debts.owe(f"turn:{call.turn}", Kind.TURN, now_ms)
    debt.not_before_ms = debt.not_before_ms or now_ms + (UNANSWERED_MS if call.up.responds else 0)
    active = call.playout.gate.active
    if began and active is not None and active != call.spoke_over:
        debt.payer = active
    return debt


def owe_resumed(call: CallState, now_ms: int) -> None:
    """The session was lost: of what was on its way the next one says the rest."""
    debts = call.playout.debts
    for debt in list(debts.open.values()):
        if debt.kind is Kind.TURN or debt.key in UNHEARD:
            debts.close(debt, reason="the session was lost")
    debts.owe("restored", Kind.RESUMED, now_ms)


def owe_rest(call: CallState, now_ms: int, *, noise: bool) -> None:
    """A response broke off in mid-word. `noise`: the vendor heard speech, and a turn may follow."""
    debt = call.playout.debts.owe(CONTINUED, Kind.RESUMED, now_ms)
    debt.not_before_ms = now_ms + NOISE_MS if noise else now_ms


def ask(call: CallState, now_ms: int) -> None:
    """The caller waits as long as something is owed. Ask for the answer that is due, unless it comes by
    itself; while the caller speaks nothing is asked.
    """
    playout = call.playout
    playout.debts.due_ms = NEVER
    if call.callee.unanswered:
        playout.owed.stop()
        return
    # An answer to a turn before does not pay for one whose words are still to come.
    awaits_words = playout.agent.handler and bool(call.transcripts.awaited)
    if (playout.debts.open or playout.breaks_off or awaits_words) and not call.caller_speaking:
        state.owe(call, now_ms)
    if call.phase is not Phase.LIVE:
        return
    if not playout.debts.open:
        if playout.gate.idle and not playout.owed.doubtful and not awaits_words:
            playout.owed.stop()
        return
    due = {debt.kind: debt for debt in reversed(playout.debts.open.values()) if debt.due}
    turn, resumed = due.get(Kind.TURN), due.get(Kind.RESUMED)
    watch(call, turn, now_ms)
    if hears(call) or not playout.ready or not playout.gate.idle:
        return
    if resumed is not None and tools_answer(call, resumed, Kind.TOOLS in due):
        playout.debts.close(resumed, reason="a tool's result is answered")
    elif resumed is not None:
        resume(call, resumed, now_ms)
        return
    if call.up.can.speaks != "response":
        # It answers turns and results by itself, sooner or later, but for what another session has asked.
        answer_tools(call, due.get(Kind.TOOLS), ours=False)
    elif turn is None:
        answer_tools(call, due.get(Kind.TOOLS))
    elif not playout.agent.handler and not turn.asked and now_ms >= turn.not_before_ms:
        turn.asked = True
        playout.request(turn.tag, "", Kind.TURN)


def answer_tools(call: CallState, results: Debt | None, *, ours: bool = True) -> None:
    """Ask for the answer to these results; unless they are `ours`, only if a session that is gone has asked
    for them.
    """
    if results is not None and (ours or not results.made_by):
        call.playout.request(results.tag, "", Kind.TOOLS)


def tools_answer(call: CallState, resumed: Debt, results: bool) -> bool:
    """Whether `results` of tools, or those of one that runs, will say what is owed. What became of the
    caller's detour is said at once, and the model told at once that it was not heard.
    """
    if resumed.key in UNHEARD:
        return False
    return results or (bool(call.playout.conversation.tools.running) and resumed.key != RETURNED)


def send_request(call: CallState, now_ms: int) -> None:
    """Send the next request that waits, if it may go. While the caller speaks none does: their turn brings a
    response of its own. One is wanted no more if what it was to pay has been paid: by a response that the
    vendor began by itself, which this request met.
    """
    playout = call.playout
    if hears(call) or call.callee.silent:
        return
    if waiting := playout.gate.waiting:
        wanted = {RETRY, *(debt.tag for debt in playout.debts.open.values())}
        for tag in [tag for tag in waiting if tag not in wanted and tag not in playout.utterances]:
            del waiting[tag]
    if not playout.next_response():
        return
    if not call.up.can.tags:
        playout.gate.untold_due_ms = now_ms + UNTOLD_MS
    if playout.unanswered is not None and playout.unanswered.asked_ms is None:
        playout.unanswered.asked_ms = now_ms


def untold(call: CallState, _now_ms: int) -> None:
    """What began since then was not what we asked for, as far as can be told: it is asked for again."""
    call.playout.gate.untold_due_ms = NEVER
    call.playout.refused(None, again=True)


def hears(call: CallState) -> bool:
    """Whether the caller speaks, as far as the model knows; or a session that has taken over may still find a
    turn in what they said before it was there.
    """
    return call.caller_speaking or call.up.resume_due_ms != NEVER


def watch(call: CallState, turn: Debt | None, now_ms: int) -> None:
    """Look again when the vendor has had its time: to end what was cut, or to answer the turn."""
    cut_ms = call.playout.gate.cut_ms
    times = [] if cut_ms is None else [cut_ms + UNENDED_MS]
    asked = call.up.can.speaks == "response" and not call.playout.agent.handler
    if turn is not None and asked:
        times += (turn.not_before_ms, give_up_ms(call, turn))
    call.playout.debts.due_ms = min((due_ms for due_ms in times if due_ms > now_ms), default=NEVER)


def give_up_ms(call: CallState, turn: Debt) -> int:
    """When a session that has not begun to answer the turn never will. Where the vendor said when to ask for
    it, it has the time after that.
    """
    return max(turn.since_ms, turn.not_before_ms - UNANSWERED_MS) + call.config.stalled_ms


def resume(call: CallState, debt: Debt, now_ms: int) -> None:
    """The rest of what was broken off. What the caller has of the beginning is heard, and told to the model,
    before the rest.
    """
    if now_ms < debt.not_before_ms:
        call.playout.debts.due_ms = debt.not_before_ms
    elif debt.key != CONTINUED:
        call.playout.request(debt.tag, "", Kind.RESUMED)
    elif call.playout.line.quiet:
        call.playout.request(debt.tag, GO_ON, Kind.RESUMED)
