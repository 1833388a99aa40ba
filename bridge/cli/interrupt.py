"""Ctrl-C: a command ends quietly with 130. One that is placing a call hangs up and says what was heard."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Final

EXIT: Final = 130
"""128 and the signal's number, as shells have it."""


def _end(_number: int, _frame: object) -> None:
    raise SystemExit(EXIT)


def end_quietly() -> None:
    """From now on Ctrl-C ends this process without a traceback; what has to be cleaned up is."""
    with contextlib.suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGINT, _end)


@contextlib.contextmanager
def hanging_up(leave: Callable[[], None]) -> Iterator[asyncio.Event]:
    """While it is open, the first Ctrl-C calls `leave` and sets the event; a second one ends the process.
    Wants a running loop; where that takes no signals, Ctrl-C ends the process at once.
    """
    loop, asked = asyncio.get_running_loop(), asyncio.Event()

    def first() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        end_quietly()
        asked.set()
        leave()

    try:
        loop.add_signal_handler(signal.SIGINT, first)
    except (NotImplementedError, RuntimeError, ValueError):
        yield asked
        return
    try:
        yield asked
    finally:
        if not asked.is_set():
            loop.remove_signal_handler(signal.SIGINT)
            end_quietly()
