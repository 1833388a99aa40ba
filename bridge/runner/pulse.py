"""Whether this process has stood still long enough that its calls may be another machine's by now.

After a pause (SIGSTOP, a virtual machine that was suspended, a loop that was blocked) the readers of sockets
run before any timer that is overdue. So a check in a timer comes too late, and the gate of each call compares
the time with `until_s` whenever something passes it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final, Protocol

BEAT_S: Final = 0.1
DOUBT_S: Final = 2.0
"""A carrier does not give up a stream whose server is silent for less."""
LATE_MS: Final = 500
"""A timer that is later than that is due because this process stood still."""
READ_S: Final = 0.02
"""Until the kernel has been asked for what has come meanwhile."""


class Waits(Protocol):
    """A call whose gate is shut until it is known whose it is."""

    def go_on(self) -> None:
        """It is this machine's: what came meanwhile passes now."""


class Pulse:
    """The beat of the loop that carries the calls. Until `until_s`, on the clock of the loop, the calls are
    this machine's for sure; a call that finds it passed waits, by `doubt`. Without `start` there is no doubt
    ever.
    """

    def __init__(self) -> None:
        self.until_s = math.inf
        self._ask: Callable[[], None] = lambda: None
        self._waiting: list[Waits] = []
        self._asked = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self, ask: Callable[[], None]) -> None:
        """Beat from now on, on the running loop. `ask` is called once for each time that the process stood
        still: it finds out whose the calls are, and then `settle` is due.
        """
        self._ask = ask
        self._beat(asyncio.get_running_loop())

    def close(self) -> None:
        """Beat no more; doubt nothing."""
        self.until_s = math.inf
        if self._timer is not None:
            self._timer.cancel()

    def doubt(self, call: Waits) -> None:
        """That call waits for `settle`."""
        self._waiting.append(call)
        self._question()

    def settle(self) -> None:
        """It is known whose the calls are, and those of others have ended. The rest goes on."""
        self._asked = False
        self.until_s = asyncio.get_running_loop().time() + DOUBT_S
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call.go_on()

    def _question(self) -> None:
        if not self._asked:
            self._asked = True
            self._ask()

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        if self._timer is not None and now_s > self.until_s:
            self._question()
        else:
            self.until_s = now_s + DOUBT_S
        self._timer = loop.call_at(now_s + BEAT_S, self._beat, loop)
