"""What has happened in one call, for the log of events and for the timeline: read from its ring."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from bridge.core import messages as m
from bridge.core.detours import became, title
from bridge.ops.story import told

from . import hidden
from .actions import SAY_ID
from .messages import Happening, Lane, encode

MOST_RAW: Final = 2_000
MOST_TEXT: Final = 400
MOST_LANES: Final = 600
_OF: Final[tuple[tuple[str, tuple[type, ...]], ...]] = (
    ("caller", (m.CallerSpoke, m.Turn, m.DigitHeard, m.CallerSilent)),
    ("agent", (m.Spoken, m.Heard, m.ResponseEnded, m.Cut)),
    ("tool", (m.ToolWanted,)),
    ("trouble", (m.Noted,)),
)
_UTTERED: Final = ("say", "respond", SAY_ID)
"""What the model says as it was asked: `Spoken` tells of that, too."""
OPERATOR: Final = m.OperatorActed.named
"""What `Noted` is called whose detail an operator did."""


def happening(number: int, at_ms: int, action: m.Action) -> Happening:
    """One event as a line. No key that was pressed is in it, and no value of a field named like a secret."""
    of = next((name for name, types in _OF if isinstance(action, types)), "call")
    if isinstance(action, m.Noted) and action.what == OPERATOR:
        of = OPERATOR
    if isinstance(action, m.DigitHeard):
        return Happening(number, at_ms, of, "DigitHeard", "presses •", "")
    raw: dict[str, object] = msgspec.to_builtins(action)
    raw.pop("carried", None)
    raw.pop("session", None)
    if isinstance(action, m.ToolWanted):
        arguments, _ = hidden.fields(action.arguments, "input")
        raw["arguments"], text = arguments, f"calls the tool {action.name}({arguments})"
    elif isinstance(action, m.Heard) and action.say_id.startswith(_UTTERED):
        text = f"said as asked: {'cut off' if action.cut else 'heard to the end'}"
    elif of == OPERATOR and isinstance(action, m.Noted):
        text = action.detail
    else:
        text = _words(action)
    body = encode(raw)[:MOST_RAW]
    return Happening(number, at_ms, of, type(action).__name__, text[:MOST_TEXT], body)


def _words(action: m.Action) -> str:
    """What has happened, as a listener would tell it; "" for what none would."""
    match action:
        case m.DetourMoved(kind=kind, name=name, state=state, leg=leg):
            return f"{title(kind, name)}: {state.value}{f' ({leg.value})' if leg else ''}"
        case m.DetourEnded(kind=kind, name=name, result=result):
            return became(title(kind, name), result)
    line = told(action)
    return "" if line is None else line.what


class Lanes:
    """The timeline of one call. `line_of` gives the line of words of an item, by its id."""

    __slots__ = ("_changed", "_line_of", "_moments", "_open", "lanes")

    def __init__(self, line_of: Callable[[str], str]) -> None:
        self._line_of = line_of
        self.lanes: dict[str, Lane] = {}
        self._open: dict[str, str] = {}
        self._moments = 0
        self._changed: dict[str, Lane] = {}

    def take(self, at_ms: int, action: m.Action) -> None:
        """An event of the ring, in order."""
        match action:
            case m.CallerSpoke(speaking=True):
                self._begin("caller", at_ms, "caller")
            case m.CallerSpoke():
                self._end("caller", at_ms)
            case m.Spoken(item_id=item_id, heard_ms=heard_ms, cut=cut):
                self._heard(item_id, at_ms, heard_ms, "cut" if cut else "model")
            case m.Heard() if not action.say_id.startswith(_UTTERED):
                state = "cut" if action.cut else "phrase"
                self._heard(action.say_id, at_ms, action.heard_ms, state, action.text)
            case m.Cut():
                state = "barge_in" if "caller" in self._open else "cut"  # else we cut it: a mute, a hang-up
                self._mark(at_ms, state, f"heard {action.heard_ms} ms")
            case m.ToolWanted():
                self._begin(f"tool {action.call_id}", at_ms, "tool", action.name)
            case m.DigitHeard():
                self._mark(at_ms, "key", "•")
            case m.DetourMoved(state=m.DetourState.AWAY):
                self._begin("away", at_ms, "away", action.name or action.kind.value)
            case m.DetourEnded():
                self._end("away", at_ms)
            case m.Noted():
                state = OPERATOR if action.what == OPERATOR else "note"
                self._mark(at_ms, state, action.detail if state == OPERATOR else action.what)
            case m.Ended():
                for name in list(self._open):
                    self._end(name, at_ms)

    def tool_returned(self, call_id: str, at_ms: int, *, failed: bool) -> None:
        """A tool has a result."""
        self._end(f"tool {call_id}", at_ms, "failed" if failed else "done")

    def sounds(self, item: str, at_ms: int, heard_ms: int) -> None:
        """The caller hears this now."""
        if f"h{item}" not in self.lanes:
            self._put(Lane(f"h{item}", "heard", max(0, at_ms - heard_ms), None, "model", ""))

    def news(self) -> list[Lane]:
        """What has changed since the last time."""
        changed, self._changed = list(self._changed.values()), {}
        return changed

    def _heard(self, item_id: str, at_ms: int, heard_ms: int, state: str, text: str = "") -> None:
        if not heard_ms:
            return
        name = f"h{self._line_of(item_id) or item_id}"
        before = self.lanes.get(name)
        from_ms = max(0, at_ms - heard_ms) if before is None else min(before.from_ms, at_ms)
        self._put(Lane(name, "heard", from_ms, from_ms + heard_ms, state, text[:MOST_TEXT]))

    def _begin(self, key: str, at_ms: int, lane: str, text: str = "") -> None:
        self._moments += 1
        self._open[key] = name = f"{lane}{self._moments}"
        self._put(Lane(name, lane, at_ms, None, "", text))

    def _end(self, key: str, at_ms: int, state: str = "") -> None:
        name = self._open.pop(key, None)
        lane = None if name is None else self.lanes.get(name)
        if lane is not None:
            self._put(msgspec.structs.replace(lane, to_ms=at_ms, state=state or lane.state))

    def _mark(self, at_ms: int, state: str, text: str) -> None:
        self._moments += 1
        self._put(Lane(f"m{self._moments}", "mark", at_ms, at_ms, state, text[:MOST_TEXT]))

    def _put(self, lane: Lane) -> None:
        self.lanes[lane.id] = self._changed[lane.id] = lane
        while len(self.lanes) > MOST_LANES:
            del self.lanes[next(iter(self.lanes))]


def told_of(ring: Iterator[tuple[int, m.Action]]) -> dict[str, int]:
    """When items were told of, by id: what the caller said at its end (its transcription comes later), what
    they heard at its beginning.
    """
    found: dict[str, int] = {}
    for at_ms, action in ring:
        match action:
            case m.CallerSpoke(speaking=False, item_id=item_id) | m.Turn(item_id=item_id) if item_id:
                found.setdefault(item_id, at_ms)
            case m.Spoken(item_id=item_id, heard_ms=heard_ms):
                found[item_id] = max(0, at_ms - heard_ms)
    return found
