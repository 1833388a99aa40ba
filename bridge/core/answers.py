"""Who answers, and when: asks for the responses that the ledger of debts still lacks.

The vendor answers a turn by itself, and a handler does where there is one; all else is asked for here. This
is a rule at the end of every event: nothing that happens has to remember it.
"""

from __future__ import annotations

from .debts import Kind
from .messages import Phase
from .state import CallState

UNANSWERED_MS = 3_000
"""After a turn that the vendor was to answer by itself, and has not begun to: it is asked, once."""


def owe_turn(call: CallState, now_ms: int, *, began: bool) -> None:
    """The caller has ended a turn. Some vendors begin the response before they tell us so: with `began` (we
    were told when the caller began to speak) one that is new since then answers this turn.
    """
    debt = call.playout.debts.owe(f"turn:{call.turn}", Kind.TURN, now_ms)
    active = call.playout.gate.active
    if began and active is not None and active != call.spoke_over:
        debt.payer = active


def owe_resumed(call: CallState, now_ms: int) -> None:
    """The session was lost: of what was on its way the next one says the rest."""
    call.playout.debts.cancel(Kind.TURN, reason="the session was lost")
    call.playout.debts.owe("restored", Kind.RESUMED, now_ms)


def ask(call: CallState, now_ms: int) -> None:
    """Ask for the answer that is due, unless it comes by itself. While the caller speaks nothing is asked."""
    playout = call.playout
    call.timers.pop("unanswered", None)
    if not playout.debts.open or call.phase is not Phase.LIVE:
        return
    due = {debt.kind: debt for debt in reversed(playout.debts.open.values()) if debt.due}
    turn = due.get(Kind.TURN)
    vendor_answers = turn is not None and call.up.responds and not turn.asked
    if turn is not None and vendor_answers and now_ms < turn.since_ms + UNANSWERED_MS:
        call.timers["unanswered"] = turn.since_ms + UNANSWERED_MS
    if call.caller_speaking or not playout.ready or not playout.gate.idle:
        return
    resumed = due.get(Kind.RESUMED)
    if resumed is not None and (Kind.TOOLS in due or playout.conversation.tools.running):
        playout.debts.close(resumed, reason="a tool's result is answered")
    elif resumed is not None:
        if "resume" not in call.timers:  # else the new session may yet find a turn in what the caller said
            playout.request(resumed.tag, "", Kind.RESUMED)
        return
    if turn is not None:
        if not call.agent.handler and not turn.asked and "unanswered" not in call.timers:
            turn.asked = True
            playout.request(turn.tag, "", Kind.TURN)
    elif Kind.TOOLS in due:
        playout.request(due[Kind.TOOLS].tag, "", Kind.TOOLS)


def look_again(_call: CallState, _now_ms: int) -> None:
    """The time is over in which the vendor might have answered by itself: `ask` does what is due then."""
