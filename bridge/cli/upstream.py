"""`phonebridge upstream`: the embedded Realtime server alone. Any Realtime client can connect."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Annotated

import typer
from rich.console import Console


@contextlib.asynccontextmanager
async def embedded(port: int = 0) -> AsyncIterator[str]:
    """The parrot's server, while the block runs; gives its base URL."""
    from bridge.simulators.servers import EmbeddedUpstream

    from ..doubles.agents import Parrot
    from ..doubles.options import ServerOptions
    from ..doubles.realtime import RealtimeServer
    from ..sounds import demo_text, load_demo

    parrot = Parrot(load_demo("greeting"), demo_text("greeting"))

    def server() -> RealtimeServer:
        return RealtimeServer(parrot, ServerOptions(created_at_s=int(time.time())))

    async with EmbeddedUpstream(server, keep=False).serve(port) as url:
        yield url


def upstream(
    port: Annotated[int, typer.Option(help="Port on loopback; 0 takes a free one and prints it.")] = 9600,
) -> None:
    """A Realtime server without a model, for any Realtime client.

    A parrot that greets and then answers with what it heard: for tests and demos.
    """
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_upstream(port))


async def _upstream(port: int) -> None:
    async with embedded(port) as url:
        Console().print(f"ready: {url}?model=parrot (Ctrl-C ends it)", highlight=False, soft_wrap=True)
        await asyncio.Event().wait()
