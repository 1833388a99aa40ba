"""Recordings, as commands read and write them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ..errors import ConfigError
from .words import in_one_line, printable

# Opening a pipe without a writer would wait without end. Windows has none in its folders.
_DO_NOT_WAIT: Final = getattr(os, "O_NONBLOCK", 0)


def _named(file: Path) -> str:
    return printable(str(file))


def read_recording(file: Path) -> list[str]:
    """The lines of a recording. Raises ConfigError for a file that can't be read, that is no file (a folder,
    a pipe), or that is larger than any recording.
    """
    from ..recording.bounds import MOST_BYTES, MOST_STEPS

    try:
        with os.fdopen(os.open(file, os.O_RDONLY | _DO_NOT_WAIT), "rb") as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise ConfigError(f"{_named(file)} can't be read as a recording: it is no file")
            raw = opened.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{_named(file)} can't be read as a recording: {why}") from error
    if len(raw) > MOST_BYTES:
        raise ConfigError(
            f"{_named(file)} can't be read as a recording: it has more than {MOST_BYTES:,} bytes"
        )
    if raw.rstrip().count(b"\n") > MOST_STEPS:
        raise ConfigError(
            f"{_named(file)} can't be read as a recording: it has more than {MOST_STEPS:,} lines"
        )
    try:
        # An editor may have put a byte order mark in front, and carriage returns behind.
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{_named(file)} can't be read as a recording: {error.reason}, byte {error.start}"
        ) from error
    return text.rstrip("\n").split("\n")


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
