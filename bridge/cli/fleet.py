"""`phonebridge fleet`: the machines that share a store, what each of them carries, and letting one go."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from ..errors import BridgeError, ConfigError
from .options import configured
from .words import printable

if TYPE_CHECKING:
    from ..server.fleet.machine_commands import MachineCommands
    from ..server.store.claims import Machine

app = typer.Typer(help="See the machines of one service, and let one go.")

_Json = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]
_STORE_MS: Final = 2_000
_OPERATOR: Final = "operator"


@app.callback(invoke_without_command=True)
def fleet(
    context: typer.Context,
    as_json: _Json = False,
    calls: Annotated[bool, typer.Option("--calls", help="Show each call, too.")] = False,
    moves: Annotated[
        bool, typer.Option("--moves", help="Show the latest calls that moved between machines.")
    ] = False,
) -> None:
    """Show the machines that share BRIDGE_STORE: calls, room, lease, version.

    A machine renews its lease every 3 s and has 10 s of it; one whose lease is over is shown for an hour, and
    its calls have gone on elsewhere.
    """
    if context.invoked_subcommand is None:
        asyncio.run(_show(as_json, calls=calls, moves=moves))


@app.command("drain")
def drain(
    machine: Annotated[str, typer.Argument(help="Its name, as `phonebridge fleet` shows it.")],
    undo: Annotated[bool, typer.Option("--undo", help="Let it take calls again.")] = False,
    as_json: _Json = False,
) -> None:
    """Tell a machine to take no new calls and to hand over those that it has.

    It goes on running, and says `draining` at /readyz, until it is stopped or told otherwise. Calls that do
    not end by themselves within its BRIDGE_DRAIN_SECONDS go on in other machines.
    """
    asyncio.run(_drain(machine, undo=undo, as_json=as_json))


async def _show(as_json: bool, *, calls: bool, moves: bool) -> None:
    async with _fleet() as (machines, asking):
        found = [_told(one) for one in machines]
        live = [one for one, machine in zip(found, machines, strict=True) if machine.live]
        for name, wanted in (("calls", calls), ("moves", moves)):
            if wanted:
                answers = await asyncio.gather(*(_asked(asking, one["machine"], name) for one in live))
                for one, answer in zip(live, answers, strict=True):
                    one[f"{name}_listed"] = answer
    if as_json:
        print(json.dumps(found))
        return
    console = Console(highlight=False)
    if not found:
        console.print("no machine has shown itself in the last hour")
        return
    console.print(_table(found))
    for one in found:
        _print_calls(console, one)
        _print_moves(console, one)


def _told(one: Machine) -> dict[str, Any]:
    status = one.status
    state = "lost" if not one.live else "draining" if status.draining else "live"
    return {
        "machine": one.process.machine,
        "state": state,
        "calls": status.calls,
        "capacity": status.capacity,
        "lease_s": round(one.lease_ms / 1000, 1),
        "version": status.version,
        "address": status.address,
        "config": status.config,
    }


def _table(found: list[dict[str, Any]]) -> Table:
    """Machines whose settings differ from those of most are marked: their calls could not move."""
    configs = [one["config"] for one in found if one["state"] != "lost"]
    usual = max(configs, key=configs.count, default="")
    table = Table(box=None, pad_edge=False)
    for name in ("machine", "state"):
        table.add_column(name)
    for name in ("calls", "of", "lease"):
        table.add_column(name, justify="right")
    table.add_column("version")
    colours = {"live": "green", "draining": "yellow", "lost": "red"}
    for one in found:
        odd = one["state"] != "lost" and one["config"] != usual
        colour = colours[one["state"]]
        lease = f"{one['lease_s']:.0f} s" if one["lease_s"] > 0 else f"over for {-one['lease_s']:.0f} s"
        table.add_row(
            printable(one["machine"]),
            f"[{colour}]{one['state']}[/]" + (" [red]other settings[/]" if odd else ""),
            *(str(one["calls"]), str(one["capacity"]), lease),
            printable(one["version"]),
        )
    return table


def _print_calls(console: Console, one: dict[str, Any]) -> None:
    if (listed := one.get("calls_listed")) is None:
        return
    console.print(f"\n{printable(one['machine'])}: {_count(listed, 'call')}")
    for call in listed if isinstance(listed, list) else ():
        minutes, seconds = divmod(int(call["seconds"]), 60)
        away = "  away on a transfer" if call["away"] else ""
        console.print(f"  {printable(str(call['call_sid']))}  {minutes}:{seconds:02}{away}")


def _print_moves(console: Console, one: dict[str, Any]) -> None:
    if (listed := one.get("moves_listed")) is None:
        return
    console.print(f"\n{printable(one['machine'])}: {_count(listed, 'recent move')}")
    for move in listed if isinstance(listed, list) else ():
        silent = f", {move['silent_ms']} ms silent" if move.get("silent_ms") is not None else ""
        where = f"{move.get('from') or 'an unknown machine'} → {one['machine']}"
        console.print(f"  {printable(str(move.get('call_sid', '')))}  {printable(where)}{silent}")


def _count(listed: Any, what: str) -> str:
    if not isinstance(listed, list):
        return str(listed)
    return f"{len(listed)} {what}{'' if len(listed) == 1 else 's'}"


async def _asked(asking: MachineCommands, machine: str, op: str) -> Any:
    """The machine's answer, or the reason in words."""
    from ..server.fleet.machine_commands import Refused
    from ..server.store.claims import StoreError
    from ..server.store.commands import NoAnswer

    try:
        return await asking.ask(machine, op)
    except NoAnswer:
        return "no answer"
    except (Refused, StoreError) as error:
        return str(error)


