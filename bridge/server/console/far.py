"""Calls of other machines: each is asked by its name for what its own viewers would be told.

A machine that is asked has a viewer for each that asks, whose socket is a text in memory (`Feed`): so slices,
encoding and what happens to slow ones are the same. It forgets one that has not asked for five seconds.

The console of a machine that looks asks the others four times a second, and only while a page of its own is
open. A call that is in view elsewhere comes as that machine tells it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final, Protocol

from bridge.server.fleet.machine_commands import Refused
from bridge.server.store.claims import StoreError
from bridge.server.store.commands import NoAnswer

from .viewer import Viewer

logger = logging.getLogger("bridge.console")

POLL: Final = "console poll"
POLL_S: Final = 0.25
FORGOTTEN_S: Final = 5.0
PIECE_CHARACTERS: Final = 16_000
"""Of one answer: with four bytes each it still fits."""
MOST_FAR: Final = 40
"""Viewers of other machines that one machine has."""


class Told(Protocol):
    """A row as the pump sends it, own or far."""

    @property
    def call_sid(self) -> str: ...
    @property
    def revision(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def change(self) -> str: ...


class Feed:
    """The socket of a far viewer: what it is told waits here until it asks."""

    def __init__(self) -> None:
        self.asked_s = 0.0
        self.closed = False
        self._text = ""

    @property
    def outbox_bytes(self) -> int:
        return len(self._text)

    def send(self, frame: str) -> None:
        self._text += f"{frame}\n"

    def close(self, code: int = 1000, reason: str = "") -> None:  # noqa: ARG002  as a socket does
        self.closed = True

    def take(self) -> str:
        """The next piece; a message may go on in the one behind it."""
        piece, self._text = self._text[:PIECE_CHARACTERS], self._text[PIECE_CHARACTERS:]
        return piece


class Lent:
    """What this machine tells others: `join` and `leave` are the pump's, `clock` is monotonic."""

    def __init__(
        self,
        join: Callable[[Viewer], None],
        leave: Callable[[Viewer], None],
        clock: Callable[[], float],
    ) -> None:
        self._join = join
        self._leave = leave
        self._clock = clock
        self._viewers: dict[str, tuple[Viewer, Feed]] = {}

    async def poll(self, wanted: Mapping[str, Any]) -> str:
        """What is new for that viewer, by its `id`: of the list, or of the call that it `looks` at. With
        `begins` all of it comes again.
        """
        name, looks = str(wanted["id"])[:100], wanted.get("looks")
        now_s = self._clock()
        known = self._viewers.get(name)
        if known is None or known[1].closed or wanted.get("begins"):
            if known is not None:
                self._leave(known[0])
            if len(self._viewers) >= MOST_FAR:
                raise Refused("too many look on")
            known = self._enter(name, None if looks is None else str(looks))
        known[1].asked_s = now_s
        return known[1].take()

    def _enter(self, name: str, looks: str | None) -> tuple[Viewer, Feed]:
        feed = Feed()
        viewer = Viewer(feed, name, lambda: self._clock() - feed.asked_s < FORGOTTEN_S, far=True)
        viewer.looks_at, viewer.wants_list = looks, looks is None
        self._viewers[name] = viewer, feed
        feed.asked_s = self._clock()
        self._join(viewer)
        return viewer, feed

    def forget(self) -> None:
        """Let go of those that ask no more."""
        for name, (viewer, feed) in list(self._viewers.items()):
            if feed.closed or not viewer.lasts():
                self._leave(viewer)
                del self._viewers[name]


class FarRow:
    """A call of another machine, in the list of this one."""

    __slots__ = ("call_sid", "fields", "revision", "text")

    def __init__(self, call_sid: str, fields: dict[str, Any], revision: int) -> None:
        self.call_sid = call_sid
        self.fields = fields
        self.revision = revision
        self.text = json.dumps(fields)

    @property
    def change(self) -> str:
        """The whole of it."""
        return self.text


class _Stream:
    """What one machine tells of its list, or of one call, put together from pieces."""

    def __init__(self, machine: str, name: str, looks: str | None) -> None:
        self.machine, self.name, self.looks = machine, name, looks
        self.begins = True
        self._rest = ""

    def lines(self, piece: str) -> list[str]:
        *whole, self._rest = (self._rest + piece).split("\n")
        return whole


