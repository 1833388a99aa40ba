"""`phonebridge upstream`: the embedded Realtime server alone. Any Realtime client can connect."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from bridge.simulators.certificates import Certificate


@contextlib.asynccontextmanager
async def embedded(
    port: int = 0, *, answers: str = "embedded", certificate: Certificate | None = None
) -> AsyncIterator[str]:
    """A rehearsal's server, while the block runs; gives its base URL. `answers`: embedded, which is the front
    desk, or parrot. With a certificate it speaks TLS.
    """
    from bridge.simulators.ears import listening, speech_detector
    from bridge.simulators.rehearsal import PARROT, Rehearsal, transcript
    from bridge.simulators.servers import EmbeddedUpstream
    from bridge.simulators.voice import Speaker, local_voice

    from ..doubles.agents import Parrot
    from ..doubles.options import ServerOptions
    from ..doubles.realtime import RealtimeServer
    from ..sounds import demo_text, load_demo

    speaker = Speaker(local_voice())
    mind = Rehearsal(Parrot(load_demo("greeting"), demo_text("greeting")), speaker, answers=answers)

    async with contextlib.AsyncExitStack() as stack:
        stack.callback(speaker.close)
        hears = answers != PARROT
        process = await stack.enter_async_context(listening()) if hears else None

        def server() -> RealtimeServer:
            ears = None if process is None else process.session()
            detector = speech_detector() if hears else None
            now_s = int(time.time())
            options = ServerOptions(ears=ears, detector=detector, transcribe=transcript, created_at_s=now_s)
            return RealtimeServer(mind, options)

        upstream = EmbeddedUpstream(server, keep=False)
        yield await stack.enter_async_context(upstream.serve(port, certificate=certificate))


def upstream(
    port: Annotated[int, typer.Option(help="Port on loopback; 0 takes a free one and prints it.")] = 9600,
    tls: Annotated[
        bool,
        typer.Option(
            "--tls",
            help="Speak wss, for SDKs that accept nothing else. The certificate is made for this run; its "
            "path is printed.",
        ),
    ] = False,
) -> None:
    """A Realtime server without a model, for any Realtime client.

    A front desk by script that obeys its session: it greets, says what it is told to, and calls the tools.
    With ?model=parrot in the URL a parrot repeats what it hears.
    """
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_upstream(port, tls))


async def _upstream(port: int, tls: bool) -> None:
    from bridge.simulators.certificates import self_signed

    console = Console(highlight=False, soft_wrap=True)
    with self_signed() if tls else contextlib.nullcontext() as certificate:
        async with embedded(port, certificate=certificate) as url:
            if certificate is not None:
                path = certificate.certificate
                console.print(f"trust: SSL_CERT_FILE={path} (Python), NODE_EXTRA_CA_CERTS={path} (Node)")
            console.print(
                f"ready: {url}?model=parrot repeats what it hears, other models obey (Ctrl-C ends it)"
            )
            await asyncio.Event().wait()
