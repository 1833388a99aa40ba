"""`phonebridge upstream`: the embedded server alone. Any client of Realtime or GPT-Live can connect."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import functools
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from bridge.doubles.live_options import LiveOptions
    from bridge.doubles.options import ServerOptions
    from bridge.settings.settings import Settings
    from bridge.simulators.certificates import Certificate


class Dialect(enum.StrEnum):
    """Of Realtime, and GPT-Live."""

    OPENAI = "openai"
    AZURE = "azure"
    XAI = "xai"
    GPT_LIVE = "gpt-live"


@contextlib.asynccontextmanager
async def embedded(
    settings: Settings,
    port: int = 0,
    *,
    certificate: Certificate | None = None,
    dialect: Dialect = Dialect.OPENAI,
) -> AsyncIterator[str]:
    """A rehearsal's server, while the block runs; gives its base URL. With a certificate it speaks TLS.
    Raises ConfigError for ears or a voice that were named and cannot be had.
    """
    from bridge.simulators.rehearsal import rehearsing
    from bridge.simulators.servers import EmbeddedLive, EmbeddedUpstream

    async with contextlib.AsyncExitStack() as stack:
        rehearsal = rehearsing(
            settings.upstream,
            ears=settings.ears,
            voice=settings.voice_file,
            turns=settings.turns,
            options=_options(dialect),
        )
        hosts = EmbeddedLive if dialect is Dialect.GPT_LIVE else EmbeddedUpstream
        upstream = hosts(await stack.enter_async_context(rehearsal), keep=False)
        yield await stack.enter_async_context(upstream.serve(port, certificate=certificate))


def _options(dialect: Dialect) -> Callable[..., ServerOptions | LiveOptions]:
    """What makes the options of a server of that vendor's."""
    from bridge.doubles.azure import azure_options
    from bridge.doubles.live_options import LiveOptions
    from bridge.doubles.options import ServerOptions
    from bridge.doubles.xai import xai_options

    makes: dict[Dialect, Callable[..., ServerOptions | LiveOptions]] = {
        Dialect.OPENAI: ServerOptions,
        Dialect.AZURE: azure_options,
        Dialect.XAI: xai_options,
        Dialect.GPT_LIVE: functools.partial(LiveOptions, paraphrase=str),
    }
    return makes[dialect]


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
    dialect: Annotated[
        Dialect,
        typer.Option(
            help="Whose dialect it speaks, as far as that is known: OpenAI's, Azure's or xAI's of Realtime, "
            "or GPT-Live, which listens and speaks at once."
        ),
    ] = Dialect.OPENAI,
) -> None:
    """A server without a model, for clients of Realtime or GPT-Live.

    A front desk by script that obeys its session: it greets, says what it is told to, and calls the tools.
    With ?model=parrot in the URL (of GPT-Live: as the session's model) a parrot repeats what it hears.

    It prints the settings with which `phonebridge serve` takes it for that vendor. No key is needed, and
    nothing leaves this machine.
    """
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_upstream(port, tls, dialect))


async def _upstream(port: int, tls: bool, dialect: Dialect) -> None:
    from bridge.doubles.azure import DEPLOYMENT, SCRIBE
    from bridge.settings.settings import load_settings
    from bridge.simulators.certificates import self_signed

    settings = load_settings(insecure=True, upstream="embedded")
    console = Console(highlight=False, soft_wrap=True)
    with self_signed() if tls else contextlib.nullcontext() as certificate:
        async with embedded(settings, port, certificate=certificate, dialect=dialect) as url:
            if certificate is not None:
                path = certificate.certificate
                console.print(f"trust: SSL_CERT_FILE={path} (Python), NODE_EXTRA_CA_CERTS={path} (Node)")
            parrot = " with the model parrot" if dialect is Dialect.GPT_LIVE else "?model=parrot"
            console.print(f"ready: {url}{parrot} repeats what it hears, other models obey (Ctrl-C ends it)")
            named = (
                f" BRIDGE_MODEL={DEPLOYMENT} BRIDGE_TRANSCRIBE={SCRIBE}" if dialect is Dialect.AZURE else ""
            )
            console.print(f"serve with: BRIDGE_UPSTREAM={dialect} BRIDGE_UPSTREAM_URL={url}{named}")
            await asyncio.Event().wait()
