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
async def embedded(port: int = 0, *, answers: str = "embedded") -> AsyncIterator[str]:
    """A rehearsal's server, while the block runs; gives its base URL. `answers`: embedded, which is the front
    desk, or parrot.
    """
    from bridge.simulators.rehearsal import Rehearsal, transcript
    from bridge.simulators.servers import EmbeddedUpstream
    from bridge.simulators.voice import Speaker, local_voice

    from ..doubles.agents import Parrot
    from ..doubles.options import ServerOptions
    from ..doubles.realtime import RealtimeServer
    from ..sounds import demo_text, load_demo

    speaker = Speaker(local_voice())
    mind = Rehearsal(Parrot(load_demo("greeting"), demo_text("greeting")), speaker, answers=answers)

    def server() -> RealtimeServer:
        return RealtimeServer(mind, ServerOptions(transcribe=transcript, created_at_s=int(time.time())))

    try:
        async with EmbeddedUpstream(server, keep=False).serve(port) as url:
            yield url
    finally:
        speaker.close()


def upstream(
    port: Annotated[int, typer.Option(help="Port on loopback; 0 takes a free one and prints it.")] = 9600,
) -> None:
    """A Realtime server without a model, for any Realtime client.

    A front desk by script that obeys its session: it greets, says what it is told to, and calls the tools.
    With ?model=parrot in the URL a parrot repeats what it hears.
    """
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_upstream(port))


async def _upstream(port: int) -> None:
    async with embedded(port) as url:
        told = f"ready: {url}?model=parrot repeats what it hears, other models obey (Ctrl-C ends it)"
        Console().print(told, highlight=False, soft_wrap=True)
        await asyncio.Event().wait()
