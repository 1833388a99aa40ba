"""Reads a recording: what happened in which order, and what followed from each thing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from bridge.codecs import size_bytes
from bridge.core import messages as m
from bridge.errors import ConfigError

from .bounds import MOST_CHARACTERS, MOST_MS, MOST_STEPS, plausible, weigh
from .header import Header, read_header
from .lines import Line, event_of, frame_of, read_line
from .recorder import EPOCH_OF, FRAME_MS
from .shapes import Shapes, put
from .sound import silence

_TOKEN: Final = re.compile(
    r"(?P<since>\d{1,15})(?P<kind>[mdkt]?)(?P<number>\d{0,15})(?:@(?P<step>-?\d{1,15}))?(?:(?P<fate>[-~])|\+(?P<mark>\d{1,15}))?"
)
FRAME_BYTES: Final = 160


class Output(msgspec.Struct, gc=False):
    """What a recording has of one action: a frame that left (`frame`) or was thrown away (`dropped`), or a
    decision (`action`). `usual` is one that a run implies.
    """

    line: int
    door: str
    frame: str | bytes | None = None
    action: m.Action | None = None
    epoch: int = 0
    dropped: bool = False
    usual: bool = False
    late_ms: int | None = None


class Step(msgspec.Struct, gc=False):
    """One thing that happened: a frame at a door, or an `event` that was no frame. `number` counts the steps
    of a line from 1.
    """

    line: int
    t_ms: int
    door: str = ""
    frame: str | bytes | None = None
    epoch: int = 0
    event: m.Event | None = None
    number: int = 1
    outputs: list[Output] = []


class Recording:
    """A recording, to be gone through once. Where sound was left out, frames hold silence of the same size.

    Raises ConfigError for what is no recording, or one of another format: at once for the header, on the way
    for a line that cannot be read. A last line that was torn by a kill is no error: it is left away, and
    `torn` says so when everything was read, as `truncated` says why the recorder stopped early and `ended`
    that nothing is missing.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = [line.rstrip("\r\n") for line in lines]
        while self.lines and not self.lines[-1].strip():
            self.lines.pop()
        weigh(self.lines)
        self.header: Header = read_header(self.lines[0] if self.lines else "")
        self.done = False
        """Everything was read: the step that was given last is the last one."""
        self.torn = False
        self.truncated: str | None = None
        self.ended = False

    def steps(self) -> Iterator[Step]:
        """Everything that happened, in order. A step is complete when the next one is asked for."""
        reader = _Reader(self.header.sound)
        for number, text in enumerate(self.lines[1:], 2):
            try:
                line = read_line(text)
            except ValueError as error:
                if number == len(self.lines):
                    self.torn = True
                    break
                raise ConfigError(f"line {number} is not of a recording: {error}") from error
            if line.end or line.truncated is not None:
                self.ended, self.truncated = line.end, line.truncated
                break
            try:
                yield from reader.read(number, line)
            except ValueError as error:
                raise ConfigError(f"line {number} can't be understood: {error}") from error
        self.done = True
        if reader.last is not None:
            yield reader.last


