"""From settings to a running service: makes the registry of calls, serves it, and lets calls end before the
process does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final, assert_never

import uvicorn
from starlette.applications import Starlette

from bridge.agents import calling_out
from bridge.agents.agent import Agent, load_agent
from bridge.agents.calls import UserSide
from bridge.agents.config import AgentConfigs
from bridge.agents.loop import UserLoop
from bridge.agents.prices import Prices
from bridge.agents.turned_away import Forward, Refuse, TurnedAway
from bridge.carriers.twilio import Twilio
from bridge.errors import ConfigError
from bridge.ops.health import DayMoney, Health
from bridge.ops.metrics import Metrics
from bridge.ops.notices import CallNotices
from bridge.ops.reports import Reports
from bridge.runner.vendor_sessions import VENDOR_SESSIONS
from bridge.server.call_control import CallControl
from bridge.server.calls import CallRegistry
from bridge.server.draining import drain
from bridge.server.fleet import Fleet
from bridge.server.fleet.making import make_fleet
from bridge.server.fleet.operators import operators_ops
from bridge.server.model_dial import dialler
from bridge.server.notices import Hook, notices
from bridge.server.outbound.do_not_call import DoNotCall
from bridge.server.outbound.service import Outbound
from bridge.server.routes import create_app as create_routes
from bridge.server.routing.reading import Given
from bridge.server.routing.recordings import RoutedRecordings
from bridge.server.routing.router import Router
from bridge.server.routing.routing import Routing
from bridge.server.services import CallFactory, Observer, Services
from bridge.server.store import CallIntents, EmbeddedStore, Store
from bridge.server.store.claims import StoreError
from bridge.server.store.socket_claims import SocketClaims
from bridge.server.stream_names import StreamNames
from bridge.server.traces import Traces
from bridge.server.twilio_rest import CarrierRest
from bridge.server.twiml import Links
from bridge.server.verification import Verification
from bridge.server.workers.worker import Worker
from bridge.settings.settings import BACKLOG, Settings
from bridge.settings.vendors import unkeyed
from bridge.sockets.limits import bound_kernel
from bridge.sockets.request_turns import A_TURN
from bridge.sockets.strangers import Strangers
from bridge.sockets.uvicorn import UVICORN_PROTOCOLS
from bridge.upstreams import REHEARSALS, UPSTREAMS

logger = logging.getLogger(__name__)

LAST_REQUESTS_S: Final = 0.2
RECEIVE_BUFFER_BYTES: Final = 64 * 1024
"""Of each connection to us, in the kernel: by itself it grows to megabytes, for each stranger. A call's is
empty, and holds some seconds of sound where we stand still.
"""
WS_MAX_BYTES: Final = 64 * 1024
"""Before the hand-over only: no carrier frame is larger, and a `start` with every parameter allowed still
fits."""


class Service:
    """The calls of one application with everything around it, as the settings describe it.

    `awake` and `close` belong to the loop that carries the audio; `awake` may be called again and again.
    """

    _opening: asyncio.Future[None] | None = None

    def __init__(
        self,
        settings: Settings,
        agent: Agent | None = None,
        *,
        upstream_url: str | None = None,
        observers: tuple[Observer, ...] = (),
        watched: bool = True,
        routes: Given | None = None,
        worker: Worker | None = None,
    ) -> None:
        self.settings, self._watched, self._awake = settings, watched, False
        metrics, configs = Metrics(), _configs(settings)
        self.routing = Routing(settings, _given(routes, agent), configs, agent or Agent())
        router, users = self.routing.router, _users(settings, agent, configs, metrics, self.routing)
        for what, cure in configs.unpriced(agent or Agent(), settings.upstream):
            logger.warning("%s; %s", what, cure)
        health = _health(settings, metrics, has_model(settings, upstream_url))
        self.outbox, others = notices(settings, metrics, _hook(users))
        reports = _reports(metrics, users, others, health)
        store, fleet = EmbeddedStore(settings.journal), _fleet(settings, health, metrics, router, worker)
        rest = _rest(settings, store.intents, router)
        self.do_not_call, out = _calls_out(settings, rest, store, metrics)
        services = self.services = Services(
            store=store,
            control=CallControl(store.intents, rest, router=router),
            verification=_verification(settings, rest, metrics),
            health=health, metrics=metrics, users=users, router=router, outbound=out,
            tool_finished=reports.tool_finished,
            worker=worker, fleet=fleet,
        )  # fmt: skip
        self.recordings = RoutedRecordings(settings, router, others.recorded)
        making, calls = self._factory(configs, upstream_url), settings.max_calls
        told = _there(*observers, router, users, out, _siblings(worker), fleet.observer, others, reports)
        self.registry = CallRegistry(making, max_calls=calls, observers=told, services=services)
        self._connect(users, others)

    def _connect(self, users: UserSide | None, others: CallNotices) -> None:
        fleet = self.services.fleet
        self.services.machines = lambda: fleet.machines
        VENDOR_SESSIONS.among = lambda: (fleet.machine, fleet.machines)
        leaving = partial(drain, self.registry, self.settings.drain_seconds)
        fleet.commands.ops.update(operators_ops(self.registry, leaving, lambda: fleet.moves, fleet.hurry))
        self.services.control.is_ours, self.services.control.leaves = fleet.is_ours, fleet.before_close
        if users is not None:
            users.opt_out, users.doubt = self.do_not_call.add, fleet.doubt
        if self.services.outbound is not None:
            self.services.outbound.belongs_to(users, lambda: self.registry.refusal)
            self.services.outbound.tell(others.status)
            account = self.settings.twilio_account_sid or ""
            self.services.outbound.placing.shared_wait_s = partial(fleet.wait_s, account)
        self.traces = Traces(self.settings, self.services.metrics)
        self.traces.attach(self.registry, users)

    def _factory(self, configs: AgentConfigs, upstream_url: str | None) -> CallFactory:
        default, base_url = Agent(), upstream_url or self.settings.vendor_url(self.settings.upstream)
        making = CallFactory(
            config=lambda fields: configs.call(calling_out.told(default, fields, self.settings.instructions)),
            phrases=configs.phrases,
            carrier=Twilio,
            vendor=partial(UPSTREAMS[self.settings.upstream], url=base_url),
            dial=dialler(self.settings, self.services, base_url),
        )
        making.recorder = self.recordings.recorder
        return making

    def awake(self) -> None:
        """Start what needs the running loop: user code's own loop, and the watch over this one."""
        if self._awake:
            return
        self._awake = True
        if self.services.users is not None:
            self.services.users.start()
        if self.services.outbound is not None:
            self.services.outbound.start()
        self.outbox.start()
        self._opening = asyncio.ensure_future(self.services.fleet.open())
        self.traces.start()
        if self._watched:
            self.services.health.watch(self.services.metrics.loop_lag)

    async def settled(self) -> None:
        """Wait until it is known whether the store that machines share has been reached. Raises ConfigError
        where the settings for it are wrong; a store that does not answer raises nothing.
        """
        if self._opening is not None:
            try:
                await self._opening
            except StoreError as error:
                raise ConfigError(f"BRIDGE_STORE cannot be used: {error}") from error

    def close(self) -> None:
        """Let go of everything, when no call is left. Waits a second at most, for user code."""
        self.services.health.close()
        if self.services.outbound is not None:
            self.services.outbound.close()
        if self.services.users is not None:
            self.services.users.close()
        self.services.control.close()
        self.services.store.close()
        self.recordings.close()
        self.outbox.close()
        self.traces.close()


