"""Which streams of which calls were given out, for longer than anybody keeps a captured request.

A signature has no date: what the carrier signed a month ago is still signed. So a stream that was opened, or
could have been for a minute, is remembered for thirty days, whatever becomes of the process. Twelve bytes an
entry, appended to a file beside the journal without fsync: it outlives the process, not the machine. A cut
entry is passed over.

The file is set aside when it is full or thirty days old, and the one set aside before it goes: an entry stays
for thirty days or the next `MOST` entries, and for twice that at most.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from bridge.server.store.own_files import open_own, was_replaced

logger = logging.getLogger(__name__)

KEPT_S: Final = 30 * 24 * 3600
MOST: Final = 1_000_000
"""Entries a file, two a call: twelve megabytes, and eight of memory."""
GRACE_S: Final = 60
"""How long a stream that was given out may be opened."""
AGAIN_S: Final = 10
"""After a file could not be kept it is tried again with the first entry after this time."""
MOST_A_TURN: Final = 1_000
"""Entries written at once, of those that there was no room for before."""
_CHUNK: Final = 32_768

_ENTRY: Final = np.dtype([("stream", "<u8"), ("used_from_s", "<u4")])


class UsedCalls:
    """A stream is named by its CallSid and its number in the call, 1 for the first. `path` None keeps them in
    memory only; processes with the same path know of each other's. A file that cannot be kept costs a line
    in the log: the entries stay in memory, and are written when there is room again. Lives on one event
    loop; nothing here takes longer than a write to the page cache.
    """

    def __init__(self, path: Path | None, now: Callable[[], float] = time.time, most: int = MOST) -> None:
        self._now = now
        self._most = most
        self._path = path
        self._fd: int | None = None
        self._read_bytes = 0
        self._born_s = int(now())
        self._unwritten: dict[int, int] = {}  # entries that are to be appended, oldest first
        self._failed = False
        self._again_s = 0.0
        self._former, self._latest = _Known(), _Known()
        if path is not None:
            with self._guarded():
                self._former.learn(_entries(_aside(path)), self._now())
                self._open(path)
                self._catch_up()

    def __len__(self) -> int:
        return len(self._former) + len(self._latest)

    def expect(self, call_sid: str, stream: int = 1) -> None:
        """It was given out: used in a minute from now, opened or not."""
        self._note(_name(call_sid, stream), int(self._now()) + GRACE_S)

    def use(self, call_sid: str, stream: int = 1) -> None:
        """It was opened, or may not be opened any more."""
        self._note(_name(call_sid, stream), int(self._now()))

    def has(self, call_sid: str, stream: int = 1) -> bool:
        """Whether it is used."""
        name, now_s = _name(call_sid, stream), self._now()
        if self._holds(name, now_s):
            return True
        with self._guarded():
            self._catch_up()
        return self._holds(name, now_s)

    def close(self) -> None:
        """Let the file go; it stays for the next process."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _holds(self, name: int, now_s: float) -> bool:
        return self._latest.has(name, now_s) or self._former.has(name, now_s)

    def _note(self, name: int, used_from_s: int) -> None:
        self._latest.note(name, used_from_s, self._now())
        if (self._path is None or self._failed) and len(self._latest) > self._most:
            self._former, self._latest = self._latest, _Known()
        if self._path is not None:
            self._unwritten[name] = used_from_s
            if len(self._unwritten) > self._most:
                del self._unwritten[next(iter(self._unwritten))]
            if not 0 < self._again_s - self._now() <= AGAIN_S:
                with self._guarded():
                    self._write(self._path)

    def _write(self, path: Path) -> None:
        """Append what is not in the file yet: what was used now, and what there was no room for before."""
        if self._fd is None:
            self._open(path)
        self._catch_up()
        if self._read_bytes >= self._most * _ENTRY.itemsize or self._now() - self._born_s > KEPT_S:
            path.replace(_aside(path))
            self._follow(path)
        for name in list(itertools.islice(self._unwritten, MOST_A_TURN)):
            self._append(np.array((name, self._unwritten[name]), _ENTRY).tobytes())
            del self._unwritten[name]
        if self._failed and not self._unwritten:
            self._failed = False
            logger.info("used calls are kept in their file again")

    def _append(self, entry: bytes) -> None:
        if self._fd is None:
            return
        written = os.write(self._fd, entry)
        end_bytes = os.lseek(self._fd, 0, os.SEEK_CUR)
        if (torn := end_bytes % len(entry)) or written != len(entry):
            # Half an entry was there, of a full disk or a process that was killed: the next is whole again.
            written = os.write(self._fd, bytes(len(entry) - torn) + entry)
        elif end_bytes - written == self._read_bytes:
            self._read_bytes = end_bytes  # no other process has written meanwhile

    def _catch_up(self) -> None:
        """What other processes with the same file have written since."""
        if self._fd is None or self._path is None:
            return
        self._learn_rest(self._fd)
        if was_replaced(self._fd, self._path):
            self._follow(self._path)
            self._learn_rest(self._fd)

    def _learn_rest(self, fd: int) -> None:
        found = _whole(os.pread(fd, os.fstat(fd).st_size - self._read_bytes, self._read_bytes))
        if not len(found):
            return
        if self._read_bytes == 0:
            self._born_s = min(self._born_s, int(found["used_from_s"][0]))
        self._read_bytes += found.nbytes
        self._latest.learn(found, self._now())

    def _follow(self, path: Path) -> None:
        """The file was set aside: a new one begins."""
        self._former, self._latest = self._latest, _Known()
        self._open(path)

    def _open(self, path: Path) -> None:
        self.close()
        self._fd = open_own(path)
        self._read_bytes = 0
        self._born_s = int(self._now())

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._again_s = self._now() + AGAIN_S
            if not self._failed:
                logger.warning("used calls are in memory only, their file cannot be kept: %s", error)
            self._failed = True


