"""The ledger of who answers: what the caller is owed, and the response that pays it.

A debt is owed to a turn of the caller's, to a batch of tool calls, to a conversation that a lost session
broke off, or to what is to be said: by the handler, as a greeting, a nudge or a goodbye. It is paid once, by
a response that began after the debt was due and of which the caller hears something; or it is closed unpaid,
with the reason.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Collection, Container
from dataclasses import dataclass, field

from .due import NEVER

MOST_TRIES = 3
"""Responses to one debt: each of them may be cancelled, or say nothing."""
REMEMBERED = 64
"""Closed debts that are kept with what became of them."""


class Kind(enum.Enum):
    """To what a debt is owed."""

    TURN = "turn"
    TOOLS = "tools"
    RESUMED = "resumed"
    RESPOND = "respond"
    SAY = "say"
    GREETING = "greeting"
    NUDGE = "nudge"
    GOODBYE = "goodbye"


RECITED = frozenset({Kind.SAY, Kind.GREETING, Kind.NUDGE, Kind.GOODBYE})
"""Their words are ours: a response that reads them out answers nothing else."""
ANSWERED = frozenset({Kind.TURN, Kind.TOOLS, Kind.RESUMED})
"""A response answers these whether it was asked for by their tag or not."""


@dataclass(slots=True)
class Debt:
    """One debt. `key` is unique in the call; `tag` names the response that is asked for to pay it."""

    key: str
    kind: Kind
    since_ms: int
    tag: str = ""
    running: set[str] = field(default_factory=set)
    """Tool calls of the batch whose results are not there yet, by call id."""
    wanted: bool = True
    """Whether a response is wanted at all: a tool's result may need none."""
    payer: str = ""
    """The response that began after the debt was due. It pays the debt with the first sound of it."""
    made_by: str = ""
    """The response that called the tools of this batch."""
    tries: int = 0
    """Responses that were to pay it and said nothing."""
    asked: bool = False
    """Whether we have asked for the answer that the vendor was to give by itself."""
    not_before_ms: int = 0
    """When we may ask for it."""

    @property
    def due(self) -> bool:
        """Whether a response that begins now can pay it."""
        return not self.payer and not self.running and self.wanted


@dataclass(frozen=True, slots=True)
class Closed:
    """What became of a debt: the response that paid it, or the reason why none will."""

    key: str
    paid_by: str = ""
    reason: str = ""


