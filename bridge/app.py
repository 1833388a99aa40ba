"""The routes: a webhook that answers with TwiML, a websocket that carries the call, and what operators ask
for.

`create_app` gives an ASGI application; it can be served by `phonebridge serve` or mounted in a user's own
Starlette or FastAPI application. Every Twilio route proves that it is Twilio who calls before it does
anything else.
"""

from __future__ import annotations

import asyncio
import logging

from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from . import twiml
from .carriers.twilio import Twilio
from .core import messages as m
from .direct import take_socket
from .errors import CarrierError, SignatureError
from .exchange import Exchange
from .gates import Lobby, Signatures, StreamTokens
from .settings import Settings
from .sockets import Socket

logger = logging.getLogger(__name__)

START_S = 5.0
"""A socket that has not sent `start` by then is no call."""
STRAY_FRAMES = 10
"""Frames that may come before `start` (`connected` is one); more are no carrier's."""
TOKEN = "token"  # noqa: S105  the parameter's name


def served_path(connection: HTTPConnection) -> str:
    """Path and raw query as the carrier requested them below PUBLIC_URL, wherever this application is
    mounted.
    """
    scope = connection.scope
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    query: bytes = scope["query_string"]
    return f"{path}?{query.decode('latin-1')}" if query else path


class FrontDoor:
    """The endpoints, with what they need."""

    def __init__(self, settings: Settings, exchange: Exchange, stream_base: str | None) -> None:
        self.settings = settings
        self.exchange = exchange
        self.signatures = Signatures(settings)
        self.tokens = StreamTokens(settings.stream_token_secret())
        self.lobby = Lobby()
        self._base = stream_base

    def base(self, connection: HTTPConnection) -> str:
        """The base URL that the carrier sees. Never made from headers; without PUBLIC_URL (which only
        BRIDGE_INSECURE allows) it is the address this connection came in on.
        """
        if self.settings.public_url:
            return str(self.settings.public_url).rstrip("/")
        host, port = connection.scope["server"]
        return f"http://{host}:{port}{connection.scope.get('root_path', '')}"

    # --- the webhook
    # ---------------------------------------------------------------------------------------------------

    async def incoming_call(self, request: Request) -> Response:
        form = await self._proven(request)
        if form is None:
            return Response(status_code=403)
        call_sid, account_sid = form.get("CallSid", ""), form.get("AccountSid", "")
        if not call_sid:
            return Response("a call without CallSid is none of ours\n", status_code=400)
        if self.exchange.refusal is not None:
            return Response(twiml.busy(), media_type=twiml.MEDIA_TYPE)
        self.exchange.ring(call_sid, form)
        links = twiml.Links.below(self.base(request))
        document = twiml.connect(
            stream_url=links.media_stream,
            action_url=links.after_stream,
            status_url=links.stream_status,
            parameters={TOKEN: self.tokens.mint(call_sid, account_sid)},
        )
        return Response(document, media_type=twiml.MEDIA_TYPE)

    async def after_stream(self, request: Request) -> Response:
        if await self._proven(request) is None:
            return Response(status_code=403)
        return Response(twiml.hangup(), media_type=twiml.MEDIA_TYPE)

    async def stream_status(self, request: Request) -> Response:
        form = await self._proven(request)
        if form is None:
            return Response(status_code=403)
        if form.get("StreamEvent") == "stream-error":
            logger.warning("the carrier reports a stream error: %s", form.get("StreamError", ""))
        return Response(status_code=204)

    async def _proven(self, request: Request) -> dict[str, str] | None:
        """The webhook's fields if it is the carrier's, else None."""
        form = (await request.form()).multi_items()
        fields = [(name, value) for name, value in form if isinstance(value, str)]
        try:
            self.signatures.check_webhook(request.method, served_path(request), fields, request.headers)
        except SignatureError as error:
            logger.warning("webhook refused: %s", error)
            return None
        return {**dict(request.query_params), **dict(fields)}

    # --- the stream
    # ----------------------------------------------------------------------------------------------------

    async def media_stream(self, websocket: WebSocket) -> None:
        """Signature, accept, `start` in time, token, admitted: in that order, and nothing upstream before the
        last.
        """
        try:
            self.signatures.check_upgrade(served_path(websocket), websocket.headers)
        except SignatureError as error:
            logger.warning("stream refused: %s", error)
            await websocket.close()
            return
        await websocket.accept()
        socket = take_socket(websocket)
        arrival = Arrival(self, socket)
        await arrival.over
        await socket.released()

    def admit(self, started: m.Started, frame: str, socket: Socket) -> bool:
        """The stream says which call it is; its token proves it."""
        token = started.parameters.get(TOKEN, "")
        if not self.settings.insecure:
            fault = self.tokens.redeem(token, started.call_id, started.account_id)
            if fault is not None:
                logger.warning("stream refused: %s", fault)
                return False
        runner = self.exchange.claim(started.call_id, started.parameters)
        if runner is None:
            return False
        runner.attach(socket, [Twilio.redact(frame)])
        runner.feed(m.Admitted())
        return True

    # --- operators
    # -----------------------------------------------------------------------------------------------------

    async def healthz(self, _request: Request) -> Response:
        return JSONResponse({"alive": True})

    async def readyz(self, _request: Request) -> Response:
        refusal = self.exchange.refusal
        return JSONResponse(
            {"ready": refusal is None, "reasons": [refusal] if refusal else []}, 503 if refusal else 200
        )


