"""`phonebridge replay FILE…`: recordings, exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def replay(
    files: Annotated[list[Path], typer.Argument(help="Recordings (*.call.jsonl).")],
    strict: Annotated[
        bool, typer.Option(help="Compare every frame, not only those that bear the truth.")
    ] = False,
) -> None:
    """Feed a recording's inputs at their times and compare what comes out; exit 1 at the first difference,
    shown.
    """
    from ..recording import describe
    from ..recording import replay as replay_lines

    console = Console()
    failed = 0
    for file in files:
        result = replay_lines(file.read_text(encoding="utf-8").splitlines(), strict=strict)
        if result.difference is None:
            console.print(f"[green]same[/]  {file}", highlight=False)
        else:
            failed += 1
            console.print(f"[red]differs[/]  {file}\n{describe(result.difference)}", highlight=False)
    raise typer.Exit(1 if failed else 0)
