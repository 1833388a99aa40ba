"""`phonebridge recordings`: the calls of the folder; their sound and words as files; their deletion."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..errors import ConfigError
from .options import RecordedCall, RecordingsFolder, configured
from .recordings import read_recording, reading, write_whole
from .words import printable

if TYPE_CHECKING:
    from bridge.ops.recorded import Recorded

_NARROW = 100
"""Columns of a terminal up to which only a call's name says when it began."""

app = typer.Typer(no_args_is_help=True, help="List recorded calls, hear them as files, delete them.")

_Json = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]
_As = Annotated[
    Literal["wav", "ogg", "vtt", "json"],
    typer.Option("--as", help="Sound (wav; ogg needs soundfile), captions (vtt), or everything said (json)."),
]


@app.callback()
def recordings() -> None:
    """List recorded calls, hear them as files, delete them.

    Calls are recorded where BRIDGE_RECORDINGS names a folder; their sound with BRIDGE_RECORD_AUDIO=1.
    """


@app.command("ls")
def ls(folder: RecordingsFolder = None, as_json: _Json = False) -> None:
    """The calls of the folder, oldest first: when, how long, how they ended, whether sound was kept.

    A copy beside its recording (`NAME.masked`, `NAME.trimmed`) is named there, and is no call of its own.
    """
    from bridge.ops.recorded import originals, recorded

    every = list(recorded(_place(folder)))
    found = originals(every)
    copies = {one.name: [copy.name for copy in every if copy.copy_of == one.name] for one in found}
    if as_json:
        print(json.dumps([{**_facts(one), "copies": copies[one.name]} for one in found]))
        return
    console = Console(highlight=False)
    wide = console.width > _NARROW
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("call", no_wrap=True)
    for name in (*(["began (UTC)"] if wide else []), "length", "ended", "agent", "sound", "size", ""):
        table.add_column(name, overflow="fold")
    for one in found:
        length = f"{one.duration_ms // 60_000}:{one.duration_ms // 1_000 % 60:02}"
        began = [one.at[:19].replace("T", " ")] if wide else []
        cells = (one.name, *began, length, one.end or "–", one.agent or "–")
        size = f"{one.size_bytes / 1_000:,.0f} kB"
        table.add_row(
            *(escape(printable(cell)) for cell in cells),
            "yes" if one.sound else "–",
            size,
            escape(printable(", ".join([*(["held"] if one.held else []), *map(_copy, copies[one.name])]))),
        )
    console.print(table)


@app.command("show")
def show(
    call: RecordedCall,
    folder: RecordingsFolder = None,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("call.html"),
    as_json: _Json = False,
) -> None:
    """Draw one call of the folder as a picture, as `phonebridge show FILE` does."""
    from .show import show as draw

    draw(one_call(call, folder).path, out=out, as_json=as_json)


@app.command("export")
def export(
    call: RecordedCall,
    form: _As = "wav",
    folder: RecordingsFolder = None,
    out: Annotated[
        Path | None, typer.Option(help="The file to write; default: the recording's name, here.")
    ] = None,
) -> None:
    """Write a call as a file that other programs read.

    wav and ogg have two channels: left the caller, right what the caller *heard*, cut where they cut it off.
    vtt has the heard words as captions. json has the conversation with what was generated and not heard.
    """
    from ..recording import SUFFIX

    path = one_call(call, folder).path
    target = out or Path(f"{path.name.removesuffix(SUFFIX)}.{form}")
    lines = read_recording(path)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with reading(path):
        difference = _WRITERS[form](lines, target)
    if difference:
        console.print(f"[yellow]{escape(printable(difference))}[/]")
    console.print(f"{escape(printable(str(target)))}  ({target.stat().st_size / 1_000:,.0f} kB)")


