"""The carrier's REST API, simulated on loopback: what `BRIDGE_TWILIO_API_URL` points at in tests and trials.

It updates the calls that were put into `calls`: they are completed, or follow new TwiML, as the real ones
would. It places calls to the phones that it was given, and tells who asks of calls, of its account and of
`numbers`. For tests of servers that call:

    api = CarrierApi((TOKEN,), pace=0.01)
    phone = api.phone("+15550003333", "human", answers_after_ms=2_000)
    async with api.serve() as url:          # BRIDGE_TWILIO_API_URL
        …                                   # the server posts to Calls.json
        await phone.answered()
        phone.say(speech)
        phone.heard                         # µ-law; see `phones` for all that a phone does
        api.network.requests                # what the carrier asked the server, in order
        api.network.deliveries.lost.add("ringing")

https://www.twilio.com/docs/voice/api/call-resource#update-a-call-resource and #fetch-a-call-resource
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bridge.doubles.call_resource import (
    UPDATE,
    PageQuery,
    call_json,
    page_json,
    refused_create,
)
from bridge.doubles.number_resource import leads_to
from bridge.errors import ConfigError

from .accounts import Account, credentials
from .answers import (
    BROKEN,
    LOST,
    NOT_FOUND,
    NOT_IN_PROGRESS,
    TOO_MANY,
    UNKNOWN_TOKEN,
    Cut,
    Fault,
    failed,
)
from .call_facts import facts_of, listed
from .carrier import CarrierSimulator
from .leg import Leg
from .network import Network
from .phone import PhoneCall
from .phones import SecondPhone
from .placing import Placement, live, subscription
from .rest_numbers import NumberRoutes, numbers_of
from .rest_rooms import RoomRoutes
from .servers import serve_app
from .status_callbacks import StatusCallback
from .steps import FINAL, Kind, Order
from .verbs import VERBS

ACCOUNT: Final = "/2010-04-01/Accounts/{account}"
FIRST: Final = f"AC{1:032x}"
NO_PHONE: Final = "invalid"
"""What a number is that has no phone."""


class CarrierApi:
    """The API of one account. `tokens` are those it takes, None for any. To an update `faults` are answered
    first, one a request, then `always` if there is one; to a question about a call, `doubts` and `doubt`; to
    a request for a call, `refusals`.
    """

    def __init__(self, tokens: tuple[str, ...] | None = None, *, pace: float = 1.0, seed: int = 0) -> None:
        self.tokens = tokens
        self.network = Network(VERBS, pace=pace, seed=seed)
        self.calls: dict[str, PhoneCall] = {}
        self.faults: list[Fault] = []
        self.always: Fault | None = None
        self.asked: list[tuple[str, dict[str, str]]] = []
        """Each update that came: the call's id, and the form."""
        self.statuses: dict[str, str] = {}
        """What is told of a call, whatever is in `calls`."""
        self.doubts: list[Fault] = []
        self.doubt: Fault | None = None
        self.told: list[str] = []
        """The call's id of each question about one."""
        self.placed: list[dict[str, list[str]]] = []
        """Each request for a call that came."""
        self.refusals: list[Fault] = []
        self.refused_numbers: dict[str, int] = {}
        """Numbers that are not called, with the vendor's error code: 21211, 21215, …"""
        self.url = ""
        self.status = "active"
        self.numbers: list[dict[str, Any]] = []
        """Phone numbers of the account, each with what is to differ from a number that leads nowhere."""
        self.applications: dict[str, str] = {}
        """The voice URL of each of its TwiML applications, by SID."""
        self.accounts: dict[str, Account] = {}
        """Those that `account` made."""

    @contextlib.asynccontextmanager
    async def serve(self, port: int = 0) -> AsyncIterator[str]:
        """Serve on loopback while the block runs; gives the base URL."""
        app = Starlette(
            routes=[
                Route(f"{ACCOUNT}.json", self._account),
                *NumberRoutes(self.account_of, self._is_known).routes(),
                *RoomRoutes(self.network, self._is_known).routes(),
                Route(f"{ACCOUNT}/Calls.json", self._create, methods=["POST"]),
                Route(f"{ACCOUNT}/Calls.json", self._list, methods=["GET"]),
                Route(f"{ACCOUNT}/Calls/{{call}}.json", self._update, methods=["POST"]),
                Route(f"{ACCOUNT}/Calls/{{call}}.json", self._call, methods=["GET"]),
            ]
        )
        async with serve_app(app, port) as server:
            self.url = self.network.api_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            try:
                yield self.url
            finally:
                await self.network.close()

    def add(self, call: PhoneCall) -> PhoneCall:
        """The call can be reached from now on, and can reach `phone`s; the network is as quick as it is."""
        self.network.clock.pace = min(self.network.clock.pace, call.pace)
        call.network = self.network
        self.calls[call.handset.call_sid] = call
        return call

    async def ring(self, called: str, caller: str = "+15550001111", **given: Any) -> PhoneCall:
        """Call one of the numbers of these accounts, wherever it leads now; the call when it is over. `given`
        as to `PhoneCall`. Raises ConfigError for a number that is in none.
        """
        for account in [*self.accounts.values(), Account(FIRST, self.tokens, numbers=self.numbers)]:
            number = next((one for one in numbers_of(account) if one["phone_number"] == called), None)
            if number is not None:
                break
        else:
            raise ConfigError(f"{called} is no number of a simulated account")
        handset = CarrierSimulator(
            account_sid=account.sid, caller=caller, called=called, auth_token=account.signing_token
        )
        call = self.add(PhoneCall(handset, pace=self.network.clock.pace, **given))
        callback = number["status_callback"]
        if callback:
            call.callbacks.append(StatusCallback(callback, method=number["status_callback_method"]))
        led = leads_to(number, account.applications or self.applications)
        if led is None:
            call.note(Kind.FAILED, f"{called} leads nowhere")
            call.finish("failed")
            return call
        url, method, call.fallback = led
        await call.place(url, method=method)
        return call

    def phone(self, number: str, as_: str = "human", **given: Any) -> SecondPhone:
        """A phone that rings when that number is dialled, by REST or by `<Dial>`: `phones.SecondPhone`."""
        return self.network.phone(number, as_, **given)

    def leg(self, call_sid: str) -> Leg | None:
        """A call that this API knows."""
        return self.calls.get(call_sid) or self.network.legs.get(call_sid)

    # --- calls ----------------------------------------------------------------------------------------------

    async def _create(self, request: Request) -> Response:
        form = parse_qs((await request.body()).decode(), keep_blank_values=True)
        self.placed.append(form)
        fault = self.refusals.pop(0) if self.refusals else Fault()
        await asyncio.sleep(fault.delay_s)
        if not fault.status and not self._is_known(request):
            fault = UNKNOWN_TOKEN
        if fault.status:
            return failed(fault)
        if (refused := refused_create(form)) is not None:
            return failed(Fault(400, refused.code, message=refused.message))
        if (code := self.refused_numbers.get(form["To"][-1])) is not None:
            return failed(Fault(400, code))
        leg = self._place(request, form)
        if fault.lost:
            return Cut()
        return JSONResponse(call_json(facts_of(leg)), 201)

    def _place(self, request: Request, form: dict[str, list[str]]) -> Leg:
        account = request.path_params["account"]
        user, token = credentials(request.headers.get("authorization", ""))
        signs = self.account_of(request).signing_token or (None if user.startswith("SK") else token)
        handset = CarrierSimulator(
            call_sid=f"CA{secrets.token_hex(16)}", account_sid=account, caller=form["From"][-1],
            called=form["To"][-1], auth_token=signs,
            public_url=self.network.public_url, direction="outbound-api",
        )  # fmt: skip
        leg = Leg(handset, self.network, callbacks=[*subscription(form)])
        self.network.add(leg)
        leg.queue_ms = self.network.queue_ms(account)
        number = handset.called.partition("?")[0]
        phone = self.network.phone_at(number) or SecondPhone(number, NO_PHONE)
        self.network.keep(live(self.network, leg, phone, Placement.of(form), leg.queue_ms))
        return leg

    async def _list(self, request: Request) -> Response:
        account = request.path_params["account"]
        newest_ms = self.network.clock.now_ms - self.network.behaviour.listed_after_ms
        legs = [
            leg
            for leg in self.network.legs.values()
            if leg.handset.account_sid == account and leg.began_ms <= newest_ms
        ]
        found = listed(map(facts_of, reversed(legs)), request.query_params)
        uri = f"{ACCOUNT.format(account=account)}/Calls.json"
        return self._told(
            request, page_json("calls", [*map(call_json, found)], uri, PageQuery.of(request.query_params))
        )

    async def _update(self, request: Request) -> Response:
        call_sid = request.path_params["call"]
        form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        self.asked.append((call_sid, form))
        fault = self.faults.pop(0) if self.faults else self.always or Fault()
        await asyncio.sleep(fault.delay_s)
        lost = fault.lost
        if not fault.status:
            fault = self._done(request, call_sid, form)
        if lost:
            return Cut()
        if fault.status:
            return failed(fault)
        leg = self.leg(call_sid)
        return JSONResponse({} if leg is None else call_json(facts_of(leg)))

    async def _call(self, request: Request) -> JSONResponse:
        call_sid = request.path_params["call"]
        self.told.append(call_sid)
        doubt = self.doubts.pop(0) if self.doubts else self.doubt or Fault()
        await asyncio.sleep(doubt.delay_s)
        if not doubt.status and not self._is_known(request):
            doubt = UNKNOWN_TOKEN
        if doubt.status:
            return failed(doubt)
        status, leg = self.statuses.get(call_sid), self.leg(call_sid)
        if status is not None:
            account = request.path_params["account"]
            return JSONResponse({"sid": call_sid, "account_sid": account, "status": status})
        return failed(NOT_FOUND) if leg is None else JSONResponse(call_json(facts_of(leg)))

    def _done(self, request: Request, call_sid: str, form: dict[str, str]) -> Fault:
        """Do as asked; what is wrong with it, if something is."""
        if not self._is_known(request):
            return UNKNOWN_TOKEN
        leg = self.leg(call_sid)
        if leg is None:
            return NOT_FOUND
        if leg.over:
            return NOT_IN_PROGRESS
        if unknown := sorted(set(form) - UPDATE):
            return Fault(400, 20001, message=f"Unknown parameters: {', '.join(unknown)}")
        return _ordered(leg, form)

    # --- accounts -------------------------------------------------------------------------------------------

    async def _account(self, request: Request) -> Response:
        return self._told(request, self.account_of(request).json())

    def account(self, sid: str, *tokens: str, parent: str | None = None) -> Account:
        """An account beside the first, with tokens and numbers of its own; a subaccount of `parent`."""
        owner = None if parent is None else self.accounts.get(parent) or Account(parent, self.tokens)
        account = Account(sid, tokens or None, owner)
        self.accounts[sid] = account
        return account

    def account_of(self, request: Request) -> Account:
        """The account in the path. What was not made by `account` is the first one, whatever its SID is."""
        sid = request.path_params["account"]
        account = self.accounts.get(sid)
        if account is None:
            account = Account(sid, self.tokens, status=self.status, numbers=self.numbers)
            account.applications = self.applications
        return account

    def _told(self, request: Request, content: dict[str, Any]) -> Response:
        """The answer to a request that changes nothing."""
        return JSONResponse(content) if self._is_known(request) else failed(UNKNOWN_TOKEN)

    def _is_known(self, request: Request) -> bool:
        return self.account_of(request).takes(*credentials(request.headers.get("authorization", "")))


def _ordered(leg: Leg, form: dict[str, str]) -> Fault:
    """What an update does to a call that is not over."""
    answered = leg.answered_ms is not None
    match form:
        case {"Status": "completed"}:
            leg.order(Order(Kind.ENDED_BY_REST))
        case {"Status": "canceled"} if not answered:
            leg.order(Order(Kind.ENDED_BY_REST))
        case {"Status": _}:
            return NOT_IN_PROGRESS
        case {"Url": url}:
            if not answered and leg.handset.direction != "inbound":
                return NOT_IN_PROGRESS
            leg.order(Order(Kind.SENT_ON_BY_REST, url=url, method=form.get("Method", "POST")))
        case {"Twiml": twiml}:
            try:
                document = ET.fromstring(twiml)  # noqa: S314  from the server under test, on loopback
            except ET.ParseError as error:
                return Fault(400, 12100, message=str(error))
            leg.order(Order(Kind.SENT_ON_BY_REST, document))
        case _:
            return Fault(400, 21218)
    return Fault()


__all__ = ["BROKEN", "FINAL", "LOST", "NOT_FOUND", "NOT_IN_PROGRESS", "TOO_MANY", "UNKNOWN_TOKEN"]
__all__ += ["CarrierApi", "Fault"]
