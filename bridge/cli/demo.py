"""`phonebridge demo`: server, embedded upstream and simulated phone in one go, without any key."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import ConfigError
from ..ops.ctrl_c import EXIT
from .account import Account
from .interrupt import Interrupt, hanging_up
from .options import ReportAsJson, StereoWav
from .words import printable

if TYPE_CHECKING:
    from ..doubles.phone import Phone

TOKEN = "invented-for-the-demo"  # noqa: S105  it signs this one call, on loopback
TAIL_S = 1.5
GREETED = b"\xff" * 16_000
"""Silence of the caller's until the greeting is over."""
EXAMPLE = "bridge.cli.new_agent.agent:agent"
_STYLES = {"caller": "cyan", "model": "magenta", "bridge": "yellow", "": "dim"}


_Audio = Annotated[
    Path | None,
    typer.Option(help="What the caller says after the greeting (WAV or .ulaw); default: bundled speech."),
]


def demo(
    audio: _Audio = None,
    out: StereoWav = Path("call.wav"),
    as_json: ReportAsJson = False,
    once: Annotated[bool, typer.Option("--once", help="Place the call and end, even at a terminal.")] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page to talk to an agent, even without a terminal.")
    ] = False,
    no_open: Annotated[bool, typer.Option("--no-open", help="Only name the page; open no browser.")] = False,
) -> None:
    """Place a call without any key, then talk to an agent.

    A parrot answers the call: it greets, and answers with what it heard. At a terminal a page is served after
    it, where you speak with the agent of ./agent.py or of BRIDGE_AGENT, or with an example. Ctrl-C ends it.
    """
    if once and serve:
        raise ConfigError("--once and --serve exclude each other")
    from ..sounds import load_demo
    from .wav import check_writable, read_speech, write_stereo

    speech = GREETED + read_speech(audio) if audio else load_demo("caller")
    check_writable(out)
    console = Console(stderr=as_json)
    seconds = len(speech) / 8_000 + TAIL_S
    console.print(f"A call to a parrot, which repeats what it hears: {seconds:.0f} s or more.")

    story = Account(lambda at_ms, who, what: _tell(console, at_ms, who, what))
    with hanging_up() as interrupt:
        account, sound = asyncio.run(_call(speech, story, interrupt))
        write_stereo(out, *sound)
        _print(console, account, out)
        if as_json:
            print(json.dumps({**account, "wav": str(out)}))
    if interrupt.came:
        raise typer.Exit(EXIT)
    if account["first_audio_after_ms"] is None:
        raise typer.Exit(1)
    if serve or (not once and not as_json and sys.stdin.isatty() and sys.stdout.isatty()):
        _serve_page(console, no_open=no_open)
        raise typer.Exit(EXIT)  # nothing but Ctrl-C ended it


def _serve_page(console: Console, *, no_open: bool) -> None:
    """The softphone and an agent behind it, until Ctrl-C."""
    from bridge.agents.agent import HERE, load_agent, load_agent_here
    from bridge.settings.settings import load_settings

    from .serve import run

    settings = load_settings(
        demo=True, insecure=True, port=_free_port(), twilio_auth_token=None, public_url=None
    )
    if settings.agent is not None:
        where, agent = settings.agent, load_agent(settings.agent)
    elif (found := load_agent_here()) is not None:
        where, agent = HERE, found
    else:
        where, agent = "an example, a bakery", load_agent(EXAMPLE)
    console.print()
    run(settings, agent, where, opens=not no_open)


def _free_port() -> int:
    """The usual one, or any if that is taken."""
    from bridge.settings.settings import load_settings

    usual = load_settings(demo=True, insecure=True, twilio_auth_token=None, public_url=None).port
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", usual))
        except OSError:
            return 0
    return usual


async def _call(
    speech: bytes, story: Account, interrupt: Interrupt
) -> tuple[dict[str, Any], tuple[bytes, bytes]]:
    from bridge.server import routes as app
    from bridge.server import service
    from bridge.settings.settings import load_settings
    from bridge.simulators.carrier import CarrierSimulator

    from .caller import Caller
    from .phone import place
    from .upstream import embedded

    sock = service.listen("127.0.0.1", 0)
    base = f"http://127.0.0.1:{sock.getsockname()[1]}"
    settings = load_settings(
        demo=True,
        public_url=base,
        twilio_auth_token=TOKEN,
        upstream="parrot",
        env_file=None,
        disclosure=False,
    )
    async with embedded(settings) as upstream_url:
        registry = service.make_registry(settings, upstream_url=upstream_url, observers=(story,))
        async with service.serving(app.create_app(settings, registry), sock):
            handset = CarrierSimulator(speech, auth_token=TOKEN)
            simulation = await handset.call(f"{base}/incoming-call")
            caller = Caller(len(speech) / 8_000, TAIL_S)
            interrupt.calls(caller.leave)
            heard, sound = await place(simulation, caller)
            await registry.shut_down()
    phone = cast("Phone", simulation.machine)
    return {**story.told(phone.cleared), "phone": heard}, sound


def _tell(console: Console, at_ms: int, who: str, what: str) -> None:
    style = _STYLES[who]
    row = Table.grid(padding=(0, 2), pad_edge=False)
    row.add_row(
        f"{at_ms / 1000:6.2f} s", Text(f"{who:<6}", style=style), Text(printable(what), overflow="fold")
    )
    console.print(row)


def _print(console: Console, account: dict[str, Any], out: Path) -> None:
    def line(name: str, value: str, style: str = "") -> None:
        row.add_row(name, Text(printable(value), style=style))

    row = Table.grid(padding=(0, 2), pad_edge=False)
    row.add_column(justify="right", style="dim", no_wrap=True)
    row.add_column(overflow="fold")

    console.print()
    line("answered after", _ms(account["answered_after_ms"]))
    line("first sound after", _ms(account["first_audio_after_ms"]))
    answers = ", ".join(str(ms) for ms in account["answered_in_ms"])
    line("turns", f"{account['turns']}" + (f", answered in {answers} ms" if answers else ""))
    for one in account["barge_ins"]:
        line("barge-in", f"at {one['at_ms'] / 1000:.2f} s; {one['unheard_ms']} ms were never heard", "bold")
        told = f"{one['heard_ms']} ms heard by the phone, {one['truncated_ms']} ms told to the model"
        line("", told, "bold green")
    line("ended", f"after {account['ended_after_ms'] / 1000:.2f} s: {account['ended']}")
    line("listen", f"{out} (left: the caller, right: what the caller heard)")
    console.print(row)


def _ms(value: int | None) -> str:
    return "never" if value is None else f"{value} ms"
