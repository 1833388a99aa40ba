"""`phonebridge phone URL`: a simulated Twilio phone against any server."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from .words import printable

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
        str | None, typer.Option(help="Base URL that the signature is made for.", envvar="PUBLIC_URL")
    ] = None,
    tail: Annotated[
        float, typer.Option(help="Hang up after this many seconds without a voice on either side.")
    ] = 4.0,
    api: Annotated[
        int | None,
        typer.Option(help="Port for the carrier's REST API, where BRIDGE_TWILIO_API_URL points."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Place one call, and record what the caller heard.

    In real time; its TwiML is followed to the end.
    """
    from bridge.simulators.carrier import CarrierSimulator

    from .wav import check_writable, read_speech, write_stereo

    speech = read_speech(audio)
    check_writable(out)
    handset = CarrierSimulator(speech, auth_token=token, public_url=public_url)

    async def call() -> Placed:
        if url.startswith(("ws://", "wss://")):
            return await place(await handset.call(url), len(speech) / 8_000, tail)
        return await follow(handset, url, tail, api)

    account, sound = asyncio.run(call())
    write_stereo(out, *sound)
    if as_json:
        print(json.dumps({**account, "wav": str(out)}))
    else:
        console = Console()
        for at_ms, *told in account.pop("steps", []):
            line = "  ".join(filter(None, told))
            console.print(
                f"{at_ms / 1000:>16.2f} s  {escape(printable(line))}", highlight=False, soft_wrap=True
            )
        for name, value in account.items():
            console.print(f"{name.replace('_', ' '):>18}  {escape(printable(str(value)))}", highlight=False)
        console.print(f"{'wav':>18}  {escape(str(out))}", highlight=False, soft_wrap=True)


Placed = tuple[dict[str, Any], tuple[bytes, bytes]]
"""What the phone can tell of a call, and the sound of both sides."""


async def follow(handset: Any, url: str, tail_s: float, api_port: int | None) -> Placed:
    """A call to a webhook, from dialling to its end: what the caller lived through, step by step."""
    from bridge.simulators.carrier import WebhookFailed
    from bridge.simulators.phone import Kind, PhoneCall
    from bridge.simulators.rest_api import CarrierApi

    from ..errors import ConfigError

    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"{url} cannot be called: an address begins with http(s):// or ws(s)://")
    call = PhoneCall(handset)
    async with contextlib.AsyncExitStack() as stack:
        if api_port is not None:
            carrier = CarrierApi()
            await stack.enter_async_context(carrier.serve(api_port))
            carrier.add(call)
        placing = asyncio.create_task(call.place(url))
        await _until_silent(call, placing, len(handset.speech) / 8_000, tail_s)
        steps = await placing
    if not call.streams and steps[-1].kind is Kind.FAILED:
        raise WebhookFailed(steps[-1].detail)
    left, right = call.sound()
    phones: list[Any] = [simulation.machine for _, simulation in call.streams]
    refused: Counter[str] = sum((phone.refused for phone in phones), Counter())
    account = {
        "steps": [[step.at_ms, step.kind.value, step.detail] for step in steps],
        "seconds": round(steps[-1].at_ms / 1000, 2),
        "heard_ms": sum(phone.played_bytes for phone in phones) // 8,
        "clears": sum(len(phone.cleared) for phone in phones),
        "refused": dict(refused),
        "ended_by": "the caller" if steps[-1].kind is Kind.CALLER_LEFT else "the server",
    }
    return account, (left, right)


async def _until_silent(call: Any, placing: asyncio.Task[Any], spoken_s: float, tail_s: float) -> None:
    """The caller hangs up when both sides of a stream have been silent for `tail_s`, or a minute after the
    last word. A call without a stream ends by itself.
    """
    hang_up_s = spoken_s + tail_s
    while not placing.done():
        await asyncio.wait([placing], timeout=0.05)
        if not call.streaming.is_set():
            continue
        simulation = call.streams[-1][1]
        now_s = simulation.now_ms() / 1000
        if simulation.machine.playing(simulation.now_ms()):
            hang_up_s = min(max(spoken_s, now_s) + tail_s, spoken_s + MOST_S)
        if now_s >= hang_up_s:
            call.hang_up()
            return


async def place(simulation: Any, spoken_s: float, tail_s: float) -> Placed:
    """A call that is up, to its end. The caller speaks, and hangs up when both sides have been
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
