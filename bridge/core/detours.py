"""The detours of one call: a state machine that knows neither the model nor the line.

Each method takes what was said and returns what is to be done. `away.py` has the rules between it and the
rest of the call. What is said twice, late, or of another detour changes nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from .due import NEVER
from .messages import (
    Action,
    Afterwards,
    BringBack,
    CallConfig,
    CancelLeg,
    Detour,
    DetourEnded,
    DetourKind,
    DetourMoved,
    DetourResult,
    DetourState,
    LegState,
    LegStep,
    LookUp,
    PlaceLeg,
    Push,
    TransferMode,
    TransferOutcome,
)

MOST = 5
"""Detours of one call."""
REMEMBERED = 16
PUSH_MS = 5_000
"""For the carrier to ask what comes after a stream that we closed; then it is pushed."""
PUSHED_MS = 15_000
"""After the push, before the call counts as lost."""
RETURN_MS = 15_000
"""From the stream document to its stream."""
TALK_MS = 3_600_000
"""The longest talk with a target: `timeLimit` of the carrier's dial."""
WHISPER_MS = 20_000
"""Beyond the ringing, until a target has said that it accepts."""
KEYS_MS = 60_000
"""For 32 keys with pauses."""
LOOK_UP_MS = 30_000
"""For the shell to find out what became of a call of which nothing was heard."""
SAY_MS = 15_000
"""While a target is called, the caller who stays with the model is told so."""
WAITS_MS = 15_000
"""What a target that has accepted waits for a caller who speaks."""
MOVES = 2
"""Attempts to move such a caller."""
STEPS = {step: rank for rank, step in enumerate(LegStep)}
TALKS = frozenset({LegStep.ACCEPTED, LegStep.IN_ROOM, LegStep.BRIDGED})
ON_THE_WAY = frozenset({DetourState.LEAVING, DetourState.AWAY, DetourState.RETURNING})

_SAID = {
    TransferOutcome.CONNECTED: "they have talked",
    TransferOutcome.BUSY: "the line is busy",
    TransferOutcome.NO_ANSWER: "nobody answered",
    TransferOutcome.DECLINED: "they cannot take the call now",
    TransferOutcome.VOICEMAIL: "a machine answered",
    TransferOutcome.INVALID: "there is no such number",
    TransferOutcome.FAILED: "the number could not be reached",
    TransferOutcome.DROPPED: "they were connected and cut off at once",
    TransferOutcome.RETURNED: "the caller came back by themselves",
    TransferOutcome.INTERRUPTED: "not begun, because the caller spoke",
    TransferOutcome.CANCELED: "it was cancelled before anybody answered",
    TransferOutcome.REST_FAILED: "the call could not be placed",
    TransferOutcome.LOST: "it was given up, because the line to the caller broke off",
    TransferOutcome.SENT: "the keys were sent",
    TransferOutcome.HELD: "the caller has waited",
}
_BACK = "The caller is back with you. Tell them so in one short sentence"
_WHAT_NEXT = {
    TransferOutcome.CONNECTED: f"{_BACK} and ask whether there is anything else; do not greet.",
    TransferOutcome.RETURNED: f"{_BACK} and go on; do not greet.",
    TransferOutcome.HELD: f"{_BACK}, thank them for waiting and go on; do not greet.",
    TransferOutcome.INTERRUPTED: "Listen, and answer what they say.",
    TransferOutcome.SENT: "Listen to what follows.",
}
_OTHERWISE = (
    "The caller is with you. Tell them so in one short sentence, by the reason above, and offer what you can "
    "do instead; do not greet."
)


def title(kind: DetourKind, name: str) -> str:
    """What a detour is called in words to the model."""
    return f"transfer to {name}" if kind is DetourKind.TRANSFER else kind.value


def told(about: str, result: DetourResult, ring_s: int = 0) -> str:
    """What the model is told of a detour that is over, as the system."""
    return f"{became(about, result, ring_s)}. {_WHAT_NEXT.get(result.outcome, _OTHERWISE)}"


def became(about: str, result: DetourResult, ring_s: int = 0) -> str:
    """What came of a detour, in a few words."""
    outcome = result.outcome
    said = _SAID.get(outcome, "it failed")
    if outcome is TransferOutcome.NO_ANSWER and (ring_s or result.rang_ms):
        said += f" ({round(result.rang_ms / 1000) or ring_s} s)"
    if outcome is TransferOutcome.CONNECTED and result.talk_ms:
        said += f" for {round(result.talk_ms / 1000)} s"
    return f"{about}: {said}"


@dataclass(slots=True)
class UnderWay:
    """The detour that is not over. `due_ms` is when what it waits for is late."""

    wish: Detour
    state: DetourState
    leg: LegStep | None = None
    result: DetourResult | None = None
    """Fixed by the first word of an outcome, told when the caller is back."""
    due_ms: int | None = None
    late: bool = False
    """What it waits for was late once, and was asked for."""
    say_ms: int | None = None
    """When the caller who stays is told again that it rings."""
    park_ms: int | None = None
    """When the model's session is closed, because they are away for long."""
    moves: int = 0
    drained: bool = False
    """The last word was heard."""
    ends: bool = False
    """It is to end as soon as it can."""

    @property
    def about(self) -> str:
        return title(self.wish.kind, self.wish.name)


