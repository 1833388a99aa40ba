"""`phonebridge phone URL`: a simulated Twilio phone against any server."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from ..codecs.caption import captioned
from ..ops.ctrl_c import EXIT
from .answering import AnswerAs, answering, wait_for_call
from .interrupt import Interrupt, hanging_up
from .options import ReportAsJson, StereoWav, Token, finite
from .words import printable

if TYPE_CHECKING:
    from bridge.simulators.phones import SecondPhone

    from .caller import Caller, Pressed, Spoken, Tell

_STYLES = {"caller": "cyan", "callee": "cyan", "heard": "magenta", "": "dim"}
KEYS = "0123456789*#"
ACCEPTS = "1"
"""The key by which a target takes a transfer."""
TALKS_S = 12.0
"""A target that is gone sooner counts as `dropped`: `min_talk_s` of a transfer is 10 s."""


_Url = Annotated[
    str | None,
    typer.Argument(
        help="An http(s) webhook (posted, its TwiML followed) or a ws(s) stream.", show_default=False
    ),
]
_AnswerAs = Annotated[
    AnswerAs | None,
    typer.Option(
        help="Be called instead: by a server's REST requests or, beside a URL, by its <Dial>, where a human "
        "presses 1."
    ),
]
_Audio = Annotated[
    Path | None,
    typer.Option(help="What the caller says at once: a WAV file or raw .ulaw; default: bundled speech."),
]
_Says = Annotated[
    list[str] | None,
    typer.Option(help="Words to say in a local voice; may be given again, once for each answer."),
]
_Digits = Annotated[
    str | None, typer.Option(help="Keys to press after that; a comma waits for the next answer: 1,905#.")
]
_PublicUrl = Annotated[
    str | None, typer.Option(help="Base URL that the signature is made for.", envvar="PUBLIC_URL")
]
_Tail = Annotated[
    float,
    typer.Option(callback=finite, help="Hang up after this many seconds without a voice on either side."),
]
_Api = Annotated[
    int | None, typer.Option(help="Port for the carrier's REST API, where BRIDGE_TWILIO_API_URL points.")
]


def phone(  # noqa: PLR0913, PLR0917  options of a command
    url: _Url = None,
    audio: _Audio = None,
    says: _Says = None,
    digits: _Digits = None,
    out: StereoWav = Path("call.wav"),
    token: Token = None,
    public_url: _PublicUrl = None,
    tail: _Tail = 4.0,
    api: _Api = None,
    answer_as: _AnswerAs = None,
    as_json: ReportAsJson = False,
) -> None:
    """Place one call, or wait for one, and record what was heard.

    The call runs in real time, its TwiML to the end. Exits with 1 when it broke or nothing was heard.
    """
    from bridge.simulators.carrier import CarrierSimulator

    from ..sounds import load_demo
    from .caller import Caller
    from .wav import check_writable, read_speech

    turns = _turns(says or [], digits or "")
    speech = read_speech(audio) if audio is not None else b"" if turns else load_demo("caller")
    check_writable(out)
    handset = CarrierSimulator(speech, auth_token=token, public_url=public_url)
    other = None if answer_as is None else _other(answer_as, turns, tail, dialled=url is not None)
    tell = partial(_tell, console := Console(stderr=as_json))
    caller = Caller(len(speech) / 8_000, tail, turns, tell)
    with hanging_up() as interrupt:
        account, sound = asyncio.run(_call(handset, url, caller, api, other, tell, interrupt))
        wav = _kept(out, *sound)
        if as_json:
            print(json.dumps({**account, "wav": wav and str(wav)}))
        else:
            _print(account, wav, console)
    if interrupt.came:
        raise typer.Exit(EXIT)
    _complain(account["broken"])


def _other(who: AnswerAs, turns: list[Spoken | Pressed], tail_s: float, *, dialled: bool) -> SecondPhone:
    """Who answers. One who is dialled for the caller takes the call, and talks for a while."""
    from .caller import Pressed

    return (
        answering(who, [Pressed(ACCEPTS)], max(tail_s, TALKS_S)) if dialled else answering(who, turns, tail_s)
    )


def _kept(out: Path, left: bytes, right: bytes) -> Path | None:
    """Where the sound is now; None without any: a call that was turned away overwrites no other's."""
    from .wav import write_stereo

    if not left and not right:
        return None
    write_stereo(out, left, right)
    return out


def _complain(broken: str) -> None:
    """Ends with 1 if something was wrong with the call."""
    if broken:
        Console(stderr=True).print(f"phonebridge: {broken}", highlight=False, soft_wrap=True)
        raise typer.Exit(1)


def _tell(console: Console, at_ms: int, who: str, what: str) -> None:
    told = f"{at_ms / 1000:6.2f} s  [{_STYLES[who]}]{who:<6}[/]  {escape(printable(what))}"
    console.print(told, highlight=False, soft_wrap=True)


async def _call(
    handset: Any,
    url: str | None,
    caller: Caller,
    api: int | None,
    other: SecondPhone | None,
    tell: Tell,
    interrupt: Interrupt,
) -> Placed:
    from ..errors import ConfigError

    if url is None:
        if other is None:
            raise ConfigError("name the address to call, or --answer-as to be called")
        return await wait_for_call(other, handset.auth_token, api, tell, interrupt)
    interrupt.calls(caller.leave)
    if url.startswith(("ws://", "wss://")):
        return await place(await handset.call(url), caller)
    return await follow(handset, url, caller, api, tell, other)