async def _drain(machine: str, *, undo: bool, as_json: bool) -> None:
    async with _fleet() as (machines, asking):
        names = [one.process.machine for one in machines if one.live]
        if machine not in names:
            known = f"live are: {', '.join(names)}" if names else "no machine is live"
            raise ConfigError(f"there is no live machine {machine}; {known}")
        if not undo and len(names) == 1:
            raise ConfigError(f"{machine} is the only live machine: its calls could go nowhere")
        answer = await _asked(asking, machine, "undrain" if undo else "drain")
    if not isinstance(answer, dict):
        raise BridgeError(f"{machine}: {answer}")
    if as_json:
        print(json.dumps({"machine": machine, "draining": not undo, **answer}))
    elif undo:
        print(f"{machine} takes calls again")
    else:
        print(f"{machine} takes no new calls; {_left(answer['calls'])}. `phonebridge fleet` shows them go.")


def _left(calls: int) -> str:
    return {0: "it has no calls", 1: "it still has 1 call"}.get(calls, f"it still has {calls} calls")


def _store() -> tuple[str, str, Path | None]:
    """Address, prefix and certificates of the store, as `serve` reads them."""
    from ..settings.fleet import store_url
    from ..settings.values import Wrong

    if (given := configured("BRIDGE_STORE")) is None:
        raise ConfigError("set BRIDGE_STORE to the store that the machines share")
    try:
        url = store_url(given).get_secret_value()
    except Wrong as wrong:
        raise ConfigError(f"BRIDGE_STORE {wrong.what}; {wrong.cure}") from None
    ca = configured("BRIDGE_STORE_CA")
    return url, configured("BRIDGE_STORE_PREFIX") or "pb", None if ca is None else Path(ca).expanduser()


@contextlib.asynccontextmanager
async def _fleet() -> AsyncIterator[tuple[tuple[Machine, ...], MachineCommands]]:
    """The machines in the store of these settings, and a way to ask them. Raises ConfigError without a store,
    BridgeError for one that does not answer.
    """
    from ..server.fleet.machine_commands import MachineCommands
    from ..server.store.claims import StoreError

    url, prefix, ca = _store()
    from ..server.store.redis_claims import RedisClaims
    from ..server.store.redis_commands import RedisCommands
    from ..server.store.redis_connection import connect

    claims = RedisClaims(connect(url, ca, socket_s=_STORE_MS / 1000), prefix)
    commands = RedisCommands(lambda socket_s: connect(url, ca, socket_s), prefix)
    try:
        async with asyncio.timeout(_STORE_MS / 1000):
            machines = await claims.machines()
        yield machines, MachineCommands(_OPERATOR, commands, {})
    except StoreError as error:
        raise BridgeError(f"the store does not answer: {error}") from None
    except TimeoutError:
        raise BridgeError(f"the store does not answer within {_STORE_MS} ms") from None
    finally:
        await commands.close()
        await claims.close()
