"""The other end of the console's page, without a bridge: its files, and a websocket that a test scripts.

It speaks as bridge/server/console/messages.py says; what the page sent is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from bridge.picture.page import read_text
from bridge.server.pages.static import page
from tests.pages.served import served

TOKEN = "a-console-token-of-thirty-two-or-more"
SESSION: Mapping[str, Any] = {
    "signed_in": True,
    "may_listen": True,
    "softphone": False,
    "recordings": False,
    "machine": "desk-1",
}
SYSTEM: Mapping[str, Any] = {
    "calls": 3,
    "viewers": 1,
    "reasons": [],
    "draining": False,
    "max_calls": 200,
    "day_micro_usd": 412_000,
    "lag_p99_ms": 1.0,
}


def row(call: str, **fields: Any) -> dict[str, Any]:
    """A row as the server sends it, with what is usual."""
    return {
        "call": call,
        "machine": "desk-1",
        "revision": 1,
        "state": "live",
        "direction": "in",
        "caller": "+1 … 34",
        "called": "+1 … 00",
        "agent": "olive:agent",
        "model": "gpt-realtime-2.1",
        "began_at": int(time.time() * 1000) - 83_000,
        "ended_at": None,
        "end": None,
        "end_detail": "",
        "last_who": "agent",
        "last_words": "For which day, please?",
        "turns": 3,
        "answered_p50_ms": 221,
        "barge_ins": 1,
        "unheard_ms": 900,
        "tools": 1,
        "tools_failed": 0,
        "tools_running": 0,
        "cost_micro_usd": 41_200,
        "muted": False,
        "listeners": 0,
        "trouble": [],
        **fields,
    }


def line(number: int, who: str, at_ms: int, text: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"w{number}",
        "who": who,
        "at_ms": at_ms,
        "text": text,
        "heard": len(text),
        "state": "said",
        "heard_ms": 1_200,
        "made_ms": 1_200,
        **fields,
    }


def whole(shown: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A call in view, of that row, with nothing in it but what is given."""
    return {
        "kind": "call",
        "call": shown["call"],
        "to": 1,
        "at_ms": 83_000,
        "began_at": shown["began_at"],
        "row": shown,
        "words": [],
        "turns": [],
        "tools": [],
        "lanes": [],
        "events": [],
        "cost": {"micro_usd": None, "tokens": {}, "transcribed_s": 0.0, "limit_micro_usd": None},
        "playing": None,
        "parameters": {},
        "instructions": "",
        "targets": ["sales", "support"],
        "phone": "+1 … 99",
        **fields,
    }


class ConsoleBoard:
    """Serves the console and its socket. `rows` are the calls that a page is told of, `wholes` those that it
    may look at; `came` has what pages sent, `wishes` their POSTs. `tell` sends one more message to all. While
    it is `down`, no page gets a session; while it is `silent`, no page gets an answer.
    """

    def __init__(
        self,
        rows: list[dict[str, Any]] | None = None,
        wholes: list[dict[str, Any]] | None = None,
        *,
        session: Mapping[str, Any] = SESSION,
        system: Mapping[str, Any] = SYSTEM,
        signed_in: bool = True,
    ) -> None:
        self.rows = rows or []
        self.wholes = {one["call"]: one for one in wholes or []}
        self.session, self.system, self.signed_in = session, system, signed_in
        self.refusal = ""
        self.answer: dict[str, Any] = {}
        self.code: str | None = "good-once"
        self.down = self.silent = False
        self.came: list[dict[str, Any]] = []
        self.wishes: list[tuple[str, str, dict[str, Any]]] = []
        self.looked = threading.Event()
        self.base = ""
        self._sockets: list[WebSocket] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[ConsoleBoard]:
        app = Starlette(
            routes=[
                Route("/console", self._console),
                Route("/console/session", self._session, methods=["GET", "POST"]),
                Route("/console/session/end", self._sign_out, methods=["POST"]),
                Route("/console/calls/{call}/{action}", self._wish, methods=["POST"]),
                WebSocketRoute("/console/socket", self._socket),
                Route("/console/picture/{name}", self._drawing),
                Route("/console/{name}", self._file),
            ]
        )
        with served(app) as self.base:
            yield self

    def tell(self, message: dict[str, Any]) -> None:
        """From a test's thread, to every page that looks on."""

        async def send() -> None:
            for socket in self._sockets:
                await socket.send_text(json.dumps(message))

        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(send(), self._loop).result(10)

    def hang(self, code: int) -> None:
        """Close every page's socket."""

        async def close() -> None:
            for socket in list(self._sockets):
                await socket.close(code)

        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(close(), self._loop).result(10)

    async def _console(self, _request: Request) -> Response:
        return page("console.html")

    async def _drawing(self, request: Request) -> Response:
        name = request.path_params["name"]
        kind = "text/css" if name.endswith(".css") else "text/javascript"
        return Response(read_text(name), media_type=kind)

    async def _file(self, request: Request) -> Response:
        return page(request.path_params["name"])

    async def _session(self, request: Request) -> Response:
        if self.down:
            return JSONResponse({"error": "the server is about to start"}, 503)
        if request.method == "POST":
            given = await request.json()
            if given.get("token") != TOKEN and given.get("code") != self.code:
                return JSONResponse({"error": "the token is wrong"}, 403)
            self.code = None
            self.signed_in = True
        return JSONResponse(self.session) if self.signed_in else JSONResponse({"error": "not signed in"}, 401)

    async def _sign_out(self, _request: Request) -> Response:
        self.signed_in = False
        return JSONResponse({})

    async def _wish(self, request: Request) -> Response:
        wanted = await request.json()
        assert request.headers["x-bridge-console"]
        self.wishes.append((request.path_params["call"], request.path_params["action"], wanted))
        return JSONResponse({"error": self.refusal}, 409) if self.refusal else JSONResponse(self.answer)

    async def _socket(self, socket: WebSocket) -> None:
        self._loop = asyncio.get_running_loop()
        await socket.accept()
        now_at = int(time.time() * 1000)
        await socket.send_json({"kind": "hello", "now_at": now_at, "session": self.session, "viewer": "v"})
        await self._snapshot(socket)
        await socket.send_json({"kind": "system", "system": self.system})
        self._sockets.append(socket)
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                message = json.loads(await socket.receive_text())
                self.came.append(message)
                if self.silent:
                    continue
                if message["kind"] == "ping":
                    await socket.send_json({"kind": "pong", "now_at": int(time.time() * 1000)})
                elif message["kind"] == "snapshot":
                    await self._snapshot(socket)
                elif message["kind"] == "look" and message["call"]:
                    found = self.wholes.get(message["call"])
                    await socket.send_json(found or {"kind": "lost", "call": message["call"]})
                    self.looked.set()
        self._sockets.remove(socket)

    async def _snapshot(self, socket: WebSocket) -> None:
        pieces = [self.rows[at : at + 25] for at in range(0, len(self.rows), 25)] or [[]]
        for at, piece in enumerate(pieces):
            await socket.send_json(
                {"kind": "calls", "begins": at == 0, "ends": at == len(pieces) - 1, "calls": piece}
            )