def make_registry(
    settings: Settings, *, upstream_url: str | None = None, observers: tuple[Observer, ...] = ()
) -> CallRegistry:
    """The registry that these settings describe, without user code and without a watch over the loop.
    `upstream_url` stands in for the vendor's address (the embedded server).
    """
    return Service(settings, upstream_url=upstream_url, observers=observers, watched=False).registry


def create_app(settings: Settings, agent: Agent | None = None, routes: Given | None = None) -> Starlette:
    """An ASGI application that answers calls, to be served or mounted in another one, which need not run its
    lifespan. Without an agent it is the one that BRIDGE_AGENT names, or none. `routes` says who answers which
    number, in the place of BRIDGE_ROUTES: rows like those of that file, or a mapping like the whole of it; an
    `agent` in it may be an `Agent`. The application's `state.service` has the `registry`, whose `shut_down`
    ends all calls, and the `routing`, whose `read_again` reads the routes again.

    Raises ConfigError for settings without a model: the embedded one is started by `phonebridge serve` only.
    """
    if not has_model(settings):
        raise ConfigError(
            "there is no model: only `phonebridge serve` starts the embedded one. Set OPENAI_API_KEY and "
            "BRIDGE_UPSTREAM=openai; or run `phonebridge upstream` and set BRIDGE_UPSTREAM_URL to its address"
        )
    if agent is None and settings.agent is not None:
        agent = load_agent(settings.agent)
    service = Service(settings, agent, routes=routes)
    app = create_routes(settings, service.registry, service.awake)
    app.state.service = service
    return app


def _given(routes: Given | None, agent: Agent | None) -> Given | None:
    return agent.routes if routes is None and agent is not None else routes


