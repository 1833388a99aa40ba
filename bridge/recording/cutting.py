"""Cuts a short recording out of a long one, at a quiet moment: a call of its own that goes on with what was
said before.

The piece has the beginning of the call, up to where caller and model could hear each other, and what happened
from the moment on. The clock runs on without a gap, and names that the core gave (marks, items of its own,
sessions) are those that it gives in the piece.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from bridge.core import messages as m

from .editing import remade
from .header import Header, Origin
from .moments import QuietMoment, Walkthrough
from .stage import Parts, Stage
from .steps import Step
from .truth import bears_truth, truth_of

AFTER_MS: Final = 150
"""What of the call follows the marked moment in a piece."""
BEFORE_MS: Final = 300
"""A quiet moment is at least this long before the mark."""
NEAR_MS: Final = 100
"""This close to the mark the piece must do what the whole call did."""

_TIMESTAMP: Final = re.compile(r'("timestamp"\s*:\s*")(\d+)(")')
_AUDIO_MS: Final = re.compile(r'("audio_(?:start|end)_ms"\s*:\s*)(\d+)')
_OWN_ITEM: Final = re.compile(r"\bpb_\d+\b")
_MARK: Final = re.compile(r'("mark"\s*:\s*\{\s*"name"\s*:\s*")([^"\\]*)(")')


@dataclass(slots=True)
class _Names:
    """What is called otherwise in the piece, by its name in the whole call."""

    marks: dict[str, str] = field(default_factory=dict)
    items: dict[str, str] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)

    def learn(self, then: Sequence[m.Action], now: Sequence[m.Action]) -> None:
        """Both calls did this at the same step: what they named, one for one."""
        for kind, table, name in (
            (m.SendMark, self.marks, "name"),
            (m.CreateItem, self.items, "item_id"),
            (m.DialUpstream, self.epochs, "epoch"),
        ):
            ours = [getattr(action, name) for action in now if type(action) is kind]
            theirs = [getattr(action, name) for action in then if type(action) is kind]
            table.update(zip(theirs, ours, strict=False))

    def item(self, text: str) -> str:
        """The text with the core's own item ids as the piece has them."""
        return _OWN_ITEM.sub(lambda found: self.items.get(found[0], found[0]), text)


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece: its header and steps, `shift_ms` how much earlier it happens in it than in the whole call, and
    `whole` where nothing could be left out before the mark.
    """

    header: Header
    steps: list[Step]
    shift_ms: int
    whole: bool

    def lines(self) -> list[str]:
        """The piece as a recording."""
        return remade(self.header, self.steps)


def cut_out(
    call: Walkthrough,
    from_ms: int,
    mark_ms: int,
    *,
    recording: str = "",
    sound: bool = False,
) -> Piece:
    """The shortest piece around the marked moment at which the core does what it did in the whole call.

    It begins at the last quiet moment that lies `BEFORE_MS` before `from_ms`, or at an earlier one; where
    none will do it is the call up to the mark. `recording` is the SHA-256 of the file that it is cut from.
    With `sound` the piece keeps it, if the recording has it.
    """
    last = _up_to(call, mark_ms)
    for moment in reversed(call.moments):
        if moment.t_ms > from_ms - BEFORE_MS or moment.stream != _stream(call):
            continue
        found = _Cutter(call, moment, sound).piece(last, mark_ms, recording)
        if found is not None:
            return found
    return whole_before(call, mark_ms, recording=recording, sound=sound)


def whole_before(call: Walkthrough, mark_ms: int, *, recording: str = "", sound: bool = False) -> Piece:
    """The call from its beginning up to the mark, as a piece."""
    origin = Origin(recording, 0, mark_ms)
    header = msgspec.structs.replace(call.header, cut=origin, sound=sound and call.header.sound)
    return Piece(header, call.steps[: _up_to(call, mark_ms)], 0, whole=True)


def _up_to(call: Walkthrough, mark_ms: int) -> int:
    """How many steps there are up to the end of a piece."""
    return bisect_right(call.steps, mark_ms + AFTER_MS, key=lambda step: step.t_ms)


def _stream(call: Walkthrough) -> int:
    """The carrier's stream at the end of the beginning."""
    return max((step.epoch for step in call.steps[: call.began] if step.door == "carrier"), default=0)


