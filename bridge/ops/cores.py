"""How many processor cores this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

_GROUPS: Final = Path("/sys/fs/cgroup")


def cores(groups: Path = _GROUPS, allowed: Callable[[], int] | None = None) -> int:
    """At least 1: those that the process may run on, and not more than its control group has time for. Where
    a container may use one and a half, it is two.
    """
    found = (allowed or _allowed)()
    quota = _quota(groups)
    return max(1, found if quota is None else min(found, math.ceil(quota)))


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
