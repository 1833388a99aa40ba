"""Where a caller in virtual time goes when the call leaves its stream, and how they come back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..core import messages as m

LEFT_MS = 100
"""From a closed stream to the carrier's question what comes next."""
BACK_MS = 730
"""From the stream document to its stream, as it was seen once."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What comes of one detour, `after_ms` it was placed or left for."""

    result: m.DetourResult
    after_ms: int


CONNECTED = Ending(m.DetourResult(m.TransferOutcome.CONNECTED, talk_ms=30_000, accepted=True), 100)


class Rehearsal(Protocol):
    """The call in virtual time."""

    now_ms: int

    @property
    def over(self) -> bool: ...
    def at(self, now_ms: int, do: Callable[[], None]) -> None: ...
    def feed(self, event: m.Event) -> None: ...
    def hang_up_phone(self) -> None: ...
    def reopen(self, parameters: dict[str, str]) -> None: ...


class Elsewhere:
    """Plays the carrier and the targets of one call. `planned` are the ends of the detours to come, in order;
    of one that nothing is planned for the target answers and talks.
    """

    def __init__(self, rehearsal: Rehearsal) -> None:
        self.planned: deque[Ending] = deque()
        self._rehearsal = rehearsal
        self._endings: dict[str, Ending] = {}

    def do(self, action: m.Action) -> None:
        """Carry out what the core wishes of the carrier."""
        match action:
            case m.PlaceLeg(detour_id, wish):
                self._place(detour_id, wish)
            case m.LeaveStream(detour_id, wish):
                self._rehearsal.hang_up_phone()
                self._leave(detour_id, wish)
            case m.BringBack(detour_id):
                self._comes_back(detour_id, m.DetourResult(m.TransferOutcome.HELD))
            case m.CancelLeg(detour_id):
                self._endings.pop(detour_id, None)

    def _ending(self, detour_id: str) -> Ending:
        if detour_id not in self._endings:
            self._endings[detour_id] = self.planned.popleft() if self.planned else CONNECTED
        return self._endings[detour_id]

    def _later(self, ms: int, event: m.Event) -> None:
        self._rehearsal.at(self._rehearsal.now_ms + ms, lambda: self._rehearsal.feed(event))

    def _place(self, detour_id: str, wish: m.Detour) -> None:
        """Leg B rings, and is in the room if a talk is planned."""
        ending = self._ending(detour_id)
        self._later(LEFT_MS, m.LegState(detour_id, m.LegStep.RINGING))
        talks = ending.result.accepted or wish.accept == ""
        if talks:
            for step in (m.LegStep.ANSWERED, m.LegStep.ACCEPTED, m.LegStep.IN_ROOM):
                self._later(ending.after_ms, m.LegState(detour_id, step))
        else:
            self._later(ending.after_ms, m.LegState(detour_id, m.LegStep.ENDED, ending.result))

    def _leave(self, detour_id: str, wish: m.Detour) -> None:
        self._later(LEFT_MS, m.WentAway(detour_id))
        ending = self._ending(detour_id)
        if wish.kind is m.DetourKind.HOLD:
            return
        if wish.kind is m.DetourKind.KEYS:
            self._rehearsal.at(
                self._rehearsal.now_ms + LEFT_MS + ending.after_ms, lambda: self._rehearsal.reopen({})
            )
            return
        result = ending.result
        if result.accepted:
            self._later(LEFT_MS + 1, m.LegState(detour_id, m.LegStep.ACCEPTED))
        self._rehearsal.at(
            self._rehearsal.now_ms + LEFT_MS + ending.after_ms,
            lambda: self._ends(detour_id, wish, result),
        )

    def _ends(self, detour_id: str, wish: m.Detour, result: m.DetourResult) -> None:
        connected = result.outcome is m.TransferOutcome.CONNECTED
        gone = result.outcome in (m.TransferOutcome.CALLER_LEFT, m.TransferOutcome.LOST)
        if gone or (connected and wish.after is m.Afterwards.HANG_UP):
            self._rehearsal.feed(m.DetourOver(detour_id, result))
        else:
            self._comes_back(detour_id, result)

    def _comes_back(self, detour_id: str, result: m.DetourResult) -> None:
        self._rehearsal.feed(m.Returned(detour_id, result))
        parameters = {"returned": result.outcome.value}
        self._rehearsal.at(self._rehearsal.now_ms + BACK_MS, lambda: self._rehearsal.reopen(parameters))
