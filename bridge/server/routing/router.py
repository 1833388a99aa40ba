"""The table in force, the row that each call began with, and what rows and accounts have in use.

A call keeps its row: another table changes nothing for it. Which account a call belongs to is settled by its
first proven webhook; another account's word about it counts for nothing. Lives on the loop of the calls.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeAlias

from bridge.agents.agent import Agent
from bridge.agents.turned_away import Refuse, TurnedAway
from bridge.core import messages as m
from bridge.core.stats import Stats
from bridge.ops.health import DayMoney
from bridge.server.routing.blocked import number_of
from bridge.server.routing.rates import CallsAMinute
from bridge.server.routing.table import ANY, Account, Route, RoutingTable
from bridge.server.store.claims import Limit
from bridge.settings.settings import Settings

Key: TypeAlias = tuple[str, str | None]
MOST_CALLS: Final = 4_096
"""Calls of one account whose row is remembered; beyond that the oldest are looked up again."""
BUSY: Final = Refuse("busy")
NO_ROOM: Final = None
"""No call may come in there now: BRIDGE_BUSY says what the caller hears."""


class Routed(NamedTuple):
    """A call with its row. `agent` answers it; None for the server's own. `caller` and `called` are as the
    carrier says them; of a call that we placed, `called` is the number it is placed from.
    """

    account_sid: str
    route: Route
    agent: Agent | None = None
    caller: str = ""
    called: str = ""
    outbound: bool = False
    closed: bool = False
    has_row: bool = True


class Ruled(NamedTuple):
    """A rule turns a call away: which of the gates of `metrics`, in words, and what the caller gets."""

    gate: str
    why: str
    answer: TurnedAway | None = NO_ROOM


class Router:
    """An `Observer` of the registry, which tells it which calls there are. `any_account` is for simulated
    calls, whose accounts are made up.
    """

    def __init__(
        self,
        table: RoutingTable,
        *,
        any_account: bool = False,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.table = table
        self._any_account = any_account
        self._now = now
        self._clock = clock
        self._calls: dict[str, Routed] = {}
        self._order: dict[str, deque[str]] = {}  # by account, oldest first
        self._live: dict[str, tuple[Key, Key]] = {}
        self._in_use: Counter[Key] = Counter()
        self._spent: dict[Key, DayMoney] = {}
        self._callers, self._numbers = CallsAMinute(), CallsAMinute()

    @classmethod
    def of_settings(cls, settings: Settings, table: RoutingTable | None = None) -> Router:
        """With that table; without one every number is answered as the settings say."""
        return cls(table or whole_world(settings), any_account=settings.insecure)

    @classmethod
    def alone(cls) -> Router:
        """Without a table: every number is answered alike, whatever its account."""
        return cls(RoutingTable((), Route(ANY, Account(None))), any_account=True)

    # --- which row a call has ----------------------------------------------------------------------------

    def account(self, sid: str) -> Account | None:
        """The account of that SID; None for one that is not served."""
        return self.table.otherwise.account if self._any_account else self.table.account(sid)

    def is_anothers(self, call_sid: str, account_sid: str) -> bool:
        """Whether that call is known to be another account's."""
        routed = None if self._any_account else self._calls.get(call_sid)
        return routed is not None and routed.account_sid != account_sid

    def ring(self, call_sid: str, fields: Mapping[str, str]) -> Routed | None:
        """The same for a call that an agent is to answer: it has this row from now on, whatever the fields
        say of its number.
        """
        routed = self.route(call_sid, fields)
        if routed is None or not routed.has_row:
            return None
        if call_sid not in self._calls:
            self._keep(call_sid, routed)
        return routed

    def route(self, call_sid: str, fields: Mapping[str, str]) -> Routed | None:
        """The call with its row, by the carrier's fields; by its first ones where it is known. None where
        the row and the account do not agree.
        """
        known = self._calls.get(call_sid)
        if known is not None:
            return known
        account_sid = fields.get("AccountSid", "")
        account = self.account(account_sid)
        outbound = fields.get("Direction", "").startswith("outbound")
        caller, called = (fields.get("From") or fields.get("Caller") or "", fields.get("To") or "")
        if outbound:
            caller, called = called, caller
        row = found = self.table.find(called, None if self._any_account else account_sid)
        if found is None and outbound and account is not None:
            found = Route(ANY, account)  # a leg of some call: it may be told of, and no agent answers it
        if found is None:
            return None
        closed = not outbound and found.hours is not None and not found.hours.is_open(self._now())
        answers = found.closed if closed and isinstance(found.closed, Agent) else found.agent
        routed = Routed(account_sid, found, answers, caller, called, outbound, closed, row is not None)
        if called:
            self._keep(call_sid, routed)
        return routed

    def of(self, call_sid: str) -> Routed:
        """The call with its row; with that of any number where it is not known."""
        return self._calls.get(call_sid) or Routed("", self.table.otherwise)

    def _keep(self, call_sid: str, routed: Routed) -> None:
        self._calls[call_sid] = routed
        order = self._order.setdefault(routed.account_sid, deque())
        order.append(call_sid)
        if len(order) > MOST_CALLS:
            oldest = order.popleft()
            if oldest in self._live:
                order.append(oldest)
            else:
                self._calls.pop(oldest, None)

    # --- may it come in? ---------------------------------------------------------------------------------

    def refusal(self, call_sid: str) -> Ruled | None:
        """Why the call's row turns it away: block list, hours, the number's room and money, the account's."""
        routed = self.of(call_sid)
        route = routed.route
        if routed.outbound:
            return None
        if route.blocked.holds(routed.caller):
            return Ruled("blocked", "its caller is on the block list", Refuse())
        if routed.closed and not isinstance(route.closed, Agent):
            return Ruled("closed", "its number is closed now", route.closed or BUSY)
        return self._full(route.key, route, "number") or self._full(_own(route), route.account, "account")

    def limits(self, call_sid: str) -> tuple[Limit, ...]:
        """Those of the call's number and account, which hold for all machines of the service together."""
        routed = self.of(call_sid)
        route = routed.route
        if routed.outbound:
            return ()
        found = []
        for key, of in ((route.key, route), (_own(route), route.account)):
            if of.max_calls is not None or of.day_cost is not None:
                money = None if of.day_cost is None else max(1, round(of.day_cost * 1_000_000))
                found.append(Limit(_group(key), of.max_calls, money))
        return tuple(found)

    def spent(self) -> dict[str, int]:
        """What calls of this process have cost today, micro-USD by the groups of `limits`."""
        return {_group(key): money.today_micro_usd for key, money in self._spent.items()}

    def too_often(self, call_sid: str) -> Ruled | None:
        """Why it turns a call away that would come in: too many have come within a minute."""
        routed = self.of(call_sid)
        route, now_ms = routed.route, round(self._clock() * 1000)
        caller = f"{routed.account_sid} {number_of(routed.caller) or routed.caller.lower()}"
        most = route.caller_calls_a_minute
        if most is not None and not self._callers.allows(caller, call_sid, most, now_ms):
            return Ruled("caller rate", f"its caller has called {most} times within a minute", BUSY)
        called, most = f"{routed.account_sid} {routed.called}", route.calls_a_minute
        if most is not None and not self._numbers.allows(called, call_sid, most, now_ms):
            return Ruled("number rate", f"its number was called {most} times within a minute", BUSY)
        return None

    def _full(self, key: Key, limits: Route | Account, what: str) -> Ruled | None:
        most, money = limits.max_calls, limits.day_cost
        if most is not None and self._in_use[key] >= most:
            return Ruled(f"{what} full", f"its {what} has {most} calls")
        spent = self._spent.get(key)
        if money is not None and spent is not None and spent.today_micro_usd >= money * 1_000_000:
            return Ruled(f"{what} money", f"its {what} has spent the day's money")
        return None

    # --- as an observer ----------------------------------------------------------------------------------

    def call_began(self, call_sid: str, /) -> None:
        """The call is in use."""
        route = self.of(call_sid).route
        self._live[call_sid] = keys = route.key, _own(route)
        self._in_use.update(keys)

    def call_did(self, _call_sid: str, _action: m.Action, _now_ms: int, /) -> None:
        """Nothing of it counts here."""

    def call_ended(self, call_sid: str, _ended: m.Ended, stats: Stats, /) -> None:
        """The call is in use no more, and has cost this."""
        for key in self._live.pop(call_sid, ()):
            self._in_use[key] -= 1
            if not self._in_use[key]:
                del self._in_use[key]
            if stats.cost_micro_usd:
                self._spent.setdefault(key, DayMoney()).spend(stats.cost_micro_usd)


def whole_world(settings: Settings) -> RoutingTable:
    """The table of a bridge that has none: one row for all numbers of the main account."""
    main = Account(settings.twilio_account_sid, settings.twilio_auth_token)
    return RoutingTable((), Route(ANY, main, transfers=settings.transfers, fallback=settings.fallback))


def _group(key: Key) -> str:
    """As limits are counted on all machines together: no number is in it."""
    digest = hashlib.blake2b(repr(key).encode(errors="surrogatepass"), digest_size=8).hexdigest()
    return f"{'number' if key[0] else 'account'}-{digest}"


def _own(route: Route) -> Key:
    """Of a row's account: no row is called that."""
    return "", route.account.sid
