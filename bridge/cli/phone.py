"""`phonebridge phone URL`: a simulated Twilio phone against any server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape


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
    tail: Annotated[float, typer.Option(help="Seconds to stay on the line after the last word.")] = 4.0,
    as_json: Annotated[bool, typer.Option("--json", help="The account as JSON.")] = False,
) -> None:
    """Place one call, in real time, and write what the caller heard."""
    from ..handset import Handset
    from .wav import check_writable, read_speech, write_stereo

    speech = read_speech(audio)
    check_writable(out)
    handset = Handset(speech, auth_token=token, public_url=public_url)

    async def call() -> tuple[dict[str, Any], tuple[bytes, bytes]]:
        return await place(await handset.call(url), len(speech) / 8_000 + tail)

    account, sound = asyncio.run(call())
    write_stereo(out, *sound)
    if as_json:
        print(json.dumps({**account, "wav": str(out)}))
    else:
        console = Console()
        for name, value in account.items():
            console.print(f"{name.replace('_', ' '):>18}  {escape(str(value))}", highlight=False)
        console.print(f"{'wav':>18}  {escape(str(out))}", highlight=False, soft_wrap=True)


async def place(simulation: Any, seconds: float) -> tuple[dict[str, Any], tuple[bytes, bytes]]:
    """A call that is up, to its end, at the latest after so long: what the phone can tell of it, and both
    sides' sound.
    """
    phone = simulation.machine
    closed = await asyncio.wait([simulation.closed], timeout=seconds)
    ended_by = "the server" if closed[0] else "the caller"
    if not closed[0]:
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
