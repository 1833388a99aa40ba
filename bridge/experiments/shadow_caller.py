"""A recorded caller on a call of today: says, presses and hangs up at the moments that their anchors name.

Pure: it is told what its phone has played and whether the answer is complete, and says when it wants to be
asked again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from bridge.recording.caller_script import Act, Anchor, Kind

PATIENCE_MS: Final = 8_000
"""Without any answer the caller goes on."""
MOOT_MS: Final = 300
"""After the end of an answer that was over before the caller's interruption."""
GAVE_UP_MS: Final = 3_000
"""A caller who had waited so long spoke because no answer came; where one has come they do not interrupt."""
FAREWELL_MS: Final = 3_000
"""After the last answer, where the recorded caller did not hang up."""
FRAME_MS: Final = 20
HALF_FRAME_MS: Final = FRAME_MS // 2
"""A phone sends the 20 ms that were spoken before: speech that is handed to it half a frame late begins where
it should, give or take the rest of the half.
"""


class Line(Protocol):
    """What the caller's phone knows, and the bridge."""

    def heard_ms(self, now_ms: int) -> float:
        """Sound heard so far."""
        ...

    def queued_ms(self, now_ms: int) -> int:
        """Sound that will be heard from now on without a gap; 0: the line is silent."""
        ...

    def answered(self, now_ms: int) -> bool:
        """The answer to the caller's last turn is complete."""
        ...


@dataclass(slots=True)
class Counts:
    """What became of the script."""

    moot: int = 0
    """Interruptions of an answer that was over by then."""
    no_answer: int = 0
    """Acts before which the caller had waited in vain."""
    done: int = 0
    """Acts that were done."""


class ShadowCaller:
    """`wake(now_ms)` returns what the caller does now; `deadline_ms` is when to ask next, None once all is
    done. Call `wake` after every event of the call too.
    """

    def __init__(self, acts: Sequence[Act], line: Line, began_ms: int = 0) -> None:
        hangs_up = bool(acts) and acts[-1].kind is Kind.HANGS_UP
        self._acts = [*acts] if hangs_up else [*acts, Act(Kind.HANGS_UP, Anchor.GAP, FAREWELL_MS, 0, 0)]
        self.scripted = len(acts)
        self.counts = Counts()
        self.spoken: list[tuple[int, int]] = []
        """From when to when the caller spoke."""
        self.words: list[str] = []
        """What they said then, "" where that was not written down."""
        self.deadline_ms: int | None = began_ms
        self._line = line
        self._before_ms = began_ms
        self._base_ms: float | None = None
        self._heard_end_ms = began_ms
        self._reached_ms: int | None = None
        """When the point of the interruption that is due was heard."""
        self._next = 0

    @property
    def completed(self) -> bool:
        """All acts of the recording were done."""
        return self.counts.done >= self.scripted

    def wake(self, now_ms: int) -> list[Act]:
        """What the caller does now; [] for nothing."""
        done: list[Act] = []
        queued_ms = self._line.queued_ms(now_ms)
        self._heard_end_ms = now_ms + queued_ms if queued_ms else min(self._heard_end_ms, now_ms)
        while self._next < len(self._acts) and now_ms >= self._before_ms:
            if self._base_ms is None:
                self._base_ms = self._line.heard_ms(now_ms)
            due_ms, moot, waited = self._due(self._acts[self._next], now_ms, queued_ms)
            if due_ms > now_ms:
                self.deadline_ms = due_ms
                return done
            done.append(self._do(now_ms, moot=moot, waited=waited))
        self.deadline_ms = self._before_ms if self._next < len(self._acts) else None
        return done

    def _do(self, now_ms: int, *, moot: bool, waited: bool) -> Act:
        act = self._acts[self._next]
        self._next += 1
        self.counts.moot += moot
        self.counts.no_answer += waited
        self.counts.done += self._next <= self.scripted
        begins_ms = now_ms - HALF_FRAME_MS if act.kind is Kind.SAYS else now_ms
        self._before_ms, self._base_ms = begins_ms + act.length_ms, None
        self._reached_ms = None
        if act.kind is Kind.SAYS:
            self.spoken.append((begins_ms, self._before_ms))
            self.words.append(act.words or "")
        return act

    def _due(self, act: Act, now_ms: int, queued_ms: int) -> tuple[int, bool, bool]:
        """When the act is due as far as it is known, whether it has become moot, and whether the caller had
        waited in vain.
        """
        late_ms = HALF_FRAME_MS if act.kind is Kind.SAYS else 0
        heard_ms = self._line.heard_ms(now_ms) - (self._base_ms or 0)
        if act.anchor is Anchor.PAUSE and not (act.ms >= GAVE_UP_MS and heard_ms):
            return self._before_ms + act.ms + late_ms, False, False
        if act.anchor is Anchor.BARGE and heard_ms + queued_ms >= act.ms:
            reached_ms = now_ms + round(act.ms - heard_ms)
            if heard_ms >= act.ms:
                self._reached_ms = reached_ms = self._reached_ms or reached_ms
            return reached_ms + late_ms, False, False
        if queued_ms:
            return self._heard_end_ms, False, False
        complete = self._line.answered(now_ms)
        if heard_ms and act.anchor is Anchor.BETWEEN:
            return self._heard_end_ms + act.ms + late_ms, False, False
        if heard_ms and complete:
            moot = act.anchor is not Anchor.GAP
            return self._heard_end_ms + (MOOT_MS if moot else act.ms) + late_ms, moot, False
        due_ms = max(self._before_ms, self._heard_end_ms) + PATIENCE_MS
        return due_ms, act.anchor is Anchor.BARGE, True
