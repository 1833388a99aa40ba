"""A bound on user code that runs where a clock stands: in virtual time nothing else happens meanwhile."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final, NoReturn

from bridge.agents.user_code import USER_CODE

BLOCKED_S: Final = 10
"""Of real time. A client that is slower than this wants a stub in a test."""
_AGAIN_S: Final = 1
_DEBUGGERS: Final = ("bdb", "pdb", "pydevd", "_pydevd_bundle")
_CURE: Final = (
    "in virtual time the whole call waits for it. Give its client a timeout, wait with `await`, or put a "
    "stub in its place"
)


class Blocked(BaseException):
    """It has not returned for `BLOCKED_S`. No Exception: user code that catches those would go on."""


@contextlib.contextmanager
def bounded(interrupted: Callable[[Blocked], object] = lambda _blocked: None) -> Iterator[None]:
    """Raises Blocked inside of the block when it takes longer than `BLOCKED_S`, after `interrupted` was told.

    Python can interrupt its main thread only, and not on Windows. Without a bound there, where a debugger is
    at work, and where another timer runs already, such as that of pytest-timeout.
    """
    main = threading.current_thread() is threading.main_thread()
    if not (main and hasattr(signal, "setitimer")) or signal.getitimer(signal.ITIMER_REAL)[0]:
        yield
        return

    def interrupt(_signal: int, frame: FrameType | None) -> None:
        if not _is_debugged(frame):
            _interrupt(frame, interrupted)

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, BLOCKED_S, _AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _interrupt(frame: FrameType | None, interrupted: Callable[[Blocked], object]) -> NoReturn:
    running = USER_CODE.on(threading.get_ident())
    code = "user code" if running is None else running.text
    at = "" if frame is None else f"; it is at {frame.f_code.co_filename}:{frame.f_lineno}"
    blocked = Blocked(f"{code} did not return within {BLOCKED_S} s{at}: {_CURE}")
    interrupted(blocked)
    raise blocked


def _is_debugged(frame: FrameType | None) -> bool:
    """Whether a person stands in a debugger there."""
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] in _DEBUGGERS:
            return True
        frame = frame.f_back
    return False
