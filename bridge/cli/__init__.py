"""The command `phonebridge`, one file a command. Exits with 0, 1 (failure) or 2 (wrong use or settings)."""

from __future__ import annotations

import inspect
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from .. import __version__
from ..errors import BridgeError, ConfigError
from ..ops.ctrl_c import EXIT, end_quietly
from . import (
    bench,
    call,
    callers,
    calls,
    demo,
    doctor,
    fleet,
    fork,
    init,
    make_test,
    notices,
    number,
    phone,
    phrases,
    recorded,
    replay,
    serve,
    shadow,
    show,
    upstream,
)
from .interrupt import Again, end_at_once
from .words import printable_lines

app = typer.Typer(
    name="phonebridge",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"phonebridge {__version__}")
        raise typer.Exit


@app.callback()
def phonebridge(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A phone call on one side, a realtime speech model on the other."""


app.command("init")(init.init)
app.command("serve")(serve.serve)
app.command("demo")(demo.demo)
app.command("phone")(phone.phone)
app.command("upstream")(upstream.upstream)
app.command("replay")(replay.replay)
app.command("make-test")(make_test.make_test)
app.command("fork")(fork.fork)
app.command("show")(show.show)
app.command("shadow")(shadow.shadow)
app.command("doctor")(doctor.doctor)
app.command("call")(call.call)
app.add_typer(calls.app, name="calls")
app.add_typer(callers.app, name="callers")
app.add_typer(bench.app, name="bench")
app.add_typer(phrases.app, name="phrases")
app.add_typer(recorded.app, name="recordings")
app.add_typer(notices.app, name="notices")
app.add_typer(number.app, name="number")
app.add_typer(fleet.app, name="fleet")


def _fill_paragraphs(group: typer.Typer) -> None:
    # Typer keeps the line breaks of all paragraphs but the first: a narrow terminal would break lines twice.
    for command in group.registered_commands:
        text = inspect.getdoc(command.callback) if command.help is None else inspect.cleandoc(command.help)
        command.help = "\n\n".join(paragraph.replace("\n", " ") for paragraph in (text or "").split("\n\n"))
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            _fill_paragraphs(inner.typer_instance)


_fill_paragraphs(app)


def main() -> None:
    """Run the command line. A user's mistake is reported in one line, without a traceback."""
    end_quietly()
    if not isinstance(sys.unraisablehook, Again):
        sys.unraisablehook = Again(sys.unraisablehook)
    try:
        app()
    except ConfigError as error:
        _complain(error)
        sys.exit(2)
    except BridgeError as error:
        _complain(error)
        sys.exit(1)
    except KeyboardInterrupt:  # between two handlers, while a loop is closed
        sys.exit(EXIT)
    finally:
        end_at_once()


def _complain(error: BridgeError) -> None:
    # One line, however narrow the terminal; brackets in it are no markup, and escapes do nothing.
    line = f"[bold red]phonebridge:[/] {escape(printable_lines(str(error)))}"
    Console(stderr=True).print(line, highlight=False, soft_wrap=True)
