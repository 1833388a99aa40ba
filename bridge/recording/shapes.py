"""Frames that are like the last one of their kind: what of them is new.

Most frames of a call differ from the one before in a counter, a size and a clock. So a recording writes the
first of a kind whole, and of the next ones only what is new. Writing and reading learn from the same whole
frames, in the same order, and so know the same shapes. A frame counts as alike only if putting the new parts
into the shape gives the frame itself; two fields of a delta excepted that mean nothing to a call: its event
id, and its padding against eavesdroppers.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_SEQUENCE: Final = '"sequenceNumber":"'
_CALLER: Final = (_SEQUENCE, '"chunk":"', '"timestamp":"', '"payload":"')
_ECHO: Final = (_SEQUENCE, '"name":"')
MOST_DIGITS: Final = 15
"""Of a counter or a clock: what a run can hold."""

_DELTA: Final = re.compile(r'"type"\s*:\s*"response\.(?:output_)?(audio|audio_transcript|text)\.delta"')
_APPEND: Final = re.compile(r'"type":"(?:input_audio_buffer|session\.input_audio)\.append"')
_COLON: Final = re.compile(r'\s*:\s*"')
_NEW: Final = ("event_id", "delta", "obfuscation")


class _Around(NamedTuple):
    """A frame with one text in it that is new each time."""

    head: str
    tail: str
    epoch: int = 0


def _split(frame: str, keys: tuple[str, ...]) -> tuple[list[str], list[str]] | None:
    """The frame around the texts behind these keys, and the texts; None if it does not have all of them, in
    this order.
    """
    pieces: list[str] = []
    values: list[str] = []
    done = 0
    for key in keys:
        start = frame.find(key, done) + len(key)
        end = frame.find('"', start)
        if start < len(key) or end < 0:
            return None
        pieces.append(frame[done:start])
        values.append(frame[start:end])
        done = end
    return [*pieces, frame[done:]], values


def _around(frame: str, key: str, epoch: int = 0) -> _Around | None:
    found = _split(frame, (key,))
    return None if found is None else _Around(found[0][0], found[0][1], epoch)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS


class Delta:
    """Deltas of one part of one item."""

    __slots__ = ("_old", "_pieces", "_value_at", "epoch")

    def __init__(self, frame: str, epoch: int) -> None:
        spans = sorted((span, key) for key in _NEW if (span := _span(frame, key)))
        self.epoch = epoch
        self._value_at = [key for _, key in spans].index("delta")
        self._old = [frame[start:end] for (start, end), _ in spans]
        edges = [0, *(edge for span, _ in spans for edge in span), len(frame)]
        self._pieces = [frame[edges[at] : edges[at + 1]] for at in range(0, len(edges), 2)]

    def value(self, frame: str) -> str | None:
        """What is new in this frame, as JSON spells it; None when it is not like the first one."""
        at = 0
        value = ""
        for number, piece in enumerate(self._pieces[:-1]):
            if not frame.startswith(piece, at):
                return None
            start = at + len(piece)
            at = _end_of_string(frame, start)
            if at < 0:
                return None
            if number == self._value_at:
                value = frame[start:at]
        return value if frame[at:] == self._pieces[-1] else None

    def frame(self, value: str) -> str:
        news = [value if number == self._value_at else old for number, old in enumerate(self._old)]
        return "".join(text for pair in zip(self._pieces, [*news, ""], strict=True) for text in pair)


def _span(frame: str, key: str) -> tuple[int, int] | None:
    """The position of the text behind this key, or None."""
    at = frame.find(f'"{key}"')
    colon = None if at < 0 else _COLON.match(frame, at + len(key) + 2)
    if colon is None:
        return None
    end = _end_of_string(frame, colon.end())
    return None if end < 0 else (colon.end(), end)


def _end_of_string(frame: str, start: int) -> int:
    """Where the JSON string that begins here has its closing quote; -1 if it has none."""
    at = frame.find('"', start)
    while at > start and frame[at - 1] == "\\":
        # After an odd number of backslashes the quote is escaped.
        backslashes = 1
        while at - backslashes > start and frame[at - backslashes - 1] == "\\":
            backslashes += 1
        if backslashes % 2 == 0:
            break
        at = frame.find('"', at + 1)
    return at


class Shapes:
    """What is known of the frames of one recording."""

    __slots__ = (
        "_caller",
        "_chunk",
        "_echo",
        "_sequence",
        "_stamp_ms",
        "append",
        "mark",
        "play",
        "sound",
        "step_ms",
        "words",
    )

    def __init__(self) -> None:
        self._caller: tuple[str, str, str, str, str] | None = None
        self._echo: tuple[str, str, str] | None = None
        self._sequence = self._chunk = self._stamp_ms = 0
        self.step_ms = 0
        """What the carrier's clock did between the last two frames of the caller."""
        self.append: _Around | None = None
        self.play: _Around | None = None
        self.mark: _Around | None = None
        self.sound: Delta | None = None
        self.words: Delta | None = None

    # whole frames

    def came(self, door: str, frame: str, epoch: int) -> None:
        """A frame that came in stands whole in the recording."""
        if door == "carrier":
            self._learn_carrier(frame)
        elif (delta := _DELTA.search(frame)) and _span(frame, "delta"):
            shape = Delta(frame, epoch)
            if delta[1] == "audio":
                self.sound = shape
            else:
                self.words = shape

    def _learn_carrier(self, frame: str) -> None:
        if '"event":"media"' in frame and (found := _split(frame, _CALLER)):
            (a, b, c, d, tail), (_, chunk, stamp_ms, _) = found
            if _is_number(chunk) and _is_number(stamp_ms):
                self._caller = (a, b, c, d, tail)
                self._chunk, self._stamp_ms = int(chunk), int(stamp_ms)
        elif '"event":"mark"' in frame and (found := _split(frame, _ECHO)):
            a, b, tail = found[0]
            self._echo = (a, b, tail)
        if (found := _split(frame, (_SEQUENCE,))) and _is_number(found[1][0]):
            self._sequence = int(found[1][0])

    def went(self, door: str, frame: str, epoch: int) -> None:
        """A frame that went out does."""
        if door == "upstream":
            if _APPEND.search(frame):
                self.append = _around(frame, '"audio":"', epoch) or self.append
        elif '"event":"media"' in frame:
            self.play = _around(frame, '"payload":"') or self.play
        elif '"event":"mark"' in frame:
            self.mark = _around(frame, '"name":"') or self.mark

    # frames of the caller

    def caller(self, frame: str) -> str | None:
        """The sound of the caller's next frame, and `step_ms`. None when it is not like the last whole one;
        the counters then stay.
        """
        if self._caller is None:
            return None
        a, b, c, d, tail = self._caller
        sequence, chunk = self._sequence + 1, self._chunk + 1
        head = f"{a}{sequence}{b}{chunk}{c}"
        if not frame.startswith(head):
            return None
        at = len(head)
        end = frame.find('"', at)
        stamp = frame[at:end]
        start, stop = end + len(d), len(frame) - len(tail)
        if start >= stop or not frame.startswith(d, end) or not frame.endswith(tail) or not stamp.isdecimal():
            return None
        stamp_ms = int(stamp[:MOST_DIGITS])
        if f"{stamp_ms}" != stamp:
            return None
        self._sequence, self._chunk = sequence, chunk
        self.step_ms = stamp_ms - self._stamp_ms
        self._stamp_ms = stamp_ms
        return frame[start:stop]

    def caller_frame(self, sound: str, step_ms: int) -> str:
        """The caller's next frame. Raises ValueError when no frame of theirs stood whole before."""
        if self._caller is None:
            raise ValueError("no frame of the caller before this one")
        a, b, c, d, tail = self._caller
        self._sequence += 1
        self._chunk += 1
        self._stamp_ms += step_ms
        return f"{a}{self._sequence}{b}{self._chunk}{c}{self._stamp_ms}{d}{sound}{tail}"

    # echoes of marks

    def echo(self, frame: str) -> str | None:
        """The name of the mark that came back; None when the frame is not like the last whole one."""
        if self._echo is None:
            return None
        a, b, tail = self._echo
        head = f"{a}{self._sequence + 1}{b}"
        name = frame[len(head) : len(frame) - len(tail)]
        if not (_is_number(name) and frame.startswith(head) and frame.endswith(tail)):
            return None
        self._sequence += 1
        return name

    def echo_frame(self, name: str) -> str:
        if self._echo is None:
            raise ValueError("no mark came back before this one")
        a, b, tail = self._echo
        self._sequence += 1
        return f"{a}{self._sequence}{b}{name}{tail}"


def mark_name(frame: str, shape: _Around | None) -> str | None:
    """The name of the mark that this frame sends; None when it is not like the last whole one."""
    if shape is None or not frame.startswith(shape.head) or not frame.endswith(shape.tail):
        return None
    name = frame[len(shape.head) : len(frame) - len(shape.tail)]
    return name if _is_number(name) else None


def put(text: str, shape: _Around | None) -> str:
    """The frame around this text. Raises ValueError when none stood whole before."""
    if shape is None:
        raise ValueError("no frame of that kind before this one")
    return f"{shape.head}{text}{shape.tail}"
