"""The other end of a page's call, without a bridge: our page's files, and a websocket that a test scripts.

What it measures of the page (frames, gaps, marks) is measured here, by the wall clock.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import threading
import time
import wave
from array import array
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from bridge.server.pages.static import page
from tests.pages.served import served

RATE_HZ = 8_000
MICROPHONE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
SESSION: Mapping[str, Any] = {"call": "CA1", "account": "AC1", "stream": "MZ1", "parameters": {}, "tools": []}
SILENCE = b"\xff" * 160


def microphone(wav: Path) -> tuple[str, ...]:
    """Flags for a browser whose microphone hears this file once."""
    return (*MICROPHONE, f"--use-file-for-fake-audio-capture={wav}%noloop")


def write_wav(path: Path, samples: np.ndarray, rate_hz: int = 48_000) -> Path:
    """16-bit mono; `samples` from -1 to 1."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes(array("h", (samples * 32_767).astype(int).tolist()).tobytes())
    return path


def tone(hz: float, seconds: float, *, rate_hz: int = 48_000, level: float = 0.3) -> np.ndarray:
    at = np.arange(int(seconds * rate_hz)) / rate_hz
    return np.asarray(level * np.sin(2 * np.pi * hz * at))


@dataclass
class Line:
    """One call as its other end sees it: each message with the second in which it came."""

    socket: WebSocket
    came: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    started: threading.Event = field(default_factory=threading.Event)
    late_s: list[float] = field(default_factory=list)

    def of(self, event: str) -> list[tuple[float, dict[str, Any]]]:
        return [(at_s, message) for at_s, message in list(self.came) if message["event"] == event]

    @property
    def frames(self) -> list[tuple[float, bytes]]:
        media = self.of("media")
        return [(at_s, base64.b64decode(message["media"]["payload"])) for at_s, message in media]

    async def play(self, sound: bytes) -> None:
        await self._send("media", media={"payload": base64.b64encode(sound).decode()})

    async def pace(self, frames: Iterable[bytes]) -> None:
        """Play them one by one, 20 ms each, as a model does that speaks no faster than it is heard. What this
        side is late, on a busy machine, is kept in `late_s`.
        """
        begun_s = time.monotonic()
        for number, frame in enumerate(frames):
            self.late_s.append(time.monotonic() - begun_s - number * 0.02)
            await self.play(frame)
            await asyncio.sleep(max(0.0, begun_s + (number + 1) * 0.02 - time.monotonic()))

    async def mark(self, name: str) -> None:
        await self._send("mark", mark={"name": name})

    async def clear(self) -> None:
        await self._send("clear")

    async def _send(self, event: str, **more: Any) -> None:
        await self.socket.send_text(json.dumps({"event": event, "streamSid": "MZ1", **more}))


Script = Callable[[Line], Awaitable[None]]


class Switchboard:
    """Serves the pages and takes calls of theirs. `line` is the last one. `tells` is what the page is told of
    its call, and `session` what it is answered when it wants to place one.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        tells: Iterable[dict[str, Any]] = (),
        answered_by: str = "olive:agent · a rehearsal without a key",
        session: Mapping[str, Any] = SESSION,
    ) -> None:
        self.script = script
        self.tells = list(tells)
        self.answered_by = answered_by
        self.session = session
        self.line: Line | None = None
        self.taken = threading.Event()
        self.base = ""

    @contextlib.contextmanager
    def open(self) -> Iterator[Switchboard]:
        app = Starlette(
            routes=[
                Route("/", self._front),
                Route("/phone", self._phone),
                Route("/phone/session", self._session, methods=["POST"]),
                Route("/phone/{name}", self._file),
                WebSocketRoute("/phone/events", self._events),
                WebSocketRoute("/media-stream", self._stream),
            ]
        )
        with served(app) as self.base:
            yield self

    async def _front(self, _request: Request) -> Response:
        return page("front.html", {"answered_by": self.answered_by})

    async def _phone(self, _request: Request) -> Response:
        return page("phone.html", {"answered_by": self.answered_by})

    async def _file(self, request: Request) -> Response:
        return page(request.path_params["name"])

    async def _session(self, _request: Request) -> Response:
        return JSONResponse(self.session, 503 if "busy" in self.session else 200)

    async def _events(self, socket: WebSocket) -> None:
        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            for event in self.tells:
                await socket.send_text(json.dumps(event))
            await socket.receive_text()

    async def _stream(self, socket: WebSocket) -> None:
        await socket.accept()
        line = self.line = Line(socket)
        self.taken.set()
        scripted: asyncio.Task[None] | None = None
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                message = json.loads(await socket.receive_text())
                line.came.append((time.monotonic(), message))
                if message["event"] == "start":
                    line.started.set()
                    if self.script is not None:
                        scripted = asyncio.ensure_future(self.script(line))
        if scripted is not None:
            scripted.cancel()


def call(page_: Any, board: Switchboard) -> Line:
    """Open the page, press Call, and give the line when the stream has started."""
    page_.visit(f"{board.base}/phone")
    page_.click("#call")
    assert board.taken.wait(15), page_.complaints
    assert board.line is not None
    assert board.line.started.wait(5)
    return board.line
