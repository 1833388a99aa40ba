"""`phonebridge number`: the account's numbers, where they lead, and leading them here."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape

from ..errors import ConfigError
from .words import printable

if TYPE_CHECKING:
    from ..server.phone_numbers.leading import Leading
    from ..server.phone_numbers.numbers import PhoneNumber
    from ..server.phone_numbers.plan import Plan
    from ..server.phone_numbers.rest import NumberRest

app = typer.Typer(no_args_is_help=True, help="See the account's numbers, and lead them here.")

_Number = Annotated[str, typer.Argument(help="The number, like +15550100001.")]
_Yes = Annotated[bool, typer.Option("--yes", help="Change it without asking.")]
_Json = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]
NO_MODEL: Final = "embedded"
"""No model is asked, so no key of one is needed."""


@app.callback()
def number() -> None:
    """See the account's numbers, and lead them here.

    Numbers are those of TWILIO_ACCOUNT_SID and of the accounts in BRIDGE_ROUTES. None is bought or released.
    """


@app.command("list")
def list_(as_json: _Json = False) -> None:
    """Show each number, what answers it, and whether it leads here."""
    with _opened() as (rest, leading):
        found = [
            _told(one, leading.base, account.name or "main")
            for account in rest.accounts
            for one in rest.numbers(account)
        ]
    if as_json:
        print(json.dumps(found))
        return
    console = _console()
    if not found:
        console.print("the accounts have no numbers")
    for one in found:
        here = "[green]here[/]" if one["here"] else "[yellow]elsewhere[/]"
        console.print(f"{one['number']}  {here}  {escape(printable(one['handler']))}  ({one['account']})")
        for name in ("fallback", "status_callback"):
            if one[name]:
                console.print(f"  {name.replace('_', ' ')}: {escape(printable(one[name]))}")


@app.command("set")
def set_(
    number: _Number,
    fallback: Annotated[
        str | None,
        typer.Option(help="What Twilio asks when this bridge is down: the https address of TwiML elsewhere."),
    ] = None,
    yes: _Yes = False,
    as_json: _Json = False,
) -> None:
    """Lead a number here: show what changes and what breaks, then change it.

    Sets the voice webhook with two more tries, the status callback, and the fallback that --fallback names.
    What was there is kept, and `number unset` puts it back. Exits 1 if something is to change and was not.
    """
    if fallback is not None and not fallback.startswith("https://"):
        raise typer.BadParameter("write an https:// address", param_hint="--fallback")
    with _opened() as (_rest, leading):
        account, found = leading.found(number)
        plan = leading.plan_set(account, found, fallback)
        _carry_out(plan, yes, as_json, lambda: leading.set(account, plan))


@app.command("unset")
def unset(number: _Number, yes: _Yes = False, as_json: _Json = False) -> None:
    """Lead a number back to where it led before `number set`.

    Exits 1 if something is to change and was not.
    """
    with _opened() as (_rest, leading):
        account, found = leading.found(number)
        plan = leading.plan_unset(found)
        _carry_out(plan, yes, as_json, lambda: leading.unset(account, plan))


@app.command("test")
def check(
    number: _Number,
    as_json: _Json = False,
    call: Annotated[
        bool, typer.Option("--call", help="Place one paid call to it, and write down what the carrier does.")
    ] = False,
    from_: Annotated[
        str | None, typer.Option("--from", help="Another number of the account, for --call.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where --call writes what it saw.")] = Path("carrier-trial.json"),
    yes: Annotated[bool, typer.Option("--yes", help="Place the call without asking; it is billed.")] = False,
) -> None:
    """Check that calls to a number would reach this bridge. No call is placed without --call.

    Exits 1 if something is wrong. With --call, `serve` must not run meanwhile: this command answers at its
    address. It measures when marks come after a clear, when Twilio asks what follows a stream and a dialled
    call, how long a stream is gone, whether keys are heard as sound, and how exactly a cut is known. The file
    has no number and no id, so that it can be contributed. This part was tried against the simulated carrier
    only.
    """
    if call:
        _try(number, from_, out, yes, as_json)
    else:
        _check(number, as_json)


def _check(number: str, as_json: bool) -> None:
    import asyncio

    from ..doctor.checks import Check, Doctor
    from ..settings.settings import load_settings
    from .doctor import show

    with _opened() as (_rest, leading):
        account, found = leading.found(number)
        plan = leading.plan_set(account, found, None)
    cure = f"`phonebridge number set {found.number}` shows what it would change, and changes it"
    checks = [Check("number", f"{found.number}: {found.handler}", "" if not plan.changes else cure)]
    checks += [Check("number", sentence, "see `phonebridge number set --help`") for sentence in plan.remarks]
    checks += asyncio.run(Doctor(load_settings(upstream=NO_MODEL)).front_door(leading.base))
    wrong = [one for one in checks if not one.ok]
    if as_json:
        told = [{"check": one.name, "ok": one.ok, "what": one.what, "cure": one.cure} for one in checks]
        print(json.dumps({"ok": not wrong, "checks": told}))
    else:
        show(checks, _console())
    raise typer.Exit(1 if wrong else 0)


def _try(number: str, from_: str | None, out: Path, yes: bool, as_json: bool) -> None:
    """One paid call, once that is told."""
    import asyncio

    from ..server.phone_numbers.trial import COST, try_call
    from ..server.routing.reading import read_accounts
    from ..server.routing.routing import environment
    from ..settings.settings import load_settings

    with _opened() as (rest, leading):
        account, found = leading.found(number)
        others = [one for one in rest.numbers(account) if one.number != found.number and one.has_voice]
        caller = leading.found(from_)[1].number if from_ else next((one.number for one in others), None)
    if caller is None:
        raise ConfigError("the account has no second number to call from: name one with --from")
    if not found.leads_here(f"{leading.base}/incoming-call"):
        raise ConfigError(f"{found.number} does not lead here: see `phonebridge number set`")
    if not as_json:
        _console().print(f"{caller} calls {found.number}: {COST}")
    if not yes and (as_json or not _confirmed("place it? [y/N] ")):
        raise ConfigError("no call was placed; --yes places it")
    settings = load_settings(upstream=NO_MODEL)
    result = asyncio.run(try_call(settings, read_accounts(settings, environment()), found.number, caller))
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if as_json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            _console().print(f"  {name}: {value}")
        _console().print(f"written to {out}")


def _carry_out(plan: Plan, yes: bool, as_json: bool, change: Callable[[], PhoneNumber]) -> None:
    """Show it, and do it if that is told: by --yes, or by y at a terminal."""
    told = {
        "number": plan.number.number,
        "handler": plan.number.handler,
        "changes": [one._asdict() for one in plan.changes],
        "breaks": list(plan.breaks),
        "remarks": list(plan.remarks),
    }
    if not as_json:
        _show(plan)
    wanted = yes or (not as_json and bool(plan.changes) and _confirmed())
    changed = bool(plan.changes) and wanted
    if changed:
        change()
    if as_json:
        print(json.dumps({**told, "changed": changed}))
    elif changed:
        _console().print("changed, and read back")
    elif plan.changes:
        _console().print("nothing was changed; --yes changes it")
    raise typer.Exit(0 if changed or not plan.changes else 1)


def _confirmed(question: str = "change it? [y/N] ") -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    return input(question).strip().lower() in ("y", "yes")


def _show(plan: Plan) -> None:
    console = _console()
    console.print(f"{plan.number.number}: {escape(printable(plan.number.handler))}")
    for change in plan.changes:
        old, new = (escape(printable(value)) or "nothing" for value in (change.old, change.new))
        console.print(f"  {change.field}: {old} [bold]→[/] {new}")
    if not plan.changes:
        console.print("  nothing is to change")
    for sentence in plan.breaks:
        console.print(f"  [red]breaks:[/] {escape(printable(sentence))}")
    for sentence in plan.remarks:
        console.print(f"  [yellow]note:[/] {escape(printable(sentence))}")


def _told(one: PhoneNumber, base: str, account: str) -> dict[str, Any]:
    from ..server.phone_numbers.numbers import plain
    from ..server.twiml import Links

    fallback, callback = one.fields["voice_fallback_url"], one.fields["status_callback"]
    return {
        "number": one.number,
        "account": account,
        "handler": one.handler,
        "here": one.leads_here(Links.below(base).incoming_call),
        "fallback": plain(fallback) if fallback else "",
        "status_callback": plain(callback) if callback else "",
    }


@contextlib.contextmanager
def _opened() -> Iterator[tuple[NumberRest, Leading]]:
    from ..server.phone_numbers.leading import Leading
    from ..server.phone_numbers.rest import NumberRest
    from ..server.routing.reading import read_accounts
    from ..server.routing.routing import environment
    from ..settings.settings import load_settings

    settings = load_settings(upstream=NO_MODEL)
    rest = NumberRest(settings, read_accounts(settings, environment()))
    with contextlib.closing(rest):
        yield rest, Leading(settings, rest)


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)
