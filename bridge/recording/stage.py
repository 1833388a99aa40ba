"""A call and its adapters without the sockets: what a replay feeds, and what it gets back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from bridge.carriers import CARRIERS, Carrier
from bridge.core import messages as m
from bridge.core.call import Call
from bridge.errors import ConfigError, why_refused
from bridge.upstreams import UPSTREAMS, NewUpstream, Parsed, Upstream, Written, frames_of

from .header import Header
from .recorder import DOOR_OF
from .sound import elide_sound
from .steps import Output, Step

NOWHERE: Final = "ws://replay.invalid"
"""Where the adapters of a replay would dial."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a replay is made of: the core and the tables of adapters. A test puts a mutant in."""

    call: Callable[[m.CallConfig], Call] = Call
    carriers: Mapping[str, Callable[[], Carrier]] = field(default_factory=lambda: CARRIERS)
    upstreams: Mapping[str, NewUpstream] = field(default_factory=lambda: UPSTREAMS)


@dataclass(slots=True)
class Answer:
    """One action of the replay next to what the recording has in its place. The action went out as `frame`,
    was `dropped` as one, or is a decision; with neither the replay has nothing here.
    """

    expected: Output | None
    door: str = ""
    epoch: int = 0
    frame: str | bytes | None = None
    action: m.Action | None = None
    dropped: bool = False


class Stage:
    """A call and its adapters, without the sockets."""

    def __init__(self, header: Header, parts: Parts) -> None:
        for name, table in ((header.carrier, parts.carriers), (header.upstream, parts.upstreams)):
            if name not in table:
                raise ConfigError(f"this recording is of {name!r}, which this phonebridge does not know")
        try:
            self.call = parts.call(header.config)
        except Exception as error:
            raise ConfigError(
                f"no call can be made of this header: {type(error).__name__}: {error}"
            ) from error
        self._new_carrier = parts.carriers[header.carrier]
        self._carrier = self._new_carrier()
        self._stream = 0
        self._table, self._first = parts.upstreams, header.upstream
        self._vendors: dict[int, str] = {}
        self._upstreams: dict[int, Upstream] = {}
        self._reachable: set[int] = set()
        self._held: dict[int, deque[m.AppendAudio]] = {}

    @property
    def carrier(self) -> Carrier:
        """The adapter of the stream that is open."""
        return self._carrier

    def feed(self, step: Step) -> list[m.Action]:
        """What follows from this step."""
        return [action for event in self.read(step) for action in self.call.receive(event, step.t_ms)]

    def read(self, step: Step) -> tuple[m.Event, ...]:
        """What this step is to the core: several events where a frame says several things, none where it says
        nothing.
        """
        event: m.Event | Parsed = step.event
        if event is None:
            try:
                if step.door == "carrier":
                    if step.epoch > self._stream:  # the carrier opened another stream of this call
                        self._stream, self._carrier = step.epoch, self._new_carrier()
                    event = self._carrier.parse(step.frame or "")
                else:
                    self._reachable.add(step.epoch)
                    event = self._upstream(step.epoch).parse(step.frame or "")
            except Exception as error:  # noqa: BLE001  as the gate did
                event = m.FrameRefused(step.door, why_refused(error))
        elif isinstance(event, m.UpstreamClosed | m.DialFailed):
            self._reachable.discard(event.epoch)
            self._held.pop(event.epoch, None)
        return event if isinstance(event, tuple) else () if event is None else (event,)

    def write(self, action: m.Action, door: str) -> Written:
        if door == "carrier":
            return self._carrier.write(action)  # type: ignore[arg-type]  # DOOR_OF said so
        return self._upstream(action.epoch).write(action)  # type: ignore[union-attr,arg-type]

    def _upstream(self, epoch: int) -> Upstream:
        upstream = self._upstreams.get(epoch)
        if upstream is None:
            name = self._vendors.get(epoch, self._first)
            if name not in self._table:
                raise ConfigError(f"this call went on with {name!r}, which this phonebridge does not know")
            upstream = self._upstreams[epoch] = self._table[name](epoch, NOWHERE)
        return upstream

    def as_usual(self, outputs: list[Output], actions: list[m.Action]) -> bool:
        """Whether a frame of the caller went up at once, as it did then: nearly every step of a call, so it
        is answered without the formalities.
        """
        if len(outputs) != 1 or len(actions) != 1 or self._held:
            return False
        output, action = outputs[0], actions[0]
        if type(action) is not m.AppendAudio or not output.usual or action.epoch != output.epoch:
            return False
        return output.frame == self._upstream(action.epoch).write(action)

    def answers(self, outputs: list[Output], actions: list[m.Action]) -> Iterator[Answer]:
        """The actions of one step, each next to its place in the recording."""
        at = 0
        for action in actions:
            for late in self._late(outputs, at):
                yield late
                at += 1
            if type(action) is m.DialUpstream and action.vendor:
                self._vendors[action.epoch] = action.vendor
            expected = outputs[at] if at < len(outputs) else None
            door = DOOR_OF.get(type(action), "session")
            epoch = action.epoch if door == "upstream" else 0  # type: ignore[union-attr]
            leg = door in ("carrier", "upstream")
            if not leg or (expected is not None and type(expected.action) is type(action)):
                if isinstance(action, m.AppendAudio) and epoch in self._reachable:
                    self._held.setdefault(epoch, deque()).append(action)
                yield Answer(expected, door, epoch, action=action)
                at += 1
                continue
            for frame in frames_of(self.write(action, door)):
                yield Answer(outputs[at] if at < len(outputs) else None, door, epoch, frame)
                at += 1
        for late in self._late(outputs, at):
            yield late
            at += 1
        for expected in outputs[at:]:
            yield Answer(expected)

    def _late(self, outputs: list[Output], at: int) -> Iterator[Answer]:
        """Caller audio that was held back for a slow upstream, where the recording says that it went or was
        thrown away after all.
        """
        while self._held and at < len(outputs):
            output = outputs[at]
            held = self._held.get(output.epoch)
            if not held or output.door != "upstream" or output.frame is None:
                return
            frame = self._upstream(output.epoch).append(held[0].audio)
            if not output.dropped and not same_frame(output.frame, frame, "upstream"):
                return
            held.popleft()
            yield Answer(output, "upstream", output.epoch, frame, dropped=output.dropped)
            at += 1


def same_frame(expected: str | bytes, got: str | bytes, door: str) -> bool:
    """Whether the frames are equal, but for sound that was left out."""
    if expected == got:
        return True
    if isinstance(expected, bytes) or isinstance(got, bytes):
        return False
    left_out = elide_sound(got, door, 1)
    return left_out is not None and left_out == elide_sound(expected, door, 1)
