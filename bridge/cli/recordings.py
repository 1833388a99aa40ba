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
