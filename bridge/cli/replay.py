"""`phonebridge replay FILE…`: recordings, exactly; and shorter ones made of them."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from ..errors import ConfigError
from .options import ResultAsJson
from .recordings import read_recording, reading, write_recording
from .words import printable, printable_lines

_SPAN = re.compile(r"(\d*\.?\d*):(\d*\.?\d*)")


@dataclass(frozen=True, slots=True)
class _How:
    """What is to be made of the recordings, besides replaying them."""

    strict: bool
    accept: bool
    minimize: bool
    mask: bool
    trim_ms: tuple[int, int | None] | None
    out: Path | None

    @property
    def makes_another(self) -> bool:
        return self.minimize or self.mask or self.trim_ms is not None


def replay(
    files: Annotated[list[Path], typer.Argument(help="Recordings (*.call.jsonl).")],
    strict: Annotated[
        bool, typer.Option(help="Compare every frame, not only decisions about what was heard.")
    ] = False,
    accept: Annotated[
        bool, typer.Option(help="Write the new decisions into the recording, after an intended change.")
    ] = False,
    trim: Annotated[
        str | None,
        typer.Option(
            help="Write seconds A:B of the call, and its beginning, into another recording.", metavar="A:B"
        ),
    ] = None,
    mask: Annotated[
        bool, typer.Option(help="Write another recording without words, numbers, keys and sound.")
    ] = False,
    minimize: Annotated[
        bool, typer.Option(help="Write the shortest inputs that still differ into another recording.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Path of the other recording; default: next to the first.")
    ] = None,
    as_json: ResultAsJson = False,
) -> None:
    """Play recorded calls again, and show the first difference.

    The inputs are fed at their times and what follows is compared; exit 1 if something differs. Sound,
    network and user code take no part.
    """
    how = _How(strict, accept, minimize, mask, None if trim is None else span_ms(trim), out)
    if sum((accept, minimize, mask, trim is not None)) > 1:
        raise ConfigError("one of --accept, --trim, --mask and --minimize at a time")
    if out is not None and (len(files) != 1 or not how.makes_another):
        raise ConfigError("--out says where --trim, --mask or --minimize of one recording goes")
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    found = [_one(file, how, console) for file in files]
    if as_json:
        print(json.dumps(found))
    raise typer.Exit(0 if all(one["same"] or one["accepted"] for one in found) else 1)


def span_ms(text: str) -> tuple[int, int | None]:
    """`A:B` in seconds; without A from the beginning, without B to the end. Raises ConfigError for anything
    else.
    """
    found = _SPAN.fullmatch(text)
    if found is not None:
        from_ms = round(float(found[1] or 0) * 1000)
        to_ms = round(float(found[2]) * 1000) if found[2] else None
        if to_ms is None or to_ms > from_ms:
            return from_ms, to_ms
    raise ConfigError(f"--trim wants A:B in seconds, such as 12.5:40, and not {text!r}")


def _one(file: Path, how: _How, console: Console) -> dict[str, Any]:
    from ..recording import describe
    from ..recording import replay as replay_lines

    lines = read_recording(file)
    began_s = time.perf_counter()
    with reading(file):
        result = replay_lines(lines, strict=how.strict)
    took_s = time.perf_counter() - began_s
    difference = result.difference
    told: dict[str, Any] = {
        "file": str(file),
        "same": difference is None,
        "accepted": False,
        "steps": result.steps,
        "call_ms": result.end_ms,
        "took_ms": round(took_s * 1000),
    }
    if difference is None:
        speed = f"{result.end_ms / 1000:,.1f} s of call in {took_s:.2f} s"
        console.print(f"[green]same[/]     {_shown(file)}  ({speed})")
    else:
        told["difference"] = {
            "line": difference.line,
            "at_ms": difference.t_ms,
            "expected": difference.expected,
            "got": difference.got,
        }
        console.print(f"[red]differs[/]  {_shown(file)}\n{escape(printable_lines(describe(difference)))}")
    for how_it_ends in (result.truncated and f"it was cut short: {result.truncated}", result.torn and "torn"):
        if how_it_ends:
            console.print(f"         its end is missing: {_shown(how_it_ends)}")
    if how.accept:
        with reading(file):
            outputs = result.outputs
        told["accepted"] = _accept(file, lines, outputs, console)
    elif how.makes_another:
        told["written"] = _another(file, lines, how, console, same=difference is None)
    return told


def _shown(words: object) -> str:
    """A recording's words or a file's name for the terminal: one line, no markup, nothing that it obeys."""
    return escape(printable(str(words)))


def _accept(file: Path, lines: list[str], outputs: list[str], console: Console) -> bool:
    if outputs == lines:
        return False
    write_recording(file, outputs)
    changed = len(set(outputs) - set(lines))
    console.print(f"[yellow]accepted[/] {_shown(file)}: {changed} lines are others now")
    return True


def _another(file: Path, lines: list[str], how: _How, console: Console, *, same: bool) -> str | None:
    """Write the other recording. Returns its path; None if there is nothing to write."""
    from ..recording.editing import minimized, trimmed
    from ..recording.masking import masked

    made: list[str] | None
    with reading(file):
        if how.minimize:
            name = "minimal"
            with console.status("leaving things out") as status:
                made = minimized(
                    lines,
                    strict=how.strict,
                    progress=lambda left: status.update(f"leaving things out: {left:,} steps are left"),
                )
        elif not same:
            raise ConfigError("it does not replay: --accept it, or --minimize it, before it is changed")
        elif how.mask:
            name, made = "masked", masked(lines)
        else:
            from_ms, to_ms = how.trim_ms or (0, None)
            name, made = "trimmed", trimmed(lines, from_ms, to_ms)
    if made is None:
        console.print("         nothing differs, so there is nothing to minimize")
        return None
    from ..recording import SUFFIX

    out = how.out or file.with_name(f"{file.name.removesuffix(SUFFIX)}.{name}{SUFFIX}")
    write_recording(out, made)
    console.print(f"[cyan]{name:<8}[/] {_shown(out)}: {len(made)} of {len(lines)} lines")
    return str(out)
