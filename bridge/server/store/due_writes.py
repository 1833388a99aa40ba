"""What a process knows of a call that it carries, and what of it waits to be written to the store."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.core.messages import CallSnapshot
from bridge.server.store.claims import ClaimRequest, Owned, Process


@dataclass(slots=True)
class Held:
    """A call that this process carries since then. `asked` is its claim; `epoch` 0 until the store has
    answered that. `conversation` is the latest of what was said: whatever is late, no older one is written.
    """

    asked: ClaimRequest
    since_s: float
    epoch: int = 0
    seq: int = 0
    intent: str = ""
    conversation: CallSnapshot | None = None

    @property
    def groups(self) -> tuple[str, ...]:
        """Those that it counts in."""
        return tuple(limit.group for limit in self.asked.limits if limit.group)

    def next_seq(self) -> int:
        """The number of one more write."""
        self.seq += 1
        return self.seq

    def next(self, process: Process, *, noted: bool = False) -> Owned:
        """The view of it for one more write."""
        asked = self.asked
        return Owned(
            call_sid=asked.call_sid,
            process=process,
            epoch=self.epoch,
            seq=self.next_seq(),
            intent=self.intent,
            noted=noted,
            nonce=asked.nonce,
            account=asked.account,
            stream=asked.stream,
            groups=self.groups,
        )


@dataclass(slots=True)
class Due:
    """What is to be written of a call: its intent (`noted`), what was said (`turned`), its end here. `held`
    None is for one that another process may own: then `intent`.
    """

    held: Held | None = None
    noted: bool = False
    ended: bool = False
    keep: bool = False
    turned: bool = False
    intent: str = ""
    returns: int = 0
    epoch: int | None = None

    @property
    def op(self) -> str:
        """The name of the command."""
        if self.held is None:
            return "intend"
        return "end" if self.ended else "turn" if self.turned else "note"
