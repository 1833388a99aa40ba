"""Options that take a number refuse what is none: no bound holds against NaN."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from bridge.cli import app


def options(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every option with a fraction, behind the names of its command."""
    for child in getattr(command, "commands", {}).values():
        yield from options(child, (*path, child.name))
    for option in command.params:
        if option.type_descriptor.annotation is float:
            yield (*path, option.opts[0])


FOUND = list(options(typer.main.get_command(app)))


@pytest.mark.parametrize("text", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("words", FOUND, ids=" ".join)
def test_what_is_no_number_is_refused(words: tuple[str, ...], text: str) -> None:
    result = CliRunner().invoke(app, [*words, text])
    assert result.exit_code == 2, result.exception
    assert words[-1] in result.output


def test_there_are_such_options() -> None:
    assert ("fork", "--max-usd") in FOUND
    assert ("make-test", "--at") in FOUND
