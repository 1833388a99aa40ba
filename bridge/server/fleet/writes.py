"""What is written of a call, and when: one command a turn.

An answer that was heard is written at once, together with the caller's words before it. Words whose answer
takes longer are written without it, those of all calls in one command each two seconds: a process that dies
loses what was playing, and of the caller what they said in its last two seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Final

from bridge.core import messages as m
from bridge.core.stats import Stats
from bridge.runner import Runner
from bridge.server.store import Store
from bridge.server.store.intents import DETOUR, HANDOVER, TRANSFER
from bridge.server.store.shared_claims import SharedClaims

from .moves import Moves
from .registry import Calls

WORDS_S: Final = 2.0
"""How long words of callers wait at most: an answer that is heard by then goes with them."""
HEARD_S: Final = 0.1
"""After what was heard, until it is written."""


class Writes:
    """An observer of the calls. `belongs_to` gives it what it reads of them. Lives on their loop."""

    def __init__(self, shared: SharedClaims, moves: Moves) -> None:
        self._shared, self._moves = shared, moves
        shared.restored = lambda call_sid: self._write_in(HEARD_S, call_sid)
        self._calls: Calls
        self._store: Store
        self._due: dict[str, asyncio.TimerHandle] = {}
        self._words: dict[str, None] = {}  # calls whose words wait for an answer
        self._words_due: asyncio.TimerHandle | None = None
        self._writing: set[asyncio.Task[None]] = set()
        self._leaving: dict[str, asyncio.Task[None]] = {}

    def belongs_to(self, calls: Calls, store: Store) -> None:
        """These are the calls, and what this machine keeps of them."""
        self._calls, self._store = calls, store

    async def close(self) -> None:
        """Wait for the calls that are leaving, and for what is being written."""
        await asyncio.gather(*self._leaving.values(), *self._writing, return_exceptions=True)

    def call_began(self, _call_sid: str) -> None:
        """Nothing: a call is owned when its stream has come."""

    def call_did(self, call_sid: str, action: m.Action, _now_ms: int) -> None:
        """What was said is written when its turn is over."""
        match action:
            case m.Turn() if call_sid not in self._due:
                self._wait(call_sid)
            case m.Spoken() | m.DetourMoved() | m.LeaveStream() | m.DetourEnded():
                self._write_in(HEARD_S, call_sid)
            case m.Ended():
                self._ended(call_sid, action)

    def call_ended(self, _call_sid: str, _ended: m.Ended, _stats: Stats) -> None:
        """Nothing: the end itself is told, and no machine waits for what the call has cost."""

    def _ended(self, call_sid: str, ended: m.Ended) -> None:
        """The last word about it, of this machine."""
        runner = self._calls.runner(call_sid)
        self._moves.forget(call_sid)
        self._wait_no_more(call_sid)
        if (timer := self._due.pop(call_sid, None)) is not None:
            timer.cancel()
        if runner is None or ended.reason is m.Reason.TAKEN_OVER:
            return
        intent = self._store.intents.peek(call_sid)
        goes_on = intent is None or intent.startswith((TRANSFER, DETOUR)) or intent == HANDOVER
        if ended.reason is m.Reason.HANDED_OVER:
            handing_over = self._hand_over(call_sid, intent or "", runner)
            self._leaving[call_sid] = asyncio.ensure_future(handing_over)
        elif goes_on and ended.reason is not m.Reason.CALLER_HUNG_UP:
            self._shared.end(call_sid, keep=True, conversation=runner.call.carried(runner.now_ms()))
        else:
            self._shared.end(call_sid, keep=False)

    def before_close(self, call_sid: str, ended: m.Ended) -> Awaitable[object] | None:
        """What to await before the carrier's socket is closed: then the carrier asks any machine."""
        return self._leaving.get(call_sid) if ended.reason is m.Reason.HANDED_OVER else None

    async def written(self, call_sids: Iterable[str]) -> None:
        """Wait for those of the calls that are leaving."""
        if leaving := [self._leaving[one] for one in call_sids if one in self._leaving]:
            await asyncio.wait(leaving)

    async def _hand_over(self, call_sid: str, intent: str, runner: Runner) -> None:
        carried = runner.call.carried(runner.now_ms())
        await self._shared.hand_over(call_sid, intent, carried)
        self._shared.end(call_sid, keep=True)
        self._leaving.pop(call_sid, None)

    def _wait(self, call_sid: str) -> None:
        """Its caller has said something."""
        self._words[call_sid] = None
        if self._words_due is None:
            self._words_due = asyncio.get_running_loop().call_later(WORDS_S, self._write_words)

    def _wait_no_more(self, call_sid: str) -> None:
        self._words.pop(call_sid, None)
        if not self._words and self._words_due is not None:
            self._words_due.cancel()
            self._words_due = None

    def _write_words(self) -> None:
        said, self._words, self._words_due = list(self._words), {}, None
        task = asyncio.ensure_future(self._write_all(said))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write_all(self, call_sids: list[str]) -> None:
        """What was said in these calls; where that is refused, `turn` finds out why."""
        snapshots = {one: found for one in call_sids if (found := self._snapshot(one)) is not None}
        for call_sid in await self._shared.words(snapshots):
            self._write_in(HEARD_S, call_sid)

    def _write_in(self, seconds: float, call_sid: str) -> None:
        """The whole of it, soon."""
        self._wait_no_more(call_sid)
        if call_sid not in self._due:
            self._due[call_sid] = asyncio.get_running_loop().call_later(seconds, self._write, call_sid)

    def _write(self, call_sid: str) -> None:
        self._due.pop(call_sid, None)
        if (found := self._snapshot(call_sid)) is not None:
            self._shared.turn(call_sid, found)

    def _snapshot(self, call_sid: str) -> m.CallSnapshot | None:
        runner = self._calls.runner(call_sid)
        if runner is None or runner.call.phase is m.Phase.ENDED:
            return None
        return runner.call.carried(runner.now_ms())
