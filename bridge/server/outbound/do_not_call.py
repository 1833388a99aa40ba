"""Numbers that are never called again: a file of the operator's, which calls write to as well.

One number a line, as E.164; what follows a # is a note. A number that ends with * stands for all that begin
so. The file is read again when it has changed. May be used from any thread.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import threading
from pathlib import Path
from typing import Final

from bridge.server.store.own_files import open_own

logger = logging.getLogger(__name__)

MOST_BYTES: Final = 64 * 1024 * 1024


class DoNotCall:
    """The numbers of that file, None for memory only. A file that cannot be read stops all calls."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._numbers: set[str] = set()
        self._prefixes: tuple[str, ...] = ()
        self._readable = True

    def has(self, e164: str) -> bool:
        """Whether that number is not to be called."""
        with self._lock:
            self._catch_up()
            return not self._readable or e164 in self._numbers or e164.startswith(self._prefixes)

    def add(self, e164: str, note: str = "asked on the phone") -> None:
        """Never call that number again. On the disk when this returns. Raises OSError if it cannot be
        written; until the process ends it is not called all the same.
        """
        with self._lock:
            self._catch_up()
            if e164 in self._numbers:
                return
            self._numbers.add(e164)
            if self._path is not None:
                day = dt.datetime.now(dt.UTC).date()
                line = f"{e164}  # {day} {note}".replace("\n", " ")
                fd = open_own(self._path)
                try:
                    os.write(fd, f"\n{line}\n".encode())
                    os.fsync(fd)
                finally:
                    os.close(fd)

    def _catch_up(self) -> None:
        if self._path is None:
            return
        try:
            found = self._path.stat()
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
            if seen != self._seen:
                self._read(self._path, found.st_size)
                self._seen = seen
            self._readable = True
        except FileNotFoundError:
            self._readable = True  # nobody has asked yet
        except (OSError, ValueError) as error:
            if self._readable:
                logger.error("no call is placed, the do-not-call file cannot be read: %s", error)  # noqa: TRY400
            self._readable = False

    def _read(self, path: Path, size_bytes: int) -> None:
        if size_bytes > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES} bytes")
        lines = (line.partition("#")[0] for line in path.read_text(encoding="utf-8").splitlines())
        entries = ["".join(one for one in line if one in "+*" or one.isdecimal()) for line in lines]
        self._numbers |= {entry for entry in entries if entry and not entry.endswith("*")}
        self._prefixes = tuple(entry[:-1] for entry in entries if entry.endswith("*") and len(entry) > 1)
