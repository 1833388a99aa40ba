"""Detours: the call leaves its stream on purpose, and comes back to the same session, or ends.

A transfer to a person, keys sent into a menu and a caller on hold are one mechanism. The call, its runner and
the model's session live on meanwhile; only the carrier's stream goes and comes again.

How leg A (the caller's) goes, and which message says so:

============  ==============================================  ============================================
state         what the core says                              what the shell says next
============  ==============================================  ============================================
`calling`     `PlaceLeg` (warm only: the caller stays)        `LegState`, to `IN_ROOM` or `ENDED`
`draining`    the last words, their mark                      the mark's echo, or the caller speaks
`leaving`     `NoteIntent("detour:<id>")`, `LeaveStream`      `WentAway`: the document was served, or
                                                              `Returned`: there was nowhere to go
`away`        nothing of the model's, no sound                `LegState` (cold), `Returned`, `DetourOver`
`returning`   dials the model if it was parked                `Started` and `Admitted` of the next stream
`live`        `DetourEnded`; the model tells the caller       the next detour
`over`        `DetourEnded`, `Ended`                          nothing
============  ==============================================  ============================================

Every message names its detour. What is said of one that is over, or of another, changes nothing: carriers ask
twice, and in any order. Only the first outcome counts.

No number and no key of a target is in any message, only names. The keys of `send_digits` stay in the shell,
under the detour's id. `detour_id` is 32 hex digits, drawn where the wish is made.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

from .base import Message


class DetourKind(enum.Enum):
    """Why the call leaves its stream."""

    TRANSFER = "transfer"
    """To a configured target, by name."""
    KEYS = "keys"
    """Keys are played into the line, which is a menu; no call is placed."""
    HOLD = "hold"
    """The caller waits, with music, until `EndDetour`."""


class TransferMode(enum.Enum):
    """COLD: the caller leaves at once, and hears it ring. WARM: they stay with the model until the target has
    accepted.
    """

    COLD = "cold"
    WARM = "warm"


class Afterwards(enum.Enum):
    """What follows when the caller and the target have talked and the target has hung up."""

    HANG_UP = "hang_up"
    RETURN = "return"


class TransferOutcome(enum.Enum):
    """What came of a detour: exactly one of these, once.

    `CONNECTED`: caller and target talked. `INVALID`: there is no such number. `DROPPED`: they were joined,
    and cut off within `min_talk_s`. `RETURNED`: the caller came back by a key. `INTERRUPTED`: they spoke
    before they left. `CANCELED`: we took it back before the target answered. `REST_FAILED`: the carrier did
    not place leg B. `REFUSED`: not begun at all (another one is under way, or too many were). `LOST`: the
    call left no trace. `SENT` and `HELD` are the good ends of the kinds keys and hold.
    """

    CONNECTED = "connected"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    DECLINED = "declined"
    VOICEMAIL = "voicemail"
    INVALID = "invalid"
    FAILED = "failed"
    DROPPED = "dropped"
    RETURNED = "returned"
    INTERRUPTED = "interrupted"
    CALLER_LEFT = "caller_left"
    CANCELED = "canceled"
    REST_FAILED = "rest_failed"
    REFUSED = "refused"
    LOST = "lost"
    SENT = "sent"
    HELD = "held"


class LegStep(enum.Enum):
    """How far leg B has come. It only goes forward; what is said late of an earlier step changes nothing."""

    QUEUED = "queued"
    RINGING = "ringing"
    ANSWERED = "answered"
    BRIEFING = "briefing"
    ACCEPTED = "accepted"
    IN_ROOM = "in room"
    BRIDGED = "bridged"
    ENDED = "ended"


class DetourState(enum.Enum):
    """How far a detour has come; see the table above. `BACK`: the caller is with the model again."""

    CALLING = "calling"
    DRAINING = "draining"
    LEAVING = "leaving"
    AWAY = "away"
    RETURNING = "returning"
    BACK = "back"
    OVER = "over"
    GONE = "gone"
    LOST = "lost"


class DetourResult(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What came of a detour, with what the carrier said: `raw` are its fields, without numbers and keys.
    Milliseconds are 0 and `sip_code` is 0 where it did not say.
    """

    outcome: TransferOutcome
    rang_ms: int = 0
    talk_ms: int = 0
    sip_code: int = 0
    accepted: bool = False
    raw: dict[str, str] = {}


# --- wishes ----------------------------------------------------------------------------------------------