class _Cutter:
    """Feeds a piece to a call of its own while it is made: what that call names things is in its later
    inputs.
    """

    def __init__(self, call: Walkthrough, moment: QuietMoment, sound: bool) -> None:
        self._call = call
        self._moment = moment
        self._shift_ms = moment.t_ms - call.steps[call.began - 1].t_ms
        header = begins_with(call.header, moment, self._shift_ms)
        self._header = msgspec.structs.replace(header, sound=sound and call.header.sound)
        self._stage = Stage(self._header, Parts())
        self._names = _Names()

    def piece(self, last: int, mark_ms: int, recording: str) -> Piece | None:
        """The piece up to that many steps of the call; None if it is not true to the call near the mark."""
        steps = []
        for index, step in self._steps(last):
            actions = self._feed(step)
            then = self._call.actions[index]
            self._names.learn(then, actions)
            near = abs(self._call.steps[index].t_ms - mark_ms) <= NEAR_MS
            if near and index >= self._moment.index and not self._same(then, actions):
                return None
            steps.append(step)
            if index == self._call.began - 1:
                self._begun()
        origin = Origin(recording, self._moment.t_ms, mark_ms)
        header = msgspec.structs.replace(self._header, cut=origin)
        return Piece(header, steps, self._shift_ms, whole=False)

    def _begun(self) -> None:
        """The beginning is over: the moment's session is the one that the piece has now."""
        call = self._stage.call
        self._names.epochs[self._moment.epoch] = call.up.epoch
        self._skipped_ms = self._moment.uploaded_ms - call.caller_audio.uploaded_ms

    def _steps(self, last: int) -> Iterator[tuple[int, Step]]:
        call = self._call
        for index in range(call.began):
            step = call.steps[index]
            # What the core does when the call begins is not what it did then: it tells what was said.
            yield index, step if index < call.began - 1 else msgspec.structs.replace(step, outputs=[])
        for index in range(self._moment.index, last):
            moved = self._moved(call.steps[index])
            if moved is not None:
                yield index, moved

    def _feed(self, step: Step) -> list[m.Action]:
        actions = self._stage.feed(step)
        for _ in self._stage.answers(step.outputs, actions):
            pass  # adapters remember what they have written
        return actions

    def _moved(self, step: Step) -> Step | None:
        """The step as it happens in the piece; None for one that belongs to what was left out."""
        t_ms = step.t_ms - self._shift_ms
        if step.event is not None:
            epoch = getattr(step.event, "epoch", None)
            if epoch is None:
                return msgspec.structs.replace(step, t_ms=t_ms, outputs=[])
            if epoch not in self._names.epochs:
                return None
            event = msgspec.structs.replace(step.event, epoch=self._names.epochs[epoch])
            return msgspec.structs.replace(step, t_ms=t_ms, event=event, outputs=[])
        frame = step.frame
        if step.door == "carrier":
            if isinstance(frame, str) and (frame := self._carrier_frame(frame)) is None:
                return None
            return msgspec.structs.replace(step, t_ms=t_ms, frame=frame, outputs=[])
        if step.epoch not in self._names.epochs:
            return None
        if isinstance(frame, str):
            frame = self._upstream_frame(frame)
        epoch = self._names.epochs[step.epoch]
        return msgspec.structs.replace(step, t_ms=t_ms, frame=frame, epoch=epoch, outputs=[])

    def _carrier_frame(self, frame: str) -> str | None:
        if '"mark"' in frame and (found := _MARK.search(frame)) is not None:
            name = self._names.marks.get(found[2])
            return None if name is None else f"{frame[: found.start(2)]}{name}{frame[found.end(2) :]}"
        return _TIMESTAMP.sub(self._earlier(self._shift_ms), frame, count=1)

    def _upstream_frame(self, frame: str) -> str:
        if '"input_audio_buffer.' in frame:
            frame = _AUDIO_MS.sub(self._earlier(self._skipped_ms), frame)
        return self._names.item(frame) if "pb_" in frame else frame

    @staticmethod
    def _earlier(ms: int) -> Callable[[re.Match[str]], str]:
        return lambda found: f"{found[1]}{max(0, int(found[2]) - ms)}{(*found.groups(), '')[2]}"

    def _same(self, then: Sequence[m.Action], now: Sequence[m.Action]) -> bool:
        true_then = [self._renamed(truth_of(action)) for action in then if bears_truth(type(action))]
        return true_then == [truth_of(action) for action in now if bears_truth(type(action))]

    def _renamed(self, truth: Any) -> Any:
        if not isinstance(truth, msgspec.Struct):
            return truth
        changed: dict[str, Any] = {}
        for name in truth.__struct_fields__:
            value = getattr(truth, name)
            if name == "epoch":
                changed[name] = self._names.epochs.get(value, value)
            elif isinstance(value, str) and "pb_" in value:
                changed[name] = self._names.item(value)
        return msgspec.structs.replace(truth, **changed) if changed else truth


def begins_with(header: Header, moment: QuietMoment, shift_ms: int) -> Header:
    """The header of a call that goes on from that moment, `shift_ms` earlier by its own clock."""
    config, carried = header.config, moment.carried
    accepted_at_s = config.accepted_at_s and config.accepted_at_s + shift_ms // 1000
    made = msgspec.structs.replace(
        config,
        session=carried.session or config.session,
        carried=msgspec.structs.replace(carried, session=None),
        echoes=moment.echoes,
        accepted_at_s=accepted_at_s,
        greeting=None,
        resumed=False,
        returned="",
    )
    return msgspec.structs.replace(header, config=made)
