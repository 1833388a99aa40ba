"""The model's conversation as we know it: its items, what of them was heard, and whose turn it is to
respond.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from .messages import CreateResponse, ItemAdded, ResponseDone, ResponseStarted, TextDelta

FORGET_RESPONSES = 64
"""Ids of ended responses kept, so that a delta that comes even later is still known to be late."""


@dataclass(slots=True)
class Item:
    """One item. `generated` holds the model's words with the audio bytes received by then; `heard_ms` is None
    until known.
    """

    item_id: str
    kind: str = "message"
    role: str = ""
    text: str = ""
    response_id: str = ""
    generated: list[tuple[str, int]] = field(default_factory=list)
    received_bytes: int = 0
    heard_ms: int | None = None
    cut: bool = False
    gone: bool = False

    def said(self) -> str:
        """All words the model generated for it."""
        return "".join(text for text, _ in self.generated) or self.text

    def heard(self, bytes_per_ms: int) -> str:
        """The words the caller heard: cut at a word, where the ledger says.

        Text and sound of a delta carry no common clock. The bytes received when a piece of text came tie the
        two together; between two such points (and to the end of the sound) text is spread evenly.
        """
        said = self.said()
        if not self.cut or self.heard_ms is None:
            return said
        heard_bytes = self.heard_ms * bytes_per_ms
        if heard_bytes >= self.received_bytes:
            return said
        characters = len(said) * heard_bytes // self.received_bytes
        if characters >= len(said) or said[characters].isspace():
            return said[:characters].rstrip()
        return said[:characters].rpartition(" ")[0].rstrip()


class Conversation:
    """Items in the order they stand in, by id."""

    __slots__ = ("_next_id", "items")

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self._next_id = 0

    def new_id(self) -> str:
        """An id of our own for `conversation.item.create`: a restored item can be found again by it."""
        self._next_id += 1
        return f"pb_{self._next_id}"

    def item(self, item_id: str, response_id: str = "") -> Item:
        """The item of that id; entered as a model message if it was not known yet."""
        item = self.items.get(item_id)
        if item is None:
            item = self.items[item_id] = Item(item_id, role="assistant", response_id=response_id)
        return item

    def added(self, event: ItemAdded) -> None:
        item = self.item(event.item_id, event.response_id)
        item.kind, item.role = event.kind, event.role or item.role
        item.text = event.text or item.text

    def words(self, event: TextDelta) -> None:
        item = self.item(event.item_id, event.response_id)
        item.generated.append((event.text, item.received_bytes))

    def unheard(self, response_id: str) -> list[Item]:
        """Items of a muted response that have sound of which nothing was ever sent to the caller."""
        return [
            item
            for item in self.items.values()
            if item.response_id == response_id
            and item.received_bytes
            and item.heard_ms is None
            and not item.cut
        ]


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
    waiting: deque[CreateResponse] = field(default_factory=deque)
    muted: dict[str, None] = field(default_factory=dict)
    cancelled: str | None = None
    asides: set[str] = field(default_factory=set)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        return self.active is None and self.asked is None and not self.waiting

    def want(self, create: CreateResponse) -> None:
        self.waiting.append(create)

    def next(self) -> CreateResponse | None:
        """The create to send now, if any may be sent."""
        if self.active is not None or self.asked is not None or not self.waiting:
            return None
        self.asked, self.stale = self.waiting.popleft(), False
        return self.asked

    def started(self, event: ResponseStarted) -> bool:
        """A response began. Returns whether it is one that the caller has already talked over: it must be
        cancelled.
        """
        if event.aside:
            self.asides.add(event.response_id)
            return False
        self.active = event.response_id
        if event.tag:
            self.tags[event.response_id] = event.tag
        if self.asked is None or event.tag != self.asked.tag:
            return False
        stale, self.asked, self.stale = self.stale, None, False
        if stale:
            self.mute(event.response_id)
        return stale

    def done(self, event: ResponseDone) -> None:
        self.asides.discard(event.response_id)
        if self.active == event.response_id:
            self.active = None

    def refused(self, tag: str | None, again: bool) -> None:
        """Our create was answered with an error: forget it, or (`again`) put it back to the head of the
        queue. `tag` None where the vendor does not say which create it was: there is only one.
        """
        if self.asked is None or tag not in (None, self.asked.tag):
            return
        if again and not self.stale:
            self.waiting.appendleft(self.asked)
        self.asked, self.stale = None, False

    def mute(self, response_id: str) -> None:
        """Nothing of this response may reach the caller any more."""
        self.muted[response_id] = None
        while len(self.muted) > FORGET_RESPONSES:
            del self.muted[next(iter(self.muted))]

    def superseded(self) -> list[CreateResponse]:
        """The caller spoke: what was asked for and has not begun is out of date. Returns what is dropped
        unasked.
        """
        self.stale = self.asked is not None
        dropped = list(self.waiting)
        self.waiting.clear()
        return dropped
