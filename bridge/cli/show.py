"""`phonebridge show FILE`: one recorded call as a picture; `show DIR`: all of a folder as a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from .recordings import read_recording, reading, write_whole
from .words import printable

if TYPE_CHECKING:
    from ..picture import Story
    from ..picture.beside import Beside
    from ..picture.folder import CallRow


MOST_SOUND_MS = 600_000
"""Of a longer call the page holds no sound: it would not open any more."""


def show(
    file: Annotated[Path, typer.Argument(help="A recording (*.call.jsonl), or a folder of them.")],
    other: Annotated[
        Path | None, typer.Argument(help="A second one on the same axis, such as its fork.", metavar="[FILE]")
    ] = None,
    out: Annotated[Path, typer.Option(help="The page to write: one HTML file, no network.")] = Path(
        "call.html"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="The summary as JSON.")] = False,
) -> None:
    """Draw a recorded call as a picture.

    Who said what, what the caller heard of it, and what the model was told. A folder becomes a table of its
    calls, the one with the largest truncation error on top. With a second recording, both calls stand on one
    axis; of one that was forked or cut out of the first, a line shows where they part.
    """
    if file.is_dir() and other is None:
        _show_folder(file, out, as_json=as_json)
        return
    from ..picture import page, tell
    from ..picture.facts import facts, summary

    lines = read_recording(file)
    beside = None if other is None else _beside(other)
    with reading(file):
        story = tell(lines)
        drawn = page(story, _name(file), _sound(story, lines), beside=beside)
    write_whole(out, drawn)
    if as_json:
        print(json.dumps({"html": str(out), **summary(story)}))
        return
    console = Console()
    for name, value in facts(story):
        console.print(f"[cyan]{name:>26}[/]  {escape(printable(value))}", highlight=False)
    _written(console, out, drawn)


def _name(file: Path) -> str:
    return file.name.removesuffix(".jsonl").removesuffix(".call")


def _beside(file: Path) -> Beside:
    from ..picture import tell
    from ..picture.beside import Beside

    lines = read_recording(file)
    with reading(file):
        return Beside.of(tell(lines), _name(file))


def _show_folder(folder: Path, out: Path, *, as_json: bool) -> None:
    """What came of every call is read from its lines: none is replayed."""
    from bridge.ops.recorded_index import listed

    from ..picture.folder import CallRow, counts, folder_page

    rows: list[CallRow] = []
    for one in listed(folder):
        found, came = one.recorded, one.outcome
        if found is None or came is None:
            rows.append(CallRow(one.name, unreadable=one.unreadable))
            continue
        rows.append(
            CallRow(
                one.name,
                at=found.at,
                caller=found.caller,
                agent=found.agent,
                model=found.model,
                duration_ms=found.duration_ms,
                end=found.end,
                barge_ins=came.barge_ins,
                error_ms=came.largest_error_ms,
                tools=came.tools,
                tools_failed=came.tools_failed,
                faults=[*came.faults, *([came.torn] if came.torn else [])],
            )
        )
    drawn = folder_page(rows, str(folder))
    write_whole(out, drawn)
    if as_json:
        print(json.dumps({"html": str(out), "calls": len(rows), "rows": [_facts(row) for row in rows]}))
        return
    console = Console()
    console.print(escape(printable(counts(rows))), highlight=False)
    _written(console, out, drawn)


def _facts(row: CallRow) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(row)


def _written(console: Console, out: Path, drawn: str) -> None:
    size = f"({len(drawn) // 1000:,} kB)"
    console.print(f"[cyan]{'picture':>26}[/]  {escape(printable(str(out)))} {size}", highlight=False)


def _sound(story: Story, lines: list[str]) -> bytes | None:
    """The call as a WAV file, where its sound was recorded."""
    from ..codecs.wav import stereo_of
    from ..recording.channels import channels

    if not story.header.sound or story.end_ms > MOST_SOUND_MS:
        return None
    both = channels(lines)
    return stereo_of(both.caller, both.heard)
