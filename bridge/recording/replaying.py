"""Replays a recording: the same inputs at the same times, through adapters and core, compared with what came
out then. No clock, no socket, no user code: what a handler or a tool did stands in the recording as inputs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from bridge.carriers import CARRIERS, Carrier
from bridge.core import messages as m
from bridge.core.call import Call
from bridge.errors import CarrierError, ConfigError, ReplayMismatch, UpstreamError
from bridge.upstreams import UPSTREAMS, Upstream, Vendor

from .difference import Difference, Playout, around, in_words, output_in_words, shown
from .header import Header
from .lines import shown_action
from .recorder import DOOR_OF, Recorder
from .sound import elide_sound
from .steps import Output, Recording, Step
from .truth import QUIET, frame_bears_truth, truth_of, truth_of_frame

NOWHERE: Final = "ws://replay.invalid"
"""Where the adapters of a replay would dial."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a replay is made of: the core and the tables of adapters. A test puts a mutant in."""

    call: Callable[[m.CallConfig], Call] = Call
    carriers: Mapping[str, Callable[[], Carrier]] = field(default_factory=lambda: CARRIERS)
    upstreams: Mapping[str, Vendor] = field(default_factory=lambda: UPSTREAMS)


@dataclass(slots=True)
class _Answer:
    """One action of the replay next to what the recording has in its place. The action went out as `frame`,
    was `dropped` as one, or is a decision; with neither the replay has nothing here.
    """

    expected: Output | None
    door: str = ""
    epoch: int = 0
    frame: str | bytes | None = None
    action: m.Action | None = None
    dropped: bool = False


class _Stage:
    """A call and its adapters, without the sockets."""

    def __init__(self, header: Header, parts: Parts) -> None:
        for name, table in ((header.carrier, parts.carriers), (header.upstream, parts.upstreams)):
            if name not in table:
                raise ConfigError(f"this recording is of {name!r}, which this phonebridge does not know")
        self.call = parts.call(header.config)
        self._carrier = parts.carriers[header.carrier]()
        self._vendor = parts.upstreams[header.upstream]
        self._upstreams: dict[int, Upstream] = {}
        self._reachable: set[int] = set()
        self._held: dict[int, deque[m.AppendAudio]] = {}

    def feed(self, step: Step) -> list[m.Action]:
        """What follows from this step."""
        event = step.event
        if event is None:
            event = self._parse(step)
            if event is None:
                return []
        elif isinstance(event, m.UpstreamClosed | m.DialFailed):
            self._reachable.discard(event.epoch)
            self._held.pop(event.epoch, None)
        return self.call.receive(event, step.t_ms)

    def _parse(self, step: Step) -> m.Event | None:
        frame = step.frame or ""
        try:
            if step.door == "carrier":
                return self._carrier.parse(frame)
            self._reachable.add(step.epoch)
            return self._upstream(step.epoch).parse(frame)
        except (CarrierError, UpstreamError) as error:
            return m.FrameRefused(step.door, str(error))

    def write(self, action: m.Action, door: str) -> str | bytes:
        if door == "carrier":
            return self._carrier.write(action)  # type: ignore[arg-type]  # DOOR_OF said so
        return self._upstream(action.epoch).write(action)  # type: ignore[union-attr,arg-type]

    def _upstream(self, epoch: int) -> Upstream:
        upstream = self._upstreams.get(epoch)
        if upstream is None:
            upstream = self._upstreams[epoch] = self._vendor(epoch, NOWHERE)
        return upstream

    def as_usual(self, outputs: list[Output], actions: list[m.Action]) -> bool:
        """Whether a frame of the caller went up at once, as it did then: nearly every step of a call, so it
        is answered without the formalities.
        """
        if len(outputs) != 1 or len(actions) != 1 or self._held:
            return False
        output, action = outputs[0], actions[0]
        if type(action) is not m.AppendAudio or action.epoch != output.epoch or output.door != "upstream":
            return False
        return output.usual and output.frame == self._upstream(action.epoch).write(action)

    def answers(self, outputs: list[Output], actions: list[m.Action]) -> Iterator[_Answer]:
        """The actions of one step, each next to its place in the recording."""
        at = 0
        for action in actions:
            for late in self._late(outputs, at):
                yield late
                at += 1
            expected = outputs[at] if at < len(outputs) else None
            door = DOOR_OF.get(type(action), "session")
            epoch = action.epoch if door == "upstream" else 0  # type: ignore[union-attr]
            leg = door in ("carrier", "upstream")
            if not leg or (expected is not None and type(expected.action) is type(action)):
                if isinstance(action, m.AppendAudio) and epoch in self._reachable:
                    self._held.setdefault(epoch, deque()).append(action)
                yield _Answer(expected, door, epoch, action=action)
            elif self._lost(door, epoch, expected):
                continue
            else:
                yield _Answer(expected, door, epoch, self.write(action, door))
            at += 1
        for late in self._late(outputs, at):
            yield late
            at += 1
        for expected in outputs[at:]:
            yield _Answer(expected)

    def _lost(self, door: str, epoch: int, expected: Output | None) -> bool:
        """Whether this command met no socket. The shell does not tell when a socket is there: the first frame
        that comes from it does, or a command that went to it before.
        """
        if door != "upstream" or epoch in self._reachable:
            return False
        return expected is None or expected.door != "upstream" or expected.frame is None

    def _late(self, outputs: list[Output], at: int) -> Iterator[_Answer]:
        """Caller audio that was held back for a slow upstream, where the recording says that it went or was
        thrown away after all.
        """
        while self._held and at < len(outputs):
            output = outputs[at]
            held = self._held.get(output.epoch)
            if not held or output.door != "upstream" or output.frame is None:
                return
            frame = self.write(held[0], "upstream")
            if not output.dropped and not same_frame(output.frame, frame, "upstream"):
                return
            held.popleft()
            yield _Answer(output, "upstream", output.epoch, frame, dropped=output.dropped)
            at += 1


