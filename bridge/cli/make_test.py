"""`phonebridge make-test CALL --at 41.2`: a moment of a recorded call becomes a test."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape

from ..errors import ConfigError
from .options import RecordedCall, RecordingsFolder, ResultAsJson, finite
from .recorded import one_call
from .recordings import read_recording, reading, write_recording, write_whole
from .words import printable

if TYPE_CHECKING:
    from ..recording.make_test import MadeTest
    from ..recording.marks import Mark, Wish

_Kind = Literal["tool", "cut", "words", "latency", "silence", "end", "note"]
_At = Annotated[float | None, typer.Option(callback=finite, help="The moment, in seconds of the call.")]
_Should = Annotated[
    str | None,
    typer.Option(
        help="What should have happened: heard MS, no-cut, answered-in MS, silence MS, tool NAME "
        "[ARGUMENT=VALUE …], no-tool NAME, words TEXT. Without it the test pins what happened.",
        metavar="WISH",
    ),
]
_Expect = Annotated[_Kind | None, typer.Option(help="What the test is about, of what is near.")]
_Pick = Annotated[int | None, typer.Option(min=1, help="The one of that number in --list.")]
_List = Annotated[bool, typer.Option("--list", help="Show what a test could be about, and stop.")]
_Words = Annotated[bool, typer.Option(help="Leave what was said readable.")]
_Sound = Annotated[bool, typer.Option(help="Leave its sound too; wants --keep-words.")]
_Out = Annotated[Path, typer.Option(help="Where the two files go.", metavar="DIR")]


def make_test(  # noqa: PLR0913, PLR0917  the options of a command
    call: RecordedCall,
    at: _At = None,
    should: _Should = None,
    expect: _Expect = None,
    pick: _Pick = None,
    list_: _List = False,
    keep_words: _Words = False,
    keep_sound: _Sound = False,
    folder: RecordingsFolder = None,
    out: _Out = Path("tests/calls"),
    as_json: ResultAsJson = False,
) -> None:
    """Make a test of a moment in a recorded call.

    The result is a masked recording, the shortest in which the moment is as it was, and a pytest file about
    it. The test is red as long as what --should says does not hold; without it, it pins what happened.
    """
    from ..recording.marks import wish_of

    wish = None if should is None else wish_of(should)
    if keep_sound and not keep_words:
        raise ConfigError("--keep-sound wants --keep-words: words are in the sound")
    if at is None and pick is None and not list_:
        raise ConfigError("say which moment: --at SECONDS; --list shows what a test could be about")
    chosen = _Chosen(one_call(call, folder).path, at, wish, expect)
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    if list_:
        _listed(chosen.near, console, as_json=as_json)
        return
    made = chosen.made(pick, keep_words=keep_words, keep_sound=keep_sound)
    recording, test = _written(made, out)
    red = _red(recording, made)
    _told(made, recording, test, red, chosen.path, console)
    if as_json:
        print(json.dumps(_facts(made, recording, test, red)))


class _Chosen:
    """A recording, and what of it happens near a moment: everything where none is said."""

    def __init__(self, path: Path, at: float | None, wish: Wish | None, expect: str | None) -> None:
        from ..recording.marks import marks_of, near
        from ..recording.moments import walk_through

        self.path, self._wish = path, wish
        self._at_ms = None if at is None else round(at * 1000)
        if expect is not None and wish is not None and wish.kinds and expect not in wish.kinds:
            about = " or ".join(wish.kinds)
            raise ConfigError(f"--expect {expect}: what --should says is about {about}")
        self._kinds = (expect,) if expect is not None else (() if wish is None else wish.kinds)
        self._lines = read_recording(path)
        with reading(path):
            self._call = walk_through(self._lines, self._at_ms)
            self._marks = marks_of(self._call.facts)
        self.near = near(self._marks, self._at_ms, self._kinds)

    def made(self, pick: int | None, *, keep_words: bool, keep_sound: bool) -> MadeTest:
        """The test of the mark that is meant. Raises ConfigError where there is none."""
        from ..recording.cutting import AFTER_MS
        from ..recording.make_test import make_test as made_of
        from ..recording.make_test import must_replay
        from ..recording.marks import nearest

        with reading(self.path):
            mark = nearest(self._marks, self._at_ms, self._kinds, pick)
            if self._wish is None:
                must_replay(self._lines, mark.at_ms + AFTER_MS)
            sha256 = hashlib.sha256(self.path.read_bytes()).hexdigest()
            call, wish = self._call, self._wish
            return made_of(call, mark, wish, sha256=sha256, keep_words=keep_words, keep_sound=keep_sound)


def _written(made: MadeTest, out: Path) -> tuple[Path, Path]:
    """Two new files; none is ever overwritten."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{out} can't be made: {error.strerror}") from error
    number, files = 1, made.files()
    while any((out / name).exists() for name in files):
        number += 1
        files = made.files(f"{made.name}-{number}")
    recording, test = (out / name for name in files)
    write_recording(recording, made.recording)
    write_whole(test, files[test.name])
    return recording, test


def _red(recording: Path, made: MadeTest) -> bool | None:
    """Whether the test fails today; None where pytest is not installed."""
    try:
        import pytest

        from ..testing.replayed import RecordedCall
    except ImportError:
        return None
    call = RecordedCall(recording, compare=not made.wished)
    if call.difference() is not None:
        return True
    try:
        for one in made.assertions:
            getattr(call.expect, one.method)(*one.values, **one.named)
    except pytest.fail.Exception:
        return True
    return False


def _listed(found: list[Mark], console: Console, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([{"number": n, **_mark(mark)} for n, mark in enumerate(found, 1)]))
        return
    for number, mark in enumerate(found, 1):
        words = escape(printable(mark.words))
        console.print(f"{number:>4}  {mark.at_ms / 1000:>8.2f} s  [cyan]{mark.kind:<8}[/] {words}")
    if not found:
        console.print("nothing that a test can be about")


def _mark(mark: Mark) -> dict[str, Any]:
    return {"kind": mark.kind, "at_ms": mark.at_ms, "what": mark.words}


def _told(
    made: MadeTest, recording: Path, test: Path, red: bool | None, path: Path, console: Console
) -> None:
    from ..recording.cutting import AFTER_MS

    mark = made.mark
    console.print(f"[cyan]{mark.at_ms / 1000:.2f} s[/]  {escape(printable(mark.words))}")
    size, of = recording.stat().st_size / 1000, path.stat().st_size / 1000
    end = f"{(mark.at_ms + AFTER_MS) / 1000:.1f}"
    cut = f"{made.from_ms / 1000:.1f} to {end} s" if made.from_ms else f"from the beginning to {end} s"
    state = "masked" if made.masked else "[yellow]with everybody's words[/]"
    console.print(f"{escape(printable(str(recording)))}  {size:,.0f} of {of:,.0f} kB: {cut}, {state}")
    if made.kept:
        console.print(f"readable in it: {escape(printable(', '.join(made.kept)))}")
    colour = {True: "[red]red today[/]", False: "[green]green today[/]", None: "not run: pytest is missing"}
    why = "it says what should have happened" if made.wished else "it pins what happened; --should says more"
    console.print(f"{escape(printable(str(test)))}  {colour[red]}: {why}")


def _facts(made: MadeTest, recording: Path, test: Path, red: bool | None) -> dict[str, Any]:
    return {
        "recording": str(recording),
        "test": str(test),
        **_mark(made.mark),
        "from_ms": made.from_ms,
        "masked": made.masked,
        "kept": list(made.kept),
        "expects": [one.code for one in made.assertions],
        "wished": made.wished,
        "red": red,
    }
