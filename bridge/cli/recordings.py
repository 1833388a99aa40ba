"""Recordings, as commands read and write them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import ConfigError
from .words import in_one_line, printable


def _named(file: Path) -> str:
    return printable(str(file))


def read_recording(file: Path) -> list[str]:
    """The lines of a recording. Raises ConfigError that names the file, as `lines_of` does."""
    from ..ops.recorded import lines_of

    try:
        return lines_of(file)
    except ConfigError as error:
        raise ConfigError(f"{_named(file)} can't be read as a recording: {error}") from error


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Turn any failure to read this recording into one line that names it. A recording comes from strangers:
    even an unforeseen failure is no traceback.
    """
    try:
        yield
    except ConfigError as error:
        raise ConfigError(in_one_line(f"{_named(file)}: {error}")) from error
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise ConfigError(in_one_line(f"{_named(file)} can't be understood: {why}")) from error


def write_recording(file: Path, lines: list[str]) -> None:
    """Write a recording, whole or not at all; a new one readable by its owner alone, for callers' words may
    be in it. Raises ConfigError where that can't be done.
    """
    write_whole(file, "\n".join(lines) + "\n")


def write_whole(file: Path, text: str) -> None:
    """Write a file, whole or not at all. Raises ConfigError where that can't be done."""
    file = Path(os.path.realpath(file))  # a link stays one
    unfinished = file.with_name(f".{file.name}.unfinished")
    try:
        if file.exists() and not file.is_file():  # /dev/stdout is not to be replaced
            file.write_text(text, encoding="utf-8", errors="replace", newline="\n")
            return
        mode = file.stat().st_mode & 0o777 if file.exists() else 0o600
        unfinished.touch(0o600)
        unfinished.chmod(mode)
        unfinished.write_text(text, encoding="utf-8", errors="replace", newline="\n")
        unfinished.replace(file)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        with suppress(OSError, ValueError):
            unfinished.unlink()
        raise ConfigError(
            f"{_named(file)} can't be written: {getattr(error, 'strerror', None) or error}"
        ) from error
