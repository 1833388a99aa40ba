"""The line to the caller: what is sent when, and what happens to it on a cut.

Model audio goes out as it comes, up to the lead of the pacer (`pacer.py`): the carrier is the clock, and the
ledger knows what was heard. A recorded sound goes out in slices with a short lead. A protected sound (a
disclosure) cannot be cut: it is played alone. It starts when the line is empty, and whatever comes later
waits here until it was heard, so that a clear never has to spare a part of the carrier's buffer.
"""

from __future__ import annotations

from collections.abc import Container
from typing import TypeAlias

from .due import NEVER
from .ledger import Ledger, Span
from .messages import AudioDelta, CarrierCommand, ClearPlayout, HoldSound, PlayAudio, SendMark, Sound
from .pacer import FRAME_BYTES, STEP_BYTES, Entry, Pacer, text_bytes

MARK_EVERY_MS = 100
"""Twilio names no limit on marks; one per 100 to 200 ms is plenty for the ledger (70 outstanding were seen
without harm)."""

LineCommand: TypeAlias = CarrierCommand | HoldSound
Key: TypeAlias = tuple[str, int]


class Spans(dict[Key, Span]):
    """What is on its way to the caller's ear: by item id and part, in the order they began, and by response
    without a look at the others, for how many there are is the model's choice. Changed by `begin` and `end`
    only.
    """

    __slots__ = ("_by_response",)

    def __init__(self) -> None:
        super().__init__()
        self._by_response: dict[str, dict[Key, Span]] = {}

    def begin(self, span: Span) -> Span:
        """Something of it is on its way. Takes the place of one of the same key."""
        key = span.item_id, span.part
        self.end(key)
        self[key] = span
        self._by_response.setdefault(span.response_id, {})[key] = span
        return span

    def end(self, key: Key) -> None:
        """It was heard, or cut. Nothing happens if it was ended before."""
        span = self.pop(key, None)
        if span is None:
            return
        siblings = self._by_response[span.response_id]
        del siblings[key]
        if not siblings:
            del self._by_response[span.response_id]

    def of(self, response_id: str) -> list[Span]:
        """Those of that response; "" for our own sounds."""
        return list(self._by_response.get(response_id, {}).values())

    def only(self, response_id: str) -> bool:
        """Whether something of that response is on its way, and nothing else."""
        return self._by_response.keys() == {response_id}

    @property
    def responses(self) -> Container[str]:
        """The responses that have something on its way."""
        return self._by_response.keys()


