"""Live calls over loopback: the bridge, the model's server and the phones of one test, in this process.

The phones and the server are the doubles behind real sockets; the bridge is what `phonebridge serve` runs.
Everything that it sent is kept, frame by frame, and checked when the bridge is left: towards the model by the
vendor's published types, towards the phone by the three shapes there are. Nothing may have been logged as an
error. Calls of `bridge.testing` have no socket: these are for what only sockets, loops and servers show.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import re
import socket
import sys
import tempfile
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from bridge.core import messages as m
from bridge.core.stats import Stats
from bridge.doubles.agents import Agent
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import Phone, PhoneOptions
from bridge.doubles.realtime import RealtimeServer
from bridge.runner import Recorder
from bridge.server import service
from bridge.server.calls import CallRegistry
from bridge.server.routes import create_app
from bridge.settings.settings import Settings, load_settings
from bridge.simulators.carrier import CarrierSimulator
from bridge.simulators.servers import EmbeddedUpstream, Simulation
from tests.upstreams.published import client_event

TOKEN = "an-invented-token-of-thirty-two-"
ACCOUNT = f"AC{7:032x}"
ROOT = Path(__file__).parents[1]
COMMAND = (sys.executable, "-m", "bridge")
OURS = ("BRIDGE_", "TWILIO_", "OPENAI_", "PORT", "HOST", "PUBLIC_URL", "PYTHONPATH")


class KeepingPhone(Phone):
    """A phone that keeps every frame it was sent."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.call_sid, self.stream_sid = self.frames.call_sid, self.frames.stream_sid
        self.got: list[str | bytes] = []

    def receive(self, frame: str | bytes, now_ms: int) -> list[str]:
        self.got.append(frame)
        return super().receive(frame, now_ms)


class KeepingServer(RealtimeServer):
    """A Realtime server that keeps every frame it was sent."""

    def __init__(self, agent: Agent, options: ServerOptions | None = None) -> None:
        super().__init__(agent, options)
        self.got: list[str | bytes] = []

    def receive(self, frame: str | bytes, now_ms: int) -> list[str]:
        self.got.append(frame)
        return super().receive(frame, now_ms)


class Log:
    """An observer that remembers: what each call did, and how it ended."""

    def __init__(self) -> None:
        self.did: dict[str, list[m.Action]] = {}
        self.ended: dict[str, tuple[m.Ended, Stats]] = {}
        """Of calls with the same id, the last."""

    def call_began(self, call_sid: str, /) -> None:
        self.did[call_sid] = []
        self.ended.pop(call_sid, None)

    def call_did(self, call_sid: str, action: m.Action, _now_ms: int, /) -> None:
        self.did[call_sid].append(action)

    def call_ended(self, call_sid: str, ended: m.Ended, stats: Stats, /) -> None:
        self.ended[call_sid] = (ended, stats)


@dataclass
class House:
    """One bridge and its model, as a test sees them. `base` is where webhooks go."""

    base: str
    registry: CallRegistry
    upstream: EmbeddedUpstream
    log: Log
    token: str | None
    phones: list[KeepingPhone] = field(default_factory=list)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    @property
    def stream(self) -> str:
        return f"ws{self.base.removeprefix('http')}/media-stream"

    def server(self, number: int = 0) -> KeepingServer:
        """The model's side of the n-th session."""
        machine = self.upstream.sessions[number].machine
        assert isinstance(machine, KeepingServer)
        return machine

    def lose_model(self, code: int) -> None:
        """All sessions close with that code, or are cut (1006), and none can be had any more."""
        self.upstream.shut()
        for session in self.upstream.sessions:
            if code == 1006:
                session.socket._transport.abort()  # type: ignore[attr-defined]  # a socket of ours
            else:
                session.socket.close(code)

    def gone(self, simulation: Simulation) -> bool:
        """Whether that call is over on both legs, as both peers see it, and forgotten by the bridge."""
        sockets = [simulation, *self.upstream.sessions]
        forgotten = self.registry.runner(phone_of(simulation).call_sid) is None
        return forgotten and all(end.closed.done() for end in sockets)

    async def call(self, speech: bytes = b"", *, url: str = "", **options: Any) -> Simulation:
        """A phone rings, is answered, and says that."""
        handset = CarrierSimulator(
            speech,
            call_sid=f"CA{next(self._numbers):032x}",
            account_sid=ACCOUNT,
            auth_token=self.token,
            options=PhoneOptions(**options),
            make=KeepingPhone,
        )
        simulation = await handset.call(url or f"{self.base}/incoming-call")
        self.phones.append(phone_of(simulation))
        return simulation

    def reason(self, simulation: Simulation) -> m.Reason | None:
        """Why that phone's call ended; None while it goes on."""
        ended = self.log.ended.get(phone_of(simulation).call_sid)
        return ended and ended[0].reason

    def stats(self, simulation: Simulation) -> Stats:
        return self.log.ended[phone_of(simulation).call_sid][1]