def _fleet(
    settings: Settings, health: Health, metrics: Metrics, router: Router, worker: Worker | None
) -> Fleet:
    """Of all machines that share a store; else of the workers of this one."""
    siblings = None if worker is None or settings.store is not None else worker
    claims = None if siblings is None else SocketClaims(siblings.step)
    commands = None if siblings is None else siblings.commands
    return make_fleet(settings, health.money, claims, metrics, router, commands)


def _siblings(worker: Worker | None) -> Observer | None:
    return None if worker is None else worker.siblings


def _calls_out(
    settings: Settings, rest: CarrierRest, store: Store, metrics: Metrics
) -> tuple[DoNotCall, Outbound | None]:
    never = DoNotCall(settings.do_not_call)
    return never, Outbound(settings, rest, store, metrics, never) if settings.outbound else None


def _there(*observers: Observer | None) -> tuple[Observer, ...]:
    return tuple(one for one in observers if one is not None)


def _configs(settings: Settings) -> AgentConfigs:
    prices = Prices.free() if settings.upstream in REHEARSALS else Prices.load(settings.prices)
    vendor = UPSTREAMS[settings.upstream].prices
    return AgentConfigs(
        settings.call_config(),
        settings.transfers,
        prices,
        settings.speech(),
        vendor=vendor,
        endpoint=settings.azure_endpoint,
        unkeyed=partial(unkeyed, settings),
    )


def has_model(settings: Settings, upstream_url: str | None = None) -> bool:
    """Whether there is a model to dial: the embedded one has no address of its own."""
    return settings.upstream not in REHEARSALS or (upstream_url or settings.upstream_url) is not None


def _rest(settings: Settings, intents: CallIntents, router: Router) -> CarrierRest:
    base = settings.public_url
    if base is None:
        return CarrierRest(settings, router=router)
    after_stream, names = Links.below(base).after_stream, StreamNames(settings.stream_token_secret())

    def action_url(call_sid: str) -> str:
        return names.action_url(after_stream, call_sid, max(1, intents.streams(call_sid)))

    return CarrierRest(settings, action_url=action_url, router=router)


def _verification(settings: Settings, rest: CarrierRest, metrics: Metrics) -> Verification:
    asked = settings.verify_calls == "always" or settings.rest_url is not None
    return Verification(rest if asked and not settings.insecure else None, metrics, settings.verify_calls)


def _users(
    settings: Settings,
    agent: Agent | None,
    configs: AgentConfigs,
    metrics: Metrics,
    routing: Routing,
) -> UserSide | None:
    """None without any agent of the user's."""
    if agent is None and not routing.has_table:
        return None
    agent = agent or Agent()
    count = settings.handler_loops
    names = [f"user loop {number}" for number in range(1, count + 1)] if count > 1 else ["user loop"]
    loops = [UserLoop(name=name, blocked=metrics.handler_loop_blocked) for name in names]
    users = UserSide(
        agent,
        configs,
        upstream=settings.upstream,
        loops=loops,
        resolver_fails=_resolver_fails(settings),
        routed=routing.answers,
    )
    metrics.watch_handler_loops(lambda: users.loops.blocked, lambda: users.loops.waiting)
    users.remark(agent)
    return users


def _resolver_fails(settings: Settings) -> TurnedAway | None:
    """What becomes of a call whose resolver fails; None for its agent as it was declared."""
    match settings.resolver_fails:
        case "agent":
            return None
        case "refuse":
            return Refuse("busy")
        case "fallback":
            return Forward(settings.fallback or "")
    assert_never(settings.resolver_fails)


def _hook(users: UserSide | None) -> Hook | None:
    """What user code is told of all calls, where it wants to know."""
    return None if users is None or users.agent.on_notice is None else users.noticed


def _reports(metrics: Metrics, users: UserSide | None, others: CallNotices, health: Health) -> Reports:
    on_end = [others.ended] if users is None else [users.summarise, others.ended]
    return Reports(metrics, *on_end, on_tool=others.tool_finished, quiet=lambda: health.breaker.is_open)


def _health(settings: Settings, metrics: Metrics, model: bool) -> Health:
    strangers = Strangers(refused=lambda: metrics.rejected("connection"))
    return Health(money=_day_money(settings), model=model, strangers=strangers)


def _day_money(settings: Settings) -> DayMoney:
    limit = settings.max_day_cost
    return DayMoney(None if limit is None else max(1, round(limit * 1_000_000)))