class Line:
    """Sends through its return values; owns the ledger and the pacer. `deadline_ms` says when `advance` wants
    to be called. `lead_ms` is how far the model's sound may run ahead of what was played; 0: as far as it
    comes.
    """

    __slots__ = ("_pacer", "deadline_ms", "ledger", "spans")

    def __init__(self, ledger: Ledger, lead_ms: int = 0) -> None:
        self.ledger = ledger
        self.spans = Spans()
        self.deadline_ms: int | None = None
        self._pacer = Pacer(ledger.bytes_per_ms, lead_ms)

    def delta(self, event: AudioDelta, now_ms: int) -> list[LineCommand]:
        """Model audio arrived. Returns what goes to the carrier now; [] while it has to wait, and for a delta
        without sound.
        """
        if not event.size_bytes:
            return []
        span = self.spans.get((event.item_id, event.part))
        if span is None:
            span = self.spans.begin(Span(event.item_id, event.part, event.response_id))
        size_bytes = event.size_bytes
        span.received_bytes += size_bytes
        pacer, ledger = self._pacer, self.ledger
        if pacer.entries:
            pacer.hold(span, event.audio, size_bytes)
            return [*pacer.grant()]
        if ledger.sent - ledger.acked + size_bytes > pacer.free_bytes:
            pacer.hold(span, event.audio, size_bytes)
            return self.advance(now_ms)
        return self._send(span, event.audio, size_bytes, now_ms)

    def finish(self, item_id: str, part: int, now_ms: int) -> tuple[list[LineCommand], list[Span]]:
        """No more audio of this item part will come. Returns the end mark, if one is wanted, and the span if
        it was heard to its end already.
        """
        finished = []
        span = self.spans.get((item_id, part))
        if span is not None and not span.done:
            span.done = True
            if span.over:
                self.spans.end((item_id, part))
                finished.append(span)
        return self._end_mark(now_ms), finished

    def sound(self, say_id: str, sound: Sound, protected: bool, now_ms: int) -> list[LineCommand]:
        """Queue a recorded sound; `say_id` is its span's item id. Returns its first slices, if it may start
        now. One without sound is over at once.
        """
        if not sound.size_bytes:
            return []
        span = Span(say_id, protected=protected, received_bytes=sound.size_bytes, done=True)
        self.spans.begin(span)
        self._pacer.queue(span, sound.audio, sound.size_bytes)
        return self.advance(now_ms)

    def shorten(self, say_id: str) -> None:
        """The part of this sound that has not gone out yet is not played."""
        span = self.spans.get((say_id, 0))
        if span is None:
            return
        for entry in [entry for entry in self._pacer.entries if entry.span is span]:
            span.received_bytes -= entry.left_bytes
            self._pacer.entries.remove(entry)
        if not span.received_bytes:
            self.spans.end((say_id, 0))

    def reached(self, name: str, now_ms: int) -> tuple[list[LineCommand], list[Span]]:
        """A mark came back. Returns what may go out now, and the spans that were heard to their end."""
        ledger = self.ledger
        resumes = not ledger.marks
        finished = ledger.reached(name, now_ms)
        for span in finished:
            self.spans.end((span.item_id, span.part))
        out = self.advance(now_ms) if self._pacer.entries else []
        if resumes and ledger.marks:
            out += self._end_mark(now_ms)  # nothing marks what went out meanwhile
        if ledger.by_clock:
            self._wake_by(ledger.expected_end_ms(now_ms))
        return (out if self.ledger.sent else [*out, *self.probe(now_ms)]), finished

    def probe(self, now_ms: int) -> list[LineCommand]:
        """Before the first sound: a mark that comes back at once, and so tells how long the ways are; the
        next one follows its echo.
        """
        name = self.ledger.probe(now_ms)
        return [] if name is None else [SendMark(name)]

    def settle(self, now_ms: int) -> tuple[list[LineCommand], list[Span]]:
        """The clock moved. Sends what is due; where the carrier echoes no marks, also says what must have
        been heard.
        """
        finished = self.ledger.settle(now_ms)
        for span in finished:
            self.spans.end((span.item_id, span.part))
        return self.advance(now_ms), finished

    def outbox(self, full: bool, now_ms: int) -> list[LineCommand]:
        """The carrier's outbox takes nothing more, or something again. Returns what may go out now."""
        self._pacer.outbox_full = full
        return self.advance(now_ms)

    def shed(self, limit_bytes: int, now_ms: int) -> tuple[list[LineCommand], list[tuple[Span, int]]]:
        """No more than so much memory is to be had for sound that waits: what came last is dropped. Returns
        what may go out now, and which spans lost how many bytes: they get no more, and want to be finished.
        """
        lost: dict[Span, int] = {}
        for entry in self._pacer.shed(limit_bytes):
            span = entry.span
            span.received_bytes -= entry.left_bytes
            span.short, span.done = True, False
            lost[span] = lost.get(span, 0) + entry.left_bytes
            if not span.received_bytes:
                self.spans.end((span.item_id, span.part))
        return self.advance(now_ms), list(lost.items())

    def advance(self, now_ms: int) -> list[LineCommand]:
        """Send what is due of what waits; sets `deadline_ms`."""
        out: list[LineCommand] = []
        self.deadline_ms = None
        pacer = self._pacer
        entries = pacer.entries
        left_bytes = STEP_BYTES
        while entries:
            head = entries[0]
            span = head.span
            if span.protected and head.at and span.heard_bytes >= span.received_bytes:
                pacer.pop()
                continue
            if span.protected and not head.at and self.ledger.pending:
                break
            left_bytes = self._pace(head, left_bytes, now_ms, out)
            if head.left_bytes or span.protected:
                break
            pacer.pop()
            if not head.ours and span.done and not (entries and entries[0].span is span):
                out += self._end_mark(now_ms)
        if self.ledger.by_clock:
            self._wake_by(self.ledger.expected_end_ms(now_ms))
        return out + pacer.grant()

    def cut(self, now_ms: int) -> tuple[list[LineCommand], list[Span]]:
        """The caller shall hear no more of this, protected sound excepted: one that was begun plays on, and
        plays alone. Returns the clear, if the carrier may have something left to play, and the spans that
        were on their way, in the order they began: what was heard of them is final. One that is `over` was
        played to its end, and only its echo is missing.
        """
        cut: list[Span] = []
        entries = self._pacer.entries
        protected = entries and entries[0].span.protected and entries[0].at
        clear = not protected and self.ledger.clear(now_ms)
        for key, span in list(self.spans.items()):
            if span.protected:
                continue
            self.spans.end(key)
            span.heard_bytes = min(span.heard_bytes, span.received_bytes)
            cut.append(span)
        out: list[LineCommand] = [ClearPlayout()] if clear else []
        if entries:
            self._pacer.drop_unprotected()
            return out + self.advance(now_ms), cut
        self.deadline_ms = None  # nothing waits, and nothing is left at the carrier
        return out, cut

    def remaining_ms(self, now_ms: int) -> int:
        """Sound that waits here or at the carrier."""
        unsent = sum(span.received_bytes - span.sent_bytes for span in self.spans.values())
        return self.ledger.unplayed_ms(now_ms) + unsent // self.ledger.bytes_per_ms

    @property
    def quiet(self) -> bool:
        """Nothing waits here and nothing is left at the carrier."""
        return not self._pacer.entries and not self.ledger.pending

    def over(self, now_ms: int) -> bool:
        """Nothing waits here, and what the carrier has must have been played by now: `quiet` as the clock has
        it, where echoes are late or lost.
        """
        return not self._pacer.entries and self.ledger.played_out(now_ms)

    @property
    def waiting(self) -> bool:
        """Whether something waits here for what the carrier has to be heard."""
        return bool(self._pacer.entries)

    def restart(self, now_ms: int) -> list[LineCommand]:
        """The carrier has another stream: of what was on its way nothing more will be played, and a cut is to
        follow. A protected sound begins anew; returns what goes out at once.
        """
        self.ledger.clear(now_ms)
        self._pacer.drop_unprotected()
        for entry in self._pacer.entries:
            entry.at = entry.span.sent_bytes = entry.span.heard_bytes = 0
            entry.left_bytes = entry.span.received_bytes
        return self.advance(now_ms)

    def trust_the_clock(self) -> None:
        """The carrier echoes no marks after all. One that comes late is believed again."""
        self.ledger.marks, self.ledger.check_due_ms = False, NEVER

    def _pace(self, head: Entry, left_bytes: int, now_ms: int, out: list[LineCommand]) -> int:
        """Send of this what may go out now, up to `left_bytes` on the wire. Returns how many are left."""
        pacer = self._pacer
        while head.left_bytes and not pacer.outbox_full:
            size_bytes, wait_ms = pacer.piece(head, self.ledger.unplayed_ms(now_ms))
            wire_bytes = text_bytes(size_bytes) + FRAME_BYTES
            if wait_ms or left_bytes < min(wire_bytes, STEP_BYTES):
                self._wake_by(now_ms + wait_ms)
                break
            left_bytes -= wire_bytes
            audio = head.take(size_bytes)
            if head.ours:
                self.ledger.send(head.span, size_bytes, now_ms)
                out.append(PlayAudio(audio, size_bytes))
                out += self._end_mark(now_ms)
            else:
                out += self._send(head.span, audio, size_bytes, now_ms)
        return left_bytes

    def _send(self, span: Span, audio: str, size_bytes: int, now_ms: int) -> list[LineCommand]:
        ledger = self.ledger
        ledger.send(span, size_bytes, now_ms)
        if not ledger.marks:
            self._wake_by(ledger.expected_end_ms(now_ms))
        elif ledger.sent - ledger.marked >= MARK_EVERY_MS * ledger.bytes_per_ms:
            return [PlayAudio(audio, size_bytes), SendMark(ledger.mark(now_ms))]
        return [PlayAudio(audio, size_bytes)]

    def _wake_by(self, due_ms: int) -> None:
        self.deadline_ms = due_ms if self.deadline_ms is None else min(due_ms, self.deadline_ms)

    def _end_mark(self, now_ms: int) -> list[LineCommand]:
        ledger = self.ledger
        return [SendMark(ledger.mark(now_ms))] if ledger.marks and ledger.sent > ledger.marked else []
