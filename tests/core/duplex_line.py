"""A duplex model's stream and the line to the caller, in virtual time.

`Stream` is given by its loud stretches; a delta of 100 ms comes every 100 ms from 1,000 ms on, but for the
stalls. `SparseLine` sends what `DuplexStream` lets out, `WholeLine` all that comes; both on the real `Line`.
The carrier plays to the byte and echoes nothing: the clock tells what was heard.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence

from bridge.codecs import blocks
from bridge.core.duplex import DuplexStream, Segment
from bridge.core.ledger import Ledger, Span
from bridge.core.line import Line, LineCommand
from bridge.core.messages import AudioDelta, PlayAudio, Sound

PER_MS = 8
DELTA_MS = 100
FIRST_MS = 1_000
TICK_MS = 20
Stretch = tuple[int, int]


def quiet(ms: int) -> bytes:
    return b"\xff" * (ms * PER_MS)


def loud(ms: int) -> bytes:
    return b"\x10\x90" * (ms * PER_MS // 2)


def text(sound: bytes) -> str:
    return b64encode(sound).decode()


class Stream:
    """Deltas by the time they come: `loud` stretches in ms of the stream, `stalls` of the network by the
    clock: what is due in [s, s + d) comes at s + d.
    """

    def __init__(self, *speech: Stretch, stalls: Sequence[Stretch] = (), ms: int = 4_000) -> None:
        sound = bytearray(quiet(ms))
        for start, end in speech:
            sound[start * PER_MS : end * PER_MS] = loud(end - start)
        self.sound, self._stalls = bytes(sound), sorted(stalls)

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        step, stalls = DELTA_MS * PER_MS, list(reversed(self._stalls))
        for at in range(0, len(self.sound), step):
            due_ms = FIRST_MS + at // PER_MS
            while stalls and sum(stalls[-1]) <= due_ms:
                stalls.pop()
            if stalls and stalls[-1][0] <= due_ms:
                due_ms = sum(stalls[-1])
            yield due_ms, self.sound[at : at + step]


class WholeLine:
    """Every byte goes out, as bridges have it that keep no account."""

    def __init__(self) -> None:
        self.ledger = Ledger(PER_MS, marks=False)
        self.line = Line(self.ledger)
        self.now_ms = 0
        self.out: list[LineCommand] = []
        self.lags: dict[int, int] = {}
        """Right after the deltas of that time."""
        self.before: dict[int, int] = {}
        """Right before them."""

    @property
    def lag_ms(self) -> int:
        return self.line.remaining_ms(self.now_ms)

    def until(self, now_ms: int) -> None:
        """Time passes."""
        while self.now_ms < now_ms:
            tick_ms = self.now_ms - self.now_ms % TICK_MS + TICK_MS
            self.now_ms = min(tick_ms, now_ms) if self.line.waiting else now_ms
            commands, finished = self.line.settle(self.now_ms)
            self.out += commands
            self.finished(finished)

    def finished(self, spans: list[Span]) -> None:
        pass

    def delta(self, at_ms: int, sound: bytes) -> None:
        self.until(at_ms)
        if at_ms not in self.lags:
            self.before[at_ms] = self.lag_ms
        self.came(sound)
        self.lags[at_ms] = self.lag_ms

    def came(self, sound: bytes) -> None:
        delta = AudioDelta("live", "live", 0, text(sound), len(sound))
        self.out += self.line.delta(delta, self.now_ms)

    def ours(self, name: str, ms: int) -> None:
        """A sound of our own is played."""
        size_bytes = ms * PER_MS
        self.out += self.line.sound(name, Sound(text(quiet(ms)), size_bytes, ""), False, self.now_ms)

    @property
    def sent_ms(self) -> int:
        return sum(one.size_bytes for one in self.out if isinstance(one, PlayAudio)) // PER_MS


class SparseLine(WholeLine):
    """Silence stays here."""

    def __init__(self, stream: DuplexStream | None = None) -> None:
        super().__init__()
        self.stream = stream or DuplexStream(1)
        self.began: list[tuple[int, Segment, int]] = []
        """Each segment: when it began, and at which place of the line."""
        self.ended: list[Segment] = []

    def of(self, span: Span) -> int:
        return self.ledger.heard_bytes(span, self.now_ms)

    def heard_ms(self, at_ms: int | None = None) -> int:
        if at_ms is not None:
            self.until(at_ms)
        return self.stream.heard(self.of) // PER_MS

    def came(self, sound: bytes) -> None:
        stream = self.stream
        for audio, size_bytes, is_loud in blocks.runs(text(sound)):
            before = stream.segment
            ours = bool(self.line.spans.of(""))
            pieces = stream.take(audio, size_bytes, is_loud, self.lag_ms, ours=ours)
            segment = stream.segment or before
            for piece, piece_bytes in pieces:
                assert segment is not None
                span = segment.span
                if segment is not before:
                    before = segment
                    self.began.append((self.now_ms, segment, self.ledger.sent))
                    self.line.spans.begin(span)
                delta = AudioDelta(span.response_id, span.item_id, 0, piece, piece_bytes, stream.epoch)
                self.out += self.line.delta(delta, self.now_ms)
            if segment is not None and stream.segment is None:
                commands, finished = self.line.finish(segment.span.item_id, 0, self.now_ms)
                self.out += commands
                self.finished(finished)

    def finished(self, spans: list[Span]) -> None:
        for segment in list(self.stream.segments):
            if segment.span in spans:
                self.stream.ended(segment.span)
                self.ended.append(segment)

    def cut(self) -> list[Segment]:
        """The line is cleared. Returns what was cut."""
        commands, spans = self.line.cut(self.now_ms)
        self.out += commands
        self.stream.cut()
        cut = [segment for segment in self.stream.segments if segment.span in spans]
        for segment in cut:
            self.stream.ended(segment.span)
        self.ended += cut
        return cut


def played(line: WholeLine, stream: Stream, until_ms: int | None = None) -> None:
    """The deltas of the stream, those that come until then."""
    for at_ms, sound in stream:
        if until_ms is not None and at_ms > until_ms:
            line.until(until_ms)
            return
        line.delta(at_ms, sound)