class Detours:
    """One at a time. `over` are the last ones that ended, refused ones among them; `begun` counts the others,
    those before this process included.
    """

    __slots__ = ("_keep_ms", "_let_go_ms", "begun", "over", "parked", "under_way")

    def __init__(self, config: CallConfig) -> None:
        self._keep_ms = config.detour_keep_ms
        self._let_go_ms = config.detour_let_go_ms
        self.begun = 0 if config.carried is None else config.carried.detours
        self.under_way: UnderWay | None = None
        self.parked = False
        """The model's session was let go because the caller is away."""
        self.over: deque[DetourEnded] = deque(maxlen=REMEMBERED)

    # --- what is the case

    def is_in(self, *states: DetourState) -> bool:
        """Whether a detour is under way and in one of these states."""
        return self.under_way is not None and self.under_way.state in states

    @property
    def draining(self) -> bool:
        """The caller hears our last words."""
        return self.is_in(DetourState.DRAINING)

    @property
    def deaf(self) -> bool:
        """Draining, and not to be stopped by a voice: a menu speaks all the time."""
        return self.draining and self._its().wish.kind is DetourKind.KEYS

    @property
    def due_ms(self) -> int:
        """When the first of its times has come."""
        its = self.under_way
        if its is None:
            return NEVER
        return min((at for at in (its.due_ms, its.say_ms, its.park_ms) if at is not None), default=NEVER)

    def about(self, detour_id: str) -> UnderWay | None:
        """The detour under way, if it is that one."""
        its = self.under_way
        return its if its is not None and its.wish.detour_id == detour_id else None

    def _its(self) -> UnderWay:
        assert self.under_way is not None  # noqa: S101  callers have asked
        return self.under_way

    # --- it begins

    def refused(self, wish: Detour, why: str) -> list[Action]:
        """It is not begun."""
        return [self._ended(wish, DetourResult(TransferOutcome.REFUSED, raw={"why": why}))]

    def why_not(self, wish: Detour) -> str:
        """Why no detour may begin now; "" if one may."""
        its = self.under_way
        if its is not None:
            return "another detour is under way"
        if any(ended.detour_id == wish.detour_id for ended in self.over):
            return "it was begun before"
        return f"a call has at most {MOST} detours" if self.begun >= MOST else ""

    def begin(self, wish: Detour, now_ms: int) -> list[Action]:
        """Leg B is called while the caller stays, or the caller is to leave."""
        self.begun += 1
        warm = wish.kind is DetourKind.TRANSFER and wish.mode is TransferMode.WARM
        its = self.under_way = UnderWay(wish, DetourState.CALLING if warm else DetourState.DRAINING)
        if not warm:
            return [self._moved(its)]
        its.due_ms = now_ms + 1_000 * wish.ring_s + 2 * WHISPER_MS
        its.say_ms = now_ms + SAY_MS
        return [PlaceLeg(wish.detour_id, wish), self._moved(its)]

    # --- leg B

    def leg(self, event: LegState, now_ms: int) -> list[Action]:
        """Leg B has come so far. Says nothing of what is not new."""
        its = self.about(event.detour_id)
        if its is None or (its.leg is not None and STEPS[event.step] <= STEPS[its.leg]):
            return []
        its.leg = event.step
        if event.step in TALKS and its.state in ON_THE_WAY and its.park_ms is not None:
            its.park_ms = min(its.park_ms, now_ms + self._let_go_ms)
        if its.state is DetourState.CALLING and event.step is LegStep.IN_ROOM:
            its.due_ms, its.say_ms = now_ms + WAITS_MS, None
        return [self._moved(its)]

    def cold_instead(self) -> list[Action]:
        """Leg B was never placed: the caller is sent on without it."""
        its = self._its()
        its.leg = its.due_ms = its.say_ms = None
        return self.move()

    @property
    def waits_in_room(self) -> bool:
        """A target has accepted, and the caller is still with the model."""
        return self.is_in(DetourState.CALLING) and self._its().leg is LegStep.IN_ROOM

    def move(self) -> list[Action]:
        """The caller is to leave, after the last word."""
        its = self._its()
        its.state, its.drained = DetourState.DRAINING, False
        its.moves += 1
        return [self._moved(its)]

    def stays(self, now_ms: int) -> bool:
        """The caller spoke before they left. Whether it is tried once more: a target that has accepted waits
        a moment.
        """
        its = self._its()
        again = its.leg is LegStep.IN_ROOM and its.moves < MOVES and (its.due_ms or 0) > now_ms
        if again:
            its.state = DetourState.CALLING
        return again

    # --- away and back

    def leave(self, now_ms: int) -> list[Action]:
        """The last word was heard; the stream closes."""
        its = self._its()
        its.state, its.drained, its.say_ms, its.late = DetourState.LEAVING, False, None, False
        its.due_ms, its.park_ms = now_ms + PUSH_MS, now_ms + self._keep_ms
        if its.leg in TALKS:
            its.park_ms = now_ms + min(self._keep_ms, self._let_go_ms)
        return [self._moved(its)]

    def went_away(self, detour_id: str, now_ms: int) -> list[Action]:
        """The carrier has the document."""
        its = self.about(detour_id)
        if its is None or its.state is not DetourState.LEAVING:
            return []
        its.state, its.late = DetourState.AWAY, False
        match its.wish.kind:
            case DetourKind.TRANSFER:
                its.due_ms = now_ms + 1_000 * its.wish.ring_s + WHISPER_MS + TALK_MS
            case DetourKind.KEYS:
                its.due_ms = now_ms + KEYS_MS
            case DetourKind.HOLD:
                its.due_ms = now_ms + TALK_MS
        return [self._moved(its), *(self.end(now_ms) if its.ends else ())]

    def returns(self, detour_id: str, result: DetourResult, now_ms: int) -> list[Action]:
        """The carrier has a stream document. The first outcome stands."""
        its = self.about(detour_id)
        if its is None or its.state not in (DetourState.LEAVING, DetourState.AWAY):
            return []
        its.state, its.result, its.late = DetourState.RETURNING, its.result or result, False
        its.due_ms, its.park_ms = now_ms + RETURN_MS, None
        return [self._moved(its)]

    def back(self, parameters: dict[str, str]) -> DetourResult:
        """A stream of the call begins: what came of the detour."""
        its = self._its()
        if its.result is not None:
            return its.result
        word = parameters.get("returned", "")
        named = next((outcome for outcome in TransferOutcome if outcome.value == word), None)
        usual = {DetourKind.KEYS: TransferOutcome.SENT, DetourKind.HOLD: TransferOutcome.HELD}
        return DetourResult(named or usual.get(its.wish.kind, TransferOutcome.RETURNED))

    def end(self, now_ms: int) -> list[Action]:
        """User code, or a limit, wants no more of it: what can be done."""
        its = self._its()
        detour_id, its.ends = its.wish.detour_id, True
        if its.state is DetourState.AWAY and its.wish.kind is DetourKind.HOLD:
            its.due_ms = min(now_ms + LOOK_UP_MS, its.due_ms or now_ms + LOOK_UP_MS)
            return [BringBack(detour_id)]
        if its.state is DetourState.AWAY and its.wish.kind is DetourKind.TRANSFER and its.leg not in TALKS:
            return [CancelLeg(detour_id)]
        return []

    # --- its times

    def late(self, now_ms: int) -> list[Action] | None:
        """What it waits for has not come: it is asked for, once. None when it was asked for before, and the
        call is lost.
        """
        its = self._its()
        its.due_ms = None
        if its.late or its.state not in (DetourState.LEAVING, DetourState.AWAY):
            return None
        its.late = True
        if its.state is DetourState.LEAVING:
            its.due_ms = now_ms + PUSHED_MS
            return [Push(its.wish.detour_id)]
        its.due_ms = now_ms + LOOK_UP_MS
        return [LookUp(its.wish.detour_id)]

    # --- it ends

    def ended(self, result: DetourResult, state: DetourState) -> list[Action]:
        """Say what came of it, once."""
        its = self._its()
        its.state, self.under_way = state, None
        return [self._moved(its), self._ended(its.wish, its.result or result)]

    def cancelled(self, why: str, result: DetourResult, state: DetourState) -> list[Action]:
        """The same, with leg B taken back if there may be one."""
        its = self._its()
        placed = its.wish.mode is TransferMode.WARM and its.leg is not LegStep.ENDED
        cancel: list[Action] = [CancelLeg(its.wish.detour_id, why)] if placed else []
        return cancel + self.ended(result, state)

    def close(self, outcome: TransferOutcome) -> list[Action]:
        """The call ends, and with it what is under way."""
        if self.under_way is None:
            return []
        left = outcome is TransferOutcome.CALLER_LEFT
        state = DetourState.GONE if left else DetourState.OVER
        return self.cancelled("caller_left" if left else "canceled", DetourResult(outcome), state)

    def _ended(self, wish: Detour, result: DetourResult) -> DetourEnded:
        ended = DetourEnded(wish.detour_id, wish.kind, wish.name, result)
        self.over.append(ended)
        return ended

    def _moved(self, its: UnderWay) -> DetourMoved:
        return DetourMoved(its.wish.detour_id, its.wish.kind, its.wish.name, its.state, its.leg)


def hangs_up(wish: Detour, outcome: TransferOutcome) -> bool:
    """Whether the call is over when the detour comes to this."""
    return outcome is TransferOutcome.CONNECTED and wish.after is Afterwards.HANG_UP
