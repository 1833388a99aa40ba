"""How long recordings are kept: files are deleted by age, and the sound in them sooner.

A file `NAME.hold` beside a recording keeps it as it is, until that file is removed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from bridge.errors import ConfigError
from bridge.recording import SUFFIX
from bridge.recording.header import read_header
from bridge.recording.silencing import silenced

logger = logging.getLogger(__name__)

HOLD: Final = ".hold"
_A_DAY_S: Final = 86_400
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def purge(folder: Path, days: int, now: datetime) -> int:
    """Delete the recordings in this folder that were last written this many days ago, but for those that are
    held. Returns how many.
    """
    gone = 0
    for path in older_than(folder, days, now):
        if is_held(path):
            continue
        with suppress(OSError):  # another process was faster, or owns it
            path.unlink()
            gone += 1
    if gone:
        logger.info("%d recordings older than %d days deleted", gone, days)
    return gone


def purge_sound(folder: Path, days: int, now: datetime) -> int:
    """Take the sound out of the recordings that were last written this many days ago, but for those that are
    held; they replay as before, and keep their times. Returns how many had some.
    """
    gone = 0
    for path in older_than(folder, days, now):
        if is_held(path):
            continue
        try:
            gone += _silence(path)
        except (OSError, ConfigError) as error:
            logger.warning("the sound of %s can't be deleted: %s", path.name, error)
    if gone:
        logger.info("sound of %d recordings older than %d days deleted", gone, days)
    return gone


def _silence(path: Path) -> bool:
    """Take the sound out of this recording, whole or not at all; False if it had none."""
    with path.open(encoding="utf-8", newline="\n") as file:
        if not read_header(file.readline()).sound:
            return False
        file.seek(0)
        unfinished = path.with_name(f".{path.name}.unfinished")
        try:
            with os.fdopen(os.open(unfinished, _NEW, 0o600), "w", encoding="utf-8", newline="\n") as sink:
                sink.writelines(f"{line}\n" for line in silenced(line.rstrip("\n") for line in file))
            written = path.stat()
            os.utime(unfinished, ns=(written.st_atime_ns, written.st_mtime_ns))
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return True


def files(folder: Path) -> list[Path]:
    """The recordings of this folder by name. Links, pipes and hidden files are left out: to open a pipe may
    take for ever.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        return sorted(folder / entry.name for entry in entries if _is_recording(entry))
    return []


def _is_recording(entry: os.DirEntry[str]) -> bool:
    named = entry.name.endswith(SUFFIX) and not entry.name.startswith(".")
    return named and entry.is_file(follow_symlinks=False)


def older_than(folder: Path, days: int, now: datetime) -> Iterator[Path]:
    """The recordings of this folder that were last written this many days ago."""
    oldest_s = now.timestamp() - days * _A_DAY_S
    for path in files(folder):
        with suppress(OSError):
            if path.stat().st_mtime < oldest_s:
                yield path


def is_held(path: Path) -> bool:
    """Whether a file beside this recording keeps it from deletion."""
    return path.with_name(path.name.removesuffix(SUFFIX) + HOLD).exists()
