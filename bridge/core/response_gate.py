"""Whether a response may be asked for now, and which one is under way."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from .due import NEVER
from .messages import CreateResponse, ResponseDone, ResponseStarted

Value = TypeVar("Value")

FORGET_RESPONSES = 64
"""Ids of ended responses kept, so that a delta that comes even later is still known to be late; and of those
whose end has not come."""


@dataclass(slots=True)
class ResponseGate:
    """At most one response is active and at most one asked for; the rest wait here.

    Realtime conversations guide: a conversation has one active response at a time. A create that meets one is
    answered with `conversation_already_has_active_response` and no response follows: it goes back to the head
    of the queue.
    """

    active: str | None = None
    asked: CreateResponse | None = None
    stale: bool = False
    held: bool = False
    busy: bool = False
    """The vendor says that a response is active, and we do not know which: nothing is asked until one begins
    or ends."""
    again_due_ms: int = NEVER
    """When the vendor may be asked again, while it is left in peace."""
    untold_due_ms: int = NEVER
    """When a request counts as lost, of a vendor that does not say to which of them a response belongs."""
    cut_ms: int | None = None
    """When the active response was cut, whose end is still to come: `Playout.mute` sets it."""
    waiting: OrderedDict[str, CreateResponse] = field(default_factory=OrderedDict)
    """By tag, the next one first. What waits already is not wanted twice."""
    cancelled: str | None = None
    asides: dict[str, None] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    begun: CreateResponse | None = None
    loses_ends: bool = False
    """This session has begun a response while another was active: that one's end was not told."""

    @property
    def idle(self) -> bool:
        return self.active is None and self.asked is None and not self.waiting

    def want(self, create: CreateResponse) -> None:
        self.waiting[create.tag] = create

    def next(self, epoch: int = 1) -> CreateResponse | None:
        """The create to send now, if any may be sent."""
        if self.held or self.busy or self.again_due_ms != NEVER or not self.waiting:
            return None
        if self.active is not None or self.asked is not None:
            return None
        _, create = self.waiting.popitem(last=False)
        self.asked, self.stale = msgspec.structs.replace(create, epoch=epoch), False
        return self.asked

    def _put_back(self, create: CreateResponse) -> None:
        self.waiting[create.tag] = create
        self.waiting.move_to_end(create.tag, last=False)

    def lose(self) -> None:
        """The session is gone: what it was saying is over, what it was asked for and had not begun waits
        again.
        """
        if self.asked is not None and not self.stale:
            self._put_back(self.asked)
        self.active, self.asked, self.stale, self.held, self.cancelled = None, None, False, False, None
        self.cut_ms, self.untold_due_ms = None, NEVER
        self.loses_ends = self.busy = False
        self.asides.clear()
        self.tags.clear()

    def again(self, tag: str, tool_choice: str | None = None) -> None:
        """The response that began last failed: ask for it once more, before anything else."""
        begun = self.begun
        create = begun if begun is not None and begun.tag == tag else CreateResponse(tag)
        if tool_choice is not None:
            create = CreateResponse(
                tag, create.instructions, tool_choice, create.aside, create.text_only, create.epoch
            )
        self._put_back(create)

    def started(self, event: ResponseStarted) -> bool:
        """A response began. Returns whether it is one that the caller has already talked over: it must be
        cancelled.
        """
        if event.aside:
            _remember(self.asides, event.response_id, None)
            return False
        self.busy = False
        self.loses_ends |= self.active not in (None, event.response_id)
        self.active, self.cut_ms = event.response_id, None
        if event.tag:
            _remember(self.tags, event.response_id, event.tag)
        self.begun = None
        if self.asked is None or event.tag != self.asked.tag:
            return False
        stale, self.begun, self.asked, self.stale = self.stale, self.asked, None, False
        self.untold_due_ms = NEVER
        return stale

    def done(self, event: ResponseDone) -> None:
        self.asides.pop(event.response_id, None)
        self.busy = False
        if self.active == event.response_id:
            self.active, self.cut_ms = None, None

    def refused(self, tag: str | None, again: bool) -> None:
        """Our create was answered with an error: forget it, or (`again`) put it back to the head of the
        queue. `tag` None where the vendor does not say which create it was: there is only one.
        """
        if self.asked is None or tag not in (None, self.asked.tag):
            return
        if again and not self.stale:
            self._put_back(self.asked)
        self.asked, self.stale, self.untold_due_ms = None, False, NEVER

    def superseded(self) -> list[CreateResponse]:
        """The caller spoke: what was asked for and has not begun is out of date. Returns what is dropped
        unasked.
        """
        self.stale = self.asked is not None
        dropped = list(self.waiting.values())
        self.waiting.clear()
        return dropped


def _remember(responses: dict[str, Value], response_id: str, what: Value) -> None:
    """The latest of them: how many there are is the model's choice."""
    responses[response_id] = what
    while len(responses) > FORGET_RESPONSES:
        del responses[next(iter(responses))]
