"""The pump: a clock that tells viewers what has changed, in slices, so that no call waits for it.

Four times a second every call is looked at, 25 and then the loop's turn; ten times a second the calls in
view. What has changed is encoded once, whoever looks. Without viewers there is no clock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from bridge.server.calls import CallRegistry
from bridge.sockets.frames import POLICY_VIOLATION

from . import messages
from .call_view import CallView
from .live import LiveCalls
from .messages import Gone, Lost, System, SystemNow, encode
from .rows import RowReader
from .viewer import Viewer

logger = logging.getLogger(__name__)

MOST_VIEWERS: Final = 10
SLICE: Final = 25
UNASKED: Final = 8
"""A call of which nothing was told is read every so many times all the same: some things change unsaid."""
TICK_S: Final = 0.1
LIST_S: Final = 0.25
SYSTEM_S: Final = 1.0


class Pump:
    """All viewers of this process. `make_view` makes what is told of one call, `system` reads the process,
    `machine` is its name.
    """

    def __init__(
        self,
        live: LiveCalls,
        registry: CallRegistry,
        machine: Callable[[], str],
        make_view: Callable[[str, RowReader], CallView],
        system: Callable[[int], System],
        *,
        step: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(0),
    ) -> None:
        self.viewers: list[Viewer] = []
        self._live = live
        self._registry = registry
        self._machine = machine
        self._make_view = make_view
        self._system = system
        self._step = step
        self._readers: dict[str, RowReader] = {}
        self._views: dict[str, CallView] = {}
        self._told_system: System | None = None
        self._task: asyncio.Task[None] | None = None
        self._list_at_s = self._system_at_s = 0.0
        self._slow_turn = 0

    @property
    def full(self) -> bool:
        return len(self.viewers) >= MOST_VIEWERS

    def join(self, viewer: Viewer) -> None:
        """From now on it is told."""
        self.viewers.append(viewer)
        self._live.look(True)
        self._told_system = None
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="console")

    def leave(self, viewer: Viewer) -> None:
        """It is gone. Idempotent; with the last one nothing is kept any more."""
        viewer.closed = True
        if viewer in self.viewers:
            self.viewers.remove(viewer)
        if not self.viewers and self._task is not None:
            self._task.cancel()
            self._task = None
            self._live.look(False)
            self._readers.clear()
            self._views.clear()

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
            for viewer in self.viewers:
                if not viewer.lasts():
                    viewer.close(POLICY_VIOLATION, "signed out")
            self._tell_system(readers)

    # --- the list ----------------------------------------------------------------------------------------

    async def _list(self, readers: set[Viewer]) -> None:
        gone = self._live.forget_old()
        for call_sid in gone:
            self._readers.pop(call_sid, None)
        calls = list(self._live)
        whole = [viewer for viewer in readers if viewer.wants_list]
        for viewer in whole:
            viewer.wants_list = False
            viewer.seen.clear()
        self._slow_turn = (self._slow_turn + 1) % UNASKED
        slices = max(1, -(-len(calls) // SLICE))
        for number in range(slices):
            piece = [self._reader(call.call_sid) for call in calls[number * SLICE : (number + 1) * SLICE]]
            for at, reader in enumerate(piece):
                if reader.live.dirty or at % UNASKED == self._slow_turn:
                    reader.live.dirty = False
                    reader.read()
            for viewer in readers:
                if viewer in whole:
                    self._send_piece(viewer, piece, begins=not number, ends=number == slices - 1)
                else:
                    self._send_changes(viewer, piece)
            await self._step()
        if gone:
            for viewer in readers:
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
    def _send_piece(viewer: Viewer, piece: list[RowReader], *, begins: bool, ends: bool) -> None:
        for reader in piece:
            viewer.seen[reader.live.call_sid] = reader.row.revision
        viewer.send(messages.calls([reader.text for reader in piece], begins=begins, ends=ends))

    @staticmethod
    def _send_changes(viewer: Viewer, piece: list[RowReader]) -> None:
        texts, seen = [], viewer.seen
        for reader in piece:
            revision, known = reader.row.revision, seen.get(reader.live.call_sid)
            if known != revision:
                texts.append(reader.change if known == revision - 1 else reader.text)
                seen[reader.live.call_sid] = revision
        if texts:
            viewer.send(messages.rows(texts))

    # --- the call in view --------------------------------------------------------------------------------

    async def _calls_in_view(self, readers: set[Viewer]) -> None:
        wanted = {viewer.looks_at for viewer in self.viewers if viewer.looks_at is not None}
        for call_sid in self._views.keys() - wanted:
            del self._views[call_sid]
        for call_sid in wanted:
            lookers = [viewer for viewer in readers if viewer.looks_at == call_sid]
            live, view = self._live.calls.get(call_sid), self._views.get(call_sid)
            if live is None:
                self._views.pop(call_sid, None)
                for viewer in lookers:
                    viewer.looks_at = None
                    viewer.send(encode(Lost(call_sid)))
                continue
            if view is None or view.live is not live:
                view = self._views[call_sid] = self._make_view(call_sid, self._reader(call_sid))
                for viewer in lookers:
                    viewer.call_seen = 0
            before, change = view.revision, view.tick()
            for viewer in lookers:
                self._send_call(viewer, view, before, change)
            await self._step()

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
            viewer.send(text)
