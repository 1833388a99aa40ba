"""What leaves a GPT-Live server: in its order, and not always at once."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from typing import Any, Final

import msgspec

from .live_options import LiveOptions
from .live_speech import DELTA_MS

DELTA: Final = "session.output_audio.delta"
_STRANGER: Final = "session.mood.updated"
_ALPHA: Final = {
    "session.started": "session.created",
    DELTA: "output_audio.delta",
    "session.output_transcript.delta": "output_transcript.added",
    "session.input_transcript.delta": "input_transcript.added",
}
_encode = msgspec.json.Encoder().encode


class Wire:
    """One session's events on their way out. `sent` counts them by type."""

    def __init__(self, options: LiveOptions) -> None:
        self.sent: Counter[str] = Counter()
        self.began_ms: int | None = None
        """When the session was started: stalls are counted from there."""
        self._options = options
        self._outbox: deque[tuple[int, str]] = deque()
        self._jitter_ms = itertools.cycle(options.jitter_ms)

    @property
    def due_ms(self) -> int | None:
        """When the next one leaves."""
        return self._outbox[0][0] if self._outbox else None

    def put(self, kind: str, now_ms: int, timeline_ms: int, fields: dict[str, Any]) -> None:
        """One event. It stays behind those before."""
        options = self._options
        if kind in options.withhold:
            return
        event = {"type": _ALPHA.get(kind, kind) if options.alpha else kind, **fields}
        if kind == DELTA:
            now_ms += next(self._jitter_ms)
            if options.alpha:
                event["audio"] = event.pop("delta")
                event |= {"start_ms": timeline_ms - DELTA_MS, "end_ms": timeline_ms}
        if options.strange:
            event["x_unknown"] = {"at": [1, None]}
        due_ms = self._let_out_ms(now_ms)
        if self._outbox:
            due_ms = max(due_ms, self._outbox[-1][0])
        self._outbox.append((due_ms, _encode(event).decode()))
        self.sent[kind] += 1
        if options.strange and self.sent[kind] == 1 and kind != _STRANGER:
            self.put(_STRANGER, now_ms, timeline_ms, {"mood": "strange"})

    def take(self, now_ms: int | None) -> list[str]:
        """What leaves by then; None for all there is."""
        out = []
        while self._outbox and (now_ms is None or self._outbox[0][0] <= now_ms):
            out.append(self._outbox.popleft()[1])
        return out

    def _let_out_ms(self, due_ms: int) -> int:
        if self.began_ms is not None:
            for stall in self._options.stalls:
                from_ms = self.began_ms + stall.at_ms
                if from_ms <= due_ms < from_ms + stall.ms:
                    return from_ms + stall.ms
        return due_ms
