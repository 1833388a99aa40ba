"""Phone numbers in the simulated REST API: listed, fetched and updated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bridge.doubles.call_resource import PageQuery, Refused, page_json
from bridge.doubles.number_resource import is_wanted, number_json, updated

from .accounts import Account
from .answers import NOT_FOUND, UNKNOWN_TOKEN, Fault, failed

NUMBERS: Final = "/2010-04-01/Accounts/{account}/IncomingPhoneNumbers"


class NumberRoutes:
    """Answers for the accounts that `account_of` finds, to those whom `is_known` knows."""

    def __init__(self, account_of: Callable[[Request], Account], is_known: Callable[[Request], bool]) -> None:
        self._account_of = account_of
        self._is_known = is_known

    def routes(self) -> list[Route]:
        """List, fetch and update."""
        return [
            Route(f"{NUMBERS}.json", self._list, methods=["GET"]),
            Route(f"{NUMBERS}/{{number}}.json", self._one, methods=["GET", "POST"]),
        ]

    async def _list(self, request: Request) -> Response:
        if not self._is_known(request):
            return failed(UNKNOWN_TOKEN)
        numbers = [
            one for one in numbers_of(self._account_of(request)) if is_wanted(one, request.query_params)
        ]
        uri, query = request.url.path, PageQuery.of(request.query_params)
        return JSONResponse(page_json("incoming_phone_numbers", numbers, uri, query))

    async def _one(self, request: Request) -> Response:
        if not self._is_known(request):
            return failed(UNKNOWN_TOKEN)
        account = self._account_of(request)
        numbers = {number["sid"]: number for number in numbers_of(account)}
        number = numbers.get(request.path_params["number"])
        if number is None:
            return failed(NOT_FOUND)
        if request.method == "POST":
            form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
            changed = updated(number, form)
            if isinstance(changed, Refused):
                return failed(Fault(400, changed.code, message=changed.message))
            account.numbers[[*numbers].index(changed["sid"])] = number = changed
        return JSONResponse(number)


def numbers_of(account: Account) -> list[dict[str, Any]]:
    """An account's numbers, whole."""
    return [number_json(account.sid, place, number) for place, number in enumerate(account.numbers)]
