"""The carrier's REST API, simulated on loopback: what `BRIDGE_TWILIO_API_URL` points at in tests and trials.

It updates the calls that were put into `calls`: they are completed, or follow new TwiML, as the real ones
would. It says how they are, and how those in `statuses` are. And it tells of its account and of `numbers`,
for users' webhooks.

https://www.twilio.com/docs/voice/api/call-resource#update-a-call-resource and #fetch-a-call-resource
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bridge.simulators.phone import Kind, Order, PhoneCall
from bridge.simulators.servers import serve_app

ACCOUNT: Final = "/2010-04-01/Accounts/{account}"


class Fault(NamedTuple):
    """An unusual answer: `status` 0 answers as usual, after `delay_s`."""

    status: int = 0
    code: int = 0
    delay_s: float = 0.0


NOT_FOUND: Final = Fault(404, 20404)
NOT_IN_PROGRESS: Final = Fault(400, 21220)
UNKNOWN_TOKEN: Final = Fault(401, 20003)
BROKEN: Final = Fault(500, 20500)


class CarrierApi:
    """The API of one account. `tokens` are those it takes, None for any. To an update `faults` are answered
    first, one a request, then `always` if there is one; to a question about a call, `doubts` and `doubt`.
    """

    def __init__(self, tokens: tuple[str, ...] | None = None) -> None:
        self.tokens = tokens
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
        self.url = ""
        self.status = "active"
        self.numbers: list[dict[str, Any]] = []
        """Phone numbers of the account, each with what is to differ from a number that leads nowhere."""

    @contextlib.asynccontextmanager
    async def serve(self, port: int = 0) -> AsyncIterator[str]:
        """Serve on loopback while the block runs; gives the base URL."""
        app = Starlette(
            routes=[
                Route(f"{ACCOUNT}.json", self._account),
                Route(f"{ACCOUNT}/IncomingPhoneNumbers.json", self._numbers),
                Route(f"{ACCOUNT}/Calls/{{call}}.json", self._update, methods=["POST"]),
                Route(f"{ACCOUNT}/Calls/{{call}}.json", self._call, methods=["GET"]),
            ]
        )
        async with serve_app(app, port) as server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield self.url

    def add(self, call: PhoneCall) -> PhoneCall:
        """The call can be reached from now on."""
        self.calls[call.handset.call_sid] = call
        return call

    async def _update(self, request: Request) -> JSONResponse:
        call_sid = request.path_params["call"]
        form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        self.asked.append((call_sid, form))
        fault = self.faults.pop(0) if self.faults else self.always or Fault()
        await asyncio.sleep(fault.delay_s)
        if not fault.status:
            fault = self._done(request, call_sid, form)
        if fault.status:
            return _failed(fault)
        return JSONResponse({"sid": call_sid, "account_sid": request.path_params["account"]})

    async def _call(self, request: Request) -> JSONResponse:
        call_sid = request.path_params["call"]
        self.told.append(call_sid)
        doubt = self.doubts.pop(0) if self.doubts else self.doubt or Fault()
        await asyncio.sleep(doubt.delay_s)
        status, call = self.statuses.get(call_sid), self.calls.get(call_sid)
        if status is None and call is not None:
            status = "completed" if call.over else "in-progress"
        if not doubt.status and not self._is_known(request):
            doubt = UNKNOWN_TOKEN
        if doubt.status or status is None:
            return _failed(doubt if doubt.status else NOT_FOUND)
        account = request.path_params["account"]
        return JSONResponse({"sid": call_sid, "account_sid": account, "status": status})

    async def _account(self, request: Request) -> JSONResponse:
        account = request.path_params["account"]
        return self._told(request, {"sid": account, "status": self.status, "type": "Full"})

    async def _numbers(self, request: Request) -> JSONResponse:
        account = request.path_params["account"]
        nowhere = {"account_sid": account, "voice_url": "", "voice_application_sid": "", "trunk_sid": None}
        numbers = [
            {"sid": f"PN{place:032x}", "phone_number": "+15550000000", **nowhere, **number}
            for place, number in enumerate(self.numbers)
        ]
        return self._told(request, {"incoming_phone_numbers": numbers, "page": 0, "next_page_uri": None})

    def _told(self, request: Request, content: dict[str, Any]) -> JSONResponse:
        """The answer to a request that changes nothing."""
        return JSONResponse(content) if self._is_known(request) else _failed(UNKNOWN_TOKEN)

    def _is_known(self, request: Request) -> bool:
        account, token = _credentials(request.headers.get("authorization", ""))
        return account == request.path_params["account"] and not (self.tokens and token not in self.tokens)

    def _done(self, request: Request, call_sid: str, form: dict[str, str]) -> Fault:
        """Do as asked; what is wrong with it, if something is."""
        if not self._is_known(request):
            return UNKNOWN_TOKEN
        call = self.calls.get(call_sid)
        if call is None:
            return NOT_FOUND
        if call.over:
            return NOT_IN_PROGRESS
        if form.get("Status") == "completed":
            call.order(Order(Kind.ENDED_BY_REST))
        elif "Twiml" in form:
            document = ET.fromstring(form["Twiml"])  # noqa: S314  from the server under test, on loopback
            call.order(Order(Kind.SENT_ON_BY_REST, document))
        else:
            return Fault(400, 21218)
        return Fault()


def _failed(fault: Fault) -> JSONResponse:
    told = f"the simulated API answers {fault.status}"
    return JSONResponse({"code": fault.code, "message": told, "status": fault.status}, fault.status)


def _credentials(header: str) -> tuple[str, str]:
    """User and password of a Basic header, empty for anything else."""
    try:
        user, _, password = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password
