"""Who blocks a loop: a thread that asks it for a sign of life, and shows the stack when none comes."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback


class Watchdog:
    """Watches one running event loop from a thread of its own.

    When the loop has not answered for `limit_ms`, one line is logged with the stack it stands at; when it
    answers again, another with how long it took. `start` is called with the loop's thread running, `close`
    before the loop stops; after `close` nothing is logged any more.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, thread_id: int, logger: logging.Logger, *, limit_ms: int
    ) -> None:
        self._loop = loop
        self._thread_id = thread_id
        self._logger = logger
        self._limit_s = limit_ms / 1000
        self._answered = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"watches {thread_id}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop watching. Returns at once; the thread ends within `limit_ms`."""
        self._closed.set()
        self._answered.set()

    def _watch(self) -> None:
        while not self._closed.wait(self._limit_s):
            self._answered.clear()
            asked_s = time.monotonic()
            try:
                self._loop.call_soon_threadsafe(self._answered.set)
            except RuntimeError:  # the loop is closed
                return
            if not self._answered.wait(self._limit_s):
                self._report(asked_s)

    def _report(self, asked_s: float) -> None:
        self._logger.warning(
            "the loop has been blocked for over %d ms, here:\n%s",
            self._limit_s * 1000,
            stack(self._thread_id),
        )
        self._answered.wait()
        if not self._closed.is_set():
            self._logger.warning("the loop was blocked for %d ms", (time.monotonic() - asked_s) * 1000)


def stack(thread_id: int) -> str:
    """Where a thread stands, innermost call last; a word instead if it has ended."""
    frame = sys._current_frames().get(thread_id)  # noqa: SLF001  documented, in spite of its name
    return "(its thread has ended)" if frame is None else "".join(traceback.format_stack(frame)).rstrip()
