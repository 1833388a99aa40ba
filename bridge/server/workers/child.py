"""One worker as the supervisor has it, and what that process does about its parent right after its birth."""

from __future__ import annotations

import ctypes
import logging
import os
import selectors
import signal
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from .lines import MOST_BYTES, Lines

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG: Final = 1
_PIECE_BYTES: Final = 1 << 20
BEHIND_BYTES: Final = 1 << 20
"""Of what a worker has not read yet."""


class Child:
    """A worker: its process, and the supervisor's end of the line to it, which that selector watches."""

    def __init__(
        self, name: str, pid: int, line: socket.socket, selector: selectors.BaseSelector, now_s: float
    ) -> None:
        self.name = name
        self.pid = pid
        self.beat_s = now_s
        self.ready = False
        self.draining = False
        """It was told to end, or ends by itself."""
        self.still = False
        """Its loop has not been heard of for a while: what is passed on to it waits."""
        self.kill_s: float | None = None
        self.names: set[str] = set()
        self.process: dict[str, Any] | None = None
        """As the claims know it."""
        self._line = line
        self._selector = selector
        self._lines = Lines()
        self._unsent = bytearray()
        line.setblocking(False)
        selector.register(line, selectors.EVENT_READ, self)

    @property
    def machine(self) -> str | None:
        """Its name there."""
        return None if self.process is None else self.process["machine"]

    @property
    def is_behind(self) -> bool:
        """Whether so much waits for it that nothing more should that can do without."""
        return len(self._unsent) > BEHIND_BYTES

    def hear(self) -> list[dict[str, Any]]:
        """What it has said since; nothing when it has said all."""
        if self._line.fileno() < 0:
            return []
        try:
            data = self._line.recv(_PIECE_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.hang_up()
        return list(self._lines.add(data))

    def tell(self, message: bytes) -> None:
        """Send this, and what waits, as far as the kernel takes it. A worker that reads nothing for that long
        is of no use.
        """
        if self._line.fileno() < 0:
            return
        self._unsent += message
        with suppress(BlockingIOError):
            try:
                while self._unsent:
                    del self._unsent[: self._line.send(self._unsent)]
            except (BrokenPipeError, ConnectionResetError):
                self.hang_up()
                return
        if len(self._unsent) > MOST_BYTES:
            logger.error("worker %s does not read what it is told: it is killed", self.name)
            send(self.pid, signal.SIGKILL)
        waits = selectors.EVENT_WRITE if self._unsent else 0
        self._selector.modify(self._line, selectors.EVENT_READ | waits, self)

    def hang_up(self) -> None:
        """It has closed its line, for it is about to end; or this process is another worker."""
        if self._line.fileno() >= 0:
            with suppress(KeyError, ValueError, RuntimeError):  # the selector is closed in a worker
                self._selector.unregister(self._line)
            self._line.close()


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


def send(pid: int, number: int) -> None:
    """A signal to a process that may be gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
