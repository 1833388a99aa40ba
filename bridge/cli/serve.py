"""`phonebridge serve`: the server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import webbrowser
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from . import workers

if TYPE_CHECKING:
    from bridge.agents.agent import Agent
    from bridge.server.service import Service
    from bridge.server.services import Observer
    from bridge.server.workers.worker import Seat
    from bridge.settings.settings import Settings


def serve(
    host: Annotated[str | None, typer.Option(help="Address to bind to (HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one and prints it (PORT).")] = None,
    agent: Annotated[
        str | None,
        typer.Option(
            help="The agent, as module:attribute (BRIDGE_AGENT); by default ./agent.py, if there is one."
        ),
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="An agent whose file has changed answers the next call.")
    ] = False,
    processes: workers.Workers = "1",
    kill_stuck: workers.KillStuck = True,
) -> None:
    """Answer calls.

    Settings come from the environment and from .env; all mistakes in them are listed at once.
    """
    from bridge.settings.settings import load_settings

    given: dict[str, Any] = {"host": host, "port": port, "agent": agent}
    settings = load_settings(**{name: value for name, value in given.items() if value is not None})
    count, seat = workers.count(processes), None
    if count > 1:
        seat = workers.take_a_seat(settings, count, partial(_tell_ready, settings), kill_stuck=kill_stuck)
    answers, where = _agent(settings, needed=reload)
    run(settings, answers, where, reloads=reload, seat=seat)


def _agent(settings: Settings, *, needed: bool) -> tuple[Agent | None, str | None]:
    """Who answers, and where it is. Raises ConfigError, also for none that is `needed`."""
    from bridge.agents.agent import HERE, load_agent, load_agent_here
    from bridge.errors import ConfigError

    answers = load_agent_here() if settings.agent is None else load_agent(settings.agent)
    where = None if answers is None else settings.agent or HERE
    if needed and where is None:
        raise ConfigError("--reload has no agent to load again: name one with --agent, or write ./agent.py")
    return answers, where


def run(
    settings: Settings,
    agent: Agent | None,
    where: str | None,
    *,
    reloads: bool = False,
    opens: bool = False,
    seat: Seat | None = None,
) -> None:
    """Serve until a signal comes. `where` names the agent; `reloads` it when its file changes, and `opens`
    the page to talk to it, where there is a display. `seat` is given to one of several workers.
    """
    from bridge.ops import event_loop as loops
    from bridge.ops import logs

    hidden, name = settings.unspeakable(), "" if seat is None else seat.name
    written = logs.configure(settings.log_level, hidden=hidden, worker=name)
    try:
        observers = _onlooker(settings) if written.readable else ()
        loops.run(
            _serve(settings, agent, where, reloads=reloads, opens=opens, observers=observers, seat=seat)
        )
    finally:
        written.close()


def _onlooker(settings: Settings) -> tuple[Observer, ...]:
    """At a terminal each call is told as it goes: with its words where no carrier is let in, and so no
    stranger calls. What the story says need not be logged in fields as well.
    """
    from bridge.ops.story import Story

    if settings.log_level == "info":
        logging.getLogger("bridge.call").setLevel(logging.WARNING)
    return (Story(words=settings.insecure),)


async def _serve(
    settings: Settings,
    agent: Agent | None,
    where: str | None,
    *,
    reloads: bool,
    opens: bool,
    observers: tuple[Observer, ...],
    seat: Seat | None,
) -> None:
    from bridge.ops import event_loop as loops
    from bridge.server import service
    from bridge.upstreams import REHEARSALS

    worker = None if seat is None else workers.joined(settings, seat)
    async with contextlib.AsyncExitStack() as stack:
        upstream_url = None
        if settings.upstream in REHEARSALS and settings.upstream_url is None:
            from .upstream import embedded

            upstream_url = await stack.enter_async_context(embedded(settings))
        serving = service.Service(
            settings, agent, upstream_url=upstream_url, observers=observers, worker=worker
        )
        sock = seat.listener if seat else service.listen(settings.host, settings.port, settings.backlog)

        def ready() -> None:
            loops.settle()
            answered = answered_by(settings, agent, where)
            if worker is not None:
                worker.ready(answered)
            else:
                _tell_ready(settings, sock.getsockname(), answered, opens=opens)

        if reloads and where is not None:
            stack.callback(_keep_up(serving, where))
        await service.serve(serving, sock, ready)


def _keep_up(serving: Service, where: str) -> Callable[[], object]:
    """Load the agent again whenever its file changes. Returns what ends that."""
    from .reload import keep_up

    users = serving.services.users
    return (lambda: None) if users is None else asyncio.create_task(keep_up(where, users, Path.cwd())).cancel


def _tell_ready(settings: Settings, bound: tuple[str, int], answered: str, *, opens: bool = False) -> None:
    """Say on the terminal where it listens and who answers, and open the page to talk to it, if any."""
    from bridge.sockets.peers import authority

    for remark in settings.remarks:
        logging.getLogger("bridge").warning("%s", remark)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    base = str(settings.public_url or f"http://{authority(*bound[:2])}").rstrip("/")
    console.print(f"ready: listening on {bound[0]}:{bound[1]}, webhook {base}/incoming-call")
    console.print(answered)
    if settings.console_code is not None:
        console.print(f"console (this link signs in once): {base}/console#code={settings.console_code}")
    elif settings.console_token is not None:
        console.print(f"console: {base}/console")
    if not settings.insecure or settings.twilio_auth_token:
        return
    console.print(f"[bold]talk to it: {base}/phone[/]")
    if opens:
        open_page(f"{base}/phone")


def answered_by(settings: Settings, agent: Agent | None, where: str | None) -> str:
    """The line that says who answers calls: the agent and where it is, its tools, and the model."""
    from bridge.upstreams import REHEARSALS

    costs = " (rehearsal, no key)" if settings.upstream in REHEARSALS else ""
    told = [_agents(settings, where), f"by {_who(settings)}{costs}"]
    tools = [] if agent is None else [tool.name for tool in agent.functions()]
    if tools:
        told.insert(1, f"tools {', '.join(tools)}")
    return f"answered by: {' · '.join(told)}"


def _agents(settings: Settings, where: str | None) -> str:
    """Without any it says why, if there is an agent.py."""
    if settings.routes is not None:
        return f"the rows of {settings.routes}" + (f", else {where}" if where else "")
    if where is not None:
        return where
    if Path("agent.py").is_file():
        why = "agent.py here sets no Agent named `agent`; for another name, --agent agent:NAME"
        return f"no agent of your own ({why})"
    return "no agent of your own"


def _who(settings: Settings) -> str:
    names = {"embedded": "the scripted front desk", "parrot": "the parrot"}
    return names.get(settings.upstream, settings.model)


def open_page(url: str) -> None:
    """In the user's browser, where there is a display."""
    if sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(url)
