"""Keeps recordings: one file a call, written by one thread for all calls.

The call never waits for a disk. It fills a small buffer with lines and hands it over when that is full or
old; the thread only writes. If the disk is full or too slow, that one recording ends with a
`{"truncated": …}` line that says so, and the call goes on unrecorded. The same ends a recording that a flood
has made as large as one may be.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import platform
import queue
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, NamedTuple

from bridge.core.messages import CallConfig
from bridge.errors import ConfigError
from bridge.recording import SUFFIX, Header, Recorder

from .retention import purge, purge_sound
from .sole import Sole

logger = logging.getLogger(__name__)

FLUSH_LINES: Final = 64
FLUSH_CHARACTERS: Final = 32 * 1024
FLUSH_S: Final = 2.0
"""A line waits in memory at most until the first one after that time: what a killed process loses."""
MOST_WAITING_CHARACTERS: Final = 16 * 1024 * 1024
"""Of all calls together, in the queue to the thread. More, and the disk is too slow."""
PURGE_EVERY_S: Final = 3_600.0
DISK_FULL: Final = "disk full"
DISK_SLOW: Final = "the disk is too slow"

SAME_NAME: Final = 100
"""Streams of one call that may begin in one second."""

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9]")


class _File:
    """The sink of one recording. Called on the loop of the call; all else is the thread's."""

    __slots__ = (
        "_characters",
        "_lines",
        "_put",
        "_since_s",
        "call_sid",
        "closed",
        "name",
        "stopped",
        "writing",
    )

    def __init__(self, name: str, put: Callable[[_File, str], None], call_sid: str) -> None:
        self.name = name
        self.call_sid = call_sid
        self.stopped = False
        """No more lines are taken: the recording has ended, one way or the other."""
        self.closed = False
        self.writing: _Writing | None = None
        self._put = put
        self._lines: list[str] = []
        self._characters = 0
        self._since_s = 0.0

    def __call__(self, line: str) -> None:
        if self.stopped:
            self._lines.clear()
            return
        lines = self._lines
        now_s = time.monotonic()
        if not lines:
            self._since_s = now_s
        lines.append(line)
        self._characters += len(line)
        full = len(lines) >= FLUSH_LINES or self._characters >= FLUSH_CHARACTERS
        if full or now_s - self._since_s >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Hand over what there is."""
        if self._lines and not self.stopped:
            text = "\n".join([*self._lines, ""])
            self._lines.clear()
            self._characters = 0
            self._put(self, text)

    def close(self) -> None:
        """Hand over the rest, and let the file be closed."""
        self.flush()
        if not self.stopped:
            self.stopped = True
            self._put(self, "")


class _Job(NamedTuple):
    """Text for a file; none closes it. With `too_slow` the recording ends before its call does."""

    file: _File
    text: str
    too_slow: bool = False


class _CallRecorder(Recorder):
    """A recorder whose end closes its file."""

    def __init__(self, file: _File, header: Header, *, sound: bool, keys: bool) -> None:
        super().__init__(file, header, sound, keys=keys)
        self._file = file

    def close(self) -> None:
        super().close()
        self._file.close()

    def cut(self, why: str) -> None:
        super().cut(why)
        logger.warning("recording %s ends before its call: %s", self._file.name, why)
        self._file.close()


class _Writing:
    """An open file of the thread. `write` raises OSError, and what it wrote of the text before is undone."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path, self._descriptor = _open_new(folder, name)
        self._whole_bytes = 0

    @property
    def name(self) -> str:
        return self._path.name

    @property
    def empty(self) -> bool:
        """Nothing has been written whole."""
        return self._whole_bytes == 0

    def remove(self) -> None:
        """Close the file, and leave nothing of it."""
        self.close()
        with suppress(OSError):
            self._path.unlink()

    def write(self, text: str) -> None:
        left = memoryview(text.encode(errors="replace"))
        size_bytes = len(left)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError:
            os.ftruncate(self._descriptor, self._whole_bytes)
            os.lseek(self._descriptor, self._whole_bytes, os.SEEK_SET)
            raise
        self._whole_bytes += size_bytes

    def close(self) -> None:
        with suppress(OSError):  # what could still be lost is not ours to mend
            os.close(self._descriptor)