class _Known:
    """Entries by name: many sorted in arrays, those of late in a set, and those that are not used yet."""

    def __init__(self) -> None:
        self._sorted: list[np.ndarray] = []
        self._late: set[int] = set()
        self._expected: dict[int, int] = {}  # used from then on, oldest first

    def __len__(self) -> int:
        return sum(map(len, self._sorted)) + len(self._late) + len(self._expected)

    def note(self, name: int, used_from_s: int, now_s: float) -> None:
        self._expected.pop(name, None)
        if used_from_s > now_s and name not in self._late:
            self._expected[name] = used_from_s
        else:
            self._add(name)
        while self._expected and not _is_ahead(next(iter(self._expected.values())), now_s):
            self._add(next(iter(self._expected)))

    def _add(self, name: int) -> None:
        self._expected.pop(name, None)
        self._late.add(name)
        if len(self._late) >= _CHUNK:
            self._sorted.append(np.sort(np.fromiter(self._late, np.uint64, len(self._late))))
            self._late.clear()

    def learn(self, entries: np.ndarray, now_s: float) -> None:
        """What a file holds: a few, or very many."""
        ahead = (entries["used_from_s"] > now_s) & (entries["used_from_s"] <= now_s + GRACE_S)
        for name, used_from_s in entries[ahead].tolist():
            self.note(name, used_from_s, now_s)
        past = entries["stream"][~ahead]
        if len(past) > _CHUNK:
            self._sorted.append(np.sort(past))
        else:
            for name in past.tolist():
                self._add(name)

    def has(self, name: int, now_s: float) -> bool:
        if name in self._late or any(_holds(names, name) for names in self._sorted):
            return True
        return name in self._expected and not _is_ahead(self._expected[name], now_s)


def _holds(names: np.ndarray, name: int) -> bool:
    at = int(names.searchsorted(np.uint64(name)))
    return at < len(names) and int(names[at]) == name


def _is_ahead(used_from_s: int, now_s: float) -> bool:
    # Further ahead than anything is ever given out: the clock was set back.
    return now_s < used_from_s <= now_s + GRACE_S


def _name(call_sid: str, stream: int) -> int:
    text = f"{call_sid}/{stream}".encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.old")


def _entries(path: Path) -> np.ndarray:
    """Those of a file that was set aside, none if there is no such file."""
    try:
        return _whole(path.read_bytes())
    except FileNotFoundError:
        return _whole(b"")


def _whole(raw: bytes) -> np.ndarray:
    """The entries in these bytes, less one at the end that was cut."""
    return np.frombuffer(raw, _ENTRY, len(raw) // _ENTRY.itemsize)
