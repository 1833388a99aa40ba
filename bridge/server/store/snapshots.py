"""What was said in calls that are not over, for the process that goes on with them: this one, when a stream
ended unwanted, or the next one on this machine, when this one is gone.

Written beside the journal of intents, one file a call, by a thread that no call waits for; removed when the
call has ended as it was meant to. It holds words of the caller, so only its owner may read it, and ten
minutes later it never does.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from bridge.core.messages import CallSnapshot

logger = logging.getLogger(__name__)

KEPT_S: Final = 600
KEPT_CALLS: Final = 2_048
SUFFIX: Final = ".conversation.json"

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(CallSnapshot).decode


class Conversations:
    """The latest of each call. `folder` None keeps them in memory only. Lives on the loop of the calls."""

    def __init__(self, folder: Path | None, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._kept: dict[str, tuple[float, CallSnapshot]] = {}  # by CallSid, those of late last
        self._folder = None if folder is None else _Folder(folder)

    def keep(self, call_sid: str, carried: CallSnapshot) -> None:
        """All that is known of the call by now."""
        self._kept.pop(call_sid, None)
        self._kept[call_sid] = (self._now(), carried)
        while len(self._kept) > KEPT_CALLS:
            del self._kept[next(iter(self._kept))]
        if self._folder is not None:
            self._folder.put(_name(call_sid), _encode(carried))

    def forget(self, call_sid: str) -> None:
        """The call will not go on."""
        self._kept.pop(call_sid, None)
        if self._folder is not None:
            self._folder.put(_name(call_sid), None)

    def find(self, call_sid: str) -> CallSnapshot | None:
        """What is known of a call that is to go on; None if nothing, or nothing of the last ten minutes. What
        another process has written since is known too.
        """
        at_s, carried = self._kept.get(call_sid, (0.0, None))
        if self._folder is not None:
            at_s, carried = self._folder.read(_name(call_sid), at_s) or (at_s, carried)
        return carried if self._now() - at_s <= KEPT_S else None

    def close(self) -> None:
        """Write what waits, two seconds long at most."""
        if self._folder is not None:
            self._folder.close()


def _name(call_sid: str) -> str:
    # The carrier's id is a stranger's text until it is proven, and no file name.
    return hashlib.blake2b(call_sid.encode(errors="replace"), digest_size=16).hexdigest() + SUFFIX


class _Folder:
    """Files written by a thread; of several versions that wait, only the last one is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: dict[str, bytes | None] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._failed = False

    def put(self, name: str, content: bytes | None) -> None:
        with self._changed:
            self._waiting[name] = content
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="conversations", daemon=True)
                self._thread.start()
            self._changed.notify()

    def read(self, name: str, since_s: float) -> tuple[float, CallSnapshot] | None:
        """What was written after that, and when."""
        with self._changed:
            if name in self._waiting:
                waiting = self._waiting[name]
                return None if waiting is None else (time.time(), _decode(waiting))
        try:
            path = self._path / name
            at_s = path.stat().st_mtime
            return (at_s, _decode(path.read_bytes())) if at_s > since_s else None
        except (OSError, msgspec.DecodeError):
            return None

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(2.0)

    def _run(self) -> None:
        self._guarded(self._make)
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                waiting, self._waiting = self._waiting, {}
                if not waiting:
                    return
            for name, content in waiting.items():
                self._guarded(partial(self._write, name, content))

    def _make(self) -> None:
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        oldest_s = time.time() - KEPT_S
        for path in self._path.glob(f"*{SUFFIX}"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest_s:
                    path.unlink()

    def _write(self, name: str, content: bytes | None) -> None:
        path = self._path / name
        if content is None:
            path.unlink(missing_ok=True)
            return
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        fresh.touch(0o600, exist_ok=False)
        fresh.write_bytes(content)
        fresh.replace(path)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError as error:
            if not self._failed:
                self._failed = True
                logger.warning("conversations are kept in memory only: %s", error)
