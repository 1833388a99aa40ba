"""The open files of this process, its sockets among them: how many there are, and how many there may be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_HERE: Final = next((path for path in (Path("/proc/self/fd"), Path("/dev/fd")) if path.is_dir()), None)


def descriptor_limit() -> int | None:
    """How many this process may have open; None where there is no limit or it cannot be told."""
    try:
        import resource  # noqa: PLC0415  not on Windows
    except ImportError:
        return None
    most, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if _HERE is None or most == resource.RLIM_INFINITY else most


def descriptors_used() -> float:
    """The share of this process's open files that are in use, 0 where that is unknown."""
    most = descriptor_limit()
    if most is None or _HERE is None:
        return 0.0
    return len(os.listdir(_HERE)) / most  # noqa: PTH208  no Path for each of a thousand
