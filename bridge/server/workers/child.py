"""What a worker's process does about its parent, right after its birth."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def plain_signals(numbers: Iterable[int]) -> None:
    """Signals do again what they do in any process; Ctrl-C raises KeyboardInterrupt."""
    for number in numbers:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def end_with_parent(parent: int) -> None:
    """Be sent SIGTERM when that process ends. On Linux only; elsewhere the end of the line tells."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it has ended meanwhile
        os.kill(os.getpid(), signal.SIGTERM)
