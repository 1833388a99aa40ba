"""The pump: a clock that tells viewers what has changed, in slices, so that no call waits for it.

Four times a second every call is looked at, 25 and then the loop's turn; ten times a second the calls in
view. What has changed is encoded once for all viewers. Without viewers there is no clock.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final

from bridge.server.calls import CallRegistry
from bridge.server.store.commands import NoAnswer
from bridge.sockets.frames import POLICY_VIOLATION

from . import messages
from .call_view import CallView
from .far import Borrowed, Lent, Told
from .live import LiveCall, LiveCalls
from .messages import Gone, Lost, System, SystemNow, encode
from .rows import RowReader
from .viewer import Viewer

logger = logging.getLogger(__name__)

MOST_VIEWERS: Final = 10
SLICE: Final = 25
FAR: Final = -1
"""The revision of a call that another machine tells of."""
UNASKED: Final = 8
"""A call of which nothing was told is read at every Nth look all the same: some things change unsaid."""
TICK_S: Final = 0.1
LIST_S: Final = 0.25
SYSTEM_S: Final = 1.0


async def _no_others(*_asked: Any, **_wanted: Any) -> Any:
    raise NoAnswer


class Pump:
    """All viewers of this process. `make_view` makes what is told of one call, `system` reads the process,
    `machine` is its name. `ask(machine, op, **wanted)` asks one of the `others`.
    """

    def __init__(
        self,
        live: LiveCalls,
        registry: CallRegistry,
        machine: Callable[[], str],
        make_view: Callable[[str, RowReader], CallView],
        system: Callable[[int], System],
        *,
        ask: Callable[..., Awaitable[Any]] = _no_others,
        others: Callable[[], Collection[str]] = tuple,
        step: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(0),
    ) -> None:
        self.viewers: list[Viewer] = []
        self._live = live
        self._registry = registry
        self._machine = machine
        self._make_view = make_view
        self._system = system
        self._step = step
        self.borrowed = Borrowed(ask, others, secrets.token_hex(8), self.tell_far)
        self.lent = Lent(self.join, self.leave, time.monotonic)
        self._readers: dict[str, RowReader] = {}
        self._far: set[str] = set()
        self._views: dict[str, CallView] = {}
        self._told_system: System | None = None
        self._task: asyncio.Task[None] | None = None
        self._list_at_s = self._system_at_s = 0.0
        self._slow_turn = 0

    @property
    def full(self) -> bool:
        """Whether ten pages look on already."""
        return sum(not viewer.far for viewer in self.viewers) >= MOST_VIEWERS

    def join(self, viewer: Viewer) -> None:
        """From now on it is told."""
        self.viewers.append(viewer)
        self._told_system = None
        self._settle()

    def leave(self, viewer: Viewer) -> None:
        """It is gone. Idempotent; with the last one nothing is kept any more."""
        viewer.closed = True
        if viewer in self.viewers:
            self.viewers.remove(viewer)
            self._settle()

    def _settle(self) -> None:
        """Calls are looked at while there is a viewer, those of other machines while one is here."""
        self._live.look(bool(self.viewers))
        self.borrowed.look(any(not viewer.far for viewer in self.viewers))
        if self.viewers and self._task is None:
            self._task = asyncio.create_task(self._run(), name="console")
        elif not self.viewers and self._task is not None:
            self._task.cancel()
            self._task = None
            self._readers.clear()
            self._views.clear()
            self._far.clear()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            try:
                await self.tick(loop.time())
            except Exception:
                logger.exception("the console's clock: this tick is left out")
            due_s = max(due_s + TICK_S, loop.time())
            await asyncio.sleep(due_s - loop.time())

    async def tick(self, now_s: float) -> None:
        """Everything that is due. Raises nothing that a viewer causes."""
        readers = {viewer for viewer in self.viewers if viewer.can_read(now_s)}
        await self._calls_in_view(readers)
        if now_s >= self._list_at_s:
            self._list_at_s = now_s + LIST_S * 0.9
            await self._list(readers)
        if now_s >= self._system_at_s:
            self._system_at_s = now_s + SYSTEM_S
            self.lent.forget()
            for viewer in self.viewers:
                if not viewer.lasts():
                    viewer.close(POLICY_VIOLATION, "signed out")
            self._tell_system(readers)

    # --- the list ----------------------------------------------------------------------------------------

    async def _list(self, readers: set[Viewer]) -> None:
        gone = self._live.forget_old()
        for call_sid in gone:
            self._readers.pop(call_sid, None)
        calls, far = [call.call_sid for call in self._live], list(self.borrowed.rows.values())
        gone_far = self._far - self.borrowed.rows.keys()
        self._far = set(self.borrowed.rows)
        listed = [viewer for viewer in readers if not (viewer.far and viewer.looks_at)]
        whole = [viewer for viewer in listed if viewer.wants_list]
        for viewer in whole:
            viewer.wants_list = False
            viewer.seen.clear()
        changes: dict[Viewer, list[str]] = {viewer: [] for viewer in listed}
        self._slow_turn = (self._slow_turn + 1) % UNASKED
        own = max(1, -(-len(calls) // SLICE))
        slices = own + -(-len(far) // SLICE)
        for number in range(slices):
            at = number * SLICE if number < own else (number - own) * SLICE
            piece = self._own(calls[at : at + SLICE]) if number < own else far[at : at + SLICE]
            for viewer in listed:
                if viewer.far and number >= own:
                    continue
                if viewer in whole:
                    ends = number == (own if viewer.far else slices) - 1
                    self._send_piece(viewer, piece, begins=not number, ends=ends)
                else:
                    changes[viewer] += self._changes(viewer, piece)
            await self._step()
        for viewer in listed:  # one message each: a write costs more than what is in it
            if changes[viewer]:
                viewer.send(messages.rows(changes[viewer]))
            self._tell_gone(viewer, gone if viewer.far else [*gone, *gone_far])

    def _own(self, call_sids: list[str]) -> Sequence[Told]:
        """Their rows, read anew where there may be news."""
        piece = [self._reader(call_sid) for call_sid in call_sids if call_sid in self._live.calls]
        for at, reader in enumerate(piece):
            if reader.live.dirty or at % UNASKED == self._slow_turn:
                reader.live.dirty = False
                reader.read()
        return piece

    @staticmethod
    def _tell_gone(viewer: Viewer, gone: list[str]) -> None:
        if gone:
            viewer.send(encode(Gone(gone)))
            for call_sid in gone:
                viewer.seen.pop(call_sid, None)

    def _reader(self, call_sid: str) -> RowReader:
        reader, live = self._readers.get(call_sid), self._live.calls[call_sid]
        if reader is None or reader.live is not live:
            reader = self._readers[call_sid] = RowReader(
                live, self._registry.services.router, self._machine()
            )
        return reader

    @staticmethod
    def _send_piece(viewer: Viewer, piece: Sequence[Told], *, begins: bool, ends: bool) -> None:
        for row in piece:
            viewer.seen[row.call_sid] = row.revision
        viewer.send(messages.calls([row.text for row in piece], begins=begins, ends=ends))

    @staticmethod
    def _changes(viewer: Viewer, piece: Sequence[Told]) -> list[str]:
        """What that viewer has not seen, and from now on has."""
        texts, seen = [], viewer.seen
        for row in piece:
            revision, known = row.revision, seen.get(row.call_sid)
            if known != revision:
                texts.append(row.change if known == revision - 1 else row.text)
                seen[row.call_sid] = revision
        return texts

    # --- the call in view --------------------------------------------------------------------------------

    async def _calls_in_view(self, readers: set[Viewer]) -> None:
        wanted = {viewer.looks_at for viewer in self.viewers if viewer.looks_at is not None}
        self.borrowed.looked_at = wanted & self.borrowed.rows.keys() - self._live.calls.keys()
        for call_sid in self._views.keys() - wanted:
            del self._views[call_sid]
        for call_sid in wanted:
            lookers = [viewer for viewer in readers if viewer.looks_at == call_sid]
            live = self._live.calls.get(call_sid)
            if call_sid in self.borrowed.looked_at:
                self._look_far(call_sid, lookers)
                continue
            if live is None:
                self._lose(call_sid, lookers)
            else:
                try:
                    self._show(live, lookers)
                except Exception:
                    logger.exception("this call cannot be shown", extra={"call_sid": call_sid})
                    self._lose(call_sid, lookers)
            await self._step()

    def _show(self, live: LiveCall, lookers: list[Viewer]) -> None:
        """What is new in this call, to those that look at it."""
        view = self._views.get(live.call_sid)
        if view is None or view.live is not live:
            view = self._views[live.call_sid] = self._make_view(live.call_sid, self._reader(live.call_sid))
            for viewer in lookers:
                viewer.call_seen = 0
        before, change = view.revision, view.tick()
        for viewer in lookers:
            self._send_call(viewer, view, before, change)

    def _lose(self, call_sid: str, lookers: list[Viewer]) -> None:
        """It cannot be looked at, or not any more."""
        self._views.pop(call_sid, None)
        for viewer in lookers:
            viewer.looks_at = None
            viewer.send(encode(Lost(call_sid)))

    def _look_far(self, call_sid: str, lookers: list[Viewer]) -> None:
        """Those that have begun to look, or were slow, get the whole of it from the machine that has it."""
        fresh = [viewer for viewer in lookers if viewer.call_seen != FAR]
        if fresh:
            self.borrowed.begin(call_sid)
        for viewer in fresh:
            viewer.call_seen = FAR

    def tell_far(self, call_sid: str, text: str) -> None:
        """What another machine says of a call that is looked at."""
        for viewer in self.viewers:
            if viewer.looks_at == call_sid and viewer.call_seen == FAR and not viewer.far:
                viewer.send(text)

    @staticmethod
    def _send_call(viewer: Viewer, view: CallView, before: int, change: str) -> None:
        if viewer.call_seen != before:
            viewer.send(view.whole())
        elif change:
            viewer.send(change)
        viewer.call_seen = view.revision

    # --- the process -------------------------------------------------------------------------------------

    def _tell_system(self, readers: set[Viewer]) -> None:
        system = self._system(len(self.viewers))
        if system == self._told_system:
            return
        self._told_system = system
        text = encode(SystemNow(system))
        for viewer in readers:
            if not viewer.far:
                viewer.send(text)
