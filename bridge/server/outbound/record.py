"""What is known of one call out. A record is replaced, never changed; the store keeps each version."""

from __future__ import annotations

import enum
import secrets
from typing import Any, Final

import msgspec


class State(enum.IntEnum):
    """How far a call is. It only moves forward: callbacks come in any order, twice, or not at all."""

    QUEUED = 0
    POSTING = 1
    """A request for it may have reached the carrier."""
    PLACED = 2
    RINGING = 3
    ANSWERED = 4
    DONE = 5

    @property
    def word(self) -> str:
        """As it is told to programs."""
        return "queued" if self is State.POSTING else self.name.lower()


class Outcome(enum.Enum):
    """What became of a call that is done."""

    COMPLETED = "completed"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    DECLINED = "declined"
    INVALID = "invalid"
    FAILED = "failed"
    CANCELED = "canceled"
    REFUSED = "refused"
    """It was never placed: one of our rules or the carrier's API forbade it."""


MACHINES: Final = ("machine", "fax", "voicemail", "screening", "ivr", "unavailable")


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call out. Times are seconds since 1970, 0 for not yet.

    `key` and `idem` say who asked for it, `digest` for what. `owner` is the process that places it. `posts`
    counts requests to the carrier. `answered_by` is the carrier's verdict or our own. `stop` says that the
    operator has to change something before another call can be placed.
    """

    ref: str
    to: str
    from_: str
    asked_s: float
    agent: str = ""
    context: dict[str, str] = {}
    consent: str = ""
    ring_s: int = 30
    key: str = ""
    idem: str = ""
    digest: str = ""
    owner: str = ""
    state: int = 0
    posts: int = 0
    posted_s: float = 0.0
    call_sid: str = ""
    account_sid: str = ""
    rung_s: float = 0.0
    answered_s: float = 0.0
    ended_s: float = 0.0
    queue_ms: int = 0
    outcome: str = ""
    reason: str = ""
    stop: str = ""
    sip_code: int = 0
    stir: str = ""
    answered_by: str = ""
    message: str = ""
    """`left` or `partial`, where one was left with a machine."""
    talk_s: int = 0
    cost_micro_usd: int = 0
    canceled: bool = False
    duplicates: int = 0

    @property
    def done(self) -> bool:
        """Whether nothing more becomes of it."""
        return self.state >= State.DONE

    @property
    def was_posted(self) -> bool:
        """Whether the carrier may have been asked for it, and so the person may have been rung."""
        return self.posts > 0

    @property
    def ring_ms(self) -> int | None:
        """How long it rang, None if that is unknown."""
        until_s = self.answered_s or self.ended_s - self.talk_s
        return round((until_s - self.rung_s) * 1000) if self.rung_s and until_s >= self.rung_s else None

    @property
    def by_machine(self) -> bool:
        """Whether no person answered, as far as is known."""
        return self.answered_by.startswith(MACHINES)

    def told(self) -> dict[str, Any]:
        """What a program is told of it, as JSON. Without the numbers: it knows them."""
        told: dict[str, Any] = {"id": self.ref, "state": State(self.state).word}
        if self.done:
            told["outcome"] = self.outcome
        facts: dict[str, Any] = {
            "call_sid": self.call_sid,
            "reason": self.reason,
            "stop": self.stop,
            "answered_by": self.answered_by,
            "message": self.message,
            "sip_code": self.sip_code,
            "stir": self.stir,
            "ring_ms": self.ring_ms,
            "talk_s": self.talk_s,
            "cost_usd": self.cost_micro_usd / 1_000_000,
        }
        return told | {name: value for name, value in facts.items() if value}


def new_ref() -> str:
    """A name of 128 random bits, so that only a peer that was told it can send it back."""
    return secrets.token_hex(16)
