"""`phonebridge demo`: server, embedded upstream and simulated phone in one go, without any key."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

TOKEN = "invented-for-the-demo"  # noqa: S105  it signs this one call, on loopback
TAIL_S = 1.5


def demo(
    audio: Annotated[
        Path | None, typer.Option(help="What the caller says (WAV or .ulaw); default: bundled speech.")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Stereo WAV: left the caller, right what the caller heard.")
    ] = Path("call.wav"),
    as_json: Annotated[bool, typer.Option("--json", help="The account as JSON.")] = False,
) -> None:
    """Place a call to a parrot: it greets, then answers with what it heard. Takes as long as the call
    does.
    """
    from ..sounds import load_demo
    from .wav import read_speech, write_stereo

    speech = read_speech(audio) if audio else load_demo("caller")
    console = Console(stderr=as_json)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        progress.add_task(f"on the phone for {len(speech) / 8_000 + TAIL_S:.0f} s", total=None)
        account, sound = asyncio.run(_call(speech))
    write_stereo(out, *sound)
    if as_json:
        print(json.dumps({**account, "wav": str(out)}))
    else:
        _print(console, account, out)


async def _call(speech: bytes) -> tuple[dict[str, Any], tuple[bytes, bytes]]:
    from .. import app, service
    from ..handset import Handset
    from ..settings import load_settings
    from .phone import place
    from .upstream import embedded

    sock = service.listen("127.0.0.1", 0)
    base = f"http://127.0.0.1:{sock.getsockname()[1]}"
    settings = load_settings(
        demo=True,
        public_url=base,
        twilio_auth_token=TOKEN,
        upstream="embedded",
        env_file=None,
        disclosure=False,
    )
    observer = Account()
    async with embedded() as upstream_url:
        exchange = service.make_exchange(settings, upstream_url=upstream_url, observers=(observer,))
        async with service.serving(app.create_app(settings, exchange), sock):
            handset = Handset(speech, auth_token=TOKEN)
            observer.placed()
            heard, sound = await place(handset, f"{base}/incoming-call", TAIL_S)
            await exchange.shut_down()
    return {**observer.account(), "phone": heard}, sound


class Account:
    """Watches the one call of the demo and can tell what happened."""

    def __init__(self) -> None:
        self.events: list[tuple[int, Any]] = []
        self.ended: Any = None
        self.stats: Any = None

    def placed(self) -> None:
        self.events.clear()

    def call_began(self, _call_sid: str) -> None: ...

    def call_did(self, _call_sid: str, action: Any, now_ms: int) -> None:
        self.events.append((now_ms, action))

    def call_ended(self, _call_sid: str, ended: Any, stats: Any) -> None:
        self.ended, self.stats = ended, stats

    def account(self) -> dict[str, Any]:
        """Times in ms since the webhook arrived."""
        stats = self.stats
        return {
            "answered_after_ms": stats.began_ms,
            "first_audio_after_ms": stats.first_audio_ms,
            "turns": stats.turns,
            "turn_latencies_ms": stats.turn_latencies_ms,
            "barge_ins": [
                {
                    "at_ms": b.at_ms,
                    "item": b.item_id,
                    "heard_ms": b.heard_ms,
                    "cut_off_ms": b.received_ms - b.heard_ms,
                }
                for b in stats.barge_ins
            ],
            "ended": self.ended.reason.value,
            "ended_after_ms": stats.ended_ms,
        }


def _print(console: Console, account: dict[str, Any], out: Path) -> None:
    table = Table(title="the call", show_header=False, title_justify="left", title_style="bold")
    table.add_column(style="cyan")
    table.add_column()
    table.add_row("answered after", f"{account['answered_after_ms']} ms")
    table.add_row("first audio after", f"{account['first_audio_after_ms']} ms")
    latencies = ", ".join(f"{ms} ms" for ms in account["turn_latencies_ms"])
    table.add_row(
        "turns", f"{account['turns']} (answered after {latencies})" if latencies else str(account["turns"])
    )
    for barge_in in account["barge_ins"]:
        at_s = barge_in["at_ms"] / 1000
        table.add_row(
            "barge-in",
            f"at {at_s:.2f} s: heard {barge_in['heard_ms']} ms of {barge_in['item']}, "
            f"cut off {barge_in['cut_off_ms']} ms; the model was told",
        )
    table.add_row("ended", f"{account['ended']}, after {account['ended_after_ms'] / 1000:.2f} s")
    table.add_row("listen", f"{out} (left: the caller, right: what the caller heard)")
    console.print(table)
