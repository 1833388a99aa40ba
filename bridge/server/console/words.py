"""What both sides have said in one call, line by line, and what of it was heard: as the ledger has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bridge.core.conversation import Item
from bridge.core.ledger import Span

from . import hidden
from .live import LiveCall
from .messages import Line, Playing

MOST_LINES: Final = 400
"""Of one call; more than the core remembers, for lines stay that it has forgotten."""
FINAL: Final = frozenset({"said", "cut", "unheard"})
_OURS: Final = "pb_"


class Words:
    """The lines of one call. `update` reads the state; lines that are settled are not read again."""

    __slots__ = ("_by_item", "_items", "_live", "_next", "_settled", "_told_ms", "lines")

    def __init__(self, live: LiveCall) -> None:
        self._live = live
        self.lines: dict[str, Line] = {}
        self._items: dict[int, tuple[Item, str]] = {}
        """By identity, for their ids change when a session is replaced; with the line's id."""
        self._by_item: dict[str, str] = {}
        self._settled: set[int] = set()
        self._told_ms: dict[str, int] = {}
        """When items were first told of, whose lines are still to come: by id."""
        self._next = 0

    def update(self, now_ms: int, at_ms: Mapping[str, int], *, first: bool = False) -> list[Line]:
        """The lines that are new or have changed. `at_ms` says when items were told of, by id; what is there
        at `first` and was not told of is undated.
        """
        playout = self._live.call.playout
        more = playout.line.ledger.unacknowledged(now_ms)
        on_the_line = {id(span) for span in playout.line.spans.values()}
        self._told_ms = {**at_ms, **self._told_ms}
        changed = []
        for item in list(playout.conversation.items.values()):
            if id(item) in self._settled or item.kind != "message" or not item.role:
                continue
            known = self._items.get(id(item))
            name = f"w{self._next + 1}" if known is None else known[1]
            undated = first and known is None
            began_ms = self._told_ms.get(item.item_id, None if undated else now_ms)
            before = self.lines.get(name)
            line = self._line(item, name, before.at_ms if before else began_ms, more, on_the_line)
            if line is None:
                continue
            if known is None:
                self._next += 1
                self._items[id(item)] = item, name
                self._by_item[item.item_id] = name
                self._told_ms.pop(item.item_id, None)
            if line.state in FINAL and self._is_whole(item):
                self._settled.add(id(item))
            if before != line:
                self.lines[name] = line
                changed.append(line)
        for kept in (self.lines, self._told_ms):
            while len(kept) > MOST_LINES:
                del kept[next(iter(kept))]
        return changed

    def playing(self, now_ms: int) -> Playing | None:
        """What the caller hears now; None for silence."""
        ledger = self._live.call.playout.line.ledger
        position, per_ms = ledger.position(now_ms), ledger.bytes_per_ms
        if position >= ledger.sent:
            return None
        for span in self._live.call.playout.line.spans.values():
            heard_bytes = ledger.heard_bytes(span, now_ms)
            if heard_bytes < span.received_bytes:
                name = self._by_item.get(span.item_id, "")
                left_ms = (span.received_bytes - heard_bytes) // per_ms
                return Playing(name, heard_bytes // per_ms, left_ms)
        return None

    def line_of(self, item_id: str) -> str:
        """The line of an item; "" for one without words."""
        return self._by_item.get(item_id, "")

    def _line(
        self, item: Item, name: str, at_ms: int | None, more: Mapping[Span, int], on_the_line: set[int]
    ) -> Line | None:
        if item.role != "assistant":
            text = hidden.keys(item.text)
            who = "caller" if item.role == "user" else "system"
            who = "operator" if item.text in self._live.whispered else who
            return Line(name, who, at_ms, text, len(text), "said", 0, 0) if text else None
        text = item.said()
        if not text and not item.received_bytes:
            return None
        per_ms = self._live.call.config.bytes_per_ms
        heard_bytes = sum(part.heard_bytes + more.get(part, 0) for part in item.parts.values())
        live = any(id(part) in on_the_line for part in item.parts.values())
        over = self._live.ended is not None
        return Line(
            name,
            "bridge" if item.item_id.startswith(_OURS) else "agent",
            at_ms,
            text,
            len(item.heard(more)),
            _state(item, heard_bytes, live=live, over=over),
            heard_bytes // per_ms,
            item.received_bytes // per_ms,
        )

    def _is_whole(self, item: Item) -> bool:
        """Whether no more of it comes."""
        if item.role != "assistant":
            return item.told or item.role == "system"
        return self._live.call.playout.gate.active != item.response_id or not item.response_id


def _state(item: Item, heard_bytes: int, *, live: bool, over: bool) -> str:
    if item.cut or item.gone:
        return "cut" if heard_bytes else "unheard"
    if heard_bytes >= item.received_bytes and not live and (item.received_bytes or not item.spoken):
        return "said"
    if over:
        return "cut" if heard_bytes else "unheard"
    return "playing" if heard_bytes else "waiting"
