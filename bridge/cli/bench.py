"""`phonebridge bench`: measures any server that speaks Media Streams, ours or another's."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Annotated, Any

import typer
from rich.console import Console

from ..errors import ConfigError
from . import bench_load
from .bench_server import NotMeasured, our_server
from .options import ModelPort, Server, Token

app = typer.Typer(no_args_is_help=True, help="Measure a server that speaks Media Streams.")


@app.callback()
def bench() -> None:
    """Measure a server that speaks Media Streams, this one or another."""


app.command("load", help=bench_load.HELP)(bench_load.load)


@app.command("barge-in")
def barge_in(
    url: Server = None,
    calls: Annotated[int, typer.Option(min=1, help="Calls of each case, at the same time.")] = 8,
    case: Annotated[list[str] | None, typer.Option(help="Only this case; may be given again.")] = None,
    upstream_port: ModelPort = 9_601,
    token: Token = None,
    seed: Annotated[int, typer.Option(help="Seed of the moments of interruption.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="The figures as JSON, with each call.")] = False,
) -> None:
    """Measure how well the model is told what the caller heard when they interrupt. Takes some ten
    seconds a case.

    The server under test has to use the model of this bench: with ours that is BRIDGE_INSECURE=1,
    BRIDGE_UPSTREAM=openai, OPENAI_API_KEY=any and BRIDGE_UPSTREAM_URL as printed here.
    """
    from ..bench.cases import CASES

    wanted = [one for one in CASES if case is None or one.name in case]
    unknown = set(case or ()) - {one.name for one in CASES}
    if unknown:
        names = ", ".join(repr(one.name) for one in CASES)
        raise ConfigError(f"there is no case {min(unknown)!r}; there is {names}")
    console = Console(stderr=as_json, highlight=False)
    found = asyncio.run(_barge_in(url, wanted, calls, upstream_port, token, seed, console))
    if not any(row["told"] for row in found):
        raise NotMeasured(_complaint(found))
    if as_json:
        print(json.dumps(found))
        return
    from ..bench.figures import table

    title = "what the model was told, against what the caller heard"
    Console(highlight=False).print(table(found, title))


async def _barge_in(
    url: str | None, cases: Any, calls: int, port: int, token: str | None, seed: int, console: Console
) -> list[dict[str, Any]]:
    from bridge.simulators.carrier import CarrierSimulator

    from ..bench.barge_in import Bench
    from ..bench.figures import figures

    measured = []
    async with contextlib.AsyncExitStack() as stack:
        bench = Bench(lambda: CarrierSimulator(auth_token=token), seed)
        upstream_url = await stack.enter_async_context(bench.upstream.serve(0 if url is None else port))
        if url is None:
            url = await stack.enter_async_context(our_server(upstream_url))
        else:
            console.print(
                f"the model under test is at {upstream_url}: BRIDGE_UPSTREAM_URL for our own server"
            )
        for one in cases:
            with console.status(f"{one.name}: {one.about}"):
                measured.append(figures(one, await bench.measure(url, one, calls)))
    return measured


def _complaint(found: list[dict[str, Any]]) -> str:
    reasons = [what for row in found for what in row["otherwise"]]
    return f"nothing could be measured: {reasons[0]}" if reasons else "nothing was measured"
