"""Ctrl-C while a call is placed: it is hung up, and what was heard is said."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

from bridge.ops.ctrl_c import EXIT, end_quietly

_SOON_S: Final = 0.005


class Again:
    """Ctrl-C while code runs that no exception can leave, a callback of C or `__del__`, comes again when
    that is over. Python would print it and go on. For `sys.unraisablehook`.
    """

    def __init__(self, otherwise: Callable[[sys.UnraisableHookArgs], object]) -> None:
        self._otherwise = otherwise

    def __call__(self, unraisable: sys.UnraisableHookArgs, /) -> None:
        if isinstance(unraisable.exc_value, SystemExit) and unraisable.exc_value.code == EXIT:
            threading.Timer(_SOON_S, signal.raise_signal, (signal.SIGINT,)).start()
        else:
            self._otherwise(unraisable)


def end_at_once() -> None:
    """All is done and said: from now on Ctrl-C ends this process as it would end any other. No code is left
    that could take an exception, so it would be printed.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # there is no reader
            stream.flush()
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_DFL)


class Interrupt:
    """Whether Ctrl-C was pressed. Known at once, and not when a loop comes to it: a loop that is ending would
    forget it.
    """

    def __init__(self) -> None:
        self.came = False
        self._leave: Callable[[], None] = lambda: None

    def calls(self, leave: Callable[[], None]) -> None:
        """On the running loop, once it comes; now, if it came before."""
        loop = asyncio.get_running_loop()

        def soon() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the call is over anyway
                loop.call_soon_threadsafe(leave)

        self._leave = soon
        if self.came:
            leave()

    def __call__(self, _number: int, _frame: object) -> None:
        """As the handler of the signal: the first one is noted, the second one ends the process at once. An
        exception would wait for the threads of the loop, and one of them may be what hangs.
        """
        if self.came:
            os._exit(EXIT)
        self.came = True
        self._leave()


@contextlib.contextmanager
def hanging_up() -> Iterator[Interrupt]:
    """While it is open, the first Ctrl-C only asks for the end, so that a call is hung up and what was heard
    is written; a second one ends the process. Outside of the main thread nothing comes.
    """
    interrupt = Interrupt()
    try:
        signal.signal(signal.SIGINT, interrupt)
    except ValueError:
        yield interrupt
        return
    try:
        yield interrupt
    finally:
        end_quietly()


def until_interrupted(work: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run this on a loop. The first Ctrl-C cancels it, wherever the loop stands, and is waited for; a second
    one ends the process. Returns what the work returns, or `EXIT`.
    """
    from bridge.ops import event_loop

    with hanging_up() as interrupt:

        async def cancellable() -> int:
            task = asyncio.ensure_future(work())

            def cancel() -> None:
                task.cancel()

            interrupt.calls(cancel)
            try:
                return await task
            except asyncio.CancelledError:
                if interrupt.came:
                    return EXIT
                raise

        return event_loop.run(cancellable())
