"""Files that only their owner may read or write, in folders that others may write to."""

from __future__ import annotations

import os
from pathlib import Path


def open_own(path: Path) -> int:
    """A descriptor to read anywhere and append. File and folder are made if need be. Raises OSError, also
    where the file is another user's, or a link.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A folder for temporary files is everybody's: a link there may be another user's.
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    fd = os.open(path, flags, 0o600)
    try:
        if hasattr(os, "getuid") and os.fstat(fd).st_uid != os.getuid():
            raise PermissionError(f"{path} belongs to another user")
        if hasattr(os, "fchmod"):
            os.fchmod(fd, 0o600)
    except OSError:
        os.close(fd)
        raise
    return fd


def was_replaced(fd: int, path: Path) -> bool:
    """Whether that name leads to another file by now, or to none."""
    try:
        return not os.path.samestat(os.fstat(fd), path.lstat())
    except FileNotFoundError:
        return True
