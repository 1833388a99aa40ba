"""`phonebridge bench load`: how many calls a machine holds, and at what delay."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from ..errors import ConfigError
from .bench_server import NotMeasured
from .options import ModelPort, Server, Token, finite

OUR_MOST = "100000"
"""Calls that our own server admits while it is measured: its limit is what is looked for."""

SETTLE_S = 3.0
"""Between the last call of a step and its measuring, or as long as it is measured, if that is less."""
FIRST = 50
MOST = 5_000
"""Where the search begins and ends."""

HELP = """Measure how many calls a server holds, and at what delay.

Each call is a phone that sends 50 frames a second, plays what it hears and echoes marks; behind the
server a model greets, and every six seconds says three seconds of something. Each 20 ms of sound carries
the time at which it left, so delays are those of the sound itself: [b]up[/] from the caller's frame to
the model, [b]down[/] from the model's delta to the caller. The network's own delay is in them.

A step is [b]held[/] if every call is there, each caller has heard the model, nothing was lost (or a
second late), nothing came out of order or to another call, and 99 of 100 frames took less than
--limit-ms. Without --calls the number of calls doubles until a step is not held; then the limit is
narrowed down to an eighth. A step that was not held is measured once more.

Phones and models run in processes of their own, one thread each; the column [b]bench[/] is the CPU of the
busier one. The bench says so when these are late or have no CPU left, or when other programs keep the
machine busy: the figures are then not the server's. Give the bench two cores more than the server, or a
machine of its own.

Without a URL the bench starts a server of this package, with its default settings. Any other server has
to use the model of this bench, whose address is printed: for a phonebridge set BRIDGE_INSECURE=1,
BRIDGE_UPSTREAM=openai, OPENAI_API_KEY=any, BRIDGE_UPSTREAM_URL as printed, and a large BRIDGE_MAX_CALLS.
"""


def load(  # noqa: PLR0913, PLR0917  an option each
    url: Server = None,
    calls: Annotated[
        str | None,
        typer.Option(help="Steps, as in 10,50,100,200; default: from 50 upwards, until one fails."),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.1, callback=finite, help="Measured seconds of each step.")
    ] = 10.0,
    limit_ms: Annotated[
        float,
        typer.Option("--limit-ms", callback=finite, help="Highest delay (p99, either way) that passes."),
    ] = 20.0,
    speed: Annotated[
        float,
        typer.Option(
            min=0.1,
            callback=finite,
            help="How many times faster than it sounds the model generates; 1 for a "
            "server that holds sound back until it is due.",
        ),
    ] = 3.0,
    upstream_host: Annotated[
        str, typer.Option(help="Address of the model; 0.0.0.0 for a server on another machine.")
    ] = "127.0.0.1",
    upstream_port: ModelPort = 9_601,
    token: Token = None,
    as_json: Annotated[bool, typer.Option("--json", help="All figures, as JSON.")] = False,
) -> None:
    """Measure how many calls a server holds, and at what delay."""
    wanted = None if calls is None else _numbers(calls)
    console = Console(stderr=as_json, highlight=False)
    plan = _Plan(wanted, limit_ms)
    model = (upstream_host, upstream_port if url is not None else 0, speed)
    asyncio.run(_load(url, plan, seconds, model, token, console))
    _report(plan, as_json)


class _Plan:
    """Which steps there are to be, and what came of those that were."""

    def __init__(self, wanted: list[int] | None, limit_ms: float) -> None:
        self.steps: list[Any] = []
        self._wanted = wanted
        self._limit_ms = limit_ms

    def next(self) -> int | None:
        from ..bench.steps import next_calls

        if self._wanted is not None:
            return self._wanted[len(self.steps)] if len(self.steps) < len(self._wanted) else None
        if self.steps and self.steps[-1][1].limit in ("bench", "machine"):
            return None  # more of the same would measure that again
        tried = {step.calls: verdict.held for step, verdict in self.steps}
        return next_calls(tried, FIRST, MOST)

    def held(self, step: Any) -> bool:
        from ..bench.steps import judged

        return judged(step, self._limit_ms).held

    def came(self, step: Any) -> None:
        from ..bench.steps import judged

        self.steps.append((step, judged(step, self._limit_ms)))

    @property
    def last(self) -> str:
        if not self.steps:
            return ""
        step, verdict = self.steps[-1]
        return f"   [dim]({step.calls} calls: {escape(verdict.words)})[/]"


async def _load(
    url: str | None, plan: _Plan, seconds: float, model: tuple[str, int, float],
    token: str | None, console: Console,
) -> None:  # fmt: skip
    from ..bench.load import Load, make_callers, serve_models
    from .bench_server import our_server

    async with contextlib.AsyncExitStack() as stack:
        models, port = await stack.enter_async_context(serve_models(*model))
        host = "THIS-MACHINE" if model[0] == "0.0.0.0" else model[0]
        upstream_url = f"ws://{host}:{port}/v1/realtime"
        if url is None:
            url = await stack.enter_async_context(our_server(upstream_url, BRIDGE_MAX_CALLS=OUR_MOST))
        else:
            console.print(
                f"the model under test is at {upstream_url}: BRIDGE_UPSTREAM_URL for our own server",
                soft_wrap=True,
            )
        callers = await stack.enter_async_context(make_callers(url, token))
        with console.status("beginning") as status:
            load = Load(url, callers, models, lambda words: status.update(f"{words}{plan.last}"))
            while (calls := plan.next()) is not None:
                step = await load.step(calls, seconds, min(seconds, SETTLE_S))
                if not step.mute and not plan.held(step):
                    # Once more: other programs have their moments, too.
                    step = await load.step(calls, seconds, 0)
                plan.came(step)
                if step.mute:
                    return


def _report(plan: _Plan, as_json: bool) -> None:
    from ..bench.load_table import table
    from ..bench.steps import as_figures, concluded

    steps = sorted(plan.steps, key=lambda one: one[0].calls)
    if not any(step.live for step, _ in steps):
        raise NotMeasured(f"not one call came about: {steps[0][1].words}")
    if all(step.mute for step, _ in steps):
        raise NotMeasured(f"nothing could be measured: {steps[0][1].words}")
    if as_json:
        figures = [as_figures(step, verdict) for step, verdict in steps]
        print(json.dumps({"steps": figures, "conclusion": concluded(steps)}))
        return
    out = Console(highlight=False)
    out.print(table(steps, "delay of the sound, by the number of calls"))
    out.print(concluded(steps))


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(one) for one in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise ConfigError(f"--calls {text}: numbers with commas between them, as in 10,50,100")
    return numbers
