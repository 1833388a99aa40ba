"""Who blocks a loop: a thread that asks it for a sign of life, and shows the stack when none comes. And who
stopped the whole interpreter, this thread included, as far as that can be told afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from typing import Final

from bridge.agents.user_code import USER_CODE

STOOD_S: Final = 0.25
"""A thread that wakes up so much too late was not let run."""


class Watchdog:
    """Watches one running event loop from a thread of its own.

    When the loop has not answered for `limit_ms`, one line is logged with the stack it stands at; when it
    answers again, another with how long it took. `start` is called with the loop's thread running, `close`
    before the loop stops; after `close` nothing is logged any more.

    With `whole` it also says when no thread of the process ran, this one included, and which user code was at
    work then: what holds the interpreter's lock stops every loop.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        thread_id: int,
        logger: logging.Logger,
        *,
        limit_ms: int,
        whole: bool = False,
    ) -> None:
        self._whole = whole
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
        while not self._wait(self._closed):
            self._answered.clear()
            asked_s = time.monotonic()
            try:
                self._loop.call_soon_threadsafe(self._answered.set)
            except RuntimeError:  # the loop is closed
                return
            if not self._wait(self._answered):
                self._report(asked_s)

    def _wait(self, event: threading.Event) -> bool:
        """Whether it was set within the limit."""
        began_s = time.monotonic()
        was_set = event.wait(self._limit_s)
        late_s = time.monotonic() - began_s - self._limit_s
        if self._whole and late_s >= STOOD_S and not self._closed.is_set():
            self._stood(late_s)
        return was_set

    def _stood(self, late_s: float) -> None:
        now_s = time.monotonic()
        suspects = "; ".join(USER_CODE.during(now_s - late_s, now_s))
        if suspects:
            known = "no thread of this process ran for %d ms; user code at work: %s"
            self._logger.error(known, late_s * 1000, suspects)
        else:
            unknown = (
                "no thread of this process ran for %d ms; which code was at work is not known: what runs in "
                "threads that user code has begun, or outside of this process, is not watched"
            )
            self._logger.warning(unknown, late_s * 1000)

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
