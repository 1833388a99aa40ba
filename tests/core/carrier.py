"""A carrier's end of the line, exact to the byte: what the tests hold our estimates against.

Time is counted in byte times (1 ms is 8 of them), so that nothing is rounded. What is sent arrives in order
after a delay, is played at 8 bytes a ms when what came before it was played, and stands still while the
carrier stalls. A mark is reached when all before it was; a clear drops what waits and returns waiting marks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from bridge.core.ledger import Ledger, Span
from bridge.core.line import Line, LineCommand
from bridge.core.messages import AudioDelta, ClearPlayout, PlayAudio, SendMark

PER_MS = 8


@dataclass
class Carrier:
    """`out_ms` and `back_ms` give the next delay of a frame each; TCP keeps the order. `stalls` are times in
    ms, from and to, in which nothing is played.
    """

    out_ms: Callable[[], float] = lambda: 0
    back_ms: Callable[[], float] = lambda: 0
    stalls: tuple[tuple[int, int], ...] = ()
    _arrived: int = 0
    _free: int = 0
    _returned_ms: int = 0
    _played: list[tuple[str, int, int]] = field(default_factory=list)
    _marks: deque[tuple[str, int]] = field(default_factory=deque)

    def play(self, key: str, size_bytes: int, now_ms: int) -> None:
        """`size_bytes` of `key` were sent."""
        at = max(self._arrive(now_ms), self._free)
        while size_bytes:
            stall = next(((a * PER_MS, b * PER_MS) for a, b in self.stalls if b * PER_MS > at), None)
            if stall is not None and stall[0] <= at:
                at = stall[1]
                continue
            piece = size_bytes if stall is None else min(size_bytes, stall[0] - at)
            self._played.append((key, at, at + piece))
            at += piece
            size_bytes -= piece
        self._free = at

    def mark(self, name: str, now_ms: int) -> None:
        self._marks.append((name, max(self._arrive(now_ms), self._free)))

    def clear(self, now_ms: int) -> None:
        at = self._arrive(now_ms)
        self._played = [(key, start, min(end, at)) for key, start, end in self._played if start < at]
        self._marks = deque((name, min(reached, at)) for name, reached in self._marks)
        self._free = min(self._free, at)

    def heard_bytes(self, key: str, at_ms: float | None = None) -> int:
        """How much of `key` was played in all, or until then."""
        until = float("inf") if at_ms is None else at_ms * PER_MS
        return int(sum(max(0, min(end, until) - start) for name, start, end in self._played if name == key))

    def echoes(self, until_ms: int) -> list[tuple[int, str]]:
        """The marks that come back to us by then, and when: each once, in order."""
        out = []
        while self._marks:
            name, reached = self._marks[0]
            if reached > until_ms * PER_MS:
                break
            self._returned_ms = max(self._returned_ms, -(-int(reached + self.back_ms() * PER_MS) // PER_MS))
            out.append((self._returned_ms, name))
            self._marks.popleft()
        return out

    def _arrive(self, now_ms: int) -> int:
        self._arrived = max(self._arrived, int((now_ms + self.out_ms()) * PER_MS))
        return self._arrived


class Wire:
    """A `Line` and its carrier, joined: echoes and wake-ups that fall due are fed as a runner does."""

    def __init__(self, carrier: Carrier, marks: bool = True, echoing: bool = True) -> None:
        self.carrier = carrier
        self.line = Line(Ledger(PER_MS, marks))
        self.echoing = echoing
        self.now_ms = 0
        self.said: list[tuple[int, LineCommand]] = []
        self.heard: list[tuple[int, Span]] = []
        self._echoes: deque[tuple[int, str]] = deque()

    def open(self, now_ms: int) -> None:
        """The stream is there: the line learns how long the ways are."""
        self.until(now_ms)
        self._done(self.line.probe(now_ms), [])

    def until(self, now_ms: int) -> None:
        """Nothing new is sent; echoes come and wake-ups fall due."""
        while True:
            self._echoes += self.carrier.echoes(now_ms) if self.echoing else ()
            echo_ms = self._echoes[0][0] if self._echoes else now_ms + 1
            wake_ms = self.line.deadline_ms
            if wake_ms is not None and wake_ms < echo_ms and wake_ms <= now_ms:
                self.now_ms = max(self.now_ms, wake_ms)
                self._done(*self.line.settle(self.now_ms))
            elif echo_ms <= now_ms:
                self.now_ms = max(self.now_ms, echo_ms)
                self._done(*self.line.reached(self._echoes.popleft()[1], self.now_ms))
            else:
                break
        self.now_ms = now_ms

    def delta(self, item_id: str, size_bytes: int, now_ms: int) -> None:
        self.until(now_ms)
        event = AudioDelta("r1", item_id, 0, f"{item_id} ", size_bytes)
        self._done(self.line.delta(event, now_ms), [])

    def finish(self, item_id: str, now_ms: int) -> None:
        self.until(now_ms)
        self._done(*self.line.finish(item_id, 0, now_ms))

    def cut(self, now_ms: int) -> dict[str, int]:
        """The caller speaks: what we believe was heard of each item, in ms. What truly was, the carrier
        knows.
        """
        self.until(now_ms)
        commands, losses = self.line.cut(now_ms)
        self._done(commands, [])
        return {span.item_id: span.heard_bytes // self.line.ledger.bytes_per_ms for span in losses}

    def speak(self, item_id: str, ms: int, now_ms: int, delta_ms: int = 200, speed: int = 5) -> int:
        """An item as the model makes it: in deltas, `speed` times faster than it is played. Returns when it
        was whole.
        """
        while ms > 0:
            self.delta(item_id, min(ms, delta_ms) * PER_MS, now_ms)
            ms -= delta_ms
            now_ms += delta_ms // speed
        self.finish(item_id, now_ms)
        return now_ms

    def _done(self, commands: list[LineCommand], finished: list[Span]) -> None:
        for command in commands:
            self.said.append((self.now_ms, command))
            if isinstance(command, PlayAudio):
                self.carrier.play(command.audio.partition(" ")[0], command.size_bytes, self.now_ms)
            elif isinstance(command, SendMark):
                self.carrier.mark(command.name, self.now_ms)
            elif isinstance(command, ClearPlayout):
                self.carrier.clear(self.now_ms)
        self.heard += [(self.now_ms, span) for span in finished]
