"""Ctrl-C ends a command quietly. Loads next to nothing, so that it holds while everything else is loaded."""

from __future__ import annotations

import contextlib
import signal
from typing import Final

EXIT: Final = 130
"""128 and the signal's number, as shells have it."""


def _end(_number: int, _frame: object) -> None:
    raise SystemExit(EXIT)


def end_quietly() -> None:
    """From now on Ctrl-C ends this process without a traceback; what has to be cleaned up is."""
    with contextlib.suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGINT, _end)
