"""`phonebridge notices`: what other systems were to be told and have not taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..errors import ConfigError
from .options import configured

app = typer.Typer(no_args_is_help=True, help="See and repeat notices that did not arrive.")

_Folder = Annotated[
    Path | None, typer.Option("--dir", help="The folder; default: notices, beside BRIDGE_JOURNAL.")
]


@app.callback()
def notices() -> None:
    """See and repeat notices that did not arrive.

    `serve` tells the addresses of BRIDGE_NOTICES of calls. A notice that is not taken is tried again for a
    day and a half, and then laid aside; so is one whose address answered 410.
    """


@app.command("ls")
def ls(
    folder: _Folder = None, as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False
) -> None:
    """How many notices wait, and how many were given up."""
    from ..ops.notices.spool import given_up, on_their_way

    place = _place(folder)
    found = {"waiting": len(on_their_way(place)), "given_up": len(given_up(place))}
    if as_json:
        print(json.dumps(found))
        return
    words = f"{found['waiting']} on their way, {found['given_up']} given up, in {place}"
    cure = "; `phonebridge notices retry` takes those up again" if found["given_up"] else ""
    Console(highlight=False, soft_wrap=True).print(words + cure)


@app.command("retry")
def retry(folder: _Folder = None) -> None:
    """Take up again what was given up: the next start of `serve` delivers it."""
    from ..ops.notices.spool import given_up, take_up

    taken = take_up(given_up(_place(folder)))
    then = "; they leave when `serve` starts again" if taken else ""
    Console(highlight=False, soft_wrap=True).print(f"{taken} taken up{then}")


def _place(folder: Path | None) -> Path:
    """Where notices wait. Raises ConfigError where that is nowhere: without a journal they are in the memory
    of `serve`.
    """
    from ..settings.values import default_journal

    if folder is not None:
        if not folder.is_dir():
            raise ConfigError(f"{folder} is no folder")
        return folder
    journal = (configured("BRIDGE_JOURNAL") or "").strip()
    memory = "notices wait in the memory of `serve` only; or say --dir DIR"
    if journal.lower() == "off":
        raise ConfigError(f"BRIDGE_JOURNAL is off: {memory}")
    if not journal and _simulated():
        raise ConfigError(f"BRIDGE_JOURNAL is not set, and calls are simulated here: {memory}")
    return (Path(journal).expanduser() if journal else default_journal()).with_name("notices")


def _simulated() -> bool:
    """Whether `serve` would keep no journal of itself."""
    from urllib.parse import urlsplit

    from ..sockets.peers import is_loopback

    insecure = (configured("BRIDGE_INSECURE") or "").strip().lower() in {"1", "true", "on", "yes", "t", "y"}
    return insecure or is_loopback(urlsplit(configured("PUBLIC_URL") or "").hostname)
