"""Connections that have proven nothing yet: how many there may be, and for how long.

A call's two sockets are its own; everything else that is connected to the server is a stranger's until it has
proven otherwise. Strangers have a quarter of the process's descriptors at most, so that none of them can take
a call's. None is refused for it: a connection that comes when all places are taken gets that of the one that
has waited longest, so a real caller, who says all at once, is served among any number of those who say
nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final

from bridge.sockets.descriptors import descriptor_limit, descriptors_used
from bridge.sockets.keepalive import running_tick
from bridge.sockets.request_turns import RequestTurns

logger = logging.getLogger(__name__)

MOST: Final = 512
"""Strangers in all, where the system allows thousands of descriptors. Each may hold 16 KiB of a head."""
HELD_BYTES: Final = 4 * 1024 * 1024
"""What all their unanswered requests may amount to. Beyond it none may hold more than its part of it, eight
KiB: no webhook of a carrier's is so large, and hundreds of small ones still fit.
"""
SHARE: Final = 0.25
"""Of the process's descriptors, for all strangers together."""
PER_ADDRESS: Final = 20
"""Unfinished requests of one address of the internet."""
QUIET_S: Final = 10.0
"""Between two lines in the log about those who were turned away."""
FEW: Final = 8
"""Places that there always are, however many descriptors the calls have."""
_CROWDED: Final = 0.05
"""Above this share of the descriptors their number is looked at each second."""
_FULL: Final = 0.9
"""What calls and strangers may have together. The rest is for what is opened before anybody looks again."""

Crowd = dict["Stranger", None]


class Stranger:
    """One connection that has proven nothing. Its owner says what it is waiting for, and how long it may.

    `overdue` is called when that time is over; `transport.abort` when its place is given to another.
    """

    __slots__ = ("_all", "_crowd", "address", "due_s", "held_bytes", "overdue", "transport")

    def __init__(self, every: Strangers, transport: asyncio.Transport, overdue: Callable[[], None]) -> None:
        self.transport = transport
        self.address = internet_address(transport)
        self.overdue = overdue
        self.due_s = 0.0
        self.held_bytes = 0
        self._all = every
        self._crowd: Crowd | None = None

    def unfinished(self, within_s: float) -> None:
        """It has begun something with a deadline in seconds."""
        self._join(self._all.waiting, within_s)

    def idle(self, within_s: float) -> None:
        """Its request was answered, and its connection is kept for the next one."""
        self._join(self._all.kept, within_s)

    def served(self) -> None:
        """Its request is whole: it waits for us, so it is not the one to go."""
        self._part()
        self._crowd = self._all.served
        self._all.served[self] = None

    def hold(self, size_bytes: int) -> bool:
        """So much of its request is kept now. False if that is too much, with what all others keep."""
        self._all.held_bytes += size_bytes - self.held_bytes
        self.held_bytes = size_bytes
        return size_bytes <= HELD_BYTES // MOST or self._all.held_bytes <= HELD_BYTES

    def leave(self) -> None:
        """It has proven itself, or is gone. Again changes nothing."""
        self._part()
        self.hold(0)
        self.overdue = _nothing

    def _join(self, crowd: Crowd, within_s: float) -> None:
        self._part()
        self.due_s = asyncio.get_running_loop().time() + within_s
        self._crowd = crowd
        self._all.put_in(self, crowd)

    def _part(self) -> None:
        if self._crowd is not None:
            self._all.take_out(self, self._crowd)
            self._crowd = None


