"""Calls that came from another machine: when the caller heard us again goes into their recordings."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

from bridge.core import messages as m
from bridge.runner import Runner

LOOK_S: Final = 0.02
LONGEST_S: Final = 20.0
"""A first sound that comes later is not looked for."""
MOST_ASKED: Final = 1_000
MOST_RECENT: Final = 50


@dataclass(slots=True)
class _Move:
    from_machine: str
    to_machine: str
    how: str
    asked_s: float


class Moves:
    """Lives on the loop of the calls."""

    def __init__(self) -> None:
        self._asked: dict[str, float] = {}  # by call, the oldest first
        self._moves: dict[str, _Move] = {}
        self.recent: deque[dict[str, object]] = deque(maxlen=MOST_RECENT)
        """Those that came here, the latest at the end; `at` in seconds since 1970."""

    def asked(self, call_sid: str) -> None:
        """The carrier asked here what comes after a stream."""
        self._asked[call_sid] = _now_s()
        if len(self._asked) > MOST_ASKED:
            del self._asked[next(iter(self._asked))]

    def came(
        self, call_sid: str, from_machine: str, to_machine: str, how: str, *, asked_s: float = 0
    ) -> None:
        """The call's stream has come here from that machine: `how` is `handover` or `crash`. The carrier has
        asked for it so many seconds ago, where it has asked another machine than this one.
        """
        began_s = self._asked.pop(call_sid, _now_s() - asked_s)
        self._moves[call_sid] = _Move(from_machine, to_machine, how, began_s)

    def began(self, call_sid: str, runner: Runner, carried: m.CallSnapshot | None) -> None:
        """The call goes on here with that conversation."""
        move = self._moves.pop(call_sid, None)
        if move is not None:
            self._look(call_sid, runner, move, 0 if carried is None else len(carried.items))

    def forget(self, call_sid: str) -> None:
        """The call is over."""
        self._moves.pop(call_sid, None)

    def _look(self, call_sid: str, runner: Runner, move: _Move, items: int) -> None:
        silent_s = _now_s() - move.asked_s
        if runner.call.phase is m.Phase.ENDED or silent_s > LONGEST_S:
            return
        if not _served(runner):
            asyncio.get_running_loop().call_later(LOOK_S, self._look, call_sid, runner, move, items)
            return
        # What is played when a machine dies is not written down as heard. At a hand-over all of it is.
        twice = 1 if move.how == "crash" else 0
        moved = m.Moved(move.from_machine, move.to_machine, move.how, round(silent_s * 1000), items, twice)
        runner.feed(moved)
        seen = {"call_sid": call_sid, "from": move.from_machine, "how": move.how}
        self.recent.append({**seen, "at": int(time.time()), "silent_ms": moved.silent_ms})


def _served(runner: Runner) -> bool:
    """Whether the caller has what they wait for: a sound, or, where it is their turn, an ear."""
    call = runner.call
    playout = call.playout
    listens = call.phase is m.Phase.LIVE and playout.ready
    return playout.line.ledger.sent > 0 or (listens and not playout.debts.open)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
