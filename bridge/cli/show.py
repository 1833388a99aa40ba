"""`phonebridge show FILE`: one recorded call as a picture."""

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


MOST_SOUND_MS = 600_000
"""Of a longer call the page holds no sound: it would not open any more."""


def show(
    file: Annotated[Path, typer.Argument(help="A recording (*.call.jsonl).")],
    out: Annotated[Path, typer.Option(help="The page to write: one HTML file, no network.")] = Path(
        "call.html"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="The summary as JSON.")] = False,
) -> None:
    """Draw a recorded call as a picture.

    Who said what, what the caller heard of it, and what the model was told.
    """
    from ..picture import page, tell
    from ..picture.facts import facts, summary

    lines = read_recording(file)
    with reading(file):
        story = tell(lines)
        drawn = page(story, file.name.removesuffix(".jsonl").removesuffix(".call"), _sound(story, lines))
    write_whole(out, drawn)
    if as_json:
        print(json.dumps({"html": str(out), **summary(story)}))
        return
    console = Console()
    for name, value in facts(story):
        console.print(f"[cyan]{name:>26}[/]  {escape(printable(value))}", highlight=False)
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
