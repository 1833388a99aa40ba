"""What the processes of one service share: intents of calls, their detours, streams that were used, what was
said, and calls out.

`Store` is the seam: the server knows these and not where they are kept. `EmbeddedStore` keeps them in
memory and in files of this machine, and is the one writer of them in its process.
"""

from __future__ import annotations

import secrets
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from bridge.core.messages import CallSnapshot

from ..outbound.record import Record
from .detours import DetourJournal, DetourRecord
from .intents import Intents, Situation, Step
from .outbound import OutboundRecords
from .snapshots import Conversations
from .used_calls import UsedCalls

__all__ = ["CallIntents", "CallsOut", "Detours", "EmbeddedStore", "Snapshots", "Store", "UsedStreams"]


class CallIntents(Protocol):
    """Why each call's carrier leg ended, by CallSid. Looked up, never taken out; a repeated write changes
    nothing.
    """

    told: Callable[[str, str, int], None]

    def note(self, call_sid: str, intent: str) -> None: ...
    def began(self, call_sid: str, stream: int = 1) -> None: ...
    def peek(self, call_sid: str) -> str | None: ...
    def has_begun(self, call_sid: str) -> bool: ...
    def streams(self, call_sid: str) -> int: ...
    def resumes(self, call_sid: str) -> int: ...
    def decide(self, call_sid: str, now: Situation) -> Step: ...
    def learn(
        self,
        call_sid: str,
        intent: str | None,
        *,
        streams: int = 0,
        resumed_s: Sequence[float] = (),
        returns: int = 0,
    ) -> None: ...
    def close(self) -> None: ...


class UsedStreams(Protocol):
    """Which streams of which calls were given out; a stream is named by its CallSid and its number."""

    def expect(self, call_sid: str, stream: int = 1) -> None: ...
    def use(self, call_sid: str, stream: int = 1) -> None: ...
    def has(self, call_sid: str, stream: int = 1) -> bool: ...
    def close(self) -> None: ...


class Detours(Protocol):
    """The detours of calls, by their ids. A record only moves forward: its first `result` stays."""

    told: Callable[[DetourRecord], None]

    def begin(self, record: DetourRecord) -> None: ...
    def learn(self, seen: DetourRecord) -> None: ...
    def find(self, detour_id: str) -> DetourRecord | None: ...
    def of_call(self, call_sid: str) -> DetourRecord | None: ...
    def change(self, detour_id: str, **changes: Any) -> DetourRecord | None: ...
    def close(self) -> None: ...


class Snapshots(Protocol):
    """The latest conversation of each call that is not over."""

    def keep(self, call_sid: str, carried: CallSnapshot) -> None: ...
    def forget(self, call_sid: str) -> None: ...
    def find(self, call_sid: str) -> CallSnapshot | None: ...
    def close(self) -> None: ...


class CallsOut(Protocol):
    """What is known of each call that we place, by its ref: 128 random bits, in the URLs that the carrier
    asks. Kept for a day. `me` is this process; `inherited` are those of processes that have gone.
    """

    told: Callable[[Record], None]

    @property
    def me(self) -> str: ...
    def learn(self, seen: Record) -> None: ...
    def put(self, record: Record) -> None: ...
    async def durable(self) -> None: ...
    def get(self, ref: str) -> Record | None: ...
    def of_call(self, call_sid: str) -> Record | None: ...
    def of_key(self, key: str, idem: str) -> Record | None: ...
    def of_day(self) -> Iterator[Record]: ...
    def inherited(self) -> list[Record]: ...
    def close(self) -> None: ...


class Store(Protocol):
    """All of it. Lives on the loop of the calls; no method waits for a disk or a network. `name` is the same
    in all processes that share it, and in no other.
    """

    @property
    def name(self) -> str: ...
    @property
    def intents(self) -> CallIntents: ...
    @property
    def detours(self) -> Detours: ...
    @property
    def used(self) -> UsedStreams: ...
    @property
    def conversations(self) -> Snapshots: ...
    @property
    def calls_out(self) -> CallsOut: ...
    def close(self) -> None:
        """Write what waits, two seconds long at most, and let go of the files; they stay for the next
        process.
        """


class EmbeddedStore:
    """Memory, and files beside `journal`, which holds the intents; None for memory only."""

    def __init__(self, journal: Path | None) -> None:
        self.name = secrets.token_hex(16) if journal is None else _place(journal)
        self.intents = Intents(journal)
        self.detours = DetourJournal(None if journal is None else journal.parent / "detours.jsonl")
        self.used = UsedCalls(None if journal is None else journal.parent / "used-calls")
        self.conversations = Conversations(None if journal is None else journal.parent / "conversations")
        self.calls_out = OutboundRecords(None if journal is None else journal.parent / "calls-out.jsonl")

    def close(self) -> None:
        self.calls_out.close()
        self.conversations.close()
        self.used.close()
        self.detours.close()
        self.intents.close()


def _place(journal: Path) -> str:
    """Where the files are: the machine, and the folder on it."""
    return f"{socket.gethostname()} {uuid.getnode():x} {journal.parent.resolve()}"
