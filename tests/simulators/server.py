"""A server of TwiML with answers by path, which checks every signature and keeps every form."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from bridge.simulators.carrier import CarrierSimulator
from bridge.simulators.phone import PhoneCall
from bridge.simulators.rest_api import CarrierApi
from bridge.simulators.servers import serve_app
from tests.door.rig import at_once

AC, TOKEN = f"AC{1:032x}", "12345"
U, N, T = "+15550001111", "+15550002222", "+15550003333"


class Came(NamedTuple):
    """One request: path with query, and form."""

    url: str
    form: dict[str, str]


@dataclass
class TwimlServer:
    """`answers` by path: a document's text, or a function of the form. Unknown paths are answered 204."""

    api: CarrierApi
    base: str = ""
    answers: dict[str, str | Callable[[dict[str, str]], str]] = field(default_factory=dict)
    came: list[Came] = field(default_factory=list)
    unsigned: list[str] = field(default_factory=list)
    clients: dict[tuple[str, str], Client] = field(default_factory=dict)

    def client(self, account: str = AC, token: str = TOKEN) -> Client:
        """The vendor's SDK, at the simulated API."""
        client = self.clients.get((account, token))
        if client is None:
            self.clients[account, token] = client = Client(account, token)
            client.api.base_url = self.api.url
        return client

    def caller(self, speech: bytes = b"", **given: object) -> PhoneCall:
        """Somebody who calls N."""
        handset = CarrierSimulator(speech, account_sid=AC, caller=U, called=N, auth_token=TOKEN)
        return self.api.add(PhoneCall(handset, pace=self.api.network.clock.pace, **given))  # type: ignore[arg-type]

    def forms(self, path: str) -> list[dict[str, str]]:
        """The forms that came to a path."""
        return [form for url, form in self.came if url.partition("?")[0] == path]

    def say(self, path: str, inside: str) -> None:
        """The document at a path from now on."""
        self.answers[path] = f"<Response>{inside.replace('B/', f'{self.base}/')}</Response>"

    async def _answer(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        url = f"{self.base}{request.url.path}{f'?{request.url.query}' if request.url.query else ''}"
        signature = request.headers.get("x-twilio-signature", "")
        if not RequestValidator(TOKEN).validate(url, form, signature):
            self.unsigned.append(url)
        if request.method == "GET":
            form = dict(request.query_params)
        self.came.append(Came(url.removeprefix(self.base), form))
        answer = self.answers.get(request.url.path)
        if answer is None:
            return Response(status_code=204)
        text = answer if isinstance(answer, str) else answer(form).replace("B/", f"{self.base}/")
        return Response(text, media_type="text/xml")


@contextlib.asynccontextmanager
async def twiml_server(pace: float = 0.002, *, seed: int = 0) -> AsyncIterator[TwimlServer]:
    """The server and the carrier, both on loopback."""
    api = CarrierApi((TOKEN,), pace=pace, seed=seed)
    server = TwimlServer(api)
    app = Starlette(routes=[Route("/{path:path}", server._answer, methods=["GET", "POST"])])
    async with at_once() as begin:
        listener = await begin(serve_app(app))
        await begin(api.serve())
        server.base = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        yield server
        assert server.unsigned == []


async def over(api: CarrierApi, sid: str, within_s: float = 5.0) -> None:
    """Until that call is over and all of it was told."""
    leg = api.leg(sid)
    assert leg is not None
    async with asyncio.timeout(within_s):
        await leg.ended.wait()
        await api.network.postman.all_delivered()
