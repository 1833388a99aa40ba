"""Notices on their way, a file each: they outlive the process until they have arrived, or are given up."""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from bridge.ops.sole import Sole

logger = logging.getLogger(__name__)

MOST: Final = 10_000
"""Notices that may wait for one address; beyond that the oldest are dropped, and counted."""
DEAD: Final = "dead"
"""Folder of the notices that were given up; `phonebridge notices retry` takes them up again."""
_SUFFIX: Final = ".notice.json"
_NAME: Final = re.compile(r"\d{20}-[0-9a-f]{8}\.notice\.json")


class Notice(msgspec.Struct, frozen=True):
    """One notice: its id (the same in all attempts), the call that it is about, since when it waits (seconds
    of the wall clock), and the JSON that is sent.
    """

    id: str
    call: str
    since_s: float
    body: str


@dataclass(slots=True, eq=False)
class Waiting:
    """A notice that has not arrived. `path` None: there was no room on the disk for it."""

    notice: Notice
    path: Path | None
    attempts: int = 0
    due_s: float = 0.0


class Spool:
    """The folder of one address. Used by one thread at a time. Without a folder, memory is all there is."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._name = "" if folder is None else folder.name
        self._mine: Sole | None = None
        self._made = 0
        self._full = False

    def load(self) -> list[Waiting]:
        """What processes before this one have left, oldest first; unreadable files are left where they are.
        Several processes may have notices for one address: each has a folder of its own.
        """
        if self.folder is None:
            return []
        with suppress(OSError):
            self.folder = self._own(self.folder)
        return [*self._read(self._files(self.folder)), *self.adopt()]

    def adopt(self) -> list[Waiting]:
        """The notices of processes that have gone since; they are this one's now."""
        found: list[Waiting] = []
        if self.folder is None or self._mine is None:
            return found
        for other in sorted(self.folder.parent.glob(f"{self._name}*")):
            theirs = Sole(other)
            if other == self.folder or not self._files(other) or not theirs.take():
                continue
            for path in self._files(other):
                with suppress(OSError):
                    found += self._read([path.rename(self.folder / path.name)])
            theirs.release()
        return sorted(found, key=lambda waiting: waiting.notice.since_s)

    def _own(self, folder: Path) -> Path:
        """That folder, or one beside it where it is another process's. Raises OSError."""
        for number in itertools.count(1):
            mine = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
            mine.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._mine = Sole(mine)
            if self._mine.take():
                return mine
        raise AssertionError

    @staticmethod
    def _read(paths: list[Path]) -> list[Waiting]:
        found = []
        for path in paths:
            with suppress(OSError, msgspec.MsgspecError):
                found.append(Waiting(msgspec.json.decode(path.read_bytes(), type=Notice), path))
        return found

    def close(self) -> None:
        """Leave what has not arrived to another process."""
        if self._mine is not None:
            self._mine.release()

    def put(self, notice: Notice) -> Waiting:
        """Keep this notice, whole or not at all."""
        if self.folder is None:
            return Waiting(notice, None)
        self._made += 1
        name = f"{time.time_ns():020d}-{self._made & 0xFFFFFFFF:08x}{_SUFFIX}"
        path, unfinished = self.folder / name, self.folder / f".{name}.unfinished"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(msgspec.json.encode(notice))
            unfinished.replace(path)
        except OSError as error:
            with suppress(OSError):
                unfinished.unlink()
            if not self._full:
                logger.warning("notices are kept in memory alone: %s", error.strerror)
            self._full = True
            return Waiting(notice, None)
        self._full = False
        return Waiting(notice, path)

    def arrived(self, waiting: Waiting) -> None:
        """It need not be kept any more."""
        if waiting.path is not None:
            with suppress(OSError):
                waiting.path.unlink()

    def give_up(self, waiting: Waiting) -> None:
        """Lay it aside."""
        if waiting.path is None or self.folder is None:
            return
        with suppress(OSError):
            (self.folder / DEAD).mkdir(mode=0o700, exist_ok=True)
            waiting.path.rename(self.folder / DEAD / waiting.path.name)

    @staticmethod
    def _files(folder: Path | None) -> list[Path]:
        if folder is None:
            return []
        with suppress(OSError):
            return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
        return []


def folder_of(root: Path | None, address: str) -> Path | None:
    """Where the notices for this address wait; the address itself, which may hold a secret, is not in it."""
    return None if root is None else root / hashlib.sha256(address.encode()).hexdigest()[:16]


def on_their_way(root: Path) -> list[Path]:
    """The notices below this folder that have not arrived."""
    return sorted(path for path in root.glob(f"*/*{_SUFFIX}") if _NAME.fullmatch(path.name))


def given_up(root: Path) -> list[Path]:
    """The notices below this folder that were given up."""
    return sorted(path for path in root.glob(f"*/{DEAD}/*{_SUFFIX}") if _NAME.fullmatch(path.name))


def take_up(paths: list[Path]) -> int:
    """Let these be tried again, by the next process that starts. Their time begins anew. Returns how many."""
    taken = 0
    for path in paths:
        with suppress(OSError, msgspec.MsgspecError):
            notice = msgspec.json.decode(path.read_bytes(), type=Notice)
            path.write_bytes(msgspec.json.encode(msgspec.structs.replace(notice, since_s=time.time())))
            path.rename(path.parent.parent / path.name)
            taken += 1
    return taken