def _print(account: dict[str, Any], wav: Path | None, console: Console) -> None:
    console.print()
    for name, value in account.items():
        if name not in ("steps", "broken") and value != {}:
            told = escape(printable(str(value)))
            console.print(f"{name.replace('_', ' '):>18}  {told}", highlight=False, soft_wrap=True)
    if wav is not None:
        console.print(f"{'wav':>18}  {escape(str(wav))}", highlight=False, soft_wrap=True)


def _turns(says: list[str], digits: str) -> list[Spoken | Pressed]:
    """What the caller says and presses, turn by turn. The sound of words carries them (`codecs.caption`), so
    that a rehearsal understands them without ears.
    """
    from bridge.simulators.voice import local_voice

    from ..errors import ConfigError
    from .caller import Pressed, Spoken

    pressed = [Pressed(keys) for keys in digits.replace(" ", "").split(",") if keys]
    if wrong := {*digits} - {*KEYS, ",", " "}:
        raise ConfigError(f"{digits} cannot be pressed: {''.join(sorted(wrong))} is no key of a phone")
    voice = local_voice() if says else None
    spoken = [Spoken(captioned(voice.pcmu(words), words), words) for words in says] if voice else []
    return [*spoken, *pressed]


Placed = tuple[dict[str, Any], tuple[bytes, bytes]]
"""What the phone can tell of a call, and the sound of both sides."""


async def follow(
    handset: Any,
    url: str,
    caller: Caller,
    api_port: int | None,
    tell: Tell,
    other: SecondPhone | None = None,
) -> Placed:
    """A call to a webhook, from dialling to its end: what the caller lived through, step by step."""
    from bridge.simulators.carrier import WebhookFailed
    from bridge.simulators.network import network_of
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
        network_of(call).anybody = other
        placing = asyncio.create_task(call.place(url))
        await _until_over(call, placing, caller, tell)
        steps = await placing
    if not call.streams and steps[-1].kind is Kind.FAILED:
        raise WebhookFailed(steps[-1].detail)
    return _lived_through(call, steps), call.sound()


def _lived_through(call: Any, steps: list[Any]) -> dict[str, Any]:
    """What the phone can tell of a call that followed TwiML."""
    from bridge.simulators.phone import Kind

    phones: list[Any] = [simulation.machine for _, simulation in call.streams]
    refused: Counter[str] = sum((phone.refused for phone in phones), Counter())
    failed = [step for step in steps if step.kind in (Kind.FAILED, Kind.STREAM_REFUSED)]
    heard_ms = sum(phone.played_bytes for phone in phones) // 8
    return {
        "steps": [[step.at_ms, step.kind.value, step.detail] for step in steps],
        "seconds": round(steps[-1].at_ms / 1000, 2),
        "heard_ms": heard_ms,
        "clears": sum(len(phone.cleared) for phone in phones),
        "refused": dict(refused),
        "ended_by": "the caller" if steps[-1].kind is Kind.CALLER_LEFT else "the server",
        "broken": _broken(heard_ms, [f"{step.kind.value}: {step.detail}" for step in failed]),
    }


async def _until_over(call: Any, placing: asyncio.Task[Any], caller: Caller, tell: Tell) -> None:
    """Until the call is over, or it is time to hang up. A call without a stream ends by itself, and a failure
    that ends it is told as the command's own.
    """
    from bridge.simulators.phone import Kind

    told = 0
    while True:
        done = placing.done()
        steps = call.steps[told:]
        if steps and steps[-1].kind is Kind.FAILED and not call.streams:
            steps.pop()
        for step in steps:
            tell(step.at_ms, "", "  ".join(filter(None, (step.kind.value, step.detail))))
        told += len(steps)
        if done:
            return
        await asyncio.wait([placing], timeout=0.05)
        if not call.streaming.is_set():
            if call.streams:
                caller.told(call.streams[-1][1])
            if caller.leaves:
                call.hang_up()
                await placing
        elif caller.look(call.streams[-1][1], call.streams[-1][0]):
            call.hang_up()
            await placing


async def place(simulation: Any, caller: Caller) -> Placed:
    """A call that is up, to its end: the server's, or the caller's, who then hangs up."""
    phone = simulation.machine
    while not simulation.closed.done() and not caller.look(simulation):
        await asyncio.wait([simulation.closed], timeout=0.05)
    ended_by = "the server" if simulation.closed.done() else "the caller"
    if not simulation.closed.done():
        simulation.send(phone.hang_up(simulation.now_ms()))
        simulation.socket.close()
    await asyncio.wait([simulation.closed], timeout=2.0)
    caller.told(simulation)
    left, right = phone.recording()
    heard_ms = phone.played_bytes // 8
    account = {
        "seconds": round(len(left) / 8_000, 2),
        "heard_ms": heard_ms,
        "clears": len(phone.cleared),
        "refused": dict(phone.refused),
        "ended_by": ended_by,
        "broken": _broken(heard_ms, []),
    }
    return account, (left, right)


def _broken(heard_ms: int, failures: list[str]) -> str:
    """What was wrong with the call, empty for nothing."""
    return "; ".join(failures) or ("" if heard_ms else "nothing was heard")
