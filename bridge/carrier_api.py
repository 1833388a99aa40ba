"""The carrier's REST API, simulated on loopback: what `BRIDGE_TWILIO_API_URL` points at in tests and trials.

It knows one request, that which updates a call, and the calls that were put into `calls`: they are completed,
or follow new TwiML, as the real ones would.

https://www.twilio.com/docs/voice/api/call-resource#update-a-call-resource
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from .phone_call import Kind, Order, PhoneCall
from .simulators import serve_app

ROUTE: Final = "/2010-04-01/Accounts/{account}/Calls/{call}.json"


class Fault(NamedTuple):
    """An answer that is none of the usual: `status` 0 answers as usual, after `delay_s`."""

    status: int = 0
    code: int = 0
    delay_s: float = 0.0


NOT_FOUND: Final = Fault(404, 20404)
NOT_IN_PROGRESS: Final = Fault(400, 21220)
UNKNOWN_TOKEN: Final = Fault(401, 20003)
BROKEN: Final = Fault(500, 20500)


class CarrierApi:
    """The API of one account. `tokens` are those it takes, None for any. `faults` are answered first, one a
    request, then `always` if there is one.
    """

    def __init__(self, tokens: tuple[str, ...] | None = None) -> None:
        self.tokens = tokens
        self.calls: dict[str, PhoneCall] = {}
        self.faults: list[Fault] = []
        self.always: Fault | None = None
        self.asked: list[tuple[str, dict[str, str]]] = []
        """Each request that came: the call's id, and the form."""
        self.url = ""

    @contextlib.asynccontextmanager
    async def serve(self, port: int = 0) -> AsyncIterator[str]:
        """Serve on loopback while the block runs; gives the base URL."""
        app = Starlette(routes=[Route(ROUTE, self._update, methods=["POST"])])
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
            told = f"the simulated API answers {fault.status}"
            return JSONResponse({"code": fault.code, "message": told, "status": fault.status}, fault.status)
        return JSONResponse({"sid": call_sid, "account_sid": request.path_params["account"]})

    def _done(self, request: Request, call_sid: str, form: dict[str, str]) -> Fault:
        """Do as asked; what is wrong with it, if something is."""
        account, token = _credentials(request.headers.get("authorization", ""))
        if account != request.path_params["account"] or (self.tokens and token not in self.tokens):
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


def _credentials(header: str) -> tuple[str, str]:
    """User and password of a Basic header, empty for anything else."""
    try:
        user, _, password = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password
