"""What came of a recorded call, read from its lines without replaying it: quick enough for a folder of them.

It is what was decided when the call was recorded. A replay may differ, as `phonebridge replay` says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from bridge.core.failover import FAILED_OVER
from bridge.core.messages import Reason
from bridge.core.playout import UNTOLD
from bridge.core.toolbox import failure

from .json_text import UNREADABLE

MOST_FAULTS: Final = 20
"""Of a call, that are kept in words."""
_FAULTS: Final = {
    "UpstreamClosed": "the model's session was closed",
    "DialFailed": "the model could not be reached",
    "UpstreamFaulted": "the model reported an error",
    "FrameRefused": "a frame was refused",
    "FramesDropped": "frames of the caller's were dropped",
    "CarrierClosed": "the carrier's socket was lost",
}
_NOTED: Final = {
    "the model was lost", "configuration refused", "inaudible", "a tool gave no answer", UNTOLD, FAILED_OVER,
}  # fmt: skip


class _Action(msgspec.Struct):
    kind: str = msgspec.field(default="", name="is")
    item_id: str = ""
    heard_ms: int = 0
    output: str = ""
    what: str = ""
    detail: str = ""
    reason: str = ""
    code: int | str | None = None


class _Frame(msgspec.Struct):
    type: str = ""
    item_id: str = ""
    audio_end_ms: int = 0


class _Line(msgspec.Struct):
    to: str = ""
    event: _Action | None = None
    action: _Action | None = None
    frame: _Frame | None = None
    truncated: str | None = None
    end: bool = False


_line: Final = msgspec.json.Decoder(_Line).decode
_BAD_ENDS: Final = {
    Reason.CARRIER_LOST, Reason.CARRIER_GIVEN_UP, Reason.NO_MEDIA, Reason.UPSTREAM_LOST,
    Reason.UPSTREAM_UNREACHABLE, Reason.UPSTREAM_REFUSED, Reason.LIMIT, Reason.BROKEN, Reason.HANDLER_FAILED,
}  # fmt: skip
_BAD_REASONS: Final = {reason.value for reason in _BAD_ENDS}
_OF_INTEREST: Final = re.compile(
    rb'\{(?:"t":\d+,)?(?:"event":\{"is":"(?:ToolFinished|Interrupt|HangUp|'
    + "|".join(_FAULTS).encode()
    + rb')"'
    rb'|"to":"session","action":\{"is":"(?:Cut|ToolWanted|Noted|Ended)"'
    rb'|"to":"upstream","frame":\{"type":"conversation\.item\.(?:truncate|delete)"'
    rb'|"truncated":|"end":)'
)


@dataclass(slots=True)
class Outcome:
    """`largest_error_ms`: how much more of an item the model was told than the caller had heard, of all cuts
    that of the largest size; None without a cut. `faults` are in words, the first twenty. `torn` says why the
    recording has no end, "" where it has.
    """

    barge_ins: int = 0
    largest_error_ms: int | None = None
    tools: int = 0
    tools_failed: int = 0
    faults: list[str] = field(default_factory=list)
    ended: str = ""
    torn: str = "it stops before the call ends"

    def fault(self, words: str) -> None:
        if words not in self.faults and len(self.faults) < MOST_FAULTS:
            self.faults.append(words)


def outcome(lines: Iterable[bytes]) -> Outcome:
    """What the lines of a recording say. Lines that cannot be read are passed over."""
    reader = _Reader()
    interesting = _OF_INTEREST.match
    for raw in lines:
        if raw.startswith(b'{"t":') and b'"to":' not in raw[:24]:
            reader.next_step()
        if interesting(raw):
            try:
                reader.read(_line(raw))
            except UNREADABLE:
                continue
    reader.next_step()
    return reader.found


class _Reader:
    def __init__(self) -> None:
        self.found = Outcome()
        self._heard: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._ours = False

    def next_step(self) -> None:
        """What was cut in one step is one barge-in, if the model was told of it, and unless user code or an
        operator has cut it.
        """
        if self._told:
            self.found.barge_ins += not self._ours
            for item_id, told_ms in self._told.items():
                if item_id in self._heard:
                    self._error(told_ms - self._heard[item_id])
            self._told.clear()
        self._heard.clear()
        self._ours = False

    def read(self, line: _Line) -> None:
        if line.event is not None:
            self._event(line.event)
        if line.action is not None:
            self._action(line.action)
        if line.frame is not None and line.to == "upstream":
            self._frame(line.frame)
        if line.end:
            self.found.torn = ""
        if line.truncated is not None:
            self.found.torn = f"it was cut short: {line.truncated}"

    def _error(self, error_ms: int) -> None:
        found = self.found
        if found.largest_error_ms is None or abs(error_ms) > abs(found.largest_error_ms):
            found.largest_error_ms = error_ms

    def _event(self, event: _Action) -> None:
        if event.kind == "ToolFinished":
            if (why := failure(event.output)) is not None:
                self.found.tools_failed += 1
                self.found.fault(f"a tool failed: {why[:80]}")
        elif event.kind in _FAULTS:
            self.found.fault(_FAULTS[event.kind])
        self._ours |= event.kind in ("Interrupt", "HangUp")

    def _action(self, action: _Action) -> None:
        match action.kind:
            case "Cut":
                self._heard[action.item_id] = action.heard_ms
            case "ToolWanted":
                self.found.tools += 1
            case "Noted" if action.what in _NOTED:
                self.found.fault(f"{action.what}: {action.detail[:80]}" if action.detail else action.what)
            case "Ended":
                self.found.ended = action.reason
                if action.reason in _BAD_REASONS:
                    self.found.fault(action.reason)

    def _frame(self, frame: _Frame) -> None:
        if frame.type == "conversation.item.truncate":
            self._told[frame.item_id] = frame.audio_end_ms
        elif frame.type == "conversation.item.delete":
            self._told[frame.item_id] = 0
