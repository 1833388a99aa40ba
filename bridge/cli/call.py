"""`phonebridge call NUMBER`: one call out, from the queue to its end."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from .calling import AgentOption, ConsentOption, FromOption, KeyOption, PortOption, ServerOption, source
from .interrupt import until_interrupted
from .words import printable

if TYPE_CHECKING:
    from bridge.server.outbound.calls import Wanted
    from bridge.server.outbound.handles import CallResult, Source

PERSON, FAILED, UNREACHED, MACHINE = 0, 1, 3, 4


Number = Annotated[str, typer.Argument(help="The number to call: +1555…, or as it is dialled at home.")]
Context = Annotated[
    list[str] | None,
    typer.Option(help="name=value, what the agent shall know about the call; may be given several times."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say whether the call may be placed now, and place none.")
]
AsJson = Annotated[bool, typer.Option("--json", help="The result as JSON; states go to stderr.")]


def call(  # noqa: PLR0913, PLR0917  options
    number: Number,
    agent: AgentOption = None,
    from_: FromOption = None,
    consent: ConsentOption = "",
    context: Context = None,
    dry_run: DryRun = False,
    server: ServerOption = None,
    key: KeyOption = "",
    port: PortOption = None,
    as_json: AsJson = False,
) -> None:
    """Call one number, and tell what becomes of it.

    [bold]phonebridge call +1555… --consent "my own phone" --agent agent:agent[/]

    Serves while it runs, as `phonebridge serve` would: PUBLIC_URL has to
    lead here, BRIDGE_OUTBOUND=1 and BRIDGE_CALL_FROM have to be set. With
    --server a server that runs already is asked instead.

    Exits with 0 when a person answered, 4 for a machine, 3 for busy,
    declined or no answer, 1 when the call failed or a rule forbids it (its
    name is told), 2 for wrong use or settings. Ctrl-C takes the call back.
    """
    wanted = _wanted(number, from_, (agent or "") if server is not None else "", context or [], consent)

    async def placed() -> int:
        async with source(server, key, agent if server is None else None, port) as place:
            return await (_checked(place, wanted, as_json) if dry_run else _called(place, wanted, as_json))

    sys.exit(until_interrupted(placed))


def _wanted(number: str, from_: str | None, agent: str, context: list[str], consent: str) -> Wanted:
    from bridge.server.outbound.calls import Wanted

    from ..errors import ConfigError

    pairs = [one.partition("=") for one in context]
    if any(not equals or not name for name, equals, _ in pairs):
        raise ConfigError("--context is name=value, as in --context name=Ada")
    given = {name: value for name, _, value in pairs}
    return Wanted(to=number, from_=from_ or "", agent=agent, context=given, consent=consent)


async def _checked(place: Source, wanted: Wanted, as_json: bool) -> int:
    found = dict(await place.check(wanted))
    if as_json:
        print(json.dumps({"would_call": found["to"], "from": found["from"]}))
    else:
        print(f"{found['to']} would be called now, from {found['from']}; no call was placed")
    return PERSON


async def _called(place: Source, wanted: Wanted, as_json: bool) -> int:
    from bridge.server.outbound.handles import PlacedCall
    from bridge.server.outbound.record import new_ref

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    placed = PlacedCall(place, await place.place(wanted, new_ref(), None))
    try:
        async for status in placed:
            if status.state != "done":
                console.print(f"[cyan]{status.state:>10}[/]")
        result = await placed.done()
    except BaseException:  # Ctrl-C too: no one waits for this call any more
        await placed.cancel()
        raise
    if as_json:
        print(json.dumps(told(result)))
    else:
        _tell(Console(highlight=False, soft_wrap=True), result)
    return exit_code(result)


def exit_code(result: CallResult) -> int:
    """What the command exits with."""
    if result.outcome in ("busy", "no_answer", "declined"):
        return UNREACHED
    if result.outcome != "completed":
        return FAILED
    return MACHINE if result.by_machine else PERSON


def told(result: CallResult) -> dict[str, object]:
    """The result as JSON: everything but what is empty."""
    names = type(result).__dataclass_fields__
    return {name: value for name in names if (value := getattr(result, name)) not in ("", 0, None, ())}


def _tell(console: Console, result: CallResult) -> None:
    for line in result.transcript:
        console.print(f"[cyan]{line['who']:>10}[/]  {escape(printable(line['said']))}")
    facts = [result.outcome]
    facts += [f"answered by {result.answered_by}"] if result.answered_by else []
    facts += [f"message {result.message}"] if result.message else []
    facts += [f"rang {result.ring_ms / 1000:.0f} s"] if result.ring_ms else []
    facts += [f"lasted {result.talk_s} s"] if result.talk_s else []
    facts += [f"SIP {result.sip_code}"] if result.sip_code not in (0, 200) else []
    facts += [f"${result.cost:.4f}"] if result.cost else []
    facts += [result.reason] if result.reason else []
    console.print(f"[bold]{'done':>10}[/]  {escape(printable(' · '.join(facts)))}")
