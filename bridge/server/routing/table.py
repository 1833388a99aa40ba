"""The table in force: which row a called number has, and what that row says.

Never changed: another table takes its place, and a call keeps the row that it began with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from pydantic import SecretStr

from bridge.agents.agent import Agent
from bridge.agents.turned_away import TurnedAway
from bridge.server.routing.blocked import EMPTY, BlockList
from bridge.server.routing.hours import Hours

ANY: Final = "*"
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the carrier's. `sid` None is the main account where its SID is not set: then any is
    taken for it. `tokens` sign its webhooks. `rest` says whose credentials its REST requests have: its own,
    or the main account's with this one in the path.
    """

    sid: str | None
    tokens: tuple[SecretStr, ...] = ()
    name: str = ""
    rest: Literal["own", "parent"] = "own"
    max_calls: int | None = None
    day_cost: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One row. `to` is a number, a beginning of numbers (`+1555*`), a SIP address, or `*`. `agent` None is
    the server's own. `recordings` is a folder; True for the settings' own, False for none.
    """

    to: str
    account: Account
    agent: Agent | None = None
    language: str | None = None
    transfers: Mapping[str, str] = field(default_factory=lambda: _NONE)
    fallback: str | None = None
    hours: Hours | None = None
    closed: TurnedAway | Agent | None = None
    blocked: BlockList = EMPTY
    max_calls: int | None = None
    day_cost: float | None = None
    calls_a_minute: int | None = None
    caller_calls_a_minute: int | None = None
    recordings: Path | bool = True

    @property
    def key(self) -> tuple[str, str | None]:
        """The same for this row in the next table."""
        return self.to, self.account.sid


def called_number(number: str) -> str:
    """A called number or address in the form that the table has it in."""
    if number.lower().startswith(("sip:", "sips:", "client:")):
        return re.split("[;?]", number.lower(), maxsplit=1)[0]
    return re.sub(r"[ ().-]", "", number)


class RoutingTable:
    """`otherwise` is the row of a number that no other has; it belongs to the main account."""

    def __init__(self, routes: Iterable[Route], otherwise: Route, accounts: Iterable[Account] = ()) -> None:
        self.otherwise = otherwise
        self.accounts = {account.sid: account for account in accounts if account.sid is not None}
        self._rows: dict[str, list[Route]] = {}
        for route in routes:
            self._rows.setdefault(route.to, []).append(route)
        self._lengths = sorted({len(to) - 1 for to in self._rows if to.endswith(ANY)}, reverse=True)

    @property
    def has_rows(self) -> bool:
        """Whether there is a row but `otherwise`."""
        return bool(self._rows)

    @property
    def routes(self) -> list[Route]:
        """All rows, without `otherwise`."""
        return [route for rows in self._rows.values() for route in rows]

    def account(self, sid: str) -> Account | None:
        """The account of that SID; None for one that is not served."""
        main = self.otherwise.account
        if sid == main.sid or (main.sid is None and not self.accounts):
            return main
        return self.accounts.get(sid)

    def find(self, number: str, account_sid: str | None) -> Route | None:
        """The row of a called number: the number itself, else the longest beginning that the calling account
        has a row for, else `otherwise`. None where the row is another account's. `account_sid` None is for
        simulated calls: then every row agrees.
        """
        account = None if account_sid is None else self.account(account_sid)
        if account is None and account_sid is not None:
            return None
        number = called_number(number)
        own = self._rows.get(number)
        if own is not None and not number.endswith(ANY):
            return _of(own, account)
        for length in self._lengths:
            if length <= len(number):
                found = _of(self._rows.get(f"{number[:length]}{ANY}", ()), account)
                if found is not None:
                    return found
        return self.otherwise if account in (None, self.otherwise.account) else None


def _of(rows: Iterable[Route], account: Account | None) -> Route | None:
    return next((row for row in rows if account is None or row.account.sid == account.sid), None)
