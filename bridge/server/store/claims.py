"""Who owns a call, and what several processes have to agree on: the protocol, and what its answers mean.

`Claims` is implemented by `EmbeddedClaims` in memory, by `RedisClaims` as scripts in a Redis server, and by
a socket to another process that has an `EmbeddedClaims`. Every method is one atomic step. Rules for all:

1. Writes are absolute and repeatable. A command that timed out may run later, or twice, and changes nothing
   then.
2. A write of an owner is fenced by epoch, process and sequence number (`Owned`). A later owner's epoch is
   higher, so an earlier one learns that it is a ghost.
3. Times are the store's own clock, in milliseconds. `epoch` is `max(the one before + 1, now)`.
4. Nothing loops over calls but what is given some: `words`, `check`.

The store has neither sound nor numbers nor tokens in it. What was said comes here encrypted, as bytes.

Over 400 lines: each step's question and answer stand beside it, for three implementations read them here.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

LEASE_MS: Final = 10_000
"""How long a machine is alive after its last beat."""
RING_KEPT_MS: Final = 90_000
"""How long it is known which machine has dialled the model for a call that rings."""
REDEEMED_KEPT_MS: Final = 75_000
"""How long a redeemed nonce is remembered as such; a token lives for a minute."""
CALL_KEPT_MS: Final = 24 * 3_600_000
"""How long a call is known after its last write: a webhook that is replayed within it is SPENT."""
ENDED_KEPT_MS: Final = 7 * CALL_KEPT_MS
"""The same of a call whose end was noted."""
CONVERSATION_KEPT_MS: Final = 600_000
MACHINE_KEPT_MS: Final = 3_600_000
"""How long a machine is shown after its lease."""
DAY_KEPT_MS: Final = 48 * 3_600_000
RESUME_WINDOW_MS: Final = 120_000


class StoreError(Exception):
    """The store did not do it, or did not say so in time. `kind`: timeout, connection, auth, readonly, oom,
    busy, cluster or other.
    """

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Process:
    """One process: the name of its machine, which is not secret, and `inst`, random for each start."""

    machine: str
    inst: str


@dataclass(frozen=True, slots=True)
class Status:
    """What a process says of itself. `calls` it carries, `capacity` is how many it could; `config` digests
    what has to be equal on all machines; `address` is where other machines reach it, empty for nowhere.
    """

    calls: int = 0
    capacity: int = 0
    draining: bool = False
    version: str = ""
    config: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine as the others see it. `lease_ms` are left of its lease: 0 or less, and it counts no more."""

    process: Process
    status: Status
    lease_ms: int

    @property
    def live(self) -> bool:
        """Whether its lease holds."""
        return self.lease_ms > 0


class Lease(enum.Enum):
    """What a beat found."""

    NEW = "NEW"
    """There was none: the process has just started, or its lease lapsed, or the store has lost its content.
    A process that holds calls writes all of them again (`note`), and beats with them.
    """
    HELD = "OK"
    TAKEN = "TAKEN"
    """Another process has that machine's name. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Beat:
    """`taken_by` is the inst that has the name, for TAKEN. `own_calls` are those the store has for this
    process, `fleet_calls` those of all live machines, `machines` the live ones, this one included.
    `day_micro_usd` is what all have spent on that day. `watched`: a console is open. `now_ms` is the store's
    clock, milliseconds since 1970.
    """

    lease: Lease
    taken_by: str = ""
    own_calls: int = 0
    fleet_calls: int = 0
    machines: tuple[Machine, ...] = ()
    day_micro_usd: int = 0
    watched: bool = False
    now_ms: int = 0


class RingAnswer(enum.Enum):
    """What becomes of a call's webhook."""

    FIRST = "OK"
    """Dial the model, and answer with `nonce`: the one given, or that of a machine that died meanwhile."""
    MINE = "MINE"
    """This process has dialled already, and answered with `nonce`."""
    ELSEWHERE = "ELSEWHERE"
    """`machine` has dialled: answer with its address and `nonce`, and dial nothing."""
    ENDED = "ENDED"
    """The call is over: hang up."""
    SPENT = "SPENT"
    """The call has had a stream, or belongs to another account: answer with nothing that opens one."""


@dataclass(frozen=True, slots=True)
class Ring:
    """`nonce` and `machine` (which has the warm session) are empty for ENDED and SPENT."""

    answer: RingAnswer
    nonce: str = ""
    machine: str = ""


