"""A whole service on loopback: the bridge, the model's server, the carrier's API, and callers who follow
TwiML to the end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import uvloop

from bridge.agents.agent import Agent
from bridge.doubles.agents import Agent as Mind
from bridge.doubles.gpt_live import LiveServer
from bridge.doubles.options import ServerOptions
from bridge.doubles.phone import PhoneOptions
from bridge.server import service
from bridge.server.routes import create_app
from bridge.settings.settings import Settings, load_settings
from bridge.simulators.carrier import CarrierSimulator
from bridge.simulators.phone import Kind, PhoneCall
from bridge.simulators.rest_api import CarrierApi
from bridge.simulators.servers import EmbeddedLive, EmbeddedUpstream
from tests.calls import ACCOUNT, TOKEN, KeepingServer, Log

DESK, NIGHT = "+15550004444", "+15550005555"
TRANSFERS = f"front desk={DESK},night={NIGHT}"


def run(work: Coroutine[Any, Any, None]) -> None:
    """On the loop that `serve` runs on, half a minute long at most."""

    async def main() -> None:
        async with asyncio.timeout(30):
            await work

    uvloop.run(main())


@dataclass
class Door:
    """One service, as a test sees it."""

    base: str
    service: service.Service
    upstream: EmbeddedUpstream
    api: CarrierApi
    log: Log
    token: str | None
    placed: list[tuple[PhoneCall, asyncio.Task[Any]]] = field(default_factory=list)

    @property
    def webhook(self) -> str:
        return f"{self.base}/incoming-call"

    @property
    def stream(self) -> str:
        return f"ws{self.base.removeprefix('http')}/media-stream"

    @property
    def settings(self) -> Settings:
        return self.service.settings

    def handset(self, speech: bytes = b"", **given: Any) -> CarrierSimulator:
        given.setdefault("auth_token", self.token)
        given.setdefault("options", PhoneOptions())
        handset = CarrierSimulator(speech, account_sid=ACCOUNT, **given)
        self.knows(handset.call_sid)
        return handset

    def knows(self, call_sid: str, status: str = "in-progress") -> None:
        """The carrier has such a call, and says this of it when it is asked."""
        self.api.statuses[call_sid] = status

    def caller(
        self, speech: bytes = b"", *, targets: dict[str, str] | None = None, **given: Any
    ) -> PhoneCall:
        """Somebody who is about to call, and whom the carrier's API knows."""
        call = PhoneCall(self.handset(speech, **given), targets or {}, pace=0.01)
        del self.api.statuses[call.handset.call_sid]  # what it is comes from the call itself
        return self.api.add(call)

    def dial(self, call: PhoneCall) -> PhoneCall:
        """They call; the test goes on meanwhile."""
        self.placed.append((call, asyncio.create_task(call.place(self.webhook))))
        return call

    async def placed_call(self, speech: bytes = b"", **given: Any) -> PhoneCall:
        """A whole call, from dialling to its end."""
        call = self.caller(speech, **given)
        await call.place(self.webhook)
        return call

    async def sent_on_call(self, number: str, **given: Any) -> PhoneCall:
        """A whole call that is sent on to this number, where somebody accepts and talks for 20 s."""
        phone = self.api.phone(number, "human", presses="1")
        call = self.dial(self.caller(**given))
        await until(lambda: call.bridges, 15)
        clock = self.api.network.clock
        until_ms = clock.now_ms + 20_000
        await until(lambda: clock.now_ms >= until_ms, 15)
        phone.hang_up()
        await until(lambda: call.over)
        return call

    def servers(self) -> list[KeepingServer]:
        """The model's side of every session, oldest first."""
        machines = [session.machine for session in self.upstream.sessions]
        return [machine for machine in machines if isinstance(machine, KeepingServer)]


@contextlib.asynccontextmanager
async def door(
    mind: Mind,
    agent: Agent | None = None,
    *,
    api: CarrierApi | None = None,
    with_api: bool = True,
    server: dict[str, Any] | None = None,
    insecure: bool = False,
    watched: bool = False,
    options: Callable[..., ServerOptions] = ServerOptions,
    live: Callable[[], LiveServer] | None = None,
    **given: Any,
) -> AsyncIterator[Door]:
    """A service that answers while the block runs. Settings as `given`, without any environment. `options`
    makes those of the model's server: another vendor's. `live` makes one for GPT-Live in its place.
    """
    api = api or CarrierApi((TOKEN,))
    log = Log()
    upstream = EmbeddedUpstream(
        lambda: KeepingServer(mind, options(**{"speed": 50, "latency_ms": 20, **(server or {})}))
    )
    if live is not None:
        upstream = EmbeddedLive(live)
    sock = service.listen("127.0.0.1", 0)
    base = f"http://127.0.0.1:{sock.getsockname()[1]}"
    async with at_once() as begin:
        upstream_url = await begin(upstream.serve())
        api_url = await begin(api.serve())
        proof = {"insecure": True} if insecure else {"public_url": base, "twilio_auth_token": TOKEN}
        usual = {"upstream": "embedded", "transfers": TRANSFERS, "disclosure": False}
        if with_api:
            usual["twilio_api_url"] = api_url
        settings = load_settings(demo=True, env_file=None, **{**proof, **usual, **given})
        made = service.Service(settings, agent, upstream_url=upstream_url, observers=(log,), watched=watched)
        await begin(service.serving(create_app(settings, made.registry, made.awake), sock))
        house = Door(base, made, upstream, api, log, None if insecure else TOKEN)
        try:
            yield house
        finally:
            for call, task in house.placed:
                if not task.done():
                    call.hang_up()
            await asyncio.gather(*(task for _, task in house.placed))
            await made.registry.shut_down()
            await asyncio.to_thread(made.close)


@contextlib.asynccontextmanager
async def at_once() -> AsyncIterator[Any]:
    """Begins contexts one after the other and leaves all of them at once: a server takes a moment to end."""
    begun: list[contextlib.AbstractAsyncContextManager[Any]] = []

    async def begin(context: contextlib.AbstractAsyncContextManager[Any]) -> Any:
        entered = await context.__aenter__()
        begun.append(context)
        return entered

    try:
        yield begin
    finally:
        await asyncio.gather(*(context.__aexit__(None, None, None) for context in begun))


def kinds(call: PhoneCall) -> list[Kind]:
    """What the caller lived through, in words."""
    return [step.kind for step in call.steps]


async def until(condition: Any, seconds: float = 5.0) -> None:
    """Wait for something that another side of this process is about to do."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  it has no event of its own
            await asyncio.sleep(0.005)
