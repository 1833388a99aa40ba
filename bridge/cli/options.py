"""Options that several commands have."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated

import typer


def finite(value: float | None) -> float | None:
    """The number of an option. Raises BadParameter for NaN, which no bound refuses, and infinity."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no number to count with.")
    return value


Server = Annotated[
    str | None,
    typer.Argument(
        help="The server's webhook (http, https) or stream (ws, wss); default: this server, started here."
    ),
]
ModelPort = Annotated[
    int, typer.Option(help="Port of the bench's model, which the server under test has to dial.")
]
Token = Annotated[
    str | None, typer.Option(help="Sign as the carrier, with this token.", envvar="TWILIO_AUTH_TOKEN")
]
StereoWav = Annotated[Path, typer.Option(help="Stereo WAV: left the caller, right what the caller heard.")]
ReportAsJson = Annotated[
    bool, typer.Option("--json", help="Print the report as JSON; the story goes to stderr.")
]
ResultAsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
RecordingsFolder = Annotated[
    Path | None, typer.Option("--dir", help="The folder; default: BRIDGE_RECORDINGS.", metavar="DIR")
]
RecordedCall = Annotated[
    str, typer.Argument(help="A recording, its name, or the call's id (its last eight characters do).")
]
A_MODEL = (
    "embedded, or module:mind for one of yours, in virtual time; openai or another upstream, or the ws:// or "
    "wss:// address of one that speaks as OpenAI's, in real time."
)


def configured(name: str) -> str | None:
    """A setting as `serve` reads it, the environment before `.env`; None where it is not set."""
    from dotenv import dotenv_values

    return os.environ.get(name) or dotenv_values(".env").get(name) or None