def same_frame(expected: str | bytes, got: str | bytes, door: str) -> bool:
    """Whether the frames are equal, but for sound that was left out."""
    if expected == got:
        return True
    if isinstance(expected, bytes) or isinstance(got, bytes):
        return False
    left_out = elide_sound(got, door, 1)
    return left_out is not None and left_out == elide_sound(expected, door, 1)


def _differs_strictly(answer: _Answer, sound: bool) -> bool:
    expected = answer.expected
    if expected is None or expected.door != answer.door or expected.dropped != answer.dropped:
        return True
    if answer.action is not None:
        return expected.action != shown_action(answer.action, sound=sound)
    if expected.frame is None or answer.frame is None or expected.epoch != answer.epoch:
        return True
    if sound:
        return expected.frame != answer.frame
    return not same_frame(expected.frame, answer.frame, answer.door)


def _differs_in_truth(answer: _Answer, sound: bool) -> bool:
    expected = answer.expected
    if expected is None or expected.door != answer.door:
        return True
    if answer.action is not None:
        got = shown_action(answer.action, sound=sound)
        return expected.action is None or bool(truth_of(expected.action) != truth_of(got))
    if expected.frame is None or answer.frame is None:
        return True
    return bool(truth_of_frame(expected.frame) != truth_of_frame(answer.frame))


def _bears_truth(output: Output) -> bool:
    if output.action is not None:
        return type(output.action) not in QUIET
    return output.frame is not None and not output.dropped and frame_bears_truth(output.frame)


def _in_words(answer: _Answer) -> str | None:
    if answer.action is not None:
        return shown(f"{answer.door} {answer.action}")
    if answer.frame is None:
        return None
    return shown(f"{answer.door} {'drops ' if answer.dropped else ''}{answer.frame!s}")


@dataclass
class Replay:
    """What a replay found. `difference` None: the same. `steps` were fed, the last one at `end_ms`; `call` is
    as they left it. `torn`, `truncated` and `ended` say how the recording ends, as in `Recording`.
    """

    header: Header
    difference: Difference | None
    steps: int
    end_ms: int
    torn: bool
    truncated: str | None
    ended: bool
    call: Call
    lines: list[str]
    parts: Parts

    @cached_property
    def outputs(self) -> list[str]:
        """The recording as it would be if the call happened again now: the same inputs, with what follows
        from them today. Equal to the lines that were replayed if nothing differs.
        """
        return _rewritten(self.lines, self.parts)

    def check(self) -> None:
        """Raise ReplayMismatch if something differs."""
        if self.difference is not None:
            raise ReplayMismatch(self.difference.line, self.difference.expected, self.difference.got)


