"""One timer for all sockets of an event loop: a beat each second, and the deadlines of those that are
closing.

A timer of its own for each socket and each ping is what keepalive costs elsewhere: thousands of handles that
are cancelled and made anew all the time. Here a socket is a member of a set, and counts seconds by itself.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol
from weakref import WeakKeyDictionary

_SECOND_S: Final = 1.0
_EARLY_S: Final = 0.002
"""Loops may fire a timer a touch early; uvloop rounds to milliseconds."""


class Ticked(Protocol):
    """What a member of a :class:`Tick` is called for. Neither call may raise."""

    def on_second(self) -> None: ...

    def on_deadline(self) -> None: ...


class Tick:
    """The beat of one event loop. It runs only while it has members.

    A beat counts loop time, not wall time: after a suspended machine wakes up, no socket looks dead for that.
    """

    def __init__(self) -> None:
        self._members: set[Ticked] = set()
        self._deadlines: dict[Ticked, float] = {}
        self._next_beat = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = 0.0

    def join(self, member: Ticked) -> None:
        """From now on ``member.on_second`` is called once a second; the first time after up to one second."""
        self._members.add(member)
        if self._timer is None or len(self._members) == 1:
            self._arm()

    def close_by(self, member: Ticked, within_s: float) -> None:
        """Calls ``member.on_deadline`` once, unless it leaves first. A deadline already set stands."""
        if member not in self._deadlines:
            due = asyncio.get_running_loop().time() + within_s
            self._deadlines[member] = due
            if self._timer is None or due < self._armed_for:
                self._arm()

    def leave(self, member: Ticked) -> None:
        """Takes a member out, with its deadline if it has one. Unknown members are ignored."""
        self._members.discard(member)
        self._deadlines.pop(member, None)
        if not self._members and not self._deadlines and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = min(self._deadlines.values(), default=None)
        if self._members:
            now = loop.time()
            if not now < self._next_beat <= now + _SECOND_S:
                self._next_beat = now + _SECOND_S
            due = self._next_beat if due is None else min(due, self._next_beat)
        if due is not None:
            self._armed_for = due
            self._timer = loop.call_at(due, self._fire)

    def _fire(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time() + _EARLY_S
        if self._members and now >= self._next_beat:
            self._next_beat += _SECOND_S
            for member in tuple(self._members):
                member.on_second()
        for member in [member for member, due in self._deadlines.items() if due <= now]:
            if self._deadlines.pop(member, None) is not None:
                member.on_deadline()
        self._arm()


_ticks: WeakKeyDictionary[asyncio.AbstractEventLoop, Tick] = WeakKeyDictionary()


def running_tick() -> Tick:
    """The tick of the running event loop. Raises ``RuntimeError`` outside one."""
    loop = asyncio.get_running_loop()
    tick = _ticks.get(loop)
    if tick is None:
        # An armed timer holds its loop; one that was closed under its sockets is let go here.
        for gone in [other for other in _ticks if other.is_closed()]:
            del _ticks[gone]
        tick = _ticks[loop] = Tick()
    return tick
