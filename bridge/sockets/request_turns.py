"""Whose request is answered next: a few of each lane in each turn of the event loop.

A stranger may open hundreds of connections and send a whole request on each at the same moment. Answered at
once, they would all run before the next frame of any call does.

A caller's webhook looks like a stranger's until its signature is computed, so it can't be preferred. It can
be kept apart from requests that are cheaper to send, and from upgrades, which cost us more. So there are four
lanes: pages; forms; upgrades; and requests that are not the first of their connection. A webhook's answer
ends its connection, so a crowd of kept connections waits in a lane of its own, whatever it asks.
"""

from __future__ import annotations

import asyncio
import enum
from typing import Final, Protocol

A_TURN: Final = 4
"""Connections that are accepted in a turn of the loop, and requests of each lane that begin in it. With fewer
accepted a caller waits for as many turns as strangers have connected before them; with more than begin, a
crowd would push a caller's request out of its lane before its turn.
"""


class Lane(enum.Enum):
    """What a request is like, as far as a stranger can't choose it for free."""

    PAGE = enum.auto()
    """The first of its connection, without a body or a query."""
    FORM = enum.auto()
    """The first of its connection, with a body or a query."""
    UPGRADE = enum.auto()
    """The first of its connection, to become a websocket."""
    AGAIN = enum.auto()
    """Not the first of its connection."""


class Waiting(Protocol):
    """A request that waits. Neither call may raise."""

    def on_turn(self) -> None:
        """It is the next one."""

    def on_given_up(self) -> None:
        """There were too many; its place is another's."""


class RequestTurns:
    """The requests that wait, on one event loop. Of each lane at most `A_TURN` begin in a turn of it."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, dict[Waiting, None]] = {lane: {} for lane in Lane}
        self._armed = False

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    def join(self, request: Waiting, lane: Lane) -> None:
        """It waits behind those of its lane."""
        self._lanes[lane][request] = None
        if not self._armed:
            self._armed = True
            asyncio.get_running_loop().call_soon(self._turn)

    def leave(self, request: Waiting) -> None:
        """Idempotent."""
        for lane in self._lanes.values():
            lane.pop(request, None)

    def give_up_one(self) -> bool:
        """Turn the oldest of the longest lane away. False if no request waits."""
        lane = max(self._lanes.values(), key=len)
        if lane:
            _first(lane).on_given_up()
        return bool(lane)

    def _turn(self) -> None:
        for _ in range(A_TURN):
            for lane in self._lanes.values():
                if lane:
                    _first(lane).on_turn()
        self._armed = len(self) > 0
        if self._armed:
            asyncio.get_running_loop().call_soon(self._turn)


def _first(lane: dict[Waiting, None]) -> Waiting:
    request = next(iter(lane))
    del lane[request]
    return request
