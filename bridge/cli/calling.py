"""What the commands that call share: a service for as long as they run, or a server that is asked."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from bridge.server.outbound.handles import Source

AgentOption = Annotated[
    str | None,
    typer.Option(
        help="Who calls. Without --server: module:attribute (BRIDGE_AGENT), by default ./agent.py. "
        "With it: the name of one of the server's agents."
    ),
]
FromOption = Annotated[
    str | None,
    typer.Option("--from", help="The number to call from; by default the first of BRIDGE_CALL_FROM."),
]
ConsentOption = Annotated[
    str, typer.Option(help="When and how the person agreed to be called; kept with the call. Needed.")
]
ServerOption = Annotated[
    str | None,
    typer.Option(help="Ask this running server (https://…) instead of serving here while the command runs."),
]
KeyOption = Annotated[
    str, typer.Option(help="One of that server's BRIDGE_API_KEYS.", envvar="PHONEBRIDGE_KEY")
]
PortOption = Annotated[
    int | None,
    typer.Option(help="Port to serve on, where the carrier's callbacks to PUBLIC_URL arrive (PORT)."),
]


@contextlib.asynccontextmanager
async def source(
    server: str | None, key: str, agent: str | None, port: int | None, **more: Any
) -> AsyncIterator[Source]:
    """Where calls are placed, while the block runs. Raises ConfigError."""
    if server is not None:
        from bridge.server.outbound.remote import RemoteCalls

        yield RemoteCalls(server, key)
        return
    async with served(agent, port, **more) as found:
        yield found


@contextlib.asynccontextmanager
async def served(agent: str | None, port: int | None, **more: Any) -> AsyncIterator[Source]:
    """A service of this process, as `phonebridge serve` would be, while the block runs."""
    from bridge.agents.agent import load_agent, load_agent_here
    from bridge.errors import ConfigError
    from bridge.ops import logs
    from bridge.server import service
    from bridge.server.routes import create_app
    from bridge.settings.settings import load_settings
    from bridge.upstreams import REHEARSALS

    given = {"agent": agent, "port": port, **more}
    settings = load_settings(**{name: value for name, value in given.items() if value is not None})
    if not settings.outbound:
        raise ConfigError("calls out are off: set BRIDGE_OUTBOUND=1, and BRIDGE_CALL_FROM to your number")
    answers = load_agent_here() if settings.agent is None else load_agent(settings.agent)
    written = logs.configure("warning", stream=sys.stderr, hidden=settings.unspeakable(), readable=True)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(written.close)
        upstream_url = None
        if settings.upstream in REHEARSALS and settings.upstream_url is None:
            from .upstream import embedded

            upstream_url = await stack.enter_async_context(embedded(settings))
        one = service.Service(settings, answers, upstream_url=upstream_url)
        sock = service.listen(settings.host, settings.port, settings.backlog)
        stack.callback(one.close)
        app = create_app(settings, one.registry, one.awake)
        await stack.enter_async_context(service.serving(app, sock, settings.backlog))
        stack.push_async_callback(one.registry.shut_down)
        one.awake()
        outbound = one.services.outbound
        if outbound is None or outbound.source is None:
            raise ConfigError("calls out are off: set BRIDGE_OUTBOUND=1")
        yield outbound.source
