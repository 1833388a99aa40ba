"""The end of a session that costs money while it is open: it is asked to close, and its last word, which says
for how long it was open, is waited for beside everything else. The caller waits for none of it.

Live API reference, `session.closed`: it has the final usage. A socket that ends without it leaves the usage
unconfirmed.
"""

from __future__ import annotations

from typing import Final

from . import messages as m
from .due import NEVER
from .messages import Phase
from .state import CallState
from .upstream_leg import Leg, UpstreamSession

CLOSING_MS: Final = 5_000
"""For the last word of a session, while the call goes on without it."""
ENDING_MS: Final = 1_000
"""The same, when the call is over."""
SHUT_DOWN_MS: Final = 500
"""The same, when the process ends."""


def close(call: CallState, session: UpstreamSession, now_ms: int) -> None:
    """The session is not wanted any more."""
    if session.can.priced_by == "session_seconds" and session.state is Leg.READY:
        call.out.append(m.CloseSession(session.epoch))
        call.parting[session.epoch] = now_ms + CLOSING_MS
    else:
        call.out.append(m.CloseUpstream(session.epoch))


def leave(call: CallState, within_ms: int, now_ms: int) -> None:
    """The call is over."""
    call.parting = {epoch: min(due_ms, now_ms + within_ms) for epoch, due_ms in call.parting.items()}


def settle(call: CallState, now_ms: int) -> None:
    """The rule at the end of every event while there is such a session."""
    for epoch, due_ms in list(call.parting.items()):
        if due_ms <= now_ms:
            del call.parting[epoch]
            call.out.append(m.CloseUpstream(epoch))
    if call.phase is Phase.ENDED and not call.parting:
        call.out.append(m.BillClosed(call.spending.unconfirmed))


def due_ms(call: CallState) -> int:
    """When the first of them is waited for no longer."""
    return min(call.parting.values(), default=NEVER)
