"""Which user code runs on which thread, or ran a moment ago: to be asked when the whole process stood still.

A thread that holds the interpreter's lock in one long C call (a regular expression that backtracks without
end) stops every other thread, the watchdog's too. When that one is let go on, the culprit may have returned.
"""

from __future__ import annotations

import contextvars
import functools
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

CALL_SID: Final[contextvars.ContextVar[str]] = contextvars.ContextVar("call_sid", default="")
"""Which call user code runs for: set in handlers and tools, in what they begin, and in threads of the pool.
For log lines.
"""

CALL_NUMBERS: Final[contextvars.ContextVar[frozenset[str]]] = contextvars.ContextVar(
    "call_numbers", default=frozenset()
)
"""The numbers of that call, as the carrier told them: the only ones that its user code may call."""

KEPT: Final = 64
"""Runs that have ended, and are remembered."""
LEAST_S: Final = 0.02
"""A shorter run has delayed no call."""


class Running(NamedTuple):
    """What user code runs, for which call, since when; `text` names both."""

    function: Callable[..., Any]
    call_sid: str
    began_s: float

    @property
    def text(self) -> str:
        return _named(self.function, self.call_sid)


class Run(NamedTuple):
    """What user code ran from when until when; `text` names it and its call."""

    text: str
    began_s: float
    ended_s: float

    def shared_s(self, from_s: float, to_s: float) -> float:
        """How long it ran between these moments."""
        return min(self.ended_s, to_s) - max(self.began_s, from_s)


class UserCode:
    """All of a process. May be used from any thread; the clock is `time.monotonic`."""

    def __init__(self) -> None:
        self._running: dict[int, Running] = {}  # by thread
        self._ended: deque[Run] = deque(maxlen=KEPT)

    @contextmanager
    def runs(self, function: Callable[..., Any], call_sid: str) -> Iterator[None]:
        """The function runs on this thread while the block does. One step of a coroutine is a run."""
        thread_id, began_s = threading.get_ident(), time.monotonic()
        outer = self._running.get(thread_id)
        self._running[thread_id] = Running(function, call_sid, began_s)
        try:
            yield
        finally:
            if outer is None:
                del self._running[thread_id]
            else:
                self._running[thread_id] = outer
            lasted_s = time.monotonic() - began_s
            if lasted_s >= LEAST_S:
                text = f"{_named(function, call_sid)}, for {lasted_s:.1f} s"
                self._ended.append(Run(text, began_s, began_s + lasted_s))

    def on(self, thread_id: int) -> Running | None:
        """What runs on that thread now; None if it is no user code."""
        return self._running.get(thread_id)

    def during(self, from_s: float, to_s: float) -> list[str]:
        """What is known to have run for most of that time, the longest first."""
        runs = list(self._ended.copy())
        frames = sys._current_frames()  # noqa: SLF001  documented, in spite of its name
        for thread_id, running in self._running.copy().items():
            frame = frames.get(thread_id)
            at = "" if frame is None else f", now at {frame.f_code.co_filename}:{frame.f_lineno}"
            runs.append(Run(running.text + at, running.began_s, to_s))
        runs.sort(key=lambda run: run.shared_s(from_s, to_s), reverse=True)
        return [run.text for run in runs if run.shared_s(from_s, to_s) > (to_s - from_s) / 2]


USER_CODE: Final = UserCode()
"""The one of this process: the interpreter's lock is one, too."""


def unwrapped(function: Any) -> Any:
    """The function itself, without arguments bound to it and the context it is to run in."""
    while isinstance(function, functools.partial):
        run_in = getattr(function.func, "__self__", None)
        inside = isinstance(run_in, contextvars.Context) and function.args
        function = function.args[0] if inside else function.func
    return function


def code_of(function: Any) -> Any:
    """The code of a function, a method, a coroutine or a generator; None if it is not Python's."""
    found = (getattr(function, name, None) for name in ("__code__", "cr_code", "gi_code"))
    return next((code for code in found if code is not None), None)


def _named(function: Callable[..., Any], call_sid: str) -> str:
    """Its name, its file and its line, as far as it has them, and its call."""
    function = unwrapped(function)
    code = code_of(function) or code_of(getattr(function, "__call__", None))  # noqa: B004  where it is
    where = "" if code is None else f" ({code.co_filename}:{code.co_firstlineno})"
    whose = f" for call {call_sid}" if call_sid else ""
    return f"{getattr(function, '__qualname__', type(function).__name__)}{where}{whose}"
