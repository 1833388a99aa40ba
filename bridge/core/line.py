"""The line to the caller: what is sent when, and what happens to it on a cut.

Model audio goes out at once: the carrier is the clock, and the ledger knows what was heard. A sound of ours
goes out in slices with a short lead, so that cutting it is cheap. A protected sound (a disclosure) cannot be
cut: it is played alone. It starts when the line is empty, and whatever comes later waits here until it was
heard, so that a clear never has to spare a part of the carrier's buffer.
"""

from __future__ import annotations

from dataclasses import dataclass

from .messages import AudioDelta, CarrierCommand, ClearPlayout, PlayAudio, SendMark, Sound
from .playback import Ledger, Span
from .spans import Spans

MARK_EVERY_MS = 100
"""Twilio names no limit on marks; one per 100 to 200 ms is plenty for the ledger (70 outstanding were seen
without harm)."""
SLICE_MS = 240
"""Of paced sound. A multiple of 3 bytes, so that base64 text can be cut at a multiple of 4 characters without
decoding."""
LEAD_MS = 480
HELD_MS = 60_000
"""Most audio that waits behind a protected sound; a model that makes more has lost its senses, the rest is
dropped."""


@dataclass(slots=True)
class _Waiting:
    """Sound that may not go out yet: a delta of the model, or what is left of a sound of ours from character
    `at` on.
    """

    span: Span
    audio: str
    size_bytes: int
    paced: bool = False
    at: int = 0


@dataclass(slots=True, frozen=True)
class Loss:
    """What a cut did to one span: what the caller heard of it and what there was."""

    span: Span
    heard_ms: int
    received_ms: int

    @property
    def whole(self) -> bool:
        """Nothing was lost: it was played to its end, though its echo is still on its way."""
        return self.span.done and self.span.heard_bytes >= self.span.received_bytes


