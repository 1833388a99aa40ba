"""The ledger: what was sent to the caller, and what of it the caller has heard.

All audio sent lies on one line, in byte positions; each piece of it belongs to a `Span` (one part of one
item, or one recorded sound). Playout moves along the line at `bytes_per_ms` from the moment the line became
busy. A mark is evidence that playout reached its position, but its echo comes late by the round trip: so the
echo itself only ever moves `acked` forward, and only a *change* of lateness moves the estimate.

Why the plain clock is right at heart: "heard" is what had been played when a clear took effect, and the clear
travels the same way as the audio did. With equal delays both ends shift alike, and heard = time since the
line became busy, whatever the delay. What remains is jitter, and a carrier that stalls; the echoes tell about
both.

Sound cannot be played before it was sent. An echo that claims so proves only what the clock allows, and the
clock settles the rest. Where the clock alone is believed, its word is provisional: if echoes come after all,
they correct it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

from .config import EchoSeen
from .due import NEVER
from .echo_delay import ONE_ECHO, UNKNOWN_MS, EchoDelay

STALL_MS = 150
"""An echo later (or sooner) than expected by more than this is no jitter: the line itself stood still (or had
not)."""
FIRST_ECHO_MS = 1_000
"""How late the first echo of a call may be before the ledger doubts that anything is playing."""
EARLY_MS = 100
"""How much sooner than its sound can have been played an echo may come: a carrier counts in frames, and its
clock is not ours."""
PROBES = 4
"""Marks that are sent one after the other while nothing was said yet: each tells a way there and back."""


@dataclass(slots=True, eq=False)
class Span:
    """One part of one item on its way to the caller's ear. Sizes in bytes; `received` counts what the model
    made of it, sent or not. A span without `response_id` is a recorded sound. `short`: the model made more,
    and there was no room for it.
    """

    item_id: str
    part: int = 0
    response_id: str = ""
    protected: bool = False
    received_bytes: int = 0
    sent_bytes: int = 0
    heard_bytes: int = 0
    done: bool = False
    short: bool = False

    @property
    def over(self) -> bool:
        """It was heard to its end."""
        return self.done and self.heard_bytes >= self.received_bytes


@dataclass(slots=True, eq=False)
class _Run:
    """A stretch of the line that belongs to one span and has not been acknowledged to its end."""

    span: Span
    start: int
    end: int


class Ledger:
    """Positions on the line, in bytes from the start of the call.

    `marks` false means that the carrier echoes none: then the clock alone decides. Nothing here sends; the
    line (`line.py`) tells the ledger what it sent and when. All methods are O(1) but for runs that end.
    """

    __slots__ = (
        "_anchor_bytes",
        "_anchor_ms",
        "_asks",
        "_assumed",
        "_late",
        "_marks",
        "_next_mark",
        "_probes",
        "_runs",
        "acked",
        "bytes_per_ms",
        "check_due_ms",
        "claimed",
        "cut_from",
        "cut_to",
        "echoed",
        "marked",
        "marks",
        "sent",
    )

    def __init__(self, bytes_per_ms: int = 8, marks: bool = True, echoes: EchoSeen | None = None) -> None:
        self.bytes_per_ms = bytes_per_ms
        self.marks = marks
        self.echoed = echoes is not None
        """Whether a mark has ever come back."""
        self.sent = 0
        self.acked = 0
        """What was heard: by an echo, or by the clock where it alone is believed."""
        self.claimed = 0
        """What echoes say was played, possible or not."""
        self.marked = 0
        self.cut_from = self.cut_to = 0
        """What the last clear took from the caller: the first position not heard, and the end."""
        self.check_due_ms = NEVER
        """When to look for the echoes that are awaited: set from outside, and over with the last one."""
        self._marks: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._next_mark = 0
        self._probes: dict[str, int] = {}
        self._runs: deque[_Run] = deque()
        self._assumed: deque[_Run] = deque()
        """What only the clock calls heard, while an echo may still correct it."""
        self._anchor_ms = 0.0
        self._anchor_bytes = 0
        self._late = EchoDelay.of(echoes)
        self._asks = echoes is None

    # What the line reports

    def send(self, span: Span, size_bytes: int, now_ms: int) -> None:
        """`size_bytes` of this span went out to the carrier."""
        start = self.sent
        # `position` has the last word, but it is only asked where the clock alone would be through.
        played_ms = now_ms - self._anchor_ms - self._late.shift_ms
        through = played_ms * self.bytes_per_ms >= start - self._anchor_bytes
        if self.acked >= start or (through and self.position(now_ms) >= start):
            self._late.close_period()
            self._anchor_ms, self._anchor_bytes = now_ms, start
        self.sent = end = start + size_bytes
        span.sent_bytes += size_bytes
        runs = self._runs
        if runs and runs[-1].span is span and runs[-1].end == start:
            runs[-1].end = end
        else:
            runs.append(_Run(span, start, end))

    def mark(self, now_ms: int) -> str:
        """A new mark at the end of the line: its name, to be sent now. Names are never used twice, so an echo
        of a mark that a clear flushed is an unknown name and means nothing.
        """
        self._next_mark += 1
        name = str(self._next_mark)
        self._marks[name] = self.sent, now_ms
        self.marked = self.sent
        return name

    def probe(self, now_ms: int) -> str | None:
        """A mark to be sent now, while nothing was sent yet: what is not queued behind sound comes back at
        once, and tells how long the ways are. None when there is to be none, or none any more. It says
        nothing about playout.
        """
        if not self.marks or self.sent or not self._asks or len(self._probes) == PROBES:
            return None
        name = f"probe{len(self._probes) + 1}"
        self._probes[name] = now_ms
        return name

    def reached(self, name: str, now_ms: int) -> list[Span]:
        """An echo came. Returns the spans that were heard to their end by it; [] for an unknown name."""
        mark = self._marks.get(name)
        if mark is None:
            probed_ms = self._probes.get(name)
            if probed_ms is not None and probed_ms >= 0:
                self._probes[name] = -1
                self.echoed = self.marks = True
                if now_ms - probed_ms <= FIRST_ECHO_MS:
                    self._late.look(now_ms - probed_ms, ONE_ECHO)
            return []
        position, marked_ms = mark
        while self._marks.popitem(last=False)[0] != name:
            pass  # the carrier echoes in order, so marks before it were reached too
        if not self._marks:
            self.check_due_ms = NEVER
        resumes = not self.marks
        self.echoed = self.marks = True
        if position <= self._anchor_bytes:
            return self._acknowledge(position)  # of a busy period before this one: nothing to learn
        due_ms = self._due_ms(position)
        early_ms = due_ms - self._late.stood_ms - now_ms
        if early_ms > EARLY_MS:
            self.claimed = position
            return self._acknowledge(position - int(early_ms * self.bytes_per_ms))
        if marked_ms <= due_ms:
            self._learn(now_ms - due_ms)  # one sent later tells of its own way, not of playout
        if resumes:
            self._correct(position)
        return self._acknowledge(position)

    def settle(self, now_ms: int) -> list[Span]:
        """Take the clock's word, where the carrier's marks say nothing. Returns the spans heard to their
        end.
        """
        if self.marks:
            return self._acknowledge(min(self.claimed, self.position(now_ms))) if self.by_clock else []
        return self._acknowledge(self.position(now_ms), assumed=bool(self._marks))

    def clear(self, now_ms: int) -> bool:
        """The carrier's buffer is being emptied: what is heard is frozen in the spans, the rest of the line
        forgotten. False if there is nothing in it.
        """
        if self.acked >= self.sent:
            return False
        position = self.position(now_ms)
        for run in self._runs:
            run.span.heard_bytes += max(0, min(run.end, position) - max(run.start, self.acked))
        self._runs.clear()
        self._assumed.clear()
        self._marks.clear()
        self.check_due_ms = NEVER
        self.cut_from, self.cut_to = position, self.sent
        self.acked = self.marked = self.sent
        self._anchor_ms, self._anchor_bytes = now_ms, self.sent
        return True

    # What it knows

    @property
    def pending(self) -> bool:
        """Whether the carrier may still have sound to play."""
        return self.acked < self.sent

    def position(self, now_ms: int) -> int:
        """How far playout has come, in bytes: at least what was acknowledged, at most what was sent, held at
        a mark whose echo is overdue.
        """
        if self.acked >= self.sent:
            return self.sent
        late = self._late
        played_ms = now_ms - self._anchor_ms - late.shift_ms
        position = self._anchor_bytes + int(played_ms * self.bytes_per_ms)
        if self._marks and self.marks:
            mark, marked_ms = next(iter(self._marks.values()))
            behind_ms = played_ms - (mark - self._anchor_bytes) / self.bytes_per_ms
            overdue_ms = min(behind_ms, now_ms - marked_ms - late.shift_ms)
            patience_ms = FIRST_ECHO_MS if late.known_ms is None else late.known_ms + STALL_MS
            if overdue_ms > patience_ms and not self._mute(now_ms):
                position = min(position, mark)
        return max(self.acked, min(position, self.sent))

    @property
    def by_clock(self) -> bool:
        """Whether no echo will tell that what waits at the carrier was heard: `settle` does."""
        return self.pending and (not self.marks or self.claimed > self.acked)

    def played_out(self, now_ms: int) -> bool:
        """Whether all that was sent must have been played, by the clock alone."""
        return not self.pending or now_ms >= self.clock_end_ms

    @property
    def clock_end_ms(self) -> int:
        """When all that was sent must have been played, by the clock alone; rounded up."""
        return -int(-self._due_ms(self.sent) // 1)

    @property
    def echo_due_ms(self) -> int | None:
        """When the next echo could come at the soonest; None where none is awaited."""
        if not self._marks or not self.marks:
            return None
        position, marked_ms = next(iter(self._marks.values()))
        return int(max(self._due_ms(position), marked_ms) + self._late.shift_ms)

    @property
    def lateness_ms(self) -> int:
        """How late echoes usually are: the way to the caller and back. 0 before the first."""
        return int(self._late.known_ms or 0)

    @property
    def echoes(self) -> EchoSeen | None:
        """What has been learnt of them, while nothing is on its way; None before the first."""
        return self._late.seen

    def heard_bytes(self, span: Span, now_ms: int) -> int:
        """How much of this span the caller would have heard if a clear were sent now."""
        return span.heard_bytes + self.unacknowledged(now_ms).get(span, 0)

    def unacknowledged(self, now_ms: int) -> dict[Span, int]:
        """What the caller would have heard of each span, by a clear now, beyond its `heard_bytes`."""
        position, bytes_of = self.position(now_ms), dict[Span, int]()
        for run in self._runs:
            if run.start >= position:
                break
            more = max(0, min(run.end, position) - max(run.start, self.acked))
            bytes_of[run.span] = bytes_of.get(run.span, 0) + more
        return bytes_of

    def unplayed_ms(self, now_ms: int) -> int:
        """Sound that waits at the carrier, rounded up."""
        return -(-(self.sent - self.position(now_ms)) // self.bytes_per_ms)

    def expected_end_ms(self, now_ms: int) -> int:
        """When the last byte sent will have been played."""
        return now_ms + self.unplayed_ms(now_ms)

    def _mute(self, now_ms: int) -> bool:
        """Whether the carrier seems to echo nothing: not even a probe, for longer than any way takes. Then an
        echo that is overdue does not mean that the line stands still.
        """
        return not self.echoed and now_ms - self._probes.get("probe1", now_ms) > FIRST_ECHO_MS

    # How it learns

    def _due_ms(self, position: int) -> float:
        """When this position is played, if the line has not stood still since it became busy."""
        return self._anchor_ms + (position - self._anchor_bytes) / self.bytes_per_ms

    def _learn(self, late_ms: float) -> None:
        """An echo came that late after its sound could have been played at the soonest.

        Far too late means that the line stood still, far too soon that it had not. But nothing is played
        before it was sent: an echo that is too soon even for a line that never stood corrects the usual
        lateness, which was learnt while the carrier stalled.
        """
        late = self._late
        expected_ms = late.expected_ms
        if expected_ms is None and late_ms > FIRST_ECHO_MS:
            expected_ms = UNKNOWN_MS
        if expected_ms is None or abs(late_ms - expected_ms - late.shift_ms) <= STALL_MS:
            late.observe(late_ms)
            return
        stood_ms = max(late_ms - expected_ms, -late.stood_ms)
        self._anchor_ms += stood_ms
        late.stand(stood_ms)
        if late_ms - stood_ms < expected_ms - STALL_MS:
            late.relearn(late_ms - stood_ms)

    def _correct(self, position: int) -> None:
        """Echoes come after all, and playout has only just come this far: the clock was wrong about the sound
        behind it. Spans that were told as heard to their end stay told.
        """
        assumed, runs = self._assumed, self._runs
        while assumed:
            run = assumed.pop()
            start, span = max(run.start, position), run.span
            if start >= run.end or span.over:
                continue
            span.heard_bytes -= run.end - start
            if not (runs and runs[0].start <= start):
                runs.appendleft(_Run(span, start, run.end))
        self.acked = min(self.acked, position)

    def _acknowledge(self, position: int, *, assumed: bool = False) -> list[Span]:
        finished: list[Span] = []
        runs, acked = self._runs, self.acked
        while runs and runs[0].start < position:
            run, span = runs[0], runs[0].span
            start, reached = max(run.start, acked), min(run.end, position)
            if start < reached:
                span.heard_bytes += reached - start
                if assumed:
                    self._assumed.append(_Run(span, start, reached))
            if reached < run.end:
                break
            runs.popleft()
            if span.over:
                finished.append(span)
        while self._assumed and self._assumed[0].span.over:
            self._assumed.popleft()
        self.acked = max(acked, position)
        return finished
