"""`phonebridge phone URL`: a simulated Twilio phone against any server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

MOST_S = 60.0


def phone(
    url: Annotated[
        str, typer.Argument(help="An http(s) webhook (posted, its TwiML followed) or a ws(s) stream.")
    ],
    audio: Annotated[Path, typer.Option(help="What the caller says: 16-bit WAV or raw .ulaw.")],
    out: Annotated[Path, typer.Option(help="Stereo WAV: left the caller, right what the caller heard.")],
    token: Annotated[
        str | None, typer.Option(help="Sign as the carrier, with this token.", envvar="TWILIO_AUTH_TOKEN")
    ] = None,
    public_url: Annotated[
        str | None, typer.Option(help="Base URL the signature is made for.", envvar="PUBLIC_URL")
    ] = None,
    tail: Annotated[
        float, typer.Option(help="Hang up when neither side has spoken for so many seconds.")
    ] = 4.0,
    as_json: Annotated[bool, typer.Option("--json", help="The account as JSON.")] = False,
) -> None:
    """Place one call, in real time, and write what the caller heard."""
    from ..handset import Handset
    from .wav import check_writable, read_speech, write_stereo

    speech = read_speech(audio)
    check_writable(out)
    handset = Handset(speech, auth_token=token, public_url=public_url)

    async def call() -> Placed:
        return await place(await handset.call(url), len(speech) / 8_000, tail)

    account, sound = asyncio.run(call())
    write_stereo(out, *sound)
    if as_json:
        print(json.dumps({**account, "wav": str(out)}))
    else:
        console = Console()
        for name, value in account.items():
            console.print(f"{name.replace('_', ' '):>18}  {escape(str(value))}", highlight=False)
        console.print(f"{'wav':>18}  {escape(str(out))}", highlight=False, soft_wrap=True)


Placed = tuple[dict[str, Any], tuple[bytes, bytes]]
"""What the phone can tell of a call, and the sound of both sides."""


async def place(simulation: Any, spoken_s: float, tail_s: float) -> Placed:
    """A call that is up, to its end. The caller speaks for so long, and hangs up when both sides have been
    silent for `tail_s`, or a minute after the last word.
    """
    phone = simulation.machine
    hang_up_s = spoken_s + tail_s
    while not simulation.closed.done() and (now_s := simulation.now_ms() / 1000) < hang_up_s:
        await asyncio.wait([simulation.closed], timeout=0.05)
        if phone.playing(simulation.now_ms()):
            hang_up_s = min(max(spoken_s, now_s) + tail_s, spoken_s + MOST_S)
    ended_by = "the server" if simulation.closed.done() else "the caller"
    if not simulation.closed.done():
        simulation.send(phone.hang_up(simulation.now_ms()))
        simulation.socket.close()
    await asyncio.wait([simulation.closed], timeout=2.0)
    left, right = phone.recording()
    account = {
        "seconds": round(len(left) / 8_000, 2),
        "heard_ms": phone.played_bytes // 8,
        "clears": len(phone.cleared),
        "refused": dict(phone.refused),
        "ended_by": ended_by,
    }
    return account, (left, right)
