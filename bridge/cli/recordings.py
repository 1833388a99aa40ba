"""Recordings, as commands read and write them."""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError


def read_recording(file: Path) -> list[str]:
    """The lines of a recording. Raises ConfigError for a file that can't be read."""
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} can't be read as a recording: {error}") from error


def write_recording(file: Path, lines: list[str]) -> None:
    """Write a recording, whole or not at all; a new one for its owner alone, for somebody's words may be in
    it. Raises ConfigError where that can't be done.
    """
    unfinished = file.with_name(f".{file.name}.unfinished")
    try:
        mode = file.stat().st_mode & 0o777 if file.exists() else 0o600
        unfinished.touch(0o600)
        unfinished.chmod(mode)
        unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
        unfinished.replace(file)
    except OSError as error:
        raise ConfigError(f"{file} can't be written: {error}") from error
