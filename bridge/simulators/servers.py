"""Thin socket shells around the doubles: a phone that calls, a Realtime server that answers.

The doubles are pure machines: frames come in, frames go out, `deadline_ms` says when they want to be woken. A
`Simulation` gives one of them a socket and a clock. Demo, tests, plugin and bench all use these, in the same
process or in others.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import ClassVar, Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from bridge.doubles.gpt_live import PATHS as LIVE_PATHS
from bridge.doubles.handshake import PATHS, model_of, refusal
from bridge.doubles.phone import Phone
from bridge.errors import ConfigError
from bridge.simulators.certificates import Certificate
from bridge.sockets.dial import Socket, dial
from bridge.sockets.peers import of_this_machine
from bridge.sockets.uvicorn import UVICORN_PROTOCOLS, take_socket


class Machine(Protocol):
    """The form all doubles share; times are milliseconds of their own clock."""

    @property
    def deadline_ms(self) -> int | None: ...
    def receive(self, frame: str | bytes, now_ms: int) -> list[str]: ...
    def wake(self, now_ms: int) -> list[str]: ...
    def gone(self, now_ms: int) -> list[str]: ...
    @property
    def close(self) -> tuple[int, str] | None: ...


class Server(Machine, Protocol):
    """A model's server."""

    def open(self, now_ms: int, model: str = "") -> list[str]: ...