class Arrival:
    """A stream before it is a call: waits for `start`, a few seconds and a few frames long."""

    def __init__(self, door: FrontDoor, socket: Socket) -> None:
        loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = loop.create_future()
        self._door = door
        self._socket = socket
        self._twilio = Twilio()
        self._frames = 0
        self._faults: list[str] = []
        self._timer = loop.call_later(START_S, self._refuse, "no start in time")
        socket.start(self._frame, self._closed)

    def _frame(self, frame: str | bytes) -> None:
        if self.over.done():
            return
        self._frames += 1
        try:
            event = self._twilio.parse(frame)
        except CarrierError as error:
            event = None
            self._faults.append(str(error))
        if isinstance(event, m.Started) and isinstance(frame, str):
            self._settle()
            if self._faults:
                logger.warning("a stream began with %s", self._what_was_wrong())
            if not self._door.admit(event, frame, self._socket):
                self._socket.close(1008)
        elif self._frames >= STRAY_FRAMES:
            self._refuse("no start among the first frames")

    def _refuse(self, why: str) -> None:
        logger.warning("stream refused: %s; %s", why, self._what_was_wrong())
        self._settle()
        self._socket.close(1008)

    def _what_was_wrong(self) -> str:
        """Once a stream, not once a frame: there may be fifty a second of them."""
        first = f", the first: {self._faults[0]}" if self._faults else ""
        return f"{self._frames} frames, {len(self._faults)} of them refused{first}"

    def _closed(self, _code: int, _reason: str) -> None:
        self._settle()

    def _settle(self) -> None:
        self._timer.cancel()
        if not self.over.done():
            self.over.set_result(None)


def create_app(settings: Settings, exchange: Exchange) -> Starlette:
    """The application around an exchange."""
    door = FrontDoor(settings, exchange, None)
    app = Starlette(
        routes=[
            Route("/incoming-call", door.incoming_call, methods=["GET", "POST"]),
            WebSocketRoute("/media-stream", door.media_stream),
            Route("/after-stream", door.after_stream, methods=["GET", "POST"]),
            Route("/stream-status", door.stream_status, methods=["GET", "POST"]),
            Route("/healthz", door.healthz),
            Route("/readyz", door.readyz),
        ]
    )
    app.state.exchange = exchange
    return app