@dataclass(frozen=True, slots=True)
class Limit:
    """Of a group of calls: all of them (`group` is empty), or those of one account or number. A group is
    named by a digest. None is no limit.
    """

    group: str = ""
    most_calls: int | None = None
    most_micro_usd: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    """A stream has started, with a token that was found right; `nonce` is the token's, `account` a digest of
    the AccountSid, `stream` its number in the call, 1 for the first. `day` names the day that money is
    counted for. Limits hold for calls that the store does not have yet, not for one that is resumed.
    """

    call_sid: str
    process: Process
    nonce: str
    account: str = ""
    stream: int = 1
    limits: tuple[Limit, ...] = ()
    day: str = ""


class ClaimAnswer(enum.Enum):
    """Whether the call is this process's now. The first three say that it is, and bring its epoch."""

    OK = "OK"
    TOOK = "TOOK"
    """...and `owner` had it before, which is a ghost from now on."""
    MINE = "MINE"
    """The same claim was made before."""
    NO_LEASE = "NOLEASE"
    """The process has no lease: `beat`, and claim once more."""
    OVER = "OVER"
    """The call has ended or was sent on, as `intent` says."""
    USED = "USED"
    """The token has opened a stream before."""
    ACCOUNT = "ACCT"
    """The call belongs to another account."""
    FULL = "FULL"
    """`group` has as many calls as it may have."""
    MONEY = "MONEY"
    """`group` has spent the day's money."""

    @property
    def owned(self) -> bool:
        """Whether the call is this process's now."""
        return self in (ClaimAnswer.OK, ClaimAnswer.TOOK, ClaimAnswer.MINE)


@dataclass(frozen=True, slots=True)
class Claim:
    """`warm` is who has dialled the model for this stream; None where no machine has, or more than 90 s ago:
    then the age of the token has to be checked by what is written in it.
    """

    answer: ClaimAnswer
    epoch: int = 0
    owner: str = ""
    intent: str = ""
    group: str = ""
    warm: Process | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """A call as its owner sees it, which is what the store has of it, or is to have again after it has lost
    something. `epoch` is that of its claim; `seq` is higher for each write. `intent` is the present one,
    empty for none; `noted` says that it is new, and to be written. `groups` are those of its limits.
    """

    call_sid: str
    process: Process
    epoch: int
    seq: int
    intent: str = ""
    noted: bool = False
    nonce: str = ""
    account: str = ""
    stream: int = 1
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Words:
    """What was said in a call, encrypted, by its owner's `epoch` and `seq`."""

    call_sid: str
    epoch: int
    seq: int
    conversation: bytes


@dataclass(frozen=True, slots=True)
class Spent:
    """What this process has spent on that day in all, micro-USD by group; the group "" is everything."""

    day: str = ""
    micro_usd: Mapping[str, int] = field(default_factory=dict)


class Fence(enum.Enum):
    """Whether a write was let through."""

    OK = "OK"
    RESTORED = "RESTORED"
    """...and the store had lost an earlier one: the owner's view was written back."""
    STALE = "STALE"
    """It is there already, or was overtaken by a later one. Nothing was written."""
    GHOST = "GHOST"
    """Another process owns the call: say, write, bill and request nothing more for it. Nothing was
    written.
    """


@dataclass(frozen=True, slots=True)
class Written:
    """`epoch` and `owner` are the present ones. `day_micro_usd` is what all machines have spent on the day of
    the write, 0 where none was named.
    """

    fence: Fence
    epoch: int = 0
    owner: str = ""
    day_micro_usd: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AfterRequest:
    """The carrier asks what comes after the stream with `nonce`. `fresh` is the nonce of the stream that may
    follow. A process that is `draining` opens none: it counts a wait.
    """

    call_sid: str
    process: Process
    nonce: str
    fresh: str
    account: str = ""
    draining: bool = False


class AfterAnswer(enum.Enum):
    """Whether that stream was the call's last."""

    OK = "OK"
    AGAIN = "AGAIN"
    """It was asked before: answer with the nonce given then."""
    OLD = "OLD"
    """A later stream has been claimed, or it is another account's call: a replay. Answer with nothing that
    opens a stream.
    """