def listen(host: str, port: int, backlog: int = BACKLOG) -> socket.socket:
    """A listening socket whose accepted sockets can't be stalled: bounds are inherited. Port 0 takes a free
    one; `backlog` connections may wait to be accepted. Raises `ConfigError` if it cannot listen.
    """
    try:
        sock = socket.create_server((host, port), backlog=backlog, reuse_port=False)
    except OSError as error:
        # create_server names the address too: "… (while attempting to bind on address …)"
        reason = (error.strerror or str(error)).partition(" (while ")[0]
        why = f"{host}:{port} cannot be listened on: {reason}"
        raise ConfigError(f"{why}; name another by --port and --host, or PORT and HOST") from error
    bound_kernel(sock, receive_buffer_bytes=RECEIVE_BUFFER_BYTES)
    sock.setblocking(False)
    return sock


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: its SIGTERM closes every live socket at once, ours lets calls end
    first.
    """

    opens: Callable[[], None] = staticmethod(lambda: None)
    """Called before the first connection is accepted."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]  # as uvicorn declares it
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections of siblings, then those of the world."""
        self.opens()
        await super().startup(sockets)

    async def adopt(self, came: socket.socket, read: bytes) -> None:
        """Serve a connection that another process has accepted, and has read so much of."""
        kind: Any = self.config.http_protocol_class
        protocol = kind(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        protocol.passed = read
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, came)
        except OSError:  # its peer has gone meanwhile
            came.close()

    async def accept_no_more(self) -> None:
        """Leave new connections to the siblings, and wait for the requests of those that we have accepted."""
        for listening in self.servers:
            listening.close()
        await asyncio.sleep(LAST_REQUESTS_S)


@contextlib.asynccontextmanager
async def serving(app: Starlette, sock: socket.socket, backlog: int = BACKLOG) -> AsyncIterator[_Server]:
    """Serve the application on a listening socket while the block runs. So many connections may wait to be
    accepted.
    """
    worker = app.state.registry.services.worker
    config = uvicorn.Config(
        app, **UVICORN_PROTOCOLS, ws_max_size=WS_MAX_BYTES, ws_per_message_deflate=False, log_config=None,
        access_log=False, lifespan="off", timeout_graceful_shutdown=1, server_header=False,
        backlog=backlog, timeout_keep_alive=95,  # where there is no httptools; else `http_protocol.IDLE_S`
        proxy_headers=False,  # any client may write `X-Forwarded-For`
    )  # fmt: skip
    server = _Server(config)
    vars(server.server_state)["strangers"] = app.state.registry.services.health.strangers
    if worker is not None:
        vars(server.server_state)["passing"] = worker.siblings
        server.opens = partial(worker.open, server.adopt)
    # libuv accepts one connection a listening socket in each turn of the loop: so there are several of it.
    sockets = [sock, *(sock.dup() for _ in range(A_TURN - 1))]
    task = asyncio.create_task(server.serve(sockets), name="uvicorn")
    try:
        while not server.started:
            if task.done():
                await task
            await asyncio.sleep(0.005)
        yield server
    finally:
        server.should_exit = True
        await task


async def serve(service: Service, sock: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until a signal comes. SIGTERM lets calls end (BRIDGE_DRAIN_SECONDS), SIGINT hangs up within a
    second, twice exits now. SIGHUP reads the routes again and touches no call.
    """
    loop, registry = asyncio.get_running_loop(), service.registry
    asked: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, asked.put_nowait, sign)
    # Its default would end the process, and every call with it: when a terminal closes, or a tool rotates
    # logs.
    loop.add_signal_handler(signal.SIGHUP, service.routing.ask_again)
    app = create_routes(service.settings, registry, service.awake)
    worker = registry.services.worker
    if worker is not None:
        await worker.begin(registry.services.store, app.state.says())
    service.awake()
    await service.settled()
    async with serving(app, sock, service.settings.backlog) as server:
        ready()
        sign = await asked.get()
        registry.draining = True
        if worker is not None:
            worker.drain()
        registry.services.fleet.hurry()
        logger.info("%s: %d calls are left", sign.name, len(registry))
        if sign is signal.SIGTERM:
            again = asyncio.create_task(_interrupted(asked))
            draining = asyncio.create_task(drain(registry, service.settings.drain_seconds))
            await asyncio.wait({again, draining}, return_when=asyncio.FIRST_COMPLETED)
            for task in (again, draining):
                task.cancel()
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, _exit_now)
        await registry.shut_down()
        if worker is not None and sign is signal.SIGTERM:
            await server.accept_no_more()
    if worker is not None:
        worker.close()
    await registry.services.fleet.close()
    service.close()


async def _interrupted(asked: asyncio.Queue[signal.Signals]) -> None:
    """A second SIGTERM changes nothing; SIGINT ends the waiting."""
    while await asked.get() is not signal.SIGINT:
        pass


def _exit_now(_number: int, _frame: object) -> None:
    """Ctrl-C a second time: exit without waiting."""
    os._exit(130)