class Detour(Message, frozen=True, gc=False, omit_defaults=True):
    """Leave the stream after the last word was heard. One at a time, at most 5 a call; any other is answered
    with `REFUSED`.

    `name`: the target's, by settings; of a hold, its music; "" for keys. `brief`: what the target hears of
    the caller. `accept`: the key by which the target accepts, "" for none. `ring_s`: how long it rings.
    `min_talk_s`: a shorter talk counts as `DROPPED`. `quiet`: the model says nothing before, for user code
    has. `call_id`: the model's tool call that wished it, whose result comes when it is over.
    """

    detour_id: str
    kind: DetourKind = DetourKind.TRANSFER
    name: str = ""
    mode: TransferMode = TransferMode.COLD
    brief: str = ""
    accept: str = "1"
    ring_s: int = 25
    after: Afterwards = Afterwards.HANG_UP
    min_talk_s: int = 10
    quiet: bool = False
    call_id: str = ""


class EndDetour(Message, frozen=True, gc=False, omit_defaults=True):
    """End the detour under way, as far as it can be: a hold is over, a leg B that has not accepted is
    cancelled. "" is the one under way. Callers who talk to a target are left alone.
    """

    detour_id: str = ""


# --- what the shell says ---------------------------------------------------------------------------------


class LegState(Message, frozen=True, gc=False, omit_defaults=True):
    """Leg B has come so far. With `ENDED` there is a `result`; it is the outcome of a warm transfer whose
    caller has not left yet, and only noted while they are away (then `Returned` or `DetourOver` decides).
    `cold_instead`: leg B was surely never placed, so the caller may be sent on without it.
    """

    detour_id: str
    step: LegStep
    result: DetourResult | None = None
    cold_instead: bool = False


class WentAway(Message, frozen=True, gc=False):
    """The carrier asked what comes after the stream, and was given the detour's document."""

    detour_id: str


class Returned(Message, frozen=True, gc=False):
    """The carrier asked what comes after the detour, and was given a stream document. The caller is back when
    that stream begins, and not before: a document may be asked for in vain.
    """

    detour_id: str
    result: DetourResult


class DetourOver(Message, frozen=True, gc=False):
    """The detour is over, and so is the call: they talked and it was hung up, the caller left, or no trace of
    them is left.
    """

    detour_id: str
    result: DetourResult


# --- what the shell is told ------------------------------------------------------------------------------


class PlaceLeg(Message, frozen=True, gc=False):
    """Place leg B of a warm transfer. Answered with `LegState`s."""

    detour_id: str
    wish: Detour


class CancelLeg(Message, frozen=True, gc=False, omit_defaults=True):
    """End leg B, if there is one: the caller is not to be joined to it. `why`: `caller_left`, `interrupted`,
    `canceled`, `limit` or `shutdown`.
    """

    detour_id: str
    why: str = "canceled"


class LeaveStream(Message, frozen=True, gc=False):
    """Close the carrier's socket (1000) and keep the call. The intent `detour:<id>` is noted before."""

    detour_id: str
    wish: Detour


class Push(Message, frozen=True, gc=False):
    """The carrier has not asked what comes after the stream: point the call at the detour's document by REST.
    If that fails, say `DetourOver` with `LOST`.
    """

    detour_id: str


class LookUp(Message, frozen=True, gc=False):
    """Nothing was heard of the call past the detour's deadline: ask the carrier whether it lives. If it does
    not, say `DetourOver`; if it cannot be asked, `LOST`.
    """

    detour_id: str


class BringBack(Message, frozen=True, gc=False):
    """The caller on hold is wanted back: the next document lets them go."""

    detour_id: str


# --- what the session is told ----------------------------------------------------------------------------


class DetourMoved(Message, frozen=True, gc=False, omit_defaults=True):
    """A detour is in this state now; with `leg`, leg B has come so far."""

    detour_id: str
    kind: DetourKind
    name: str
    state: DetourState
    leg: LegStep | None = None


class DetourEnded(Message, frozen=True, gc=False):
    """What came of a detour. Once for each `Detour`, in the order of their ends."""

    detour_id: str
    kind: DetourKind
    name: str
    result: DetourResult


DetourWish: TypeAlias = Detour | EndDetour
DetourEvent: TypeAlias = LegState | WentAway | Returned | DetourOver
DetourCommand: TypeAlias = PlaceLeg | CancelLeg | LeaveStream | Push | LookUp | BringBack
DetourNotice: TypeAlias = DetourMoved | DetourEnded
