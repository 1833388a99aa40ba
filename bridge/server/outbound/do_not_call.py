"""Numbers that are never called again: a file of the operator's, which calls write to as well.

A number on each line, as E.164; what follows a # is a note. A number that ends with * stands for all that
begin so. One that is written as at home, without + and country code, stands for all that end so: better one
call too few. The file is read again when it has changed. May be used from any thread.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import re
import threading
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bridge.server.store.own_files import open_own

logger = logging.getLogger(__name__)

MOST_BYTES: Final = 64 * 1024 * 1024
AT_REST_S: Final = 2.0
"""So long after its last change a file is whole: some editors empty it first, and then write."""
LEAST_DIGITS: Final = 6
"""Of a number without its country code."""
_NUMBER: Final = re.compile(r"\+?[0-9][0-9 ()./-]*\*?")
_ABROAD: Final = "011"
"""How +1 dials other countries; most of the world has 00."""


class DoNotCall:
    """The numbers of that file, None for memory only. A file that cannot be read stops all calls."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._numbers: set[str] = set()
        self._endings: set[str] = set()
        self._unwritten: set[str] = set()
        self._prefixes: tuple[str, ...] = ()
        self._readable = True

    def has(self, e164: str) -> bool:
        """Whether that number is not to be called."""
        with self._lock:
            self._catch_up()
            return (
                not self._readable
                or e164 in self._numbers
                or e164 in self._unwritten
                or e164.startswith(self._prefixes)
                or any(e164[at:] in self._endings for at in range(1, len(e164) - LEAST_DIGITS + 1))
            )

    def add(self, e164: str, note: str = "asked on the phone") -> None:
        """Never call that number again. On the disk when this returns. Raises OSError if it cannot be
        written; until the process ends it is not called all the same.
        """
        with self._lock:
            self._catch_up()
            if e164 in self._numbers:
                return
            self._unwritten.add(e164)
            if self._path is not None:
                day = dt.datetime.now(dt.UTC).date()
                line = f"{e164}  # {day} {note}".replace("\n", " ")
                fd = open_own(self._path)
                try:
                    os.write(fd, f"\n{line}\n".encode())
                    os.fsync(fd)
                finally:
                    os.close(fd)
                self._numbers.add(e164)
                self._unwritten.discard(e164)

    def _catch_up(self) -> None:
        if self._path is None:
            return
        try:
            found = self._path.stat()
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
            if seen != self._seen:
                at_rest = abs(time.time() - found.st_mtime) >= AT_REST_S
                self._read(self._path, found.st_size, whole=at_rest)
                self._seen = seen if at_rest else None
            self._readable = True
        except FileNotFoundError:
            self._readable = True  # it is written by the first request
        except (OSError, ValueError) as error:
            if self._readable:
                logger.error("no call is placed, the do-not-call file cannot be read: %s", error)  # noqa: TRY400
            self._readable = False

    def _read(self, path: Path, size_bytes: int, *, whole: bool) -> None:
        if size_bytes > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES} bytes")
        numbers: set[str] = set()
        endings: set[str] = set()
        prefixes: set[str] = set()
        for at, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            note = line.partition("#")[0]
            found = list(_entries(note))
            if note.strip() and not found and whole:
                logger.warning("line %d of the do-not-call file has no number", at)
            for entry in found:
                if entry.endswith("*"):
                    prefixes.add(entry[:-1])
                elif entry.startswith("+"):
                    numbers.add(entry)
                else:
                    endings.add(entry)
        if not whole:  # what is no longer there may only not be there yet
            numbers |= self._numbers
            endings |= self._endings
            prefixes.update(self._prefixes)
        self._numbers, self._endings, self._prefixes = numbers, endings, tuple(prefixes)


def _entries(line: str) -> Iterator[str]:
    """The numbers on a line: `+` and digits, perhaps with * behind them, or the digits that such a one ends
    with.
    """
    for found in _NUMBER.findall(_ascii(line).replace("(0)", "")):
        digits = re.sub(r"[^0-9]", "", found)
        if found.startswith("+"):
            if found.endswith("*") or len(digits) >= LEAST_DIGITS:
                yield f"+{digits}{'*' if found.endswith('*') else ''}"
        elif len(ending := digits.removeprefix(_ABROAD).lstrip("0")) >= LEAST_DIGITS and "*" not in found:
            yield ending


def _ascii(line: str) -> str:
    """The same with plain digits, dashes and blanks, and without invisible marks."""
    return "".join(_plain(one) for one in unicodedata.normalize("NFKC", line))


def _plain(one: str) -> str:
    if one.isascii():
        return one
    if one.isdecimal():
        return str(unicodedata.decimal(one))
    return {"Pd": "-", "Zs": " ", "Cf": ""}.get(unicodedata.category(one), one)