class Recordings:
    """The folder of recordings of this process: `recorder` makes one for each call.

    Raises ConfigError when the folder cannot be made. `sound`, and the `keys` that a handler reads, are
    written down only where they are set; `days` is how long files are kept, `audio_days` how long
    the sound in them. `on_whole(call_sid, name)` is told on the thread of each file that has its end.
    `close` at the end of the process; its calls should have ended by then.
    """

    def __init__(
        self,
        folder: Path,
        *,
        carrier: str,
        upstream: str,
        sound: bool = False,
        keys: bool = False,
        days: int | None = None,
        audio_days: int | None = None,
        on_whole: Callable[[str, str], None] = lambda _call_sid, _name: None,
    ) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"BRIDGE_RECORDINGS: {folder} can't be made: {error.strerror}") from error
        self.folder = folder
        self._carrier = carrier
        self._upstream = upstream
        self._sound = sound
        self._keys = keys
        self._days = days
        self._audio_days = audio_days
        self._cleaning = Sole(folder)
        self._on_whole = on_whole
        self._files: set[_File] = set()
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = 0
        self._thread: threading.Thread | None = None

    def recorder(self, call_sid: str, config: CallConfig, caller: str = "") -> Recorder | None:
        """A recorder for this call, from now on; None if this machine has no thread left for it. `caller` is
        the number of the person on the line, which is written down masked.
        """
        if self._thread is None:
            thread = threading.Thread(target=self._write_all, name="recordings", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                logger.exception("calls are not recorded: no thread for it")
                return None
            self._thread = thread
        now = datetime.now(UTC)
        tail = _NOT_PLAIN.sub("", call_sid)[-8:] or "call"
        file = _File(f"{now:%Y%m%dT%H%M%SZ}-{tail}", self._put, call_sid)
        with self._lock:
            self._files.add(file)
        header = Header(
            carrier=self._carrier,
            upstream=self._upstream,
            config=config,
            at=now.isoformat(timespec="milliseconds"),
            caller=caller,
            versions=_versions(),
        )
        return _CallRecorder(file, header, sound=self._sound, keys=self._keys)

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what there is, and end the thread; at most that long. Recordings of calls that still live end
        where they are.
        """
        with self._lock:
            files = list(self._files)
        for file in files:
            file.close()
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(timeout_s)
            self._thread = None
        self._cleaning.release()

    # --- on the loop of a call ---------------------------------------------------------------------------

    def _put(self, file: _File, text: str) -> None:
        with self._lock:
            too_slow = self._waiting + len(text) > MOST_WAITING_CHARACTERS
            if not too_slow:
                self._waiting += len(text)
            if too_slow or not text:
                self._files.discard(file)
        if too_slow:
            file.stopped = True
            text = ""
        self._queue.put(_Job(file, text, too_slow))

    # --- the thread --------------------------------------------------------------------------------------

    def _write_all(self) -> None:
        purged_s: float | None = None
        while True:
            now_s = time.monotonic()
            if purged_s is None or now_s - purged_s >= PURGE_EVERY_S:
                purged_s = now_s
                self._age(datetime.now(UTC))
            try:
                job = self._queue.get(timeout=PURGE_EVERY_S)
            except queue.Empty:
                continue
            if job is None:
                return
            self._write(job)
            with self._lock:
                self._waiting -= len(job.text)

    def _age(self, now: datetime) -> None:
        """Delete what is old. One of all processes that write to this folder does it."""
        if (self._days is None and self._audio_days is None) or not self._cleaning.take():
            return
        if self._days is not None:
            purge(self.folder, self._days, now)
        if self._audio_days is not None:
            purge_sound(self.folder, self._audio_days, now)

    def _write(self, job: _Job) -> None:
        file = job.file
        if file.closed:
            return
        if job.too_slow and file.writing is None:  # its first lines are lost: there is nothing to end
            file.closed = True
            logger.warning("there is no recording %s: %s", file.name, DISK_SLOW)
            return
        try:
            if file.writing is None:
                file.writing = _Writing(self.folder, file.name)
            file.writing.write(_truncated(DISK_SLOW) if job.too_slow else job.text)
        except OSError as error:
            self._lose(file, DISK_FULL if error.errno in _NO_SPACE else error.strerror or repr(error))
            return
        if job.too_slow:
            logger.warning("recording %s ends before its call: %s", file.name, DISK_SLOW)
        if not job.text:
            file.closed = True
            file.writing.close()
            self._on_whole(file.call_sid, file.writing.name)

    def _lose(self, file: _File, why: str) -> None:
        """A recording can't go on."""
        file.stopped = file.closed = True
        with self._lock:
            self._files.discard(file)
        logger.warning("recording %s ends before its call: %s", file.name, why)
        if file.writing is None:
            return
        if file.writing.empty:  # not even its header: that is no recording
            file.writing.remove()
            return
        with suppress(OSError):  # no room even for that: it ends after its last whole line
            file.writing.write(_truncated(why))
        file.writing.close()


def _truncated(why: str) -> str:
    return f'{{"truncated":{json.dumps(why)}}}\n'


def _open_new(folder: Path, name: str) -> tuple[Path, int]:
    """The path and a descriptor of a new file of that name, or of that name and a number; only its owner may
    read it.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    for number in range(1, SAME_NAME + 1):
        path = folder / f"{name if number == 1 else f'{name}-{number}'}{SUFFIX}"
        with suppress(FileExistsError):
            return path, os.open(path, flags, 0o600)
    raise FileExistsError(errno.EEXIST, f"{SAME_NAME} recordings of one second and call")


@cache
def _versions() -> dict[str, str]:
    """What made the recording."""
    try:
        ours = version("phonebridge")
    except PackageNotFoundError:
        ours = "?"
    return {"phonebridge": ours, "python": platform.python_version()}
