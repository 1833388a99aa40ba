"""Which process of this machine answers for what: a file a process, locked while that process lives.

The kernel lets a lock go with its process, however that ends. So a process that was killed is known at once,
and what it left behind is taken over by one other, never by two.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from bridge.server.store.own_files import open_own

try:
    import fcntl
except ImportError:  # Windows: one process a journal there
    fcntl = None  # type: ignore[assignment]

SUFFIX: Final = ".owner"


class Owners:
    """`folder` has the files; `name` is this process's. Raises OSError if it cannot be kept."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._fd = open_own(self._path(name))
        if fcntl is not None:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def inherit(self, owner: str, take_over: Callable[[], None]) -> bool:
        """Call `take_over` if that process has gone, while no other process can do the same. Whether it was
        called. What it writes has to make itself the owner.
        """
        if owner == self._name:
            return False
        try:
            fd = open_own(self._path(owner))
        except OSError:
            return False
        try:
            if fcntl is not None:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            take_over()
            self._path(owner).unlink(missing_ok=True)
        except BlockingIOError:
            return False
        finally:
            os.close(fd)
        return True

    def close(self) -> None:
        """Answer for nothing any more."""
        with suppress(OSError):
            self._path(self._name).unlink()
        os.close(self._fd)

    def _path(self, name: str) -> Path:
        # A name of another process comes out of a file.
        plain = "".join(letter for letter in name if letter.isalnum())[:40] or "unnamed"
        return self._folder / f"{plain}{SUFFIX}"
