"""The console's routes: its page, signing in, the socket, and what an operator does with a call."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import wraps
from typing import Any, Final, Protocol

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from bridge.server.calls import CallRegistry
from bridge.server.fleet.machine_commands import Op, Refused
from bridge.server.json_requests import Unfit, json_object
from bridge.server.pages.static import page
from bridge.server.store.claims import StoreError
from bridge.server.store.commands import ANSWER_MS, NoAnswer
from bridge.settings.settings import Settings
from bridge.sockets.asgi import AsgiSocket
from bridge.sockets.frames import POLICY_VIOLATION
from bridge.sockets.limits import CARRIER_LIMITS
from bridge.sockets.peers import Peers
from bridge.sockets.stream import StreamSocket
from bridge.sockets.uvicorn import take_socket

from .actions import Actions
from .call_view import CallView
from .far import POLL
from .finished import Finished
from .listening import Listener
from .live import LiveCalls
from .messages import Hello, Pong, Session, System, encode
from .pump import Pump
from .requests import PAGE_HEADERS, answer, refused
from .rows import RowReader
from .sign_in import NAME_LETTERS, NOT_SIGNED_IN, SignIn, TooManyTries
from .sign_outs import SignOuts
from .viewer import TRY_AGAIN_LATER, Viewer

logger = logging.getLogger("bridge.console")

MOST_BYTES: Final = 16_384
LIMITS: Final = replace(CARRIER_LIMITS, max_size_bytes=4_096, dead_after_s=8, stalled_after_s=8)
MEMBERS: Final = ("key", "machine", "text", "on", "to", "mode", "tool", "path", "reason")
ACT: Final = "console act"
_Endpoint = Callable[["Console", Request], Awaitable[Response]]


def _signed_in(endpoint: _Endpoint) -> _Endpoint:
    """Only for our own page, signed in: 403 or 401 otherwise."""

    @wraps(endpoint)
    async def asked(self: Console, request: Request) -> Response:
        fault = self.sign_in.fault(request)
        if fault is None and request.method == "POST":
            fault = self.sign_in.sender_fault(request)
        if fault is not None:
            return refused(fault, 401 if fault == NOT_SIGNED_IN else 403)
        try:
            return await endpoint(self, request)
        except (Unfit, ClientDisconnect) as error:
            return refused(str(error), 400)

    return asked


class Owners(Protocol):
    """The way to the machine that has a call: `MachineCommands`, alone or in a fleet."""

    async def ask(self, machine: str, op: str, *, within_ms: int = ANSWER_MS, **wanted: Any) -> Any:
        """Its answer. Raises Refused, NoAnswer, StoreError."""
        ...


class Console:
    """`/console` and below, where these settings have one. `awake` is called before anything is answered."""

    def __init__(
        self, settings: Settings, registry: CallRegistry, peers: Peers, awake: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._awake = awake
        self.sign_in = SignIn(settings, peers)
        self.live = LiveCalls(registry)
        self.actions = Actions(registry, self.live, settings.console_phone, listens=settings.console_listen)
        fleet = registry.services.fleet
        self.owners: Owners = fleet.commands
        self._machine: Callable[[], str] = lambda: fleet.commands.machine
        self._others: Callable[[], set[str]] = lambda: (
            set(registry.services.machines()) - {fleet.commands.machine}
        )
        self.pump = Pump(
            self.live,
            registry,
            self._machine,
            self._view,
            self._system,
            ask=fleet.commands.ask,
            others=self._others,
        )
        self._sign_outs = SignOuts(fleet.commands, fleet.others_now, self._over, self.sign_in.revoked)
        if self.sign_in.served:
            fleet.commands.ops.update({**self.ops(), **self._sign_outs.ops()})
            fleet.commands.private.update(self.ops())
            fleet.began.append(self._sign_outs.learn)
            registry.observers = (*registry.observers, self.live)

    def ops(self) -> dict[str, Op]:
        """What other machines may ask of this console."""
        return {ACT: self.obey, POLL: self.pump.lent.poll}

    def routes(self) -> list[BaseRoute]:
        """None without a console: its paths are unknown like any other."""
        if not self.sign_in.served:
            return []
        return [
            Route("/console", self.page, methods=["GET"]),
            Route("/console/session", self.session, methods=["GET"]),
            Route("/console/session", self.begin, methods=["POST"]),
            Route("/console/session/end", self.end, methods=["POST"]),
            WebSocketRoute("/console/socket", self.socket),
            WebSocketRoute("/console/calls/{call}/audio", self.audio),
            Route("/console/calls/{call}/{action}", self.act, methods=["POST"]),
            *Finished(self._settings, self._registry, self.sign_in).routes(),
            Route("/console/{name}", self.file, methods=["GET"]),
        ]

    # --- pages -------------------------------------------------------------------------------------------

    async def page(self, request: Request) -> Response:
        """The page, to everybody where there is a console: it holds nothing but a way to sign in."""
        return self._file(request, "console.html")

    async def file(self, request: Request) -> Response:
        """A script or a style of it."""
        return self._file(request, request.path_params["name"])

    def _file(self, request: Request, name: str) -> Response:
        self._awake()
        if (fault := self.sign_in.page_fault(request)) is not None:
            return Response(f"{fault}\n", 403, PAGE_HEADERS)
        found = page(name)
        found.headers.update(PAGE_HEADERS)
        return found

    # --- signing in --------------------------------------------------------------------------------------

    async def session(self, request: Request) -> Response:
        """Whether this page has signed in, and what it may do then."""
        self._awake()
        fault = self.sign_in.fault(request)
        if fault is not None:
            status = 401 if fault == NOT_SIGNED_IN else 403
            return answer({"error": fault, "signed_in": False}, status)
        return answer(msgspec.to_builtins(self._session()))

    async def begin(self, request: Request) -> Response:
        """Sign in by the token, or by the code of a demo."""
        self._awake()
        if (fault := self.sign_in.sender_fault(request)) is not None:
            return refused(fault)
        try:
            given = await json_object(request, ("token", "code"), MOST_BYTES)
        except (Unfit, ClientDisconnect) as error:
            return refused(str(error), 400)
        token, code = given.get("token", ""), given.get("code", "")
        if not isinstance(token, str) or not isinstance(code, str):
            return refused("token and code are texts", 400)
        address = request.client.host if request.client else ""
        try:
            opened = self.sign_in.opens(address, token=token, code=code)
        except TooManyTries as error:
            logger.warning("too many failed sign-ins from %s", address)
            return refused(str(error), 429, **{"retry-after": str(int(error.wait_s) + 1)})
        if not opened:
            logger.warning("failed sign-in from %s", address)
            what = (
                "this link has been used, or is wrong: sign in with the token, or start the demo again"
                if code
                else "the token is wrong"
            )
            return refused(what)
        logger.info("= an operator has signed in from %s", address)
        if self.sign_in.lasts(request):  # one browser has one session
            await self._sign_outs.end(self.sign_in.digest(request))
        return self.sign_in.greet(request, answer(msgspec.to_builtins(self._session())))

    @_signed_in
    async def end(self, request: Request) -> Response:
        """Sign out, here and in every tab of this browser."""
        session = self.sign_in.digest(request)
        gone = self.sign_in.sign_out(request, answer({}))
        await self._sign_outs.end(session)
        return gone

    def _over(self, session: str) -> None:
        """A browser has signed out, here or at another machine: what shows calls to it is closed."""
        self.sign_in.revoke(session)
        name = session[:NAME_LETTERS]
        for viewer in [one for one in self.pump.viewers if one.name == name]:
            viewer.close(POLICY_VIOLATION, "signed out")
        self.actions.listening.stop(name)

    def _session(self) -> Session:
        settings = self._settings
        return Session(
            signed_in=True,
            may_listen=settings.console_listen,
            softphone=settings.insecure and not settings.twilio_auth_token,
            recordings=settings.recordings is not None,
            machine=self._machine(),
        )

    # --- the socket --------------------------------------------------------------------------------------

    async def socket(self, websocket: WebSocket) -> None:
        """One viewer, until its page is closed."""
        if not self._may_open(websocket):
            await websocket.close()  # before it was accepted: 403
            return
        name = self.sign_in.viewer(websocket)
        await websocket.accept()
        taken = take_socket(websocket, LIMITS)
        if self.pump.full:
            await _turn_away(taken, "ten look on already")
            return
        viewer = Viewer(taken, name, lambda: self.sign_in.lasts(websocket))
        viewer.send(encode(Hello(self.live.epoch_ms(), self._session(), name)))
        self.pump.join(viewer)
        try:
            taken.start(lambda frame: self._said(viewer, frame), lambda _code, _why: self.pump.leave(viewer))
            await taken.released()
        finally:
            self.pump.leave(viewer)

    async def audio(self, websocket: WebSocket) -> None:
        """One who listens to a call, until it is over or the page has heard enough; see `listening.py`."""
        call_sid, listening = websocket.path_params["call"], self.actions.listening
        may = self._settings.console_listen and self._may_open(websocket)
        if not may or self._registry.taps(call_sid) is None:
            await websocket.close()
            return
        name = self.sign_in.viewer(websocket)
        await websocket.accept()
        taken = take_socket(websocket, LIMITS)
        if listening.full:
            await _turn_away(taken, "five listen already")
            return
        listener = Listener(taken, call_sid, name, lambda: self.sign_in.lasts(websocket))
        if not listening.begin(listener):
            await _turn_away(taken, "the call is over")
            return
        try:
            taken.start(_ignore, lambda _code, _why: listening.end(listener))
            await taken.released()
        finally:
            listening.end(listener)

    def _may_open(self, websocket: WebSocket) -> bool:
        """Whether this is our own page, signed in: a call's sound wants the same as its words."""
        self._awake()
        return self.sign_in.fault(websocket) is None and self.sign_in.sender_fault(websocket) is None

    def _said(self, viewer: Viewer, frame: str | bytes) -> None:
        """Something of the page's."""
        try:
            said = json.loads(frame)
        except (ValueError, RecursionError):
            said = None
        match said:
            case {"kind": "look", "call": str() | None as call_sid}:
                viewer.looks_at, viewer.call_seen = call_sid, 0
            case {"kind": "snapshot"}:
                viewer.wants_list, viewer.call_seen = True, 0
            case {"kind": "ping"}:
                viewer.send(encode(Pong(self.live.epoch_ms())))
            case _:
                viewer.close(POLICY_VIOLATION, "unknown message")

    # --- what an operator does ---------------------------------------------------------------------------

    @_signed_in
    async def act(self, request: Request) -> Response:
        """See `actions.py`. The machine that has the call is known from the list, or named in `machine`."""
        given = await json_object(request, MEMBERS, MOST_BYTES)
        path, who = request.path_params, self.sign_in.viewer(request)
        machine = given.pop("machine", None) or self.pump.borrowed.machine_of(path["call"]) or self._machine()
        try:
            status, body = await self.owners.ask(
                str(machine), ACT, call=path["call"], action=path["action"], given=given, who=who
            )
        except (Refused, NoAnswer, StoreError):
            return refused("the machine that has this call does not answer; the wish may have been done", 504)
        return answer(body, status)

    async def obey(self, wanted: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """An operator's wish about a call of this process, from whatever machine it came."""
        return self.actions.act(
            str(wanted["call"]), str(wanted["action"]), dict(wanted["given"]), str(wanted["who"])
        )

    # --- what is seen ------------------------------------------------------------------------------------

    def _view(self, call_sid: str, rows: RowReader) -> CallView:
        registry = self._registry
        targets = list(registry.services.router.of(call_sid).route.transfers)
        phone = self._settings.console_phone
        return CallView(
            self.live.calls[call_sid],
            rows,
            registry.fields(call_sid),
            targets,
            phone if phone in targets else None,
        )

    def _system(self, viewers: int) -> System:
        registry, health = self._registry, self._registry.services.health
        return System(
            calls=len(registry),
            viewers=viewers,
            reasons=registry.reasons,
            draining=registry.draining,
            max_calls=registry.max_calls,
            day_micro_usd=health.money.today_micro_usd,
            lag_p95_ms=None if health.lag is None else round(health.lag.p95_s * 1000, 1),
        )


async def _turn_away(taken: StreamSocket | AsgiSocket, why: str) -> None:
    """Close a socket that was just accepted: a browser tells its page the code of no other refusal."""
    taken.start(_ignore, _ignore)
    taken.close(TRY_AGAIN_LATER, why)
    await taken.released()


def _ignore(*_what: Any) -> None:
    """Takes what a socket says that is closed at once."""
