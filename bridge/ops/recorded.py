"""The folder of recordings as operators see it: which calls are in it, found by name or by call, and deleted.

Only the first lines and the last ones of a file are read, but for `lines_of`. A file `NAME.hold` beside a
recording keeps it from every deletion, until that file is removed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from bridge.errors import ConfigError
from bridge.recording import SUFFIX
from bridge.recording.bounds import MOST_BYTES, MOST_STEPS
from bridge.recording.json_text import UNREADABLE

from .retention import files, is_held, older_than

# Opening a pipe without a writer would wait without end. Windows has none in its folders.
_DO_NOT_WAIT: Final = getattr(os, "O_NONBLOCK", 0)
DELETIONS: Final = "deletions.jsonl"
"""In the folder: when which call was deleted, by the SHA-256 of its id."""
_FIRST_LINES: Final = 12
"""The carrier's `start` is among them: before it come the header, a dial, and `connected`."""
_LAST_BYTES: Final = 16 * 1024
_SINCE: Final = re.compile(r"(?:^| )(\d{1,9})")
"""Of each step of a run: the milliseconds since the one before."""
_TAIL: Final = 8
"""Characters of the call's id in the name of a file."""


class _Agent(msgspec.Struct):
    name: str = ""


class _Session(msgspec.Struct):
    model: str = ""
    agent: _Agent = msgspec.field(default_factory=_Agent)


class _Config(msgspec.Struct):
    session: _Session = msgspec.field(default_factory=_Session)


class _First(msgspec.Struct):
    at: str = ""
    caller: str = ""
    sound: bool = False
    config: _Config = msgspec.field(default_factory=_Config)


class _Start(msgspec.Struct, rename="camel"):
    call_sid: str = ""


class _Frame(msgspec.Struct):
    start: _Start | None = None


class _Action(msgspec.Struct):
    reason: str = ""
    detail: str = ""
    kind: str = msgspec.field(default="", name="is")


class _Line(msgspec.Struct):
    t: int = 0
    run: str = ""
    frame: _Frame | None = None
    action: _Action | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recording: its file, when its call began (ISO 8601), which call it was, how long and how it ended
    ("" where the file does not say), the caller's masked number, and whether sound is in it.
    """

    path: Path
    at: str
    call_sid: str
    duration_ms: int
    end: str
    agent: str
    model: str
    caller: str
    sound: bool
    size_bytes: int
    held: bool

    @property
    def name(self) -> str:
        return self.path.name.removesuffix(SUFFIX)

    @property
    def copy_of(self) -> str | None:
        """Of which recording this is a copy by its name, as `replay --mask` writes one; None for no copy."""
        base, dot, _ = self.name.partition(".")
        return base if dot else None


def lines_of(file: Path) -> list[str]:
    """The lines of a recording. Raises ConfigError that says why for a file that can't be read, that is no
    file (a folder, a pipe), or that is larger than any recording.
    """
    try:
        with os.fdopen(os.open(file, os.O_RDONLY | _DO_NOT_WAIT), "rb") as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise ConfigError("it is no file")
            raw = opened.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise ConfigError(str(getattr(error, "strerror", None) or error)) from error
    if len(raw) > MOST_BYTES:
        raise ConfigError(f"it has more than {MOST_BYTES:,} bytes")
    if raw.rstrip().count(b"\n") > MOST_STEPS:
        raise ConfigError(f"it has more than {MOST_STEPS:,} lines")
    try:
        # An editor may have put a byte order mark in front, and carriage returns behind.
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{error.reason}, byte {error.start}") from error
    return text.rstrip("\n").split("\n")


def recorded(folder: Path) -> Iterator[Recorded]:
    """The recordings of this folder, oldest first; files that are none are left out."""
    for path in files(folder):
        with suppress(OSError, *UNREADABLE):
            yield glance(path)


def find(folder: Path | None, call: str) -> list[Recorded]:
    """The recordings of a call, oldest first: `call` is a path, the name of a file, or a call's id, whole or
    its last eight characters. Raises ConfigError if none is found.
    """
    path = Path(call)
    if path.is_file():
        try:
            return [glance(path)]
        except (OSError, *UNREADABLE) as error:
            raise ConfigError(f"{call} can't be read as a recording: {error}") from error
    if folder is None:
        raise ConfigError(f"there is no file {call}, and BRIDGE_RECORDINGS names no folder to look in")
    name = path.name.removesuffix(SUFFIX)
    found = [one for one in recorded(folder) if name in {one.name, one.call_sid}]
    if not found and len(name) == _TAIL:
        found = [one for one in recorded(folder) if one.name.endswith(f"-{name}")]
    if not found:
        raise ConfigError(f"{folder} has no recording of {call}; `phonebridge recordings ls` lists them")
    return found


def originals(found: list[Recorded]) -> list[Recorded]:
    """These recordings without the copies of others among them (`NAME.masked`, `NAME.trimmed`)."""
    names = {one.name for one in found}
    return [one for one in found if one.copy_of not in names]


def older(folder: Path, days: int) -> list[Recorded]:
    """The recordings that were last written this many days ago, held ones among them."""
    paths = set(older_than(folder, days, datetime.now(UTC)))
    return [one for one in recorded(folder) if one.path in paths]


def delete(folder: Path, found: list[Recorded]) -> list[Recorded]:
    """Delete these recordings, and write down that it was done. Returns those that are still there: they are
    held, or the system refused it.
    """
    left = []
    for one in found:
        try:
            if one.held:
                raise PermissionError
            one.path.unlink()
        except OSError:
            left.append(one)
    gone = [one for one in found if one not in left]
    if gone:
        _note(folder, gone)
    return left


def _note(folder: Path, gone: list[Recorded]) -> None:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    calls = [hashlib.sha256(one.call_sid.encode()).hexdigest() for one in gone]
    lines = "".join(json.dumps({"at": at, "call_sha256": call}) + "\n" for call in calls)
    descriptor = os.open(folder / DELETIONS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        file.write(lines)


def glance(path: Path) -> Recorded:
    """What its first lines and its last ones say. Raises OSError, ValueError or RecursionError."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size > MOST_BYTES:
            raise ValueError("it is larger than the recording of any call")
        first = msgspec.json.decode(file.readline(), type=_First)
        call_sid = ""
        for _ in range(_FIRST_LINES):
            line = _line(file.readline())
            if line.frame is not None and line.frame.start is not None:
                call_sid = line.frame.start.call_sid
                break
        size_bytes = os.fstat(file.fileno()).st_size
        file.seek(max(0, size_bytes - _LAST_BYTES))
        duration_ms, end = _end(file.read().split(b"\n"))
    return Recorded(
        path=path,
        at=first.at,
        call_sid=call_sid,
        duration_ms=duration_ms,
        end=end,
        agent=first.config.session.agent.name,
        model=first.config.session.model,
        caller=first.caller,
        sound=first.sound,
        size_bytes=size_bytes,
        held=is_held(path),
    )


def _end(lines: list[bytes]) -> tuple[int, str]:
    """How long the call lasted by the last lines of its recording, and how it ended."""
    duration_ms, end = 0, ""
    for raw in lines:
        line = _line(raw)
        more = sum(map(int, _SINCE.findall(line.run)))
        duration_ms = max(duration_ms, line.t + more)
        if line.action is not None and line.action.kind == "Ended":
            end = line.action.reason
    return duration_ms, end


def _line(raw: bytes) -> _Line:
    try:
        return msgspec.json.decode(raw, type=_Line)
    except UNREADABLE:  # a frame of another shape; a line that was cut
        return _Line()
