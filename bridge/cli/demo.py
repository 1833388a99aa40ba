"""`phonebridge demo`: server, embedded upstream and simulated phone in one go, without any key."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from rich.markup import escape

from .account import Account
from .words import printable

if TYPE_CHECKING:
    from ..doubles.phone import Phone

TOKEN = "invented-for-the-demo"  # noqa: S105  it signs this one call, on loopback
TAIL_S = 1.5
GREETED = b"\xff" * 16_000
"""Silence of the caller's until the greeting is over."""
_STYLES = {"caller": "cyan", "model": "magenta", "bridge": "yellow", "": "dim"}


def demo(
    audio: Annotated[
        Path | None,
        typer.Option(help="What the caller says after the greeting (WAV or .ulaw); default: bundled speech."),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Stereo WAV: left the caller, right what the caller heard.")
    ] = Path("call.wav"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON; the story goes to stderr.")
    ] = False,
) -> None:
    """Place a call to a parrot, without any key.

    It greets, then answers with what it heard. Takes as long as the call does.
    """
    from ..sounds import load_demo
    from .wav import check_writable, read_speech, write_stereo

    speech = GREETED + read_speech(audio) if audio else load_demo("caller")
    check_writable(out)
    console = Console(stderr=as_json)
    console.print(
        f"A call to a parrot, which repeats what it hears: {len(speech) / 8_000 + TAIL_S:.0f} s or more."
    )

    story = Account(lambda at_ms, who, what: _tell(console, at_ms, who, what))
    account, sound = asyncio.run(_call(speech, story))
    write_stereo(out, *sound)
    _print(console, account, out)
    if as_json:
        print(json.dumps({**account, "wav": str(out)}))
    if account["first_audio_after_ms"] is None:
        raise typer.Exit(1)


async def _call(speech: bytes, story: Account) -> tuple[dict[str, Any], tuple[bytes, bytes]]:
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
    async with embedded(answers="parrot") as upstream_url:
        registry = service.make_registry(settings, upstream_url=upstream_url, observers=(story,))
        async with service.serving(app.create_app(settings, registry), sock):
            handset = CarrierSimulator(speech, auth_token=TOKEN)
            simulation = await handset.call(f"{base}/incoming-call")
            heard, sound = await place(simulation, Caller(len(speech) / 8_000, TAIL_S))
            await registry.shut_down()
    phone = cast("Phone", simulation.machine)
    return {**story.told(phone.cleared), "phone": heard}, sound


def _tell(console: Console, at_ms: int, who: str, what: str) -> None:
    style = _STYLES[who]
    console.print(f"{at_ms / 1000:6.2f} s  [{style}]{who:<6}[/]  {escape(printable(what))}", highlight=False)


def _print(console: Console, account: dict[str, Any], out: Path) -> None:
    def line(name: str, value: str) -> None:
        console.print(f"{name:>17}  {escape(printable(value))}", highlight=False, soft_wrap=True)

    console.print()
    line("answered after", _ms(account["answered_after_ms"]))
    line("first sound after", _ms(account["first_audio_after_ms"]))
    answers = ", ".join(str(ms) for ms in account["answered_in_ms"])
    line("turns", f"{account['turns']}" + (f", answered in {answers} ms" if answers else ""))
    for one in account["barge_ins"]:
        line("barge-in", f"at {one['at_ms'] / 1000:.2f} s; {one['unheard_ms']} ms were never heard")
        line("", f"{one['heard_ms']} ms heard by the phone, {one['truncated_ms']} ms told to the model")
    line("ended", f"after {account['ended_after_ms'] / 1000:.2f} s: {account['ended']}")
    line("listen", f"{out} (left: the caller, right: what the caller heard)")


def _ms(value: int | None) -> str:
    return "never" if value is None else f"{value} ms"