class Borrowed:
    """What this machine is told by others. `ask(machine, op, **wanted)` asks one, `others()` are their names,
    `name` is new for each process. `tell(call_sid, text)` tells viewers of a call that they look at.
    """

    def __init__(
        self,
        ask: Callable[..., Awaitable[Any]],
        others: Callable[[], Collection[str]],
        name: str,
        tell: Callable[[str, str], None],
    ) -> None:
        self._ask = ask
        self._others = others
        self._name = name
        self._tell = tell
        self.rows: dict[str, FarRow] = {}
        self._machines: dict[str, str] = {}  # of each call
        self._streams: dict[str, _Stream] = {}
        self._piece: dict[str, dict[str, Any]] = {}
        self._revision = 0
        self._task: asyncio.Task[None] | None = None
        self.looked_at: set[str] = set()

    def look(self, on: bool) -> None:
        """Ask the others from now on, or no more. Idempotent."""
        if on and self._task is None:
            self._task = asyncio.create_task(self._run(), name="far calls")
        elif not on and self._task is not None:
            self._task.cancel()
            self._task = None
            self.rows.clear()
            self._machines.clear()
            self._streams.clear()

    def machine_of(self, call_sid: str) -> str | None:
        """The other machine that has this call; None for one that none has."""
        return self._machines.get(call_sid)

    def begin(self, call_sid: str) -> None:
        """A viewer has begun to look at it: the whole of it comes again."""
        stream = self._streams.get(f"call {call_sid}")
        if stream is not None:
            stream.begins = True

    async def _run(self) -> None:
        while True:
            try:
                await self.tick()
            except Exception:
                logger.exception("calls of other machines: this turn is left out")
            await asyncio.sleep(POLL_S)

    async def tick(self) -> None:
        """Ask each of them once."""
        others = set(self._others())
        wanted = {f"list {machine}": (machine, None) for machine in others} | {
            f"call {call}": (self._machines[call], call)
            for call in self.looked_at
            if self._machines.get(call) in others
        }
        for key in self._streams.keys() - wanted.keys():
            del self._streams[key]
        for call_sid in [one for one, machine in self._machines.items() if machine not in others]:
            self._drop(call_sid)
        for key, (machine, looks) in wanted.items():
            self._streams.setdefault(key, _Stream(machine, f"{self._name} {key}", looks))
        await asyncio.gather(*map(self._poll, list(self._streams.values())))

    async def _poll(self, stream: _Stream) -> None:
        begins, stream.begins = stream.begins, False
        asked = {"id": stream.name, "looks": stream.looks, "begins": begins}
        try:
            piece = await self._ask(stream.machine, POLL, **asked)
        except (Refused, NoAnswer, StoreError, ValueError):
            stream.begins = True  # what it would have told is lost
            return
        if begins:
            stream.lines("\n")
        for line in stream.lines(str(piece)):
            if not line:
                continue
            if stream.looks is None:
                self._take(stream.machine, json.loads(line))
            else:
                self._tell(stream.looks, line)

    def _take(self, machine: str, said: dict[str, Any]) -> None:
        match said.get("kind"):
            case "calls":
                if said["begins"]:
                    self._piece[machine] = {}
                rows = self._piece.setdefault(machine, {})
                rows |= {row["call"]: row for row in said["calls"]}
                if said["ends"]:
                    for call_sid in [one for one, where in self._machines.items() if where == machine]:
                        if call_sid not in rows:
                            self._drop(call_sid)
                    for row in self._piece.pop(machine).values():
                        self._put(machine, row)
            case "rows":
                for row in said["rows"]:
                    self._put(machine, row)
            case "gone":
                for call_sid in said["calls"]:
                    self._drop(call_sid)

    def _put(self, machine: str, row: dict[str, Any]) -> None:
        call_sid, known = str(row["call"]), self.rows.get(str(row["call"]))
        fields = row
        if "from" in row:
            if known is None:
                return  # a snapshot comes
            changed = {name: value for name, value in row.items() if name not in ("from", "to")}
            fields = {**known.fields, **changed}
        self._revision += 1
        self._machines[call_sid] = machine
        self.rows[call_sid] = FarRow(call_sid, {**fields, "revision": self._revision}, self._revision)

    def _drop(self, call_sid: str) -> None:
        self.rows.pop(call_sid, None)
        self._machines.pop(call_sid, None)
