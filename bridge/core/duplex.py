"""The sound of a duplex model: one stream in real time, silence included, that never pauses, is never
cancelled and says nothing about its turns. What of it goes out to the caller, and how much was heard.

A stream that is passed on whole is as late for the rest of the call as its longest stall made it, and each
sound of our own adds its whole length: a queue that is never empty never drains. So silence stays here. An
utterance goes out as one `Segment`, with a little of the silence before and after it; where the line is late,
with less.

Places in the stream are bytes since its session began, 8 a millisecond. Only silence is left out, but for
sound that was `hushed` and sound that would have to wait for too long.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from .ledger import Span

BLOCK_MS: Final = 20
CUSHION_MS: Final = 60
"""Of the silence before an utterance goes out with it: a delta may be so late without a hole."""
HANG_MS: Final = 240
"""Of quiet goes out after a loud block: pauses between words stay as they are."""
LATE_HANG_MS: Final = 120
URGENT_HANG_MS: Final = 40
LATE_MS: Final = 250
CAUGHT_UP_MS: Final = 120
"""Pauses are shortened from the one lag on, until it is the other."""
URGENT_MS: Final = 1_000
SILENT_MS: Final = 200
"""Of quiet say that the model has stopped speaking: nothing else does."""
HUSH_MS: Final = 1_500
"""For so long at most its sound is dropped after it was told to stop."""
VOICE_MS: Final = 400
"""The caller's voice is why the model stopped if it was heard so shortly before."""
YIELD_MS: Final = 300
"""Of loud sound not played yet are worth a clear."""
MOST_LOUD_MS: Final = 4_000
"""Of loud sound wait for a sound of our own: 3 s of that, and what was on the line before it."""
FEW_LOUD_MS: Final = 1_000
"""Once sound was dropped for that, the line must be as short as this before more goes out."""

HeardBytes: TypeAlias = Callable[[Span], int]
"""How much of a span was heard, now."""
Piece: TypeAlias = tuple[str, int]
"""Sound as base64 text, and its size in bytes."""


@dataclass(slots=True, eq=False)
class Segment:
    """A stretch of the stream that went out whole: one utterance. Its `span` says how much was received, sent
    and heard; `loud` are its loud stretches, `onset` is where the first of them begins.
    """

    begin: int
    onset: int
    span: Span
    loud: list[tuple[int, int]] = field(default_factory=list)
    dropped_to: int = 0
    """Sound that follows it was dropped, up to here."""

    @property
    def end(self) -> int:
        return self.begin + self.span.received_bytes


