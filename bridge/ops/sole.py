"""What one process of a machine does at a time, whichever it is: a folder that is locked while it does."""

from __future__ import annotations

import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: one process a folder there
    fcntl = None  # type: ignore[assignment]


class Sole:
    """The right to look after this folder. The kernel lets go of it with its process, however that ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fd: int | None = None

    def take(self) -> bool:
        """Whether it is this process's, from now on. Idempotent. Where nothing can be locked, it is."""
        if self._fd is not None:
            return True
        try:
            fd = os.open(self._folder, os.O_RDONLY)
        except OSError:  # Windows opens no folder
            return True
        try:
            if fcntl is not None:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except OSError:  # a file system without locks
            pass
        self._fd = fd
        return True

    def release(self) -> None:
        """Let another process have it. Idempotent."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
