"""`phonebridge doctor`: what would keep a real call from working, and what to do about it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from .words import printable

if TYPE_CHECKING:
    from bridge.doctor.checks import Check


def doctor(
    agent: Annotated[str | None, typer.Option(help="The agent, as module:attribute (BRIDGE_AGENT).")] = None,
    canary: Annotated[
        bool, typer.Option("--canary", help="Compare the live API's events with our double's; about a cent.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The checks as JSON.")] = False,
) -> None:
    """Check the settings, accounts and addresses that calls need.

    Checks settings, key, PUBLIC_URL (reachable, TLS, upgrade, signature) and the number's webhook. Exits 1 if
    something is wrong. `--canary`, by hand or each night, holds a short conversation with the model instead,
    and exits 1 where its events are not those that our simulated one sends.
    """
    from bridge.doctor.checks import Doctor, examine_wrong
    from bridge.settings.rules import WrongSettings
    from bridge.settings.settings import load_settings

    given: dict[str, Any] = {} if agent is None else {"agent": agent}
    try:
        one = Doctor(load_settings(**given))
        checks = asyncio.run(one.canary() if canary else one.examine())
    except WrongSettings as error:
        checks = examine_wrong(error)
    wrong = [check for check in checks if not check.ok]
    if as_json:
        found = [{"check": one.name, "ok": one.ok, "what": one.what, "cure": one.cure} for one in checks]
        print(json.dumps({"ok": not wrong, "checks": found}))
    else:
        show(checks, Console())
    raise typer.Exit(1 if wrong else 0)


def show(checks: list[Check], console: Console) -> None:
    """One line a check, and one more where there is something to do."""
    for check in checks:
        sign = "[green]✓[/]" if check.ok else "[red]✗[/]"
        # A setting's sentence begins with its name.
        about = "" if check.what.startswith(check.name) else f"{check.name}: "
        console.print(f"{sign} {about}{escape(printable(check.what))}", highlight=False, soft_wrap=True)
        if not check.ok:
            console.print(f"  → {escape(printable(check.cure))}", highlight=False, soft_wrap=True)