def replay(lines: Iterable[str], *, strict: bool = False, parts: Parts | None = None) -> Replay:
    """Feed the inputs of a recording at their times and compare what follows.

    By default what bears the truth is compared: clear, cancel, truncate, delete, items, responses,
    configuration, closes, intents, the end, and heard milliseconds. `strict` compares all, to the byte. It
    stops at the first difference. Raises ConfigError for what is no recording, or one of another format.
    """
    parts = parts or Parts()
    recording = Recording(lines)
    stage = _Stage(recording.header, parts)
    sound = recording.header.sound
    difference = None
    count = end_ms = 0
    for step in recording.steps():
        count += 1
        end_ms = step.t_ms
        cut_off = recording.done and not recording.ended
        found = _first(stage, step, strict=strict, sound=sound, cut_off=cut_off)
        if found is not None:
            expected, got, error = found
            difference = Difference(
                step.line if expected is None else expected.line,
                step.t_ms,
                None if expected is None else output_in_words(expected),
                got,
                _playout_before(recording.lines, count, parts),
                in_words(step),
                around(recording.lines, step.line if expected is None else expected.line),
                error,
            )
            break
    ending = (recording.torn, recording.truncated, recording.ended)
    return Replay(recording.header, difference, count, end_ms, *ending, stage.call, recording.lines, parts)


_Found = tuple[Output | None, str | None, Exception | None]


def _first(stage: _Stage, step: Step, *, strict: bool, sound: bool, cut_off: bool) -> _Found | None:
    """The first difference of one step. `cut_off`: the recording stops here, and what followed may be missing
    in it.
    """
    outputs = step.outputs
    differs = _differs_strictly if strict else _differs_in_truth
    try:
        actions = stage.feed(step)
        if not strict:
            actions = [action for action in actions if type(action) not in QUIET]
            outputs = [output for output in outputs if not output.usual and _bears_truth(output)]
        if (not actions and not outputs) or stage.as_usual(outputs, actions):
            return None
        for answer in stage.answers(outputs, actions):
            if differs(answer, sound) and not (cut_off and answer.expected is None):
                return answer.expected, _in_words(answer), None
    except Exception as error:  # noqa: BLE001  what a bug of ours raises is what the replay was asked for
        return outputs[0] if outputs else None, f"{type(error).__name__} raised: {error}", error
    return None


def _playout_before(lines: list[str], count: int, parts: Parts) -> Playout:
    """What the ledger knew when that step came, before it did anything about it."""
    recording = Recording(lines)
    stage = _Stage(recording.header, parts)
    t_ms = 0
    for number, step in enumerate(recording.steps(), 1):
        t_ms = step.t_ms
        if number == count:
            break
        for _ in stage.answers(step.outputs, stage.feed(step)):
            pass
    ledger = stage.call.speaking.line.ledger
    return Playout(ledger.position(t_ms), ledger.sent, ledger.acked, ledger.bytes_per_ms)


def _rewritten(lines: list[str], parts: Parts) -> list[str]:
    recording = Recording(lines)
    stage = _Stage(recording.header, parts)
    written: list[str] = []
    recorder = Recorder(written.append, recording.header, recording.header.sound)
    for step in recording.steps():
        if step.event is not None:
            recorder.happened(step.t_ms, step.event)
        else:
            recorder.came(step.t_ms, step.door, step.frame or "", step.epoch)
        for answer in stage.answers(step.outputs, stage.feed(step)):
            late_ms = answer.expected.late_ms if answer.expected is not None else None
            now_ms = step.t_ms if late_ms is None else late_ms
            if answer.action is not None:
                recorder.decided(now_ms, answer.action)
            elif answer.frame is not None and answer.dropped:
                recorder.dropped(now_ms, answer.door, answer.frame, answer.epoch)
            elif answer.frame is not None:
                recorder.went(now_ms, answer.door, answer.frame, answer.epoch)
    recorder.close()
    if not recording.ended:
        written.pop()
    if recording.truncated is not None:
        written.append(f'{{"truncated":"{recording.truncated}"}}')
    return written