class Debts:
    """The open debts of one call, the oldest first, and the last ones that were closed."""

    __slots__ = ("_remote", "closed", "count", "due_ms", "open")

    def __init__(self) -> None:
        self.open: dict[str, Debt] = {}
        self.closed: deque[Closed] = deque(maxlen=REMEMBERED)
        self.count = 0
        """Debts ever closed."""
        self.due_ms = NEVER
        """When the vendor has had its time to answer by itself."""
        self._remote: set[str] = set()
        """Calls that the vendor runs itself (MCP): they end with its session."""

    def of(self, *kinds: Kind) -> list[Debt]:
        """The open debts of these kinds, the oldest first."""
        return [debt for debt in self.open.values() if debt.kind in kinds]

    def owe(self, key: str, kind: Kind, now_ms: int, tag: str = "") -> Debt:
        """The debt of that key, a new one if needed."""
        debt = self.open.get(key)
        if debt is None:
            debt = self.open[key] = Debt(key, kind, now_ms, tag or key, wanted=kind is not Kind.TOOLS)
        return debt

    def called(self, response_id: str, call_id: str, now_ms: int, *, remote: bool = False) -> None:
        """A response has called a tool; `remote`: an MCP server's, which the vendor runs. All calls of one
        response are one batch.
        """
        if remote:
            self._remote.add(call_id)
        mine = (debt for debt in self.open.values() if debt.made_by == response_id and not debt.payer)
        batch = next(mine, None)
        if batch is None:
            batch = self.owe(f"tools:{call_id}", Kind.TOOLS, now_ms, f"tool:{call_id}")
            batch.made_by = response_id
        batch.running.add(call_id)

    def result(self, call_id: str, *, wanted: bool = True) -> None:
        """That call's result is in the conversation; `wanted`: the model shall speak about it."""
        batch = next((debt for debt in self.open.values() if call_id in debt.running), None)
        if batch is None:
            return
        batch.running.discard(call_id)
        self._remote.discard(call_id)
        batch.wanted |= wanted
        batch.tag = f"tool:{call_id}"
        if not batch.running and not batch.wanted:
            self.close(batch, reason="no answer is wanted")

    def began(self, response_id: str, tag: str, *, handler: bool = False) -> None:
        """A response began: it pays what it was asked for, and all else that is due, for it is made from the
        whole conversation. One that reads out given words pays nothing else but what a lost session left;
        where a handler answers the caller, whatever is said answers the turn.
        """
        asked = next((debt for debt in self.open.values() if debt.tag == tag), None)
        recited = asked is not None and asked.kind in RECITED
        for debt in self.open.values():
            told = not recited or debt.kind is Kind.RESUMED or (handler and debt.kind is Kind.TURN)
            if debt.due and (debt is asked or (told and debt.kind in ANSWERED)):
                debt.payer = response_id

    def sounded(self, response_id: str) -> None:
        """The caller hears something of that response: what it was to pay is paid."""
        for debt in self._payable(response_id):
            self.close(debt, paid_by=response_id)

    def ended(self, response_id: str, again: Container[str] = ()) -> None:
        """That response is over. What it was to pay and did not is due again, or carried on by the tools
        that it called. Given words are due again only if they are asked for `again`, by their tag.
        """
        unpaid = self._payable(response_id)
        calls = self.made_calls(response_id)
        for debt in unpaid:
            debt.payer, debt.tries, debt.asked = "", debt.tries + 1, False
            if debt.kind not in ANSWERED:
                if debt.tag not in again:
                    self.close(debt, reason="its response said nothing")
            elif calls:
                self.close(debt, reason="its response called tools")
            elif debt.tries >= MOST_TRIES:
                self.close(debt, reason="its responses said nothing")

    def _payable(self, response_id: str) -> list[Debt]:
        return [debt for debt in self.open.values() if debt.payer == response_id]

    def superseded(self) -> None:
        """The caller has begun a turn: results that were not told yet are answered with that turn, and
        nothing else is owed any more.
        """
        for debt in list(self.open.values()):
            debt.payer = ""
            if debt.kind is not Kind.TOOLS:
                self.close(debt, reason="the caller spoke")

    def interrupted(
        self, response_id: str | None, tags: Collection[str] = (), reason: str = "interrupted"
    ) -> None:
        """That response is cut, and those asked for by these tags are not wanted any more."""
        for debt in list(self.open.values()):
            if (debt.payer and debt.payer == response_id) or debt.tag in tags:
                self.close(debt, reason=reason)

    def unsaid(self, tag: str) -> None:
        """What was asked for by that tag will not be said. Answers to the caller are owed all the same."""
        for debt in list(self.open.values()):
            if debt.tag == tag and debt.kind not in ANSWERED:
                self.close(debt, reason="interrupted")

    def lost(self, again: Container[str] = ()) -> None:
        """The session is over, and its responses and MCP calls with it: the next one may use their ids
        again. Given words are still owed if they are asked for `again`.
        """
        for debt in list(self.open.values()):
            debt.payer = debt.made_by = ""
            if debt.kind not in ANSWERED and debt.tag not in again:
                self.close(debt, reason="the session was lost")
                continue
            debt.running -= self._remote
            if not debt.running and not debt.wanted:
                self.close(debt, reason="the session was lost")
        self._remote.clear()

    def made_calls(self, response_id: str) -> bool:
        """Whether calls of that response are still to be answered."""
        return any(debt.made_by == response_id for debt in self.open.values())

    def waits_for(self, response_id: str) -> bool:
        """Whether something is owed that this response may still pay: not what it has called tools for."""
        calls = self.made_calls(response_id)
        return any(
            debt.made_by != response_id and not (calls and debt.payer == response_id)
            for debt in self.open.values()
        )

    def runs(self, call_id: str) -> bool:
        """Whether that call's result is awaited."""
        return any(call_id in debt.running for debt in self.open.values())

    def remote_since_ms(self) -> int | None:
        """Since when the oldest of the MCP calls runs that are not over, None when there are none."""
        return min((d.since_ms for d in self.open.values() if d.running & self._remote), default=None)

    def cancel(self, *kinds: Kind, reason: str) -> None:
        """Close the open debts of these kinds unpaid."""
        for debt in self.of(*kinds):
            self.close(debt, reason=reason)

    def close(self, debt: Debt, *, paid_by: str = "", reason: str = "") -> None:
        """Name what became of it."""
        del self.open[debt.key]
        if not self.open:
            self.due_ms = NEVER
        self.count += 1
        self.closed.append(Closed(debt.key, paid_by, reason))