@dataclass(frozen=True, slots=True)
class After:
    """`intent` is why the stream ended, empty where no machine meant it to. `resumes` are those of the last
    120 s, without this one for OK, and with it for AGAIN; `waits` those in a row. `nonce` is that of the next
    stream, empty where none may follow; `machine` is which one dials the model for it, this one unless the
    answer is AGAIN, and empty where all that is known of are draining. `epoch` is 0 where the call was not
    known.
    """

    answer: AfterAnswer
    intent: str = ""
    resumes: int = 0
    waits: int = 0
    nonce: str = ""
    machine: str = ""
    epoch: int = 0
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """All that the store has of a call. `streams` is the number of the last one that was claimed, 0 for none;
    `resumed_ms` are moments of the store's clock; `conversation` is encrypted, None for none.
    """

    intent: str = ""
    streams: int = 0
    resumed_ms: tuple[int, ...] = ()
    waits: int = 0
    returns: int = 0
    owner: str = ""
    epoch: int = 0
    at_ms: int = 0
    conversation: bytes | None = None


class Claims(Protocol):
    """The steps. Each may raise StoreError, and may have been taken all the same."""

    async def beat(
        self,
        process: Process,
        status: Status,
        day: str = "",
        calls: Mapping[str, Sequence[str]] | None = None,
        lease_ms: int = LEASE_MS,
    ) -> Beat:
        """Renew the process's lease. `calls`, the groups of each call by CallSid, replaces what the store has
        of its calls; None leaves that as it is.
        """
        ...

    async def leave(self, process: Process) -> None:
        """Give the lease back, and what is counted under it."""
        ...

    async def machines(self) -> tuple[Machine, ...]:
        """Those with a lease, and those whose lease ended less than an hour ago, by name."""
        ...

    async def ring(self, call_sid: str, process: Process, nonce: str, account: str = "") -> Ring:
        """A webhook about a new call: who dials the model for it."""
        ...

    async def claim(self, wanted: ClaimRequest) -> Claim:
        """A stream has started: redeem its token, and own the call from now on."""
        ...

    async def note(self, call: Owned) -> Written:
        """Write the call's present intent."""
        ...

    async def turn(self, call: Owned, conversation: bytes | None, spent: Spent) -> Written:
        """Write what was said so far, None for no change, what was spent, and the intent if it is new."""
        ...

    async def words(self, process: Process, calls: Sequence[Words]) -> frozenset[str]:
        """Write what was said so far in each of these calls of that process, and nothing else. Returns those
        of which nothing was written: the store does not have them as the process's own, or has a later write.
        """
        ...

    async def end(self, call: Owned, conversation: bytes | None, spent: Spent, *, keep: bool) -> Written:
        """The call's stream is over here: it counts no more, but is still owned. Otherwise as `turn`; what
        was said goes, unless `keep` says that the call may go on.
        """
        ...

    async def intend(
        self, call_sid: str, intent: str, *, epoch: int | None = None, returns: int = 0
    ) -> Written:
        """Write the intent of a call for a process that does not own it: GHOST, and nothing was written, if
        its epoch is a later one than `epoch`. None is for what is true with every owner. `returns` is how
        often it has come back from transfers.
        """
        ...

    async def after(self, asked: AfterRequest) -> After:
        """A stream is over: what is known of its call. Counts a resume, once a stream."""
        ...

    async def look(self, call_sid: str) -> Known | None:
        """What is known of a call, None for nothing. Writes nothing."""
        ...

    async def check(self, process: Process, epochs: Mapping[str, int]) -> frozenset[str]:
        """Which of these calls, by CallSid, this process has lost: their epoch is a later one, or another
        process has this one. A call that the store does not have is not lost.
        """
        ...

    async def pace(self, account: str, interval_ms: int, burst: int) -> int:
        """Take a slot of one every `interval_ms`, `burst` at once: 0, or the milliseconds to wait before
        asking again. Not repeatable: a lost answer costs one slot.
        """
        ...

    async def put_record(self, key: str, writer: str, record: bytes, kept_ms: int) -> None:
        """Keep a record as that writer sees it, beside what others have written under that key. `writer` is
        an inst.
        """
        ...

    async def records(self, key: str) -> Mapping[str, bytes]:
        """What is kept under that key, by writer."""
        ...

    async def ping(self) -> None:
        """Whether the store answers."""
        ...

    async def close(self) -> None:
        """Let go of what connects to the store."""
        ...
