"""Journals of intents and detours: lines of JSON that outlive the process, not the machine.

Appended to at once and without fsync. Several processes of one machine may share it: each reads what the
others have written. None waits for another, and none loses what another writes while it makes the file anew:
a line that was appended to the former file is carried over, and one that comes too late for that is written
again by its writer, who sees the new file. So a line may be there twice, which has to change nothing.
"""

from __future__ import annotations

import errno
import itertools
import json
import logging
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from bridge.server.store.own_files import open_own, was_replaced

try:
    import fcntl
except ImportError:  # Windows: one process a journal there
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

MOST_UNWRITTEN: Final = 16_384
"""Lines kept for a file that cannot be written, the latest."""
MOST_A_TURN: Final = 1_000
"""Lines written at once, of those that there was no room for before."""


class Journal:
    """Lines of JSON in a file that only its owner may read. What cannot be written is kept, and tried again
    with the next line; the log says when that begins and when it is over, and of what (`kept`).
    """

    def __init__(self, path: Path, kept: str = "intents") -> None:
        self.lines = 0
        self._kept = kept
        self._by = os.urandom(6).hex()  # in our lines, to know them from those of others
        self._read_bytes = 0
        self._path = path
        self._file: int | None = None
        self._torn = False  # the last line may have no end
        self._unwritten: deque[bytes] = deque(maxlen=MOST_UNWRITTEN)
        self._failed = False
        self._released = False

    def read(self) -> list[dict[str, Any]]:
        """What is in the file; lines that a crash or a full disk has cut are left out."""
        found: list[dict[str, Any]] = []
        with self._guarded():
            self._open()
            found += self._rest()
        return found

    def news(self) -> list[dict[str, Any]]:
        """The lines of others since the last that was read; after one of them has rewritten the file there
        may be some among them that are known, but none of our lines.
        """
        found: list[dict[str, Any]] = []
        if self._file is not None:
            with self._guarded():
                if self._replaced():
                    self._open()
                if os.fstat(self._file).st_size > self._read_bytes:
                    found = self._rest()
        return [line for line in found if line.get("by") != self._by]

    def _rest(self) -> list[dict[str, Any]]:
        """Whole lines from where the last reading came to; one that is being written is left for the next."""
        if self._file is None:
            return []
        raw = bytearray()
        while piece := os.pread(self._file, 1 << 20, self._read_bytes + len(raw)):
            raw += piece
        *whole, _torn = raw.split(b"\n")
        found = []
        for one in whole:
            self.lines += 1
            self._read_bytes += len(one) + 1
            with suppress(ValueError):
                line = json.loads(one)
                if isinstance(line, dict):
                    found.append(line)
        return found

    def append(self, line: dict[str, Any]) -> None:
        if self._released:
            return
        self._unwritten.append(_raw({**line, "by": self._by}))
        with self._guarded():
            if self._file is None or self._replaced():
                self._open()
            self._write(list(itertools.islice(self._unwritten, MOST_A_TURN)))
            if self._failed and not self._unwritten:
                self._failed = False
                logger.info("%s are kept in the journal again", self._kept)

    def _write(self, lines: list[bytes]) -> None:
        if self._file is None:
            return
        raw = b"".join([b"\n", *lines] if self._torn else lines)
        self._torn = True
        _write_whole(self._file, raw)
        if self._replaced():  # perhaps too late for the process that did it to see these
            self._open()
            self._write(lines)
            return
        self._torn = False
        self.lines += len(lines)
        for _ in lines:
            self._unwritten.popleft()
        end_bytes = os.lseek(self._file, 0, os.SEEK_CUR)
        if end_bytes - len(raw) == self._read_bytes:
            self._read_bytes = end_bytes  # no other process has written meanwhile

    def sync(self) -> bool:
        """Wait for the disk, on any thread. False where not all lines so far are in the file."""
        file = self._file
        if file is None or self._unwritten:
            return False
        try:
            os.fsync(file)
        except OSError:
            return False
        return True

    @property
    def by(self) -> str:
        """What this process writes into its lines."""
        return self._by

    def rewrite(self, lines: list[dict[str, Any]]) -> None:
        """Only these lines from now on, and those that others have written since the last that was read. A
        crash or a full disk meanwhile leaves the file as it was, and so does another process that does the
        same.
        """
        if self._file is None:
            return
        self.lines = 0  # if this fails it is not tried again with the next line
        if not _locked(self._file) or self._replaced():
            _unlock(self._file)
            return
        path, file = self._path.with_name(f"{self._path.name}.{self._by}"), -1
        try:
            path.unlink(missing_ok=True)
            file = open_own(path)
            _locked(file)  # not to be replaced before the late lines are in
            known = b"".join(_raw({**line, "by": self._by}) for line in lines)
            _write_whole(file, known)
            path.replace(self._path)
            # From here on a process that appends to the former file sees that it is gone.
            late = os.pread(self._file, os.fstat(self._file).st_size - self._read_bytes, self._read_bytes)
            _write_whole(file, late[: late.rfind(b"\n") + 1])
        except OSError as error:
            self._tell(error)
            _unlock(self._file)
            with suppress(OSError):
                path.unlink(missing_ok=True)
                os.close(file)
            return
        self._let_go()
        _unlock(file)
        self._file, self._read_bytes, self.lines = file, len(known), len(lines)
        self._torn = False

    def close(self) -> None:
        """Write nothing more."""
        self._released = True
        self._let_go()

    def _let_go(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> None:
        fresh = open_own(self._path)
        self._let_go()
        self._file = fresh
        self.lines = self._read_bytes = 0
        self._torn = False
        if os.fstat(fresh).st_size:
            os.lseek(fresh, -1, os.SEEK_END)
            self._torn = os.read(fresh, 1) != b"\n"

    def _replaced(self) -> bool:
        return self._file is not None and was_replaced(self._file, self._path)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._tell(error)
            self._let_go()

    def _tell(self, error: OSError) -> None:
        if not self._failed:
            what = "%s are in memory only, the journal cannot be kept: %s"
            logger.warning(what, self._kept, error)
        self._failed = True


def _locked(file: int) -> bool:
    """Whether no other process makes this file anew, until it is unlocked or closed."""
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def _unlock(file: int) -> None:
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_UN)


def _write_whole(file: int, raw: bytes) -> None:
    if os.write(file, raw) != len(raw):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _raw(line: dict[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"