@app.command("delete")
def delete(
    call: Annotated[str | None, typer.Option("--call", help="The call's id, or a name of a file.")] = None,
    older_than: Annotated[
        int | None, typer.Option(min=1, help="All that were last written more days ago.", metavar="DAYS")
    ] = None,
    folder: RecordingsFolder = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: _Json = False,
) -> None:
    """Delete recordings: those of one call, or all that are older.

    A file NAME.hold keeps its recording. Exits with 1 if anything asked for is left. `deletions.jsonl` in the
    folder keeps when it was done, and the SHA-256 of the call's id.
    """
    from bridge.ops import recorded

    place = _place(folder)
    if (call is None) == (older_than is None):
        raise ConfigError("say either --call CALL or --older-than DAYS")
    found = recorded.find(place, call) if call is not None else recorded.older(place, older_than or 0)
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    if found and not yes:
        for one in found:
            console.print(escape(printable(one.name)))
        typer.confirm(f"delete {len(found)} recording{'s' * (len(found) > 1)}?", abort=True, err=as_json)
    left = recorded.delete(place, found)
    if as_json:
        print(
            json.dumps(
                {
                    "deleted": [one.name for one in found if one not in left],
                    "left": [one.name for one in left],
                }
            )
        )
    console.print(
        f"{len(found) - len(left)} deleted" + (f", {len(left)} left: held, or refused" if left else "")
    )
    raise typer.Exit(1 if left else 0)


def _copy(name: str) -> str:
    return f"+{name.partition('.')[2]}"


def _facts(one: Recorded) -> dict[str, Any]:
    return {
        "name": one.name,
        "file": str(one.path),
        "call_sid": one.call_sid,
        "at": one.at,
        "duration_ms": one.duration_ms,
        "end": one.end,
        "agent": one.agent,
        "model": one.model,
        "sound": one.sound,
        "size_bytes": one.size_bytes,
        "held": one.held,
    }


def _place(folder: Path | None) -> Path:
    """The folder of recordings. Raises ConfigError if none is named, or it does not exist."""
    place = folder or _configured()
    if place is None:
        raise ConfigError("no folder of recordings is known: set BRIDGE_RECORDINGS, or say --dir DIR")
    if not place.is_dir():
        raise ConfigError(f"{place} is no folder")
    return place


def _configured() -> Path | None:
    folder = configured("BRIDGE_RECORDINGS")
    return Path(folder) if folder else None


def one_call(call: str, folder: Path | None) -> Recorded:
    """The recording of that call, and not a copy of it unless that is named."""
    from bridge.ops.recorded import find, originals

    found = originals(find(folder or _configured(), call))
    if len({one.path for one in found}) > 1:
        names = ", ".join(one.name for one in found)
        raise ConfigError(
            f"{call} has {len(found)} recordings, one for each process or stream; say which: {names}"
        )
    return found[0]


def _wav(lines: list[str], out: Path) -> str:
    from ..recording.channels import channels
    from .wav import write_stereo

    both = channels(lines)
    write_stereo(out, both.caller, both.heard)
    return _other_today(lines)


def _ogg(lines: list[str], out: Path) -> str:
    from ..recording.channels import channels
    from .wav import write_ogg

    both = channels(lines)
    write_ogg(out, both.caller, both.heard)
    return _other_today(lines)


def _vtt(lines: list[str], out: Path) -> str:
    from ..picture import tell
    from ..picture.transcript import webvtt

    write_whole(out, webvtt(tell(lines)))
    return _other_today(lines)


def _json(lines: list[str], out: Path) -> str:
    from ..picture import tell
    from ..picture.facts import summary
    from ..picture.transcript import transcript

    story = tell(lines)
    told = {"at": story.header.at, **summary(story), "transcript": transcript(story)}
    write_whole(out, json.dumps(told, ensure_ascii=False, indent=1) + "\n")
    return _other_today(lines)


def _other_today(lines: list[str]) -> str:
    """Why the file may not have what the caller heard: this version decides otherwise. "" where it does
    not.
    """
    from ..recording import replay

    difference = replay(lines).difference
    if difference is None:
        return ""
    return (
        f"this version of phonebridge decides otherwise from line {difference.line} on, at "
        f"{difference.t_ms / 1_000:.1f} s: from there the file has what it would have sent"
    )


_WRITERS: dict[str, Callable[[list[str], Path], str]] = {"wav": _wav, "ogg": _ogg, "vtt": _vtt, "json": _json}
