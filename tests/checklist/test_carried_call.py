"""SQ-11 in a call: an agent's own transport carries it, from the first word to every way to end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from bridge.agents.agent import Agent
from bridge.agents.loop import UserLoop
from bridge.agents.transport_socket import MOST_ON_THE_WAY, carry
from bridge.core import messages as m
from bridge.doubles.agents import Parrot
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import Phone
from bridge.doubles.realtime import RealtimeServer
from bridge.doubles.tones import tone
from bridge.errors import BridgeError, ConnectionLost
from bridge.server import service
from bridge.server.routes import create_app
from bridge.simulators.carrier import CarrierSimulator
from bridge.simulators.servers import EmbeddedUpstream, Simulation
from bridge.sockets.dial import DialError
from bridge.sockets.frames import Message
from bridge.sockets.transport import MemoryTransport, RealtimeTransport, WebSocketTransport
from bridge.upstreams import Dial
from tests.calls import TOKEN, Log, settings_at, within


class Wrapped:
    """A WebSocketTransport with a look at what passes; `lose` ends it as a broken line would."""

    def __init__(self, dialled: Dial) -> None:
        self.inner = WebSocketTransport(url=dialled.url)
        self.sent: list[str] = []
        self.came = 0
        self.last_error: BridgeError | None = None

    async def connect(self) -> None:
        await self.inner.connect()

    async def send(self, frame: str) -> None:
        self.sent.append(frame)
        await self.inner.send(frame)

    async def events(self) -> AsyncIterator[str]:
        async for frame in self.inner.events():
            self.came += 1
            yield frame

    async def close(self) -> None:
        await self.inner.close()


@contextlib.asynccontextmanager
async def answered(
    make: Callable[[Dial], RealtimeTransport],
) -> AsyncIterator[tuple[Simulation, Log, EmbeddedUpstream]]:
    """A phone that has rung at an agent with that transport."""
    sock = service.listen("127.0.0.1", 0)
    base = f"http://127.0.0.1:{sock.getsockname()[1]}"
    upstream = EmbeddedUpstream(lambda: RealtimeServer(Parrot(), ServerOptions(latency_ms=20)))
    log = Log()
    async with upstream.serve() as url:
        settings = settings_at(base, disclosure=False)
        serving = service.Service(
            settings, Agent("Hello.", transport=make), upstream_url=url, observers=(log,), watched=False
        )
        app = create_app(settings, serving.registry, serving.awake)
        serving.awake()
        async with service.serving(app, sock):
            handset = CarrierSimulator(tone(400), auth_token=TOKEN)
            yield await handset.call(f"{base}/incoming-call"), log, upstream
            await serving.registry.shut_down()
            assert len(serving.registry) == 0
        await asyncio.to_thread(serving.close)


def heard(simulation: Simulation) -> int:
    assert isinstance(simulation.machine, Phone)
    simulation.machine.wake(simulation.now_ms())
    return simulation.machine.played_bytes


def end_of(log: Log) -> m.Ended:
    ((ended, _),) = log.ended.values()
    return ended


def test_sq_11_a_call_is_carried_by_a_users_own_transport() -> None:
    made: list[Wrapped] = []

    def make(dialled: Dial) -> Wrapped:
        assert dialled.url.endswith("?model=gpt-realtime-2.1")
        made.append(Wrapped(dialled))
        return made[-1]

    async def story() -> None:
        async with answered(make) as (simulation, log, upstream):
            await within(5, lambda: heard(simulation) > 800)
            machine = upstream.sessions[0].machine
            assert isinstance(machine, RealtimeServer)
            await within(5, lambda: "input_audio_buffer.append" in {one["type"] for one in machine.log})
            simulation.send(simulation.machine.hang_up(simulation.now_ms()))  # type: ignore[attr-defined]
            await within(5, lambda: log.ended)
            assert end_of(log).reason is m.Reason.CALLER_HUNG_UP
            await within(5, upstream.sessions[0].closed.done)
            assert machine.errors == []
        (transport,) = made
        assert transport.came > 5
        assert any("session.update" in frame for frame in transport.sent)
        assert not transport.inner.connected

    asyncio.run(asyncio.wait_for(story(), 30))


@pytest.mark.parametrize("how", ["refused", "raises", "no transport"])
def test_sq_11_a_transport_that_does_not_connect_is_a_model_that_cannot_be_reached(how: str) -> None:
    def make(_dialled: Dial) -> Any:
        if how == "no transport":
            raise RuntimeError("not today")
        error = DialError("invalid_api_key", "no", 401)
        return MemoryTransport(error=error) if how == "refused" else MemoryTransport(error=KeyError())  # type: ignore[arg-type]

    async def story() -> None:
        async with answered(make) as (_, log, upstream):
            await within(15, lambda: log.ended)
            reasons = {m.Reason.UPSTREAM_UNREACHABLE, m.Reason.UPSTREAM_REFUSED, m.Reason.UPSTREAM_LOST}
            assert end_of(log).reason in reasons
            assert upstream.sessions == []

    asyncio.run(asyncio.wait_for(story(), 30))


def test_sq_11_a_transport_that_is_lost_is_made_again() -> None:
    made: list[Wrapped] = []

    def make(dialled: Dial) -> Wrapped:
        made.append(Wrapped(dialled))
        return made[-1]

    async def story() -> None:
        async with answered(make) as (simulation, log, upstream):
            await within(5, lambda: heard(simulation) > 800)
            upstream.sessions[0].socket.close(1011, "restart")
            await within(5, lambda: len(made) == 2 and made[1].came > 2)
            assert isinstance(made[0].inner.last_error, ConnectionLost)
            assert not log.ended

    asyncio.run(asyncio.wait_for(story(), 30))


class Endless:
    """A transport that always has another frame."""

    def __init__(self) -> None:
        self.gave = 0
        self.last_error: BridgeError | None = None

    async def connect(self) -> None: ...

    async def send(self, frame: str) -> None: ...

    async def events(self) -> AsyncIterator[str]:
        while True:
            self.gave += 1
            yield "{}"

    async def close(self) -> None: ...


def test_a_transport_without_end_is_read_as_fast_as_its_frames_are_taken() -> None:
    loop, endless = UserLoop(blocked_ms=60_000), Endless()
    taken, most = 0, 0

    def take(_frame: Message) -> None:
        nonlocal taken, most
        taken += 1
        most = max(most, endless.gave - taken)

    async def call() -> None:
        socket = await carry(lambda _dialled: endless, Dial("ws://127.0.0.1/"), loop)
        ended = asyncio.get_running_loop().create_future()
        socket.start(take, lambda *end: ended.set_result(end))
        while taken < 10_000:  # noqa: ASYNC110  frames come by callback
            await asyncio.sleep(0)
        socket.close()
        assert await ended == (1000, "")

    loop.start()
    asyncio.run(call())
    loop.close()
    assert most <= MOST_ON_THE_WAY
