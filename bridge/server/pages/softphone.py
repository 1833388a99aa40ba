"""A phone in the browser: it speaks the carrier's own protocol to `/media-stream`, so that a call from it is
a call like any other.

Served to this machine only (`peers`), under BRIDGE_INSECURE, and never beside a carrier's token: a page that
places calls would be a way around the signature.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from bridge.agents.agent import Agent
from bridge.agents.turned_away import Forward, Refuse, TurnedAway, Voicemail
from bridge.core.stats import Stats
from bridge.server.calls import CallRegistry
from bridge.settings.settings import Settings
from bridge.sockets.peers import Peers
from bridge.upstreams import REHEARSALS

from .captions import Captions
from .sign_in import SignIn
from .static import HEADERS, page

ACCOUNT_SID: Final = "AC" + "0" * 32
FROM, TO = "client:softphone", "client:phonebridge"
MOST_BYTES: Final = 4_096
STALL_MS: Final = 5_000
JSON: Final = "application/json"
WORDS: Final = {
    "full": "All lines are busy.",
    "draining": "The server is about to stop.",
    "upstream": "The model cannot be reached at the moment.",
}
"""Why no call may come in, as the page says it."""


class Softphone:
    """The front page, and `/phone` where these settings allow it. `awake` is called before a call."""

    def __init__(
        self, settings: Settings, registry: CallRegistry, peers: Peers, awake: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._peers = peers
        self._awake = awake
        self._sign_in = SignIn(settings.stream_token_secret(), "phone")
        self._captions = Captions(self._stats)
        worker = registry.services.worker
        self._stream_path = "media-stream" if worker is None else f"media-stream/{worker.name}"
        self.served = settings.insecure and not settings.twilio_auth_token
        if self.served:
            registry.observers = (*registry.observers, self._captions)
            registry.running_words = self._captions.is_watched

    def routes(self) -> list[BaseRoute]:
        """Without the softphone, its paths are unknown like any other."""
        front = Route("/", self.front, methods=["GET"])
        if not self.served:
            return [front]
        return [
            front,
            Route("/phone", self.phone, methods=["GET"]),
            Route("/phone/session", self.session, methods=["POST"]),
            Route("/phone/faults", self.fault, methods=["POST"]),
            WebSocketRoute("/phone/events", self.events),
            Route("/phone/{name}", self.file, methods=["GET"]),
        ]

    # --- pages -------------------------------------------------------------------------------------------

    async def front(self, request: Request) -> Response:
        """What runs here. Only this machine learns more than the name."""
        if not self.served or self._peers.local_fault(request) is not None:
            return page("name.html")
        return page("front.html", {"answered_by": self._answered_by()})

    async def phone(self, request: Request) -> Response:
        if (fault := self._peers.local_fault(request)) is not None:
            return Response(f"{fault}\n", 403)
        return self._sign_in.greet(page("phone.html", {"answered_by": self._answered_by()}))

    async def file(self, request: Request) -> Response:
        if (fault := self._peers.local_fault(request)) is not None:
            return Response(f"{fault}\n", 403)
        return page(request.path_params["name"])

    # --- a call ------------------------------------------------------------------------------------------

    async def session(self, request: Request) -> Response:
        """Place a call: it rings here as one of the carrier's would. JSON with what the page's `start` says,
        or why there is no call now, `busy` with 503.
        """
        self._awake()
        if (refused := await self._refused(request)) is not None:
            return refused
        registry = self._registry
        reason = registry.refusal or ("upstream" if registry.services.health.breaker.is_open else None)
        if reason is not None:
            return self._answer({"busy": WORDS.get(reason, f"No call may come in now: {reason}.")}, 503)
        call_sid = f"CA{secrets.token_hex(16)}"
        fields = {
            "CallSid": call_sid,
            "AccountSid": ACCOUNT_SID,
            "From": FROM,
            "To": TO,
            "Direction": "inbound",
            "CallStatus": "ringing",
        }
        self._captions.watch(call_sid)
        turned_away = await registry.ring(call_sid, fields)
        if turned_away is not None:
            return self._answer({"busy": _words_of(turned_away)}, 503)
        return self._answer(
            {
                "call": call_sid,
                "account": ACCOUNT_SID,
                "stream": f"MZ{secrets.token_hex(16)}",
                "path": self._stream_path,
                "parameters": {},
            }
        )

    async def fault(self, request: Request) -> Response:
        """Break something on purpose: `{"call": …, "fault": …}` with `drop` cuts the model's connection off,
        `stall` keeps for 5 s what it sends, and `tools` withholds results from it.
        """
        if (refused := await self._refused(request)) is not None:
            return refused
        wanted = await self._body(request)
        call_sid = str(wanted.get("call", ""))
        runner = self._registry.runner(call_sid) if self._captions.is_watched(call_sid) else None
        if runner is None:
            return self._answer({"error": "no such call"}, 404)
        match wanted.get("fault"):
            case "drop":
                runner.lose_upstream()
            case "stall":
                runner.stall_upstream(STALL_MS)
            case "tools":
                self._registry.withhold_results(call_sid)
            case _:
                return self._answer({"error": "no such fault"}, 404)
        return self._answer({})

    async def events(self, websocket: WebSocket) -> None:
        """What happens in the call that `?call=` names, one JSON object a message, until it is over."""
        call_sid = websocket.query_params.get("call", "")
        fault = self._peers.fault(websocket) or self._sign_in.fault(websocket)
        if fault is not None or "origin" not in websocket.headers or not self._captions.is_watched(call_sid):
            await websocket.close()
            return
        await websocket.accept()
        try:
            async for event in self._captions.follow(call_sid):
                await websocket.send_text(json.dumps(event))
            await websocket.close()
        except WebSocketDisconnect:
            pass  # the page was closed; its call ends by its own socket

    # --- inside ------------------------------------------------------------------------------------------

    async def _refused(self, request: Request) -> Response | None:
        """The refusal of a request that no page of this server sent; None for one that did."""
        fault = self._peers.fault(request) or self._sign_in.fault(request)
        if fault is None and "origin" not in request.headers:
            fault = "a browser says in Origin which page it comes from"
        if fault is None and request.headers.get("content-type", "").partition(";")[0].strip() != JSON:
            fault = f"the page sends {JSON}"
        return None if fault is None else self._answer({"error": fault}, 403)

    async def _body(self, request: Request) -> dict[str, Any]:
        """The JSON object of a request; empty for anything else."""
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > MOST_BYTES:
                return {}
        try:
            found = json.loads(body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @staticmethod
    def _answer(body: dict[str, Any], status: int = 200) -> Response:
        return JSONResponse(body, status, headers=dict(HEADERS))

    def _stats(self, call_sid: str) -> Stats | None:
        runner = self._registry.runner(call_sid)
        return None if runner is None else runner.call.stats

    def _agent(self) -> Agent | None:
        users = self._registry.services.users
        return None if users is None else users.agent

    def _answered_by(self) -> str:
        """Who answers a call from this page, in a few words."""
        settings, agent = self._settings, self._agent()
        name = settings.agent or ("no agent" if agent is None else agent.name)
        scripted = settings.upstream in REHEARSALS
        model = "a rehearsal without a key" if scripted else f"{settings.upstream}, {settings.model}"
        return f"{name} · {model}"


def _words_of(turned_away: TurnedAway) -> str:
    """What the agent's resolver answered, as the page says it."""
    match turned_away:
        case Forward(name=name):
            return f"The resolver would send this call on to {name}; a browser's call ends here."
        case Refuse(say=str(words)):
            return f"The resolver refuses this call, with the words: {words}"
        case Refuse(reason=reason):
            return f"The resolver refuses this call: {reason}."
        case Voicemail():
            return "The resolver would take a message; a browser's call ends here."
