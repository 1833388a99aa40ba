"""From a routing file, or a list in Python, to the table: every fault is found before any is told."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from pydantic import SecretStr

from bridge.agents.agent import Agent, load_agent
from bridge.agents.turned_away import Forward, TurnedAway
from bridge.errors import ConfigError
from bridge.server.routing import blocked, hours
from bridge.server.routing.rows import (
    AccountRow,
    Fault,
    Head,
    HoursRow,
    Row,
    WrongTable,
    closed_result,
    shaped,
)
from bridge.server.routing.table import ANY, Account, Route, RoutingTable, called_number
from bridge.settings import values
from bridge.settings.settings import Settings
from bridge.settings.values import Wrong

Given: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""A table in Python: its rows, or a mapping like the file."""
MAIN: Final = "main"
"""The name of the account of TWILIO_ACCOUNT_SID."""
Check: TypeAlias = Callable[[Route], None]
_NUMBER: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_BEGINNING: Final = re.compile(r"\+[0-9]{0,14}\*|\*")
_ADDRESS: Final = re.compile(r"sips?:[^\s@;?*]+@[^\s@;?*]+|client:[^\s*]+")
_Value = TypeVar("_Value")


def _no_check(_route: Route) -> None:
    """For tables that are looked at and not used."""


def read_table(
    path: Path, settings: Settings, environment: Mapping[str, str], *, check: Check = _no_check
) -> RoutingTable:
    """The table in that file. Raises WrongTable."""
    return make_table(_toml(path), settings, environment, name=path.name, folder=path.parent, check=check)


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        fault = Fault("the file", "cannot be read", getattr(error, "strerror", None) or "write it in UTF-8")
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        fault = Fault("the file", "is not TOML", str(error))
    raise WrongTable(path.name, (fault,))


def make_table(
    given: Given,
    settings: Settings,
    environment: Mapping[str, str],
    *,
    name: str = "routes",
    folder: Path | None = None,
    check: Check = _no_check,
) -> RoutingTable:
    """The table of these rows. Paths are relative to `folder`; `environment` has the tokens that rows name;
    `check` raises ConfigError for a row whose agent cannot work. Raises WrongTable with every fault.
    """
    reading = _Reading(settings, environment, folder or Path(), check)
    table = reading.table(given if isinstance(given, Mapping) else {"routes": list(given)})
    if reading.faults:
        raise WrongTable(name, tuple(reading.faults))
    return table


