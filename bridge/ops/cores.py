"""How many processor cores this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

_GROUPS: Final = Path("/sys/fs/cgroup")
_OWN: Final = Path("/proc/self/cgroup")


def cores(groups: Path = _GROUPS, own: Path = _OWN, allowed: Callable[[], int] | None = None) -> int:
    """At least 1: those that the process may run on, and not more than its control groups have time for.
    Where a container may use one and a half, it is two.
    """
    quotas = [_quota(folder) for folder in _folders(groups, own)]
    found = [(allowed or _allowed)(), *(math.ceil(quota) for quota in quotas if quota is not None)]
    return max(1, min(found))


def _folders(groups: Path, own: Path) -> list[Path]:
    """The process's group, and those that it is in. A container sees its own group as the root."""
    path = ""
    with suppress(OSError):
        lines = own.read_text(encoding="ascii").splitlines()
        path = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    inner = groups / path
    return [inner, *(folder for folder in inner.parents if folder.is_relative_to(groups))]


def _allowed() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _quota(groups: Path) -> float | None:
    """Cores by the group's limit of time: version 2 has "quota period" in one file, version 1 a file each."""
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (groups / "cpu.max").read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota_us, period_us = (
            int((groups / "cpu" / f"cpu.cfs_{name}_us").read_text(encoding="ascii"))
            for name in ("quota", "period")
        )
        return None if quota_us < 0 else quota_us / period_us
    return None