class _Reader:
    """Turns lines into steps; each is given out when the next one begins."""

    def __init__(self, sound: bool) -> None:
        self.last: Step | None = None
        self._sound = sound
        self._shapes = Shapes()
        self._tokens: dict[str, tuple[int, str, int, int, str | None, str | None]] = {}
        self._now_ms = 0
        self._characters = 0
        self._outputs = self._steps = 0

    def read(self, number: int, line: Line) -> Iterator[Step]:
        if line.t is not None and not 0 <= line.t <= MOST_MS:
            raise ValueError(f"at {line.t} ms there is no call any more")
        if line.to or line.dropped:
            self._output(number, line)
            return
        if line.t is None:
            raise ValueError("nothing that is known")
        if line.run is not None:
            yield from self._run(number, line, line.t)
            return
        last, self.last = self.last, self._whole(number, line, line.t)
        if last is not None:
            yield last

    def _made(self, frame: str | bytes) -> None:
        """A frame was made whole again."""
        self._characters += len(frame)
        if self._characters > MOST_CHARACTERS:
            raise ValueError("more sound than any call has")

    def _passed(self, t_ms: int) -> int:
        """The clock of the next step."""
        if not self._now_ms <= t_ms <= MOST_MS:
            raise ValueError(f"the clock runs from {self._now_ms} to {t_ms} ms")
        self._now_ms = t_ms
        return t_ms

    def _whole(self, number: int, line: Line, t_ms: int) -> Step:
        self._passed(t_ms)
        if line.event is not None:
            kept = self._sound or line.as_is
            return Step(number, t_ms, event=event_of(line.event, sound=kept))
        door = _door(line.from_)
        frame = frame_of(line, door, sound=self._sound)
        if frame is None:
            raise ValueError("neither a frame nor an event")
        epoch = _epoch(line, door)
        self._made(frame)
        if isinstance(frame, str):
            self._shapes.came(door, frame, epoch)
        return Step(number, t_ms, door, frame, epoch)

    def _output(self, number: int, line: Line) -> None:
        step = self.last
        if step is None:
            raise ValueError("something went out before anything came in")
        self._outputs += line.times
        if line.times < 1 or self._outputs > MOST_STEPS:
            raise ValueError(f"{line.times} times the same")
        if line.action is not None:
            plausible(line.action, sized=False)
            step.outputs += [Output(number, line.to, action=line.action, late_ms=line.t)] * line.times
            return
        door = _door(line.to or line.dropped)
        frame = frame_of(line, door, sound=self._sound)
        if frame is None:
            raise ValueError("neither a frame nor an action")
        epoch = _epoch(line, door)
        self._made(frame)
        if line.to and isinstance(frame, str):
            self._shapes.went(door, frame, epoch)
        output = Output(number, door, frame, epoch=epoch, dropped=bool(line.dropped), late_ms=line.t)
        step.outputs += [output] * line.times

    # --- runs --------------------------------------------------------------------------------------------

    def _run(self, number: int, line: Line, t_ms: int) -> Iterator[Step]:
        tokens = self._tokens
        words, sounds = iter(line.words), iter(line.sound)
        run = line.run or ""
        self._steps += run.count(" ") + 1
        if self._steps > MOST_STEPS:
            raise ValueError("more steps than any call has")
        for count, token in enumerate(run.split(" "), 1):
            read = tokens.get(token)
            if read is None:
                read = tokens[token] = _read_token(token)
            since_ms, kind, number_of, step_ms, fate, mark = read
            t_ms = self._passed(t_ms + since_ms)
            last = self.last
            if kind == "m":
                step = self._caller(number, t_ms, self._text(sounds, number_of), step_ms, fate)
            elif kind == "d":
                step = self._delta(number, t_ms, self._text(sounds, number_of), fate is None, mark)
            elif kind == "t":
                step = self._words(number, t_ms, next(words, None))
            else:
                step = Step(number, t_ms, "carrier", self._shapes.echo_frame(str(number_of)))
            step.number = count
            self.last = step
            if last is not None:
                yield last

    def _text(self, sounds: Iterator[str], sound_bytes: int) -> str:
        if not self._sound:
            return silence(sound_bytes)
        text = next(sounds, None)
        if text is None:
            raise ValueError("a run with less sound than steps")
        return text

    def _caller(self, number: int, t_ms: int, sound: str, step_ms: int, fate: str | None) -> Step:
        step = Step(number, t_ms, "carrier", self._shapes.caller_frame(sound, step_ms))
        self._made(step.frame or "")
        if fate != "-":
            around = self._shapes.append
            frame = put(sound if fate is None else silence(size_bytes(sound)), around)
            epoch = around.epoch if around else 0
            step.outputs.append(Output(number, "upstream", frame, None, epoch, usual=True))
        return step

    def _delta(self, number: int, t_ms: int, sound: str, played: bool, mark: str | None) -> Step:
        shapes = self._shapes
        if shapes.sound is None:
            raise ValueError("no delta of sound before this one")
        step = Step(number, t_ms, "upstream", shapes.sound.frame(sound), shapes.sound.epoch)
        self._made(step.frame or "")
        if played:
            step.outputs.append(Output(number, "carrier", put(sound, shapes.play), usual=True))
        if mark is not None:
            step.outputs.append(Output(number, "carrier", put(mark, shapes.mark), usual=True))
        return step

    def _words(self, number: int, t_ms: int, words: msgspec.Raw | None) -> Step:
        shape = self._shapes.words
        if shape is None or words is None:
            raise ValueError("words of a run that are not there")
        return Step(number, t_ms, "upstream", shape.frame(bytes(words).decode()[1:-1]), shape.epoch)


def _read_token(token: str) -> tuple[int, str, int, int, str | None, str | None]:
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise ValueError(f"{token!r} is no step of a run")
    number, step_ms = found["number"], found["step"]
    return (
        int(found["since"]),
        found["kind"] or "m",
        int(number) if number else FRAME_BYTES,
        int(step_ms) if step_ms else FRAME_MS,
        found["fate"],
        found["mark"],
    )


def _epoch(line: Line, door: str) -> int:
    epoch = EPOCH_OF[door] if line.epoch is None else line.epoch
    if not 0 <= epoch <= MOST_STEPS:
        raise ValueError(f"a session of the number {epoch}")
    return epoch


def _door(name: str) -> str:
    if name not in EPOCH_OF:
        raise ValueError(f"{name!r} is no door that frames pass")
    return name
