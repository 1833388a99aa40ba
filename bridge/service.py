"""From settings to a running service: makes the exchange, serves it, and lets calls end before the process
does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping

import uvicorn
from starlette.applications import Starlette

from .app import create_app
from .carriers.twilio import Twilio
from .core import messages as m
from .direct import UVICORN_PROTOCOLS
from .exchange import Exchange, Making, Observer
from .settings import Settings
from .sockets import Socket, bound_kernel, dial
from .upstreams import UPSTREAMS, Dial, Upstream

logger = logging.getLogger(__name__)

WS_MAX_BYTES = 64 * 1024
"""Before the hand-over only: no carrier frame is larger, and a `start` with every parameter allowed still
fits."""


def make_exchange(
    settings: Settings, *, upstream_url: str | None = None, observers: tuple[Observer, ...] = ()
) -> Exchange:
    """The exchange that these settings describe. `upstream_url` stands in for the vendor's address (the
    embedded server).
    """
    vendor = UPSTREAMS[settings.upstream]
    base_url = upstream_url or settings.upstream_url
    config = settings.call_config()

    def new_upstream(epoch: int) -> Upstream:
        return vendor(epoch, base_url)

    async def dial_with_key(dialled: Dial) -> Socket:
        headers = dict(dialled.headers)
        if settings.openai_api_key is not None:
            headers["Authorization"] = f"Bearer {settings.openai_api_key.get_secret_value()}"
        return await dial(dialled.url, headers)

    def config_of(_fields: Mapping[str, str]) -> m.CallConfig:
        return config

    making = Making(config=config_of, carrier=Twilio, vendor=new_upstream, dial=dial_with_key)
    return Exchange(making, max_calls=settings.max_calls, observers=observers)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket whose accepted sockets can't be stalled: bounds are inherited. Port 0 takes a free
    one.
    """
    sock = socket.create_server((host, port), backlog=2048, reuse_port=False)
    bound_kernel(sock)
    sock.setblocking(False)
    return sock


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: its SIGTERM closes every live socket at once, ours lets calls end
    first.
    """

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]  # as uvicorn declares it
        yield


@contextlib.asynccontextmanager
async def serving(app: Starlette, sock: socket.socket) -> AsyncIterator[None]:
    """Serve the application on a listening socket while the block runs."""
    config = uvicorn.Config(
        app, **UVICORN_PROTOCOLS, ws_max_size=WS_MAX_BYTES, ws_per_message_deflate=False, log_config=None,
        access_log=False, lifespan="off", timeout_graceful_shutdown=1, server_header=False,
    )  # fmt: skip
    server = _Server(config)
    task = asyncio.create_task(server.serve([sock]), name="uvicorn")
    try:
        while not server.started:
            if task.done():
                await task
            await asyncio.sleep(0.005)
        yield
    finally:
        server.should_exit = True
        await task


async def serve(
    settings: Settings, exchange: Exchange, sock: socket.socket, ready: Callable[[], None]
) -> None:
    """Serve until a signal comes. SIGTERM lets calls end (BRIDGE_DRAIN_SECONDS), SIGINT hangs up within a
    second, twice exits now.
    """
    loop = asyncio.get_running_loop()
    asked: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, asked.put_nowait, sign)
    async with serving(create_app(settings, exchange), sock):
        ready()
        sign = await asked.get()
        exchange.draining = True
        logger.info("%s: %d calls are left", sign.name, len(exchange))
        if sign is signal.SIGTERM:
            again = asyncio.create_task(_interrupted(asked))
            drained = asyncio.create_task(exchange.drained(settings.drain_seconds))
            await asyncio.wait({again, drained}, return_when=asyncio.FIRST_COMPLETED)
            for task in (again, drained):
                task.cancel()
        await exchange.shut_down()


async def _interrupted(asked: asyncio.Queue[signal.Signals]) -> None:
    """A second SIGTERM changes nothing; SIGINT ends the waiting."""
    while await asked.get() is not signal.SIGINT:
        pass
