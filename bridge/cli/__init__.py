"""The command `phonebridge`: one file a command. Each exits 0 on success, 2 on wrong use or settings, 1 on
failure.
"""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from ..errors import BridgeError, ConfigError
from . import demo, phone, replay, serve, upstream

app = typer.Typer(
    name="phonebridge",
    help="A phone call on one side, a realtime speech model on the other.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("serve")(serve.serve)
app.command("demo")(demo.demo)
app.command("phone")(phone.phone)
app.command("upstream")(upstream.upstream)
app.command("replay")(replay.replay)


def main() -> None:
    """Run the command line. Mistakes of the user's are one readable line, never a traceback."""
    try:
        app()
    except ConfigError as error:
        Console(stderr=True).print(f"[bold red]settings:[/] {error}", highlight=False)
        sys.exit(2)
    except BridgeError as error:
        Console(stderr=True).print(f"[bold red]error:[/] {error}", highlight=False)
        sys.exit(1)