class Gate:
    """Open while an utterance goes out. All times in ms; `lag_ms` is what waits on the line."""

    __slots__ = ("_kept", "_kept_bytes", "_late", "_per_ms", "open", "quiet_ms")

    def __init__(self, bytes_per_ms: int) -> None:
        self._per_ms = bytes_per_ms
        self.open = False
        self._late = False
        self.quiet_ms = 0
        """Since the last loud block."""
        self._kept: deque[Piece] = deque()
        """The newest silence that did not go out."""
        self._kept_bytes = 0

    def loud(self, lag_ms: int) -> list[Piece]:
        """Loud sound goes out. Returns the silence that goes out before it: none where the line is busy."""
        self._look(lag_ms)
        self.quiet_ms = 0
        if self.open:
            return []
        self.open = True
        blocks = -(-max(CUSHION_MS - lag_ms, 0) // BLOCK_MS)
        size_bytes = min(blocks * BLOCK_MS * self._per_ms, self._kept_bytes)
        cushion = b"".join(b64decode(audio) for audio, _ in self._kept)
        self._forget()
        return [(b64encode(cushion[-size_bytes:]).decode(), size_bytes)] if size_bytes else []

    def quiet(self, audio: str, size_bytes: int, lag_ms: int, *, ours: bool) -> list[Piece]:
        """Quiet sound: returns the beginning of it that goes out, and closes where that is not all. `ours`:
        a sound of our own is on the line.
        """
        block_bytes, out_bytes = BLOCK_MS * self._per_ms, 0
        for at in range(0, size_bytes, block_bytes):
            block = min(block_bytes, size_bytes - at)
            now_ms = lag_ms + out_bytes // self._per_ms
            self._look(now_ms)
            urgent = ours or now_ms >= URGENT_MS
            hang_ms = URGENT_HANG_MS if urgent else LATE_HANG_MS if self._late else HANG_MS
            self.open &= self.quiet_ms < hang_ms
            self.quiet_ms += block // self._per_ms
            out_bytes += block if self.open else 0
        if out_bytes == size_bytes:
            return [(audio, size_bytes)]
        if not out_bytes:
            self._keep(audio, size_bytes)
            return []
        sound = b64decode(audio)
        self._keep(b64encode(sound[out_bytes:]).decode(), size_bytes - out_bytes)
        return [(b64encode(sound[:out_bytes]).decode(), out_bytes)]

    def close(self, *, loud: bool = False) -> None:
        """Nothing more of this utterance goes out; nor of what is `loud` now."""
        self.open = False
        self.quiet_ms = 0 if loud else self.quiet_ms
        self._forget()

    def _look(self, lag_ms: int) -> None:
        self._late = lag_ms > CAUGHT_UP_MS if self._late else lag_ms >= LATE_MS

    def _keep(self, audio: str, size_bytes: int) -> None:
        kept = self._kept
        kept.append((audio, size_bytes))
        self._kept_bytes += size_bytes
        while self._kept_bytes - kept[0][1] >= CUSHION_MS * self._per_ms:
            self._kept_bytes -= kept.popleft()[1]

    def _forget(self) -> None:
        self._kept.clear()
        self._kept_bytes = 0


class DuplexStream:
    """The sound of one upstream session, `epoch`. Emits nothing: `take` returns what goes out, as part of
    `segment`; whoever sends it enters `segment.span` on the line.
    """

    __slots__ = (
        "_cut",
        "_dropping",
        "_gate",
        "_heard",
        "_hush_from",
        "_last",
        "_per_ms",
        "dropped_ms",
        "dropped_to",
        "epoch",
        "received",
        "segment",
        "segments",
        "sent",
        "utterances",
    )

    def __init__(self, epoch: int, bytes_per_ms: int = 8) -> None:
        self.epoch = epoch
        self._per_ms = bytes_per_ms
        self._gate = Gate(bytes_per_ms)
        self.received = 0
        self.sent = 0
        self.utterances = 0
        self.segments: list[Segment] = []
        """What is on its way to the caller, in order."""
        self.segment: Segment | None = None
        """The newest of them, while more of it may come."""
        self._last: Segment | None = None
        self.dropped_to = 0
        """Where the newest sound ended that was dropped."""
        self.dropped_ms = 0
        """Of loud sound that never went out."""
        self._heard = 0
        self._cut = False
        """Whether nothing has gone out since the line was cleared."""
        self._hush_from: int | None = None
        self._dropping = False

    @property
    def skipped(self) -> int:
        """Bytes that did not go out."""
        return self.received - self.sent

    @property
    def hushed(self) -> bool:
        """Whether what the model says now is dropped."""
        return self._hush_from is not None

    @property
    def quiet_ms(self) -> int:
        """Since its last loud sound, in its own time."""
        return self._gate.quiet_ms

    @property
    def silent(self) -> bool:
        """Whether the model has stopped speaking, as far as its stream tells."""
        return self._gate.quiet_ms >= SILENT_MS

    # --- what goes out

    def take(
        self,
        audio: str,
        size_bytes: int,
        loud: bool,
        lag_ms: int,
        *,
        ours: bool = False,
        wanted: bool = True,
    ) -> list[Piece]:
        """A run of blocks of one kind has come. Returns what of it goes out, oldest first: more than came,
        where an utterance begins. `lag_ms` is what waits on the line, `ours` whether a sound of our own is
        among it. What is not `wanted` is dropped, but for the rest of an utterance.
        """
        start, self.received = self.received, self.received + size_bytes
        if loud:
            if self._drops(size_bytes, lag_ms, wanted or self.segment is not None):
                return []
            cushion = self._gate.loud(lag_ms)
            return self._go_out([*cushion, (audio, size_bytes)], start)
        pieces = self._gate.quiet(audio, size_bytes, lag_ms, ours=ours)
        for _, sent_bytes in pieces:
            self.sent += sent_bytes
        if not self._gate.open:
            self.segment = None
        if self.silent:
            self._hush_from, self._dropping = None, False
        return pieces

    def _go_out(self, pieces: list[Piece], onset: int) -> list[Piece]:
        sent_bytes = sum(piece_bytes for _, piece_bytes in pieces)
        self.sent += sent_bytes
        segment = self.segment
        if segment is None:
            self.utterances += 1
            item_id = f"live:{self.epoch}:{self.utterances}"
            segment = self.segment = self._last = Segment(
                self.received - sent_bytes, onset, Span(item_id, response_id=item_id)
            )
            self.segments.append(segment)
            self._cut = False
        if segment.loud and segment.loud[-1][1] == onset:
            onset = segment.loud.pop()[0]
        segment.loud.append((onset, self.received))
        return pieces

    def _drops(self, size_bytes: int, lag_ms: int, wanted: bool) -> bool:
        """Whether loud sound is not to be heard: it was hushed, or too much of it waits."""
        hush = self._hush_from
        if hush is not None and self.received - hush > HUSH_MS * self._per_ms:
            hush = self._hush_from = None
        limit_ms = FEW_LOUD_MS if self._dropping else MOST_LOUD_MS
        self._dropping = lag_ms > limit_ms and self.waiting_ms(lambda span: span.sent_bytes) > limit_ms
        if hush is None and wanted and not self._dropping:
            return False
        self._gate.close(loud=True)
        self.segment = None
        self.dropped_to = self.received
        self.dropped_ms += size_bytes // self._per_ms
        if self._last is not None:
            self._last.dropped_to = self.received
        return True

    def hush(self) -> None:
        """What the model goes on saying is dropped, until it has stopped. Cut what is on the line as well."""
        if not self.silent:
            self._hush_from = self.received

    # --- what was heard

    def waiting_ms(self, of: HeardBytes) -> int:
        """Loud sound on the line of which `of` says that it has not come so far."""
        waiting = 0
        for segment in self.segments:
            place = segment.begin + of(segment.span)
            waiting += sum(end - max(begin, place) for begin, end in segment.loud if end > place)
        return waiting // self._per_ms

    def heard(self, of: HeardBytes) -> int:
        """How far the caller has heard the stream. Silence that was left out is heard with what was before
        it, and what was cut off is not. Never falls.
        """
        all_of_it = self._heard if self._cut else self.received
        place = self._heard if self.segments else all_of_it
        for segment in self.segments:
            heard = of(segment.span)
            if heard or segment is self.segments[0]:  # else the silence before it is not over
                place = segment.begin + heard
                if segment is self.segments[-1] and heard == segment.span.received_bytes:
                    place = max(place, all_of_it)
        self._heard = max(self._heard, place)
        return self._heard

    def yields(self, voice_ago_ms: int, of: HeardBytes) -> bool:
        """Whether the model has stopped because the caller speaks, and much of what it said before has not
        been played.
        """
        return self.silent and voice_ago_ms <= VOICE_MS and self.waiting_ms(of) >= YIELD_MS

    def cut(self) -> None:
        """What is on the line was cleared; how much of each span was heard is final."""
        self.heard(lambda span: span.heard_bytes)
        self._gate.close()
        self._cut, self.segment = True, None

    def ended(self, span: Span) -> None:
        """It was heard to its end, or cut, and is not looked at any more."""
        self.segments = [segment for segment in self.segments if segment.span is not span]