class Strangers:
    """All of them at one server, on one event loop. `refused` is called for each that was turned away."""

    def __init__(self, refused: Callable[[], None] = lambda: None) -> None:
        self.refused = refused
        self.waiting: Crowd = {}
        """Unfinished ones, those that have waited longest first."""
        self.kept: Crowd = {}
        """Idle ones, in the same order."""
        self.served: Crowd = {}
        """Those whose request is whole. They do not go for others."""
        self.turns = RequestTurns()
        """Those among them that are not being answered yet."""
        self.held_bytes = 0
        """What is kept of all their requests."""
        self._by_address: dict[str, Crowd] = {}
        self._limit = descriptor_limit()
        self._most = MOST if self._limit is None else max(FEW, min(MOST, int(self._limit * SHARE)))
        self._room = self._most
        self._ticking = False
        self._untold: Counter[str] = Counter()
        self._quiet_until_s = 0.0

    def __len__(self) -> int:
        return len(self.waiting) + len(self.kept)

    @property
    def can_serve(self) -> bool:
        """Whether one more may be answered. So many only wait for us where something is asked again and again
        that takes us time, a captured request for example.
        """
        return len(self.served) < self._most

    @property
    def share(self) -> float:
        """Of the process's descriptors: what could be had back, or will be in a moment."""
        return 0.0 if self._limit is None else (len(self) + len(self.turns)) / self._limit

    def enter(self, transport: asyncio.Transport, overdue: Callable[[], None], within_s: float) -> Stranger:
        """A connection was made. If it is one too many, the one that has waited longest goes."""
        stranger = Stranger(self, transport, overdue)
        stranger.unfinished(within_s)
        return stranger

    def fit(self, used: float) -> None:
        """Leave to the calls what they need. `used` is the share of the descriptors in use, the strangers'
        among them.
        """
        if self._limit is not None:
            left = int((_FULL - (used - self.share)) * self._limit) - len(self.turns)
            self._room = max(FEW, min(self._most, left))
            self._keep_to(self._room)

    def turned_away(self, why: str) -> None:
        """Count a refusal, and say so at most once in ten seconds."""
        self.refused()
        self._untold[why] += 1
        self._tell(asyncio.get_running_loop().time())

    def put_in(self, stranger: Stranger, crowd: Crowd) -> None:
        """For `Stranger` alone; so is `take_out`."""
        crowd[stranger] = None
        if not self._ticking:
            self._ticking = True
            running_tick().join(self)
        if crowd is self.waiting and stranger.address is not None:
            neighbours = self._by_address.setdefault(stranger.address, {})
            neighbours[stranger] = None
            if len(neighbours) > PER_ADDRESS:
                self._evict(neighbours)
        self._keep_to(self._room)

    def take_out(self, stranger: Stranger, crowd: Crowd) -> None:
        crowd.pop(stranger, None)
        if stranger.address is not None and (neighbours := self._by_address.get(stranger.address)):
            neighbours.pop(stranger, None)
            if not neighbours:
                del self._by_address[stranger.address]
        if self._ticking and not self:
            self._ticking = False
            running_tick().leave(self)

    def on_second(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if self.share > _CROWDED or self._room < self._most:
            self.fit(descriptors_used())
        for stranger in [one for crowd in (self.waiting, self.kept) for one in crowd if one.due_s <= now_s]:
            stranger.overdue()
        self._tell(now_s)

    def on_deadline(self) -> None:
        """Does nothing: deadlines of seconds are checked once a second."""

    def _keep_to(self, room: int) -> None:
        while len(self) > room:
            # Where one crowd is large the other is not to blame: an attack of half requests costs no router
            # the connections that it keeps, and one of idle connections costs no request.
            self._evict(self.waiting if len(self.waiting) >= len(self.kept) else self.kept)

    def _evict(self, crowd: Crowd) -> None:
        oldest = next(iter(crowd))
        oldest.leave()
        oldest.transport.abort()
        self.turned_away("too many at once")

    def _tell(self, now_s: float) -> None:
        if self._untold and now_s >= self._quiet_until_s:
            self._quiet_until_s = now_s + QUIET_S
            told = ", ".join(f"{count} ({why})" for why, count in self._untold.items())
            logger.warning("connections closed that had proven nothing: %s", told)
            self._untold.clear()


def internet_address(transport: asyncio.BaseTransport) -> str | None:
    """Whose connection it is, where its address can tell: None if it comes from this machine or network.

    There it is a proxy, a tunnel or a platform's router, and one address stands for everybody behind it. Of
    IPv6 it is the /64, which one customer has whole.
    """
    peer = transport.get_extra_info("peername")
    return _known(peer[0]) if isinstance(peer, tuple) and peer and isinstance(peer[0], str) else None


@lru_cache(4_096)
def _known(host: str) -> str | None:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    if not address.is_global:
        return None
    return address.packed[:8].hex() if isinstance(address, IPv6Address) else str(address)


def _nothing() -> None:
    """What is overdue with those who have left."""


def strangers_at(server_state: object) -> Strangers:
    """Those of one server; it may have been given them as `server_state.strangers`."""
    strangers: Strangers | None = getattr(server_state, "strangers", None)
    if strangers is None:
        strangers = Strangers()
        vars(server_state)["strangers"] = strangers
    return strangers
