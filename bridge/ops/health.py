"""Whether this process should take calls: its event loop, its descriptors, its model, the day's money.

Each of these says in a word why not, or nothing. They are asked at every webhook, so asking is cheap.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from bridge.agents.watchdog import Watchdog
from bridge.core.upstream_leg import is_fatal
from bridge.sockets.descriptors import descriptors_used
from bridge.sockets.dial import DialError
from bridge.sockets.strangers import Strangers

logger = logging.getLogger(__name__)

BEAT_S: Final = 0.1
WINDOW_BEATS: Final = 100
"""Ten seconds: what was longer ago is no reason to turn a caller away."""
LATELY_BEATS: Final = 10
LEAST_BEATS: Final = 20
SHED_S: Final = 0.05
"""At this lag (95th percentile) those who are on the line begin to hear it: new calls go elsewhere."""
DEAD_S: Final = 5.0
LATE: Final = "loop lag"
"""The reason for it."""
BLOCKED_MS: Final = 200
BREAKER_S: Final = 30.0
DESCRIPTORS: Final = 0.8
"""A call takes two. Above this share of the limit, those that are left are for the calls there are. What
strangers hold does not count: they make room."""


class LoopLag:
    """How late the running loop is. `start` once, on that loop; `close` ends it."""

    def __init__(self, told: Callable[[float], None] = lambda _seconds: None) -> None:
        self._told = told
        self._late_s: deque[float] = deque(maxlen=WINDOW_BEATS)
        self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._watchdog: Watchdog | None = None

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._watchdog = Watchdog(loop, threading.get_ident(), logger, limit_ms=BLOCKED_MS, whole=True)
        self._watchdog.start()
        self._due_s = loop.time() + BEAT_S
        self._timer = loop.call_at(self._due_s, self._beat, loop)

    def close(self) -> None:
        if self._watchdog is not None:
            self._watchdog.close()
        if self._timer is not None:
            self._timer.cancel()

    @property
    def p95_s(self) -> float:
        """Of the last ten seconds; 0 while there are only a few beats to go by."""
        return self._percentile_s(95)

    @property
    def p99_s(self) -> float:
        """Like `p95_s`: what is not for a call waits sooner than a call does."""
        return self._percentile_s(99)

    def _percentile_s(self, percent: int) -> float:
        if len(self._late_s) < LEAST_BEATS:
            return 0.0
        return sorted(self._late_s)[-(-len(self._late_s) * percent // 100) - 1]

    @property
    def sheds(self) -> bool:
        """Whether new calls should go elsewhere: the loop is late often, and was late within the last second.
        A burst that is over turns no caller away.
        """
        return self.p95_s > SHED_S and max(list(self._late_s)[-LATELY_BEATS:]) > SHED_S

    @property
    def worst_s(self) -> float:
        """The longest that anything had to wait in the last ten seconds."""
        return max(self._late_s, default=0.0)

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        late_s = max(0.0, now_s - self._due_s)
        self.came(late_s)
        self._due_s = now_s + BEAT_S
        self._timer = loop.call_at(self._due_s, self._beat, loop)

    def came(self, late_s: float) -> None:
        """A beat came so late. Those that would have come meanwhile were late too, each a little less."""
        self._told(late_s)
        for _ in range(WINDOW_BEATS):
            self._late_s.append(late_s)
            late_s -= BEAT_S
            if late_s <= 0:
                return


class Breaker:
    """Opens for 30 seconds when the model turns us away for a reason that will not pass: a wrong key, no
    quota, no such model. Until it closes no call dials there, and one line in the log says why. A `place` is
    host, path and model, as in an address without its scheme: another deployment at the same host may be fit,
    and so may another API of the same vendor. "" is all of them.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._shut: dict[str, tuple[float, DialError]] = {}
        self.first = ""
        """The host of the vendor that calls begin with."""
        self.others: Callable[[], bool] = lambda: False
        """Whether calls go on with another vendor: then they are let in all the same."""

    @property
    def is_open(self) -> bool:
        """Whether no call can be answered."""
        hosts = {place.partition("/")[0] for place in self._shut if self._is_shut(place)}
        return not hosts.isdisjoint((self.first, "")) and not self.others()

    def _is_shut(self, place: str) -> bool:
        return place in self._shut and self._now() < self._shut[place][0]

    def check(self, place: str = "") -> None:
        """To be called before dialling there. Raises DialError while it is open."""
        shut = next((one for one in (place, "") if self._is_shut(one)), None)
        if shut is not None:
            error = self._shut[shut][1]
            raise DialError(error.code, f"not tried again yet: {error.reason}", error.status)

    def failed(self, error: DialError, place: str = "") -> None:
        """A dial failed there. If trying again would be no use, the breaker opens."""
        if is_fatal(error.status or 0, error.code):
            self._open(error, place)

    def refused(self, why: str) -> None:
        """A session was refused for good, after its socket was there, in a call that has no other vendor.
        Says nothing new while it is open.
        """
        if not self.is_open:
            self._open(DialError("refused", why, 403), "")

    def _open(self, error: DialError, place: str) -> None:
        again = self._is_shut(place)
        self._shut = {one: shut for one, shut in self._shut.items() if self._is_shut(one)}
        self._shut[place] = (self._now() + BREAKER_S, error)
        if again:
            return
        if self.is_open:
            told = "no call can be answered: the model refused us, %s; callers get the fallback for %d s"
        else:
            told = "a vendor refused us, %s; it is not dialled for %d s"
        logger.error(told, error, BREAKER_S)


class DayMoney:
    """What calls have cost since midnight (UTC), in millionths of a dollar, against a limit or None."""

    def __init__(
        self,
        limit_micro_usd: int | None = None,
        today: Callable[[], dt.date] = lambda: dt.datetime.now(dt.UTC).date(),
    ) -> None:
        self._limit = limit_micro_usd
        self._today = today
        self._day: dt.date | None = None
        self._spent = 0

    def spend(self, micro_usd: int) -> None:
        day = self._today()
        if day != self._day:
            self._day, self._spent = day, 0
        self._spent += micro_usd

    @property
    def today_micro_usd(self) -> int:
        return self._spent if self._day == self._today() else 0

    @property
    def is_spent(self) -> bool:
        return self._limit is not None and self.today_micro_usd >= self._limit


class Health:
    """All of it. `reasons` are why no new call may come in: `no model`, `loop lag`, `descriptors`, `money`.
    `model` says whether there is one to dial.
    """

    def __init__(
        self, *, money: DayMoney | None = None, model: bool = True, strangers: Strangers | None = None
    ) -> None:
        self.money = money or DayMoney()
        self.model = model
        self.strangers = Strangers() if strangers is None else strangers
        self.breaker = Breaker()
        self.lag: LoopLag | None = None

    def watch(self, told: Callable[[float], None]) -> None:
        """Begin to watch the running loop; `told` gets the seconds that each beat was late."""
        if self.lag is None:
            self.lag = LoopLag(told)
            self.lag.start()

    def close(self) -> None:
        if self.lag is not None:
            self.lag.close()

    @property
    def alive(self) -> bool:
        """False when the loop stood still for over five seconds, not ten seconds ago."""
        return self.lag is None or self.lag.worst_s < DEAD_S

    def reasons(self) -> list[str]:
        found = [] if self.model else ["no model"]
        if self.lag is not None and self.lag.sheds:
            found.append(LATE)
        used = descriptors_used()
        if used - self.strangers.share > DESCRIPTORS:
            found.append("descriptors")
        self.strangers.fit(used)
        if self.money.is_spent:
            found.append("money")
        return found