def phone_of(simulation: Simulation) -> KeepingPhone:
    machine = simulation.machine
    assert isinstance(machine, KeepingPhone)
    return machine


def has_heard(simulation: Simulation, said: bytes) -> bool:
    """Whether the phone played all of that, in this order. On a busy machine there may be gaps in it."""
    return said.replace(b"\xff", b"") in phone_of(simulation).heard.replace(b"\xff", b"")


def hang_up(simulation: Simulation) -> None:
    """The caller hangs up, as Twilio tells it: `stop`, then the close."""
    simulation.send(phone_of(simulation).hang_up(simulation.now_ms()))


def settings_at(base: str, *, insecure: bool = False, **given: Any) -> Settings:
    """Settings of a bridge at that address that reads no environment."""
    proof = {"insecure": True} if insecure else {"public_url": base, "twilio_auth_token": TOKEN}
    return load_settings(demo=True, env_file=None, upstream="embedded", **proof, **given)


@contextlib.asynccontextmanager
async def bridge(
    agent: Agent,
    *,
    server: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    recorder: Callable[[str, m.CallConfig], Recorder | None] | None = None,
    insecure: bool = False,
    max_calls: int = 200,
    errors: int = 0,
    given: dict[str, Any] | None = None,
) -> AsyncIterator[House]:
    """A bridge that answers while the block runs. `config` overrides the calls' configuration, which has no
    phrases unless it says so; `server` are options of the model's; `errors` is how many may be logged;
    `given` are more settings. Turns end and answers come sooner than in life.
    """
    options = ServerOptions(**{"latency_ms": 50, **(server or {})})
    upstream = EmbeddedUpstream(lambda: KeepingServer(agent, options))
    log = Log()
    sock = service.listen("127.0.0.1", 0)
    base = f"http://127.0.0.1:{sock.getsockname()[1]}"
    settings = settings_at(base, insecure=insecure, max_calls=max_calls, **(given or {}))
    async with contextlib.AsyncExitStack() as stack:
        logged = stack.enter_context(errors_logged())
        url = await stack.enter_async_context(upstream.serve())
        registry = service.make_registry(settings, upstream_url=url, observers=(log,))
        usual = settings.call_config()
        hasty = msgspec.structs.replace(usual.session, turn_detection=m.ServerVad(silence_duration_ms=200))
        changed = {"session": hasty, "phrases": {}, "disclosure": "", **(config or {})}
        call_config = msgspec.structs.replace(usual, **changed)
        registry._making.config = lambda _fields: call_config
        if recorder is not None:
            registry._making.recorder = recorder
        await stack.enter_async_context(service.serving(create_app(settings, registry), sock))
        house = House(base, registry, upstream, log, None if insecure else TOKEN)
        try:
            yield house
            await registry.shut_down()
            check_frames(house)
            assert len(logged) == errors, [record.getMessage() for record in logged]
        finally:
            await registry.shut_down()