class _Reading:
    """One reading. A fault is noted, and reading goes on."""

    def __init__(
        self, settings: Settings, environment: Mapping[str, str], folder: Path, check: Check
    ) -> None:
        self.faults: list[Fault] = []
        self._settings = settings
        self._environment = environment
        self._folder = folder
        self._check = check
        self._main = Account(settings.twilio_account_sid, settings.twilio_auth_token, MAIN)
        self._accounts: dict[str, Account] = {MAIN: self._main}
        self._taken = {*_words(self._main.tokens)}
        self._hours: dict[str, hours.Hours | None] = {}
        self._agents: dict[str, Agent | None] = {}
        self._lists: dict[str, blocked.BlockList] = {}
        self._seen: set[tuple[str, str]] = set()

    def table(self, given: Mapping[str, Any]) -> RoutingTable:
        head = shaped(Head, given, "the table", self.faults) or Head()
        for name, one in head.accounts.items():
            self._account(name, one)
        for name, one in head.hours.items():
            self._hours[name] = self._opening(name, one)
        usual = self._blocked(head.blocked, "the table: blocked")
        routes = [
            self._route(row, where, head, usual)
            for place, one in enumerate(head.routes, 1)
            if (row := shaped(Row, one, where := _where(place, one), self.faults)) is not None
        ]
        otherwise = Route(
            ANY,
            self._main,
            transfers=self._settings.transfers,
            fallback=self._settings.fallback,
            blocked=usual,
            calls_a_minute=head.calls_a_minute,
            caller_calls_a_minute=head.caller_calls_a_minute,
        )
        return RoutingTable(routes, otherwise, self._accounts.values())

    def _tried(self, where: str, read: Callable[[], _Value]) -> _Value | None:
        """What it returns; None with a fault for what it raises."""
        try:
            return read()
        except Wrong as wrong:
            self.faults.append(Fault(where, wrong.what, wrong.cure))
        except ConfigError as error:
            self.faults.append(Fault(where, "is wrong", str(error)))
        return None

    def _found(self, where: str, what: str, cure: str) -> None:
        self.faults.append(Fault(where, what, cure))

    # --- accounts ----------------------------------------------------------------------------------------

    def _account(self, name: str, given: object) -> None:
        where = f"accounts.{name}"
        row = shaped(AccountRow, given, where, self.faults)
        if row is None:
            return
        sid = self._tried(f"{where}: sid", lambda: values.account_sid(row.sid))
        tokens = self._tried(f"{where}: token", lambda: self._tokens(row)) or ()
        if name == MAIN:
            self._found(where, "is the name of TWILIO_ACCOUNT_SID's own", "take another name")
        elif self._main.sid is None:
            self._found(where, "has no main account beside it", "set TWILIO_ACCOUNT_SID")
        elif sid is not None and sid in {other.sid for other in self._accounts.values()}:
            self._found(where, "has the SID of another account", "copy its own from Twilio's console")
        elif not {*_words(tokens)}.isdisjoint(self._taken):
            self._found(where, "has the token of another account", "copy its own from Twilio's console")
        self._taken.update(_words(tokens))
        made = Account(sid, tokens, name, row.rest, row.max_calls, row.day_cost)
        self._accounts.setdefault(name, made)

    def _tokens(self, row: AccountRow) -> tuple[SecretStr, ...]:
        text = row.token if isinstance(row.token, str) else ",".join(row.token or ())
        if (row.token is None) == (row.token_env is None):
            raise Wrong("is written twice or not at all", "write either token, or token_env with a variable")
        if row.token_env is not None:
            text = self._environment.get(row.token_env, "")
        if not (found := values.auth_tokens(text)):
            what = f"is empty: {row.token_env} is not set" if row.token_env else "is empty"
            raise Wrong(what, f"set {row.token_env or 'it'} to the auth token of that account")
        return found

    # --- hours, lists, agents ----------------------------------------------------------------------------

    def _opening(self, name: str, given: object) -> hours.Hours | None:
        where = f"hours.{name}"
        row = shaped(HoursRow, given, where, self.faults)
        if row is None:
            return None
        holidays = None if row.holidays is None else self._path(row.holidays)
        return self._tried(where, lambda: hours.hours(row.zone, row.open, holidays))

    def _blocked(self, name: str | None, where: str) -> blocked.BlockList:
        if name is None:
            return blocked.EMPTY
        if name not in self._lists:
            path = self._path(name)
            self._lists[name] = self._tried(where, lambda: blocked.read(path)) or blocked.EMPTY
        return self._lists[name]

    def _path(self, name: str) -> Path:
        return self._folder / values.expanded(name)

    def _agent(self, given: object, where: str) -> Agent | None:
        if given is None or isinstance(given, Agent):
            return given
        if not isinstance(given, str):
            self._found(where, "is no agent", "name it as module:attribute, or pass an Agent in Python")
            return None
        if given not in self._agents:
            self._agents[given] = self._tried(where, lambda: load_agent(given))
        return self._agents[given]

    # --- rows --------------------------------------------------------------------------------------------

    def _route(self, row: Row, where: str, head: Head, usual: blocked.BlockList) -> Route:
        account = self._accounts.get(row.account or MAIN, self._main)
        if row.account not in (None, *self._accounts):
            names = ", ".join(self._accounts)
            self._found(f"{where}: account", "is unknown", f"name one of [accounts]: {names}")
        transfers, fallback = self._targets(row, where)
        opening = self._hours.get(row.hours) if row.hours is not None else None
        if row.hours is not None and row.hours not in self._hours:
            cure = f"name one of [hours]: {', '.join(self._hours)}" if self._hours else "add it to [hours]"
            self._found(f"{where}: hours", "is unknown", cure)
        if (row.hours is None) != (row.closed is None):
            cure = "write both: when it is open, and what callers get when it is not"
            self._found(where, "has one of hours and closed without the other", cure)
        route = Route(
            self._to(row.to, account, where),
            account,
            agent=self._agent(row.agent, f"{where}: agent"),
            language=row.language,
            transfers=transfers,
            fallback=fallback,
            hours=opening,
            closed=self._closed(row.closed, where, transfers),
            blocked=usual if row.blocked is None else self._blocked(row.blocked, f"{where}: blocked"),
            max_calls=row.max_calls,
            day_cost=row.day_cost,
            calls_a_minute=row.calls_a_minute or head.calls_a_minute,
            caller_calls_a_minute=row.caller_calls_a_minute or head.caller_calls_a_minute,
            recordings=self._recordings(row.recordings, where),
        )
        self._tried(f"{where}: agent", lambda: self._check(route))
        return route

    def _to(self, text: str, account: Account, where: str) -> str:
        to = called_number(text)
        if not (_NUMBER.fullmatch(to) or _BEGINNING.fullmatch(to) or _ADDRESS.fullmatch(to)):
            cure = "write a number like +15550001111, a beginning like +1555*, a sip: address, or *"
            self._found(f"{where}: to", "is no number", cure)
        # A number is in one account only; numbers that begin alike may be in several.
        row = (to, account.name if to.endswith(ANY) else "")
        if row in self._seen:
            self._found(f"{where}: to", "has a row already", "leave one of them")
        self._seen.add(row)
        return to

    def _targets(self, row: Row, where: str) -> tuple[Mapping[str, str], str | None]:
        """A row's own list replaces the settings', and their fallback, unless that name is in it too."""
        transfers, fallback = self._settings.transfers, self._settings.fallback
        if row.transfers is not None:
            given = row.transfers
            text = given if isinstance(given, str) else ",".join(f"{name}={to}" for name, to in given.items())
            read = self._tried(f"{where}: transfers", lambda: values.transfers(text))
            transfers = {} if read is None else read
            fallback = fallback if fallback in transfers else None
            if read is None:
                return transfers, None
        if row.fallback is not None:
            fallback = row.fallback
            if fallback not in transfers:
                cure = f"name one of them ({', '.join(transfers) or 'there are none yet'})"
                self._found(f"{where}: fallback", "names no target of its transfers", cure)
        return transfers, fallback

    def _closed(self, given: object, where: str, transfers: Mapping[str, str]) -> TurnedAway | Agent | None:
        if given is None:
            return None
        where = f"{where}: closed"
        found = self._tried(where, lambda: closed_result(given))
        if isinstance(found, Forward) and found.name not in transfers:
            cure = f"name one of them ({', '.join(transfers) or 'there are none yet'})"
            self._found(where, "forwards to no target of its transfers", cure)
        return self._agent(found, where) if isinstance(found, str) else found

    def _recordings(self, given: bool | str | None, where: str) -> Path | bool:
        if given is None or given is True:
            return True
        if given is False:
            return False
        path = self._path(given)
        return self._tried(f"{where}: recordings", lambda: values.folder(str(path))) or False


def _where(place: int, given: object) -> str:
    """A row by its place in the file, and the end of its number."""
    to = given.get("to") if isinstance(given, Mapping) else None
    return f"row {place}" + (f" (…{to[-2:]})" if isinstance(to, str) and len(to) > 4 else "")


def _words(tokens: Sequence[SecretStr]) -> list[str]:
    return [token.get_secret_value() for token in tokens]


def read_accounts(settings: Settings, environment: Mapping[str, str]) -> RoutingTable:
    """A table of the accounts alone, without rows and without importing an agent. Raises WrongTable."""
    given = {} if settings.routes is None else _toml(settings.routes)
    name = "routes" if settings.routes is None else settings.routes.name
    return make_table({"accounts": given.get("accounts", {})}, settings, environment, name=name)
