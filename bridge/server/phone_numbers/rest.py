"""The numbers of all accounts that are served, over the carrier's REST API. It blocks: for commands."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from requests import RequestException
from twilio.base.exceptions import TwilioException

from bridge.errors import BridgeError, ConfigError
from bridge.server.phone_numbers.numbers import PhoneNumber
from bridge.server.rest_client import Login, make_client, status_of
from bridge.server.rest_http import RestHttp
from bridge.server.routing.table import Account, RoutingTable
from bridge.settings.settings import Settings

if TYPE_CHECKING:
    from twilio.rest import Client

REQUEST_S: Final = 10.0
MOST_NUMBERS: Final = 1_000
API: Final = "https://api.twilio.com"
_silent = logging.getLogger(f"{__name__}.sdk")
_silent.disabled = True
_Value = TypeVar("_Value")


class RestError(BridgeError):
    """The carrier's API refused, or could not be asked; the message says what to do."""


class NumberRest:
    """`table` has the accounts beside the main one. Raises ConfigError without credentials. To be closed."""

    def __init__(self, settings: Settings, table: RoutingTable) -> None:
        main = table.otherwise.account
        if settings.rest_url is None:
            raise ConfigError(
                "the numbers are the carrier's: set TWILIO_AUTH_TOKEN, TWILIO_ACCOUNT_SID, PUBLIC_URL"
            )
        if main.sid is None or not main.tokens:
            raise ConfigError("set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN: numbers belong to an account")
        self._base = settings.rest_url
        self._main = main
        self.accounts = [main, *(one for one in table.accounts.values() if one.sid != main.sid)]
        self._http = RestHttp(REQUEST_S, _silent)
        self._clients: dict[Login, Client] = {}

    def close(self) -> None:
        """Let its connections go."""
        self._http.session.close()

    def standing(self, account: Account) -> tuple[str, str]:
        """The account's status (`active`, `suspended`, `closed`) and type (`Full`, `Trial`)."""
        found = self._asked(account, lambda client: client.api.v2010.accounts(str(account.sid)).fetch())
        return str(found.status), str(getattr(found, "type", "") or "")

    def numbers(self, account: Account) -> list[PhoneNumber]:
        """Its numbers."""

        def listed(client: Client) -> list[Any]:
            numbers = client.api.v2010.accounts(str(account.sid)).incoming_phone_numbers
            return list(numbers.list(limit=MOST_NUMBERS))

        return [self._named(account, found) for found in self._asked(account, listed)]

    def find(self, number: str) -> tuple[Account, PhoneNumber] | None:
        """The number with its account; None if no account that is served has it."""
        for account in self.accounts:
            for found in self.numbers(account):
                if found.number == number:
                    return account, found
        return None

    def change(self, account: Account, number: PhoneNumber, wanted: Mapping[str, str]) -> PhoneNumber:
        """The number with these fields changed, as the API has it afterwards."""
        sid = str(account.sid)

        def updated(client: Client) -> Any:
            one = client.api.v2010.accounts(sid).incoming_phone_numbers(number.sid)
            one.update(**wanted)
            return one.fetch()

        return self._named(account, self._asked(account, updated))

    def _named(self, account: Account, found: Any) -> PhoneNumber:
        """With the names of what comes before its webhook."""
        number = PhoneNumber.of(found)
        sid, trunk = str(account.sid), number.fields["trunk_sid"]
        application = number.fields["voice_application_sid"]
        more: dict[str, str] = {}
        with contextlib.suppress(RestError):  # its id says it too
            if trunk:
                named = self._asked(account, lambda client: client.trunking.v1.trunks(trunk).fetch())
                more["trunk"] = str(named.friendly_name or trunk)
            elif application:
                named = self._asked(
                    account, lambda client: client.api.v2010.accounts(sid).applications(application).fetch()
                )
                more["application"] = str(named.friendly_name or "")
                more["application_url"] = str(named.voice_url or "")
        return PhoneNumber.of(found, **more) if more else number

    def _asked(self, account: Account, ask: Callable[[Client], _Value]) -> _Value:
        """The answer, with the next token where one is turned away. Raises RestError."""
        refused: RestError | None = None
        for login in self._logins(account):
            try:
                with _told(account, self._base or API):
                    return ask(self._client(login))
            except RestError as error:
                refused = error
                if error.__cause__ is None or status_of(error.__cause__) != 401:
                    break
        raise refused or RestError("there are no credentials")

    def _client(self, login: Login) -> Client:
        if login not in self._clients:
            self._clients[login] = make_client(self._base, login, self._http)
        return self._clients[login]

    def _logins(self, account: Account) -> Iterator[Login]:
        by_parent = account.rest == "parent"
        username, tokens = (self._main.sid, self._main.tokens) if by_parent else (account.sid, account.tokens)
        for token in tokens:
            yield Login(str(username), token.get_secret_value())


@contextlib.contextmanager
def _told(account: Account, url: str) -> Iterator[None]:
    try:
        yield
    except TwilioException as error:
        status, code = status_of(error), getattr(error, "code", 0)
        if status == 401:
            words = f"the carrier refuses the token of the account {account.name or 'main'}: copy it anew"
        else:
            words = f"the carrier answers {status}, code {code}: see https://www.twilio.com/docs/api/errors/{code}"
        raise RestError(words) from error
    except (RequestException, ValueError) as error:
        words = f"the carrier's API cannot be asked: {type(error).__name__}: let this machine reach {url}"
        raise RestError(words) from error