@contextlib.contextmanager
def errors_logged() -> Iterator[list[logging.LogRecord]]:
    """What anybody logs as an error meanwhile."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = records.append  # type: ignore[assignment, method-assign]
    logging.getLogger().addHandler(handler)
    try:
        yield records
    finally:
        logging.getLogger().removeHandler(handler)


def check_frames(house: House) -> None:
    """Everything the bridge has sent was as documented. The doubles say so too, in their own words."""
    for number, session in enumerate(house.upstream.sessions):
        assert house.server(number).got, session
        for frame in house.server(number).got:
            assert isinstance(frame, str)
            client_event(frame)
    for phone in house.phones:
        assert phone.refused == {}
        for frame in phone.got:
            carrier_message(frame, phone.stream_sid)


def carrier_message(frame: str | bytes, stream_sid: str) -> str:
    """The event of a message to the carrier. Twilio, "WebSocket messages": a server sends `media`, `mark` and
    `clear`; Error 31951: with these fields and no others.
    """
    assert isinstance(frame, str)
    message = json.loads(frame)
    assert message.pop("streamSid") == stream_sid
    match message:
        case {"event": "media", "media": {"payload": str(payload), **rest}, **more}:  # type: ignore[used-before-def]
            assert b64decode(payload, validate=True)
        case {"event": "mark", "mark": {"name": str(), **rest}, **more}:  # type: ignore[used-before-def]
            pass
        case {"event": "clear", **more}:
            rest = {}
        case _:
            raise AssertionError(f"no message of Twilio's: {frame}")
    assert (rest, more) == ({}, {})
    return str(message["event"])


async def within(seconds: float, condition: Callable[[], Any]) -> float:
    """Waits until that holds; how long it took. Fails if it takes longer."""
    began_s = time.monotonic()
    while not condition():
        assert time.monotonic() - began_s < seconds, f"not within {seconds} s"
        await asyncio.sleep(0.005)
    return time.monotonic() - began_s


@dataclass
class Served:
    """A `phonebridge serve` in a process of its own, with all the lines it wrote so far: `said` to the person
    who started it, `logged` as its log.
    """

    process: asyncio.subprocess.Process
    base: str
    said: list[str]
    logged: list[str]

    async def ended(self, seconds: float) -> int:
        """Its exit code, once it is gone and all it wrote is read."""
        async with asyncio.timeout(seconds):
            return await self.process.wait()


@contextlib.asynccontextmanager
async def served(folder: Path | None = None, /, *arguments: str, **environment: str) -> AsyncIterator[Served]:
    """`python -m bridge serve` on a free port, with these settings and no others, while the block runs. It is
    at the end of the URL that signatures are made for, unless the settings say that there are none. It runs
    in `folder`, else where there is no agent.
    """
    port = "0"
    if "BRIDGE_INSECURE" not in environment:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        proof = {"PUBLIC_URL": f"http://127.0.0.1:{port}", "TWILIO_AUTH_TOKEN": TOKEN}
        environment = {"HOST": "127.0.0.1", **proof, **environment}
    process = await command("serve", "--port", port, *arguments, folder=folder, **environment)
    said: list[str] = []
    logged: list[str] = []
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def listen(stream: asyncio.StreamReader | None, lines: list[str]) -> None:
        assert stream is not None
        async for line in stream:
            lines.append(line.decode().rstrip())
            address = re.search(r"listening on (\S+:[0-9]+)", lines[-1])
            if address and not ready.done():
                ready.set_result(f"http://{address[1]}")
        if not ready.done():
            ready.set_exception(AssertionError(f"it never got ready: {said}"))

    listening = asyncio.gather(listen(process.stderr, said), listen(process.stdout, logged))
    try:
        async with asyncio.timeout(20):
            base = await ready
        yield Served(process, base, said, logged)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await listening


async def command(
    *arguments: str, folder: Path | None = None, **environment: str
) -> asyncio.subprocess.Process:
    """`python -m bridge …`, with these settings and no others, in this folder or one without `.env`."""
    return await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        cwd=folder or tempfile.gettempdir(),
        env=only(**environment),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def only(**environment: str) -> dict[str, str]:
    """The environment of this process with these settings of ours and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "BRIDGE_DISCLOSURE": "0", **environment}
