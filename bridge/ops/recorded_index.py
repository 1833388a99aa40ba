"""Recorded calls of folders with what came of each: listed newest first, searched, and remembered until the
file changes. A file that cannot be read is listed with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bridge.recording import SUFFIX
from bridge.recording.json_text import UNREADABLE
from bridge.recording.outcome import Outcome, outcome

from .recorded import Recorded, glance
from .retention import files

OFF_MS: Final = 100
"""A barge-in whose error is larger was off: the model believes in words that the caller has not heard, or
forgets ones that they have.
"""
MOST_READ: Final = 400
"""Files that one search reads anew; it says where it has come to."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A recording. `recorded` and `outcome` are None where it cannot be read, and `unreadable` says why."""

    path: Path
    recorded: Recorded | None = None
    outcome: Outcome | None = None
    unreadable: str = ""

    @property
    def name(self) -> str:
        return _name(self.path.name)

    @property
    def off(self) -> bool:
        """Whether a barge-in was more than 100 ms off."""
        return self.outcome is not None and abs(self.outcome.largest_error_ms or 0) > OFF_MS

    @property
    def faulty(self) -> bool:
        return self.outcome is None or bool(self.outcome.faults or self.outcome.torn)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a search asks for; what is empty asks for nothing. `words` are all in a call's facts; `since` and
    `until` are dates (2026-11-29), both included.
    """

    words: str = ""
    agent: str = ""
    end: str = ""
    since: str = ""
    until: str = ""
    off: bool = False
    fault: bool = False

    def fits(self, one: Listed) -> bool:
        found = one.recorded
        if found is None:
            return not (self.off or self.agent or self.end) and self.words.lower() in one.name.lower()
        at = found.at[:10]
        if (self.since and at < self.since) or (self.until and at > self.until):
            return False
        if self.agent.lower() not in found.agent.lower() or self.end.lower() not in found.end.lower():
            return False
        about = f"{one.name} {found.caller} {found.agent} {found.model} {found.end} {found.call_sid}".lower()
        return all(word in about for word in self.words.lower().split())

    def fits_outcome(self, one: Listed) -> bool:
        return not (self.off and not one.off) and not (self.fault and not one.faulty)


@dataclass(frozen=True, slots=True)
class Page:
    """Calls that a search has found. `after` is the name to go on from, "" where all have been looked at."""

    found: list[Listed]
    after: str
    looked_at: int
    of: int


class RecordedIndex:
    """The recordings of the folders that `folders` names at the time. Blocks: it reads files. One thread at a
    time may use it.
    """

    def __init__(self, folders: Callable[[], Iterable[Path]]) -> None:
        self._folders = folders
        self._known: dict[Path, tuple[tuple[int, int], Listed]] = {}
        self.read = 0
        """How many files were read so far."""

    def paths(self) -> dict[str, Path]:
        """By name, the newest first: names begin with the time."""
        found: dict[str, Path] = {}
        for folder in self._folders():
            found |= {_name(path.name): path for path in files(folder)}
        for name in [name for name in found if "." in name and name.partition(".")[0] in found]:
            del found[name]  # a copy beside its recording is no call of its own
        there = set(found.values())
        self._known = {path: known for path, known in self._known.items() if path in there}
        return dict(sorted(found.items(), reverse=True))

    def find(self, name: str) -> Path | None:
        """The recording of that name; None without one. A name is looked up, never joined to a path."""
        return self.paths().get(name)

    def one(self, path: Path) -> Listed:
        """What is known of a recording, read anew if it has changed."""
        try:
            status = path.stat()
        except OSError as error:
            return Listed(path, unreadable=error.strerror or str(error))
        stamp = (status.st_mtime_ns, status.st_size)
        known = self._known.get(path)
        if known is None or known[0] != stamp:
            known = self._known[path] = (stamp, read(path))
            self.read += 1
        return known[1]

    def search(
        self, wanted: Wanted, after: str = "", most: int = 50, live: Collection[str] = frozenset()
    ) -> Page:
        """The newest calls older than `after` that fit, at most `most`. `live` are ids of calls that last:
        their recordings are not finished.
        """
        tails = {call_sid[-8:] for call_sid in live}
        paths = self.paths()
        names = [name for name in paths if name.rpartition("-")[2] not in tails]
        start = next((at for at, name in enumerate(names) if name < after), len(names)) if after else 0
        found: list[Listed] = []
        last_read, at = self.read + MOST_READ, start
        for name in names[start:]:
            if len(found) == most or self.read >= last_read:
                return Page(found, names[at - 1], at, len(names))
            at += 1
            if self._too_new_or_old(name, wanted):
                continue
            one = self.one(paths[name])
            if wanted.fits(one) and wanted.fits_outcome(one):
                found.append(one)
        return Page(found, "", len(names), len(names))

    @staticmethod
    def _too_new_or_old(name: str, wanted: Wanted) -> bool:
        """By the time in its name, without a look at the file."""
        day = f"{name[:4]}-{name[4:6]}-{name[6:8]}"
        if not name[:8].isdigit():
            return False
        return bool((wanted.since and day < wanted.since) or (wanted.until and day > wanted.until))


def _name(file: str) -> str:
    """That of a recording's file as text: bytes that are no UTF-8 are replaced."""
    return os.fsencode(file.removesuffix(SUFFIX)).decode(errors="replace")


def read(path: Path) -> Listed:
    """What a recording says of its call."""
    try:
        recorded = glance(path)
        with path.open("rb") as lines:
            return Listed(path, recorded, outcome(lines))
    except (OSError, *UNREADABLE) as error:
        return Listed(path, unreadable=f"it can't be read: {getattr(error, 'strerror', None) or error}")


def listed(folder: Path) -> Iterator[Listed]:
    """Every recording of a folder, the oldest first."""
    for path in sorted(RecordedIndex(lambda: [folder]).paths().values()):
        yield read(path)
