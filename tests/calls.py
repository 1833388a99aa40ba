"""Live calls over loopback: the bridge, the model's server and the phones of one test, in this process.

The phones and the server are the doubles behind real sockets; the bridge is what `phonebridge serve` runs.
Everything that the bridge sent is kept, frame by frame, and checked when the bridge is left: towards the model
against the vendor's published types, towards the phone against the three shapes there are.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bridge import service
from bridge.app import create_app
from bridge.core import messages as m
from bridge.core.stats import Stats
from bridge.doubles.agents import Agent
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import Phone, PhoneOptions
from bridge.doubles.realtime import RealtimeServer
from bridge.exchange import Exchange
from bridge.handset import Handset
from bridge.runner import Recorder
from bridge.settings import Settings, load_settings
from bridge.simulators import EmbeddedUpstream, Simulation
from tests.upstreams.published import client_event

TOKEN = "an-invented-token-of-thirty-two-"
ACCOUNT = f"AC{7:032x}"


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

    def call_began(self, call_sid: str, /) -> None:
        self.did[call_sid] = []

    def call_did(self, call_sid: str, action: m.Action, _now_ms: int, /) -> None:
        self.did[call_sid].append(action)

    def call_ended(self, call_sid: str, ended: m.Ended, stats: Stats, /) -> None:
        assert call_sid not in self.ended, "a call ends once"
        self.ended[call_sid] = (ended, stats)


@dataclass
class House:
    """One bridge and its model, as a test sees them. `base` is where webhooks go."""

    base: str
    exchange: Exchange
    upstream: EmbeddedUpstream
    log: Log
    token: str | None
    close_upstream: Callable[[], Any]
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

    async def call(self, speech: bytes = b"", *, url: str = "", **options: Any) -> Simulation:
        """A phone rings, is answered, and says that."""
        handset = Handset(
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
) -> AsyncIterator[House]:
    """A bridge that answers while the block runs. `config` overrides the calls' configuration, which has no
    phrases unless it says so; `server` are options of the model's.
    """
    options = ServerOptions(**server or {})
    upstream = EmbeddedUpstream(lambda: KeepingServer(agent, options))
    log = Log()
    sock = service.listen("127.0.0.1", 0)
    base = f"http://127.0.0.1:{sock.getsockname()[1]}"
    settings = settings_at(base, insecure=insecure, max_calls=max_calls)
    async with contextlib.AsyncExitStack() as stack:
        model = await stack.enter_async_context(contextlib.AsyncExitStack())
        url = await model.enter_async_context(upstream.serve())
        exchange = service.make_exchange(settings, upstream_url=url, observers=(log,))
        configured = {"phrases": {}, "disclosure": "", **(config or {})}
        call_config = msgspec.structs.replace(settings.call_config(), **configured)
        exchange._making.config = lambda _fields: call_config
        if recorder is not None:
            exchange._making.recorder = recorder
        await stack.enter_async_context(service.serving(create_app(settings, exchange), sock))
        house = House(base, exchange, upstream, log, None if insecure else TOKEN, model.aclose)
        try:
            yield house
            await exchange.shut_down()
            check_frames(house)
        finally:
            await exchange.shut_down()


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
        case {"event": "media", "media": {"payload": str(payload), **rest}, **more}:
            assert b64decode(payload, validate=True)
        case {"event": "mark", "mark": {"name": str(), **rest}, **more}:
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