class Simulation:
    """A pure machine behind a socket. `closed` is done, with code and reason, when the socket is gone.

    All of one loop count the same milliseconds: what happened at one before something at another can be told
    apart, or is at the same `loop_ms`, and never seems to have come after.
    """

    def __init__(self, machine: Machine, socket: Socket) -> None:
        self.machine = machine
        self.socket = socket
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[tuple[int, str]] = self._loop.create_future()
        self._born_ms = self._loop_ms()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_ms: int | None = None
        self._last_ms = 0

    def now_ms(self) -> int:
        """The machine's clock: never runs backwards, and never short of a deadline that fired."""
        self._last_ms = max(self._last_ms, self._loop_ms() - self._born_ms)
        return self._last_ms

    def loop_ms(self, at_ms: int) -> int:
        """A moment of this machine's clock on the one that all machines of its loop share."""
        return self._born_ms + at_ms

    def _loop_ms(self) -> int:
        return int(self._loop.time() * 1000)

    def start(self, first: Callable[[int], list[str]]) -> None:
        """Send what the machine says first, then let it run."""
        self.send(first(self.now_ms()))  # before any answer to what may have come already
        self.socket.start(self._received, self._gone)

    def send(self, frames: list[str]) -> None:
        """Frames the machine made outside its own turn (a key pressed, a hang-up) go out the same way."""
        for frame in frames:
            self.socket.send(frame)
        self._after()

    def _received(self, frame: str | bytes) -> None:
        self.send(self.machine.receive(frame, self.now_ms()))

    def _wake(self) -> None:
        self._last_ms = max(self._last_ms, self._armed_ms or 0)
        self._timer = self._armed_ms = None
        self.send(self.machine.wake(self.now_ms()))

    def _after(self) -> None:
        close = self.machine.close
        if close is not None:
            code, reason = close
            self.socket.close(1011 if code == 1006 else code, reason)
            return
        due_ms = self.machine.deadline_ms
        if due_ms == self._armed_ms or self.closed.done():
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed_ms = due_ms
        self._timer = None if due_ms is None else self._loop.call_at(self.loop_ms(due_ms) / 1000, self._wake)

    def _gone(self, code: int, reason: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self.closed.done():
            self.machine.gone(self.now_ms())
            self.closed.set_result((code, reason))


async def connect_phone(url: str, phone: Phone, headers: dict[str, str] | None = None) -> Simulation:
    """Open the carrier's websocket as Twilio would, and let the phone speak. Raises `DialError` if it is
    refused.
    """
    socket = await dial(url, headers or {})
    simulation = Simulation(phone, socket)
    simulation.start(phone.start)
    return simulation


async def accepted(websocket: WebSocket) -> str | None:
    """Upgrade a client of the Realtime API. Returns the model that it asks for; None when it was refused and
    told why, as the vendor does it: after the upgrade.
    """
    offered = websocket.scope.get("subprotocols", [])
    refused = refusal(websocket.query_params, websocket.headers, offered)
    await websocket.accept("realtime" if "realtime" in offered else None)
    if refused is None:
        return model_of(websocket.query_params)
    for frame in refused.frames:
        await websocket.send_text(frame)
    await websocket.close(refused.code, refused.reason)
    return None


class EmbeddedUpstream:
    """A Realtime server on loopback; `make()` gives the machine of each new session. `sessions` has them,
    oldest first: those that are over, too, unless `keep` is off.
    """

    paths: ClassVar[tuple[str, ...]] = PATHS

    def __init__(self, make: Callable[[], Server], *, keep: bool = True) -> None:
        self.make = make
        self.keep = keep
        self.sessions: list[Simulation] = []
        self.url = ""
        self._listener: asyncio.Server | None = None

    async def _session(self, websocket: WebSocket) -> None:
        # Any client may come, pages of this machine too; those of other sites may not.
        if not of_this_machine(websocket.headers):
            await websocket.close()
            return
        if (model := await self._accepted(websocket)) is None:
            return
        simulation = Simulation(server := self.make(), take_socket(websocket))
        self.sessions.append(simulation)
        simulation.start(lambda now_ms: server.open(now_ms, model))
        with contextlib.suppress(asyncio.CancelledError):  # the process ends, and every call of it
            await simulation.closed
        if not self.keep:
            self.sessions.remove(simulation)

    async def _accepted(self, websocket: WebSocket) -> str | None:
        return await accepted(websocket)

    def app(self) -> Starlette:
        """The server as an ASGI application, to be hosted elsewhere."""
        return Starlette(routes=[WebSocketRoute(path, self._session) for path in self.paths])

    @contextlib.asynccontextmanager
    async def serve(
        self, port: int = 0, host: str = "127.0.0.1", certificate: Certificate | None = None
    ) -> AsyncIterator[str]:
        """Serve while the block runs; gives the base URL (`ws://127.0.0.1:…` and the first of `paths`, `wss`
        with a certificate).
        """
        scheme = "ws" if certificate is None else "wss"
        async with serve_app(self.app(), port, host, certificate) as listener:
            self._listener = listener
            self.url = f"{scheme}://{host}:{listener.sockets[0].getsockname()[1]}{self.paths[0]}"
            try:
                yield self.url
            finally:
                for simulation in self.sessions:
                    simulation.socket.close(1001)

    def shut(self) -> None:
        """Take no new session from here on: who dials finds the port closed. Sessions go on."""
        if self._listener is not None:
            self._listener.close()


class EmbeddedLive(EmbeddedUpstream):
    """A GPT-Live server in its place. The URL names no model: the session's first event does."""

    paths = LIVE_PATHS

    async def _accepted(self, websocket: WebSocket) -> str | None:
        await websocket.accept()
        return ""


@contextlib.asynccontextmanager
async def serve_app(
    app: Starlette, port: int = 0, host: str = "127.0.0.1", certificate: Certificate | None = None
) -> AsyncIterator[asyncio.Server]:
    """Run an ASGI application on uvicorn while the block runs, over TLS with a certificate. Yields the
    listening server. Raises `ConfigError` if the port cannot be opened.
    """
    if not 0 <= port <= 65_535:
        raise ConfigError(f"{host}:{port} cannot be listened on: a port is 0 to 65535")
    try:
        sock = socket.create_server((host, port), backlog=2048)
    except OSError as error:
        raise ConfigError(f"{host}:{port} cannot be listened on: {error.strerror or error}") from error
    config = uvicorn.Config(
        app, **UVICORN_PROTOCOLS, log_config=None, access_log=False, lifespan="off",
        ws_max_size=1 << 24, ws_per_message_deflate=False, timeout_graceful_shutdown=1,
        ssl_certfile=certificate and certificate.certificate, ssl_keyfile=certificate and certificate.key,
    )  # fmt: skip
    server = _Server(config)
    task = asyncio.create_task(server.serve([sock]), name="uvicorn")
    try:
        while not server.started:
            if task.done():
                await task
            await asyncio.sleep(0.005)
        yield server.servers[0]
    finally:
        server.should_exit = True
        await task


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process that runs a simulation owns its signals."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]  # as uvicorn declares it
        yield