class Line:
    """Sends through its return values; owns the ledger. `deadline_ms` says when `advance` wants to be
    called.
    """

    __slots__ = ("_held_bytes", "_waiting", "deadline_ms", "ledger", "spans")

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.spans = Spans()
        self.deadline_ms: int | None = None
        self._waiting: list[_Waiting] = []
        self._held_bytes = 0

    def delta(self, event: AudioDelta, now_ms: int) -> list[CarrierCommand]:
        """Model audio arrived. Returns what goes to the carrier now; [] while a protected sound is on the
        line, and for a delta without sound.
        """
        if not event.size_bytes:
            return []
        span = self.spans.get((event.item_id, event.part))
        if span is None:
            span = self.spans.begin(Span(event.item_id, event.part, event.response_id))
        span.received_bytes += event.size_bytes
        if self._waiting:
            if self._held_bytes < HELD_MS * self.ledger.bytes_per_ms:
                self._held_bytes += event.size_bytes
                self._waiting.append(_Waiting(span, event.audio, event.size_bytes))
            return []
        return self._send(span, event.audio, event.size_bytes, now_ms)

    def finish(self, item_id: str, part: int, now_ms: int) -> tuple[list[CarrierCommand], list[Span]]:
        """No more audio of this item part will come. Returns the end mark, if one is wanted, and the span if
        it was heard to its end already.
        """
        finished = []
        span = self.spans.get((item_id, part))
        if span is not None and not span.done:
            span.done = True
            if span.heard_bytes >= span.received_bytes:
                self.spans.end((item_id, part))
                finished.append(span)
        return self._end_mark(now_ms), finished

    def sound(self, say_id: str, sound: Sound, protected: bool, now_ms: int) -> list[CarrierCommand]:
        """Queue a sound of ours; `say_id` is its span's item id. Returns its first slices, if it may start
        now. One without sound is over at once.
        """
        if not sound.size_bytes:
            return []
        span = Span(say_id, protected=protected, received_bytes=sound.size_bytes, done=True)
        self.spans.begin(span)
        self._waiting.append(_Waiting(span, sound.audio, sound.size_bytes, paced=True))
        return self.advance(now_ms)

    def reached(self, name: str, now_ms: int) -> tuple[list[CarrierCommand], list[Span]]:
        """A mark came back. Returns what may go out now, and the spans that were heard to their end."""
        finished = self.ledger.reached(name, now_ms)
        for span in finished:
            self.spans.end((span.item_id, span.part))
        out = self.advance(now_ms) if self._waiting else []
        return (out if self.ledger.sent else [*out, *self.probe(now_ms)]), finished

    def probe(self, now_ms: int) -> list[CarrierCommand]:
        """Before the first sound: a mark that comes back at once, and so tells how long the ways are; the
        next one follows its echo.
        """
        name = self.ledger.probe(now_ms)
        return [] if name is None else [SendMark(name)]

    def settle(self, now_ms: int) -> tuple[list[CarrierCommand], list[Span]]:
        """The clock moved. Sends what is due; where the carrier echoes no marks, also says what must have
        been heard.
        """
        finished = self.played(now_ms)
        return self.advance(now_ms), finished

    def played(self, now_ms: int) -> list[Span]:
        """The spans that must have been heard to their end, where the carrier echoes none. Sends nothing."""
        finished = self.ledger.settle(now_ms)
        for span in finished:
            self.spans.end((span.item_id, span.part))
        return finished

    def advance(self, now_ms: int) -> list[CarrierCommand]:
        """Send what is due of what waits; sets `deadline_ms`."""
        out: list[CarrierCommand] = []
        self.deadline_ms = None
        waiting = self._waiting
        while waiting:
            head = waiting[0]
            protected = head.span.protected
            if protected and head.at and head.span.heard_bytes >= head.span.received_bytes:
                waiting.pop(0)
            elif protected and not head.at and self.ledger.pending:
                break
            elif not head.paced:
                waiting.pop(0)
                self._held_bytes -= head.size_bytes
                out += self._send(head.span, head.audio, head.size_bytes, now_ms)
                if head.span.done and not (waiting and waiting[0].span is head.span):
                    out += self._end_mark(now_ms)
            elif not self._pace(head, now_ms, out) or protected:
                break
            else:
                waiting.pop(0)
        if self.ledger.pending and not self.ledger.marks:
            self._wake_by(self.ledger.expected_end_ms(now_ms))
        return out

    def cut(self, now_ms: int) -> tuple[list[CarrierCommand], list[Loss]]:
        """The caller shall hear no more of this, protected sound excepted. Returns the clear, if the carrier
        may have something left to play, and what became of each span not yet heard to its end, in the order
        they began.
        """
        protected = self.protected
        losses: list[Loss] = []
        clear = self.ledger.pending and not protected
        if clear:
            self.ledger.clear(now_ms)
        for key, span in list(self.spans.items()):
            if span.protected:
                continue
            self.spans.end(key)
            per_ms = self.ledger.bytes_per_ms
            heard_bytes = min(span.heard_bytes, span.received_bytes)
            losses.append(Loss(span, heard_bytes // per_ms, span.received_bytes // per_ms))
        self._waiting = [entry for entry in self._waiting if entry.span.protected]
        self._held_bytes = 0
        out: list[CarrierCommand] = [ClearPlayout()] if clear else []
        return out + self.advance(now_ms), losses

    @property
    def protected(self) -> bool:
        """Whether a protected sound is on the line now (one that still waits for its turn does not count)."""
        return bool(self._waiting) and self._waiting[0].span.protected and self._waiting[0].at > 0

    def remaining_ms(self, now_ms: int) -> int:
        """Sound that waits here or at the carrier."""
        unsent = sum(span.received_bytes - span.sent_bytes for span in self.spans.values())
        return self.ledger.unplayed_ms(now_ms) + unsent // self.ledger.bytes_per_ms

    @property
    def quiet(self) -> bool:
        """Nothing waits here and nothing is left at the carrier."""
        return not self._waiting and not self.ledger.pending

    def over(self, now_ms: int) -> bool:
        """Nothing waits here, and what the carrier has must have been played by now: `quiet` as the clock has
        it, where echoes are late or lost.
        """
        return not self._waiting and self.ledger.played_out(now_ms)

    @property
    def waiting(self) -> bool:
        """Whether something waits here for what the carrier has to be heard."""
        return bool(self._waiting)

    def restart(self, now_ms: int) -> list[CarrierCommand]:
        """The carrier has another stream: of what was on its way nothing more will be played, and a cut is to
        follow. A protected sound begins anew; returns what goes out at once.
        """
        self.ledger.clear(now_ms)
        self._waiting = [entry for entry in self._waiting if entry.span.protected]
        self._held_bytes = 0
        for entry in self._waiting:
            entry.at = entry.span.sent_bytes = entry.span.heard_bytes = 0
        return self.advance(now_ms)

    def trust_the_clock(self) -> None:
        """The carrier echoes no marks after all. One that comes late is believed again."""
        self.ledger.marks = False

    def _pace(self, head: _Waiting, now_ms: int, out: list[CarrierCommand]) -> bool:
        """Send slices up to the lead. True when the sound is out whole."""
        slice_bytes = SLICE_MS * self.ledger.bytes_per_ms
        slice_chars = slice_bytes // 3 * 4
        while head.at < len(head.audio):
            ahead_ms = self.ledger.unplayed_ms(now_ms) - LEAD_MS
            if ahead_ms >= 0:
                self._wake_by(now_ms + max(ahead_ms, 20))
                return False
            audio = head.audio[head.at : head.at + slice_chars]
            head.at += slice_chars
            size_bytes = min(slice_bytes, head.span.received_bytes - head.span.sent_bytes)
            self.ledger.send(head.span, size_bytes, now_ms)
            out.append(PlayAudio(audio, size_bytes))
            out += self._end_mark(now_ms)
        return True

    def _send(self, span: Span, audio: str, size_bytes: int, now_ms: int) -> list[CarrierCommand]:
        ledger = self.ledger
        ledger.send(span, size_bytes, now_ms)
        if not ledger.marks:
            self._wake_by(ledger.expected_end_ms(now_ms))
        elif ledger.sent - ledger.marked >= MARK_EVERY_MS * ledger.bytes_per_ms:
            return [PlayAudio(audio, size_bytes), SendMark(ledger.mark(now_ms))]
        return [PlayAudio(audio, size_bytes)]

    def _wake_by(self, due_ms: int) -> None:
        self.deadline_ms = due_ms if self.deadline_ms is None else min(due_ms, self.deadline_ms)

    def _end_mark(self, now_ms: int) -> list[CarrierCommand]:
        ledger = self.ledger
        return [SendMark(ledger.mark(now_ms))] if ledger.marks and ledger.sent > ledger.marked else []
