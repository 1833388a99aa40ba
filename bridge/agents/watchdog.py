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
from collections.abc import Callable, Collection
from typing import Final

from bridge.agents.user_code import USER_CODE

STOOD_S: Final = 0.25
"""A thread that wakes up so much too late was not let run."""
MOST_NAMED: Final = 20
"""Calls that wait for a blocked loop, and are named in its line of the log."""


class Watchdog:
    """Watches one running event loop from a thread of its own.

    When the loop has not answered for `limit_ms`, one line is logged: the user code it runs, the calls of
    `waiting`, which wait for it, and the stack it stands at. When it answers again, another says how long it
    took, and `blocked` is told the seconds; both are called in the watchdog's thread. `start` is called with
    the loop's thread running, `close` before the loop stops; after `close` nothing is logged any more.

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
        name: str = "the loop",
        waiting: Callable[[], Collection[str]] = tuple,
        blocked: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        self.is_blocked = False
        self._name = name
        self._waiting = waiting
        self._blocked = blocked
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
        self.is_blocked = True
        running = USER_CODE.on(self._thread_id)
        by, whose = ("", "") if running is None else (f" by {running.text}", running.call_sid)
        self._logger.warning(
            "%s has been blocked for over %d ms%s%s, here:\n%s",
            self._name,
            self._limit_s * 1000,
            by,
            _named(sorted(set(self._waiting()) - {whose})),
            stack(self._thread_id),
            extra={"call_sid": whose} if whose else None,
        )
        self._answered.wait()
        self.is_blocked = False
        if not self._closed.is_set():
            lasted_s = time.monotonic() - asked_s
            self._blocked(lasted_s)
            self._logger.warning("%s was blocked for %d ms", self._name, lasted_s * 1000)


def _named(calls: list[str]) -> str:
    """The calls that wait, as a part of a sentence."""
    if not calls:
        return ""
    more = f" and {len(calls) - MOST_NAMED} more" if len(calls) > MOST_NAMED else ""
    count = "1 other call waits" if len(calls) == 1 else f"{len(calls)} other calls wait"
    return f" while {count} ({', '.join(calls[:MOST_NAMED])}{more})"


def stack(thread_id: int) -> str:
    """Where a thread stands, innermost call last; a word instead if it has ended."""
    frame = sys._current_frames().get(thread_id)  # noqa: SLF001  documented, in spite of its name
    return "(its thread has ended)" if frame is None else "".join(traceback.format_stack(frame)).rstrip()
