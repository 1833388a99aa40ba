"""The model's conversation as we know it: its items, what of them was heard, and whose turn it is to
respond.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

import msgspec

from .messages import CreateItem, CreateResponse, ItemAdded, ResponseDone, ResponseStarted, Sound, TextDelta
from .toolbox import Toolbox, ToolCall

Kept = TypeVar("Kept")
NOTHING: Mapping[str, int] = MappingProxyType({})
HISTORY = 200
"""Most items a new session is told of."""
REMEMBERED = HISTORY + 40
"""Most items there are, for of some nobody need be told: a call of an hour has more, and none of the older
ones is asked for again."""
FORGET_RESPONSES = 64
"""Ids of ended responses kept, so that a delta that comes even later is still known to be late; and of those
whose end has not come."""
MOST_CHARACTERS = 32_768
"""Of one item's words, the first that are kept: half an hour of speech."""


@dataclass(slots=True)
class Item:
    """One item. `heard_ms` is None until known."""

    item_id: str
    kind: str = "message"
    role: str = ""
    text: str = ""
    response_id: str = ""
    call_id: str = ""
    received_bytes: int = 0
    heard_ms: int | None = None
    cut: bool = False
    gone: bool = False
    _words: list[str] = field(default_factory=list)
    _characters: int = 0

    def generated(self, words: str) -> None:
        """The model has generated more words for it."""
        words = words[: MOST_CHARACTERS - self._characters]
        if words:
            self._words.append(words)
            self._characters += len(words)

    def said(self) -> str:
        """All words the model generated for it."""
        if len(self._words) > 1:
            self._words = ["".join(self._words)]
        return self._words[0] if self._words else self.text

    def heard(self, bytes_per_ms: int, so_far_ms: int | None = None) -> str:
        """The words the caller heard: cut at a word, where the ledger says.

        Text and sound of a delta carry no common clock, and come at no fixed distance from each other: the
        text is spread evenly over the sound. `so_far_ms` is what was heard of one that still plays.
        """
        said = self.said()
        heard_ms = self.heard_ms if self.cut else so_far_ms
        if heard_ms is None:
            return said
        heard_bytes = heard_ms * bytes_per_ms
        if heard_bytes >= self.received_bytes:
            return said
        characters = len(said) * heard_bytes // self.received_bytes
        if characters >= len(said) or said[characters].isspace():
            return said[:characters].rstrip()
        return said[:characters].rpartition(" ")[0].rstrip()


class Conversation:
    """Items in the order they stand in, by id; tool calls; the words of our own sounds."""

    __slots__ = ("_aliases", "_next_id", "items", "sounds", "tools")

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.sounds: dict[str, Item] = {}
        self.tools = Toolbox()
        self._aliases: dict[str, str] = {}
        self._next_id = 0

    def new_id(self) -> str:
        """An id of our own for `conversation.item.create`: a restored item can be found again by it."""
        self._next_id += 1
        return f"pb_{self._next_id}"

    def item(self, item_id: str, response_id: str = "") -> Item:
        """The item of that id; entered as a model message if it was not known yet."""
        item_id = self._aliases.get(item_id, item_id)
        item = self.items.get(item_id)
        if item is None:
            item = self._enter(Item(item_id, role="assistant", response_id=response_id))
        return item

    def _enter(self, item: Item) -> Item:
        self.items[item.item_id] = item
        if len(self.items) > REMEMBERED:
            del self.items[next(iter(self.items))]
        return item

    def added(self, event: ItemAdded) -> None:
        item = self.item(event.item_id, event.response_id)
        item.kind, item.role = event.kind, event.role or item.role
        item.text = event.text[:MOST_CHARACTERS] or item.text

    def created(self, role: str, text: str) -> Item:
        """An item of ours that goes into the conversation now."""
        return self._enter(Item(self.new_id(), role=role, text=text))

    def sounding(self, say_id: str, sound: Sound) -> None:
        """A sound of ours is queued: its words will be a model message, here, as far as they are heard."""
        if sound.text:
            item = self.created("assistant", sound.text)
            item.received_bytes = sound.size_bytes
            self.sounds[say_id] = item

    def sounded(self, say_id: str, heard_ms: int, cut: bool) -> Item | None:
        """It was heard to its end, or cut. None for a sound that leaves no record."""
        item = self.sounds.pop(say_id, None)
        if item is not None:
            item.heard_ms, item.cut = heard_ms, cut
        return item

    def retire(self, epoch: int) -> None:
        """That upstream session is over, and its ids with it: the next one may use the same again."""
        for item in self.items.values():
            item.response_id = ""
        self.items = {f"{epoch}/{key}": item for key, item in self.items.items()}
        self._aliases.clear()

    def history(self, bytes_per_ms: int, epoch: int) -> list[CreateItem]:
        """What a new upstream session must be told: what the caller said, what of the model the caller
        **heard**, and tool calls that have their results. Model sound cannot be inserted (Realtime reference:
        assistant items take text), and ids of ours let each item be found again.
        """
        told: list[CreateItem] = []
        for key, entry in self.record(bytes_per_ms):
            if isinstance(entry, ToolCall):
                told += self._told_call(key, entry, epoch)
            else:
                told.append(CreateItem(self._alias(key), *entry, epoch=epoch))
        told = told[-HISTORY:]
        while told and told[0].output is not None:
            del told[0]  # its call is among what was left out
        return told

    def record(
        self, bytes_per_ms: int, playing: Mapping[str, int] = NOTHING
    ) -> list[tuple[str, tuple[str, str] | ToolCall]]:
        """What was said and done, in order, each with its key: role and words of a message, the model's as
        far as the caller heard them (`playing`: ms, by item id, of those that still play); or a tool's call.
        """
        entries: list[tuple[str, tuple[str, str] | ToolCall]] = []
        calls = self.tools.calls
        for key, item in self.items.items():
            said = item.heard(bytes_per_ms, playing.get(item.item_id))
            text = said if item.role == "assistant" else item.text
            unheard = item.received_bytes and item.heard_ms is None
            if item.kind == "message" and item.role and text and not item.gone and not unheard:
                entries.append((key, (item.role, text)))
            elif item.kind == "function_call" and item.call_id in calls:
                entries.append((key, calls[item.call_id]))
        return entries

    def _told_call(self, key: str, call: ToolCall, epoch: int) -> list[CreateItem]:
        if call.output is None:
            return []
        call.epoch = epoch
        made = CreateItem(self._alias(key), "", "", call.call_id, call.name, call.arguments, epoch=epoch)
        return [made, CreateItem(self.new_id(), call_id=call.call_id, output=call.output, epoch=epoch)]

    def _alias(self, item_id: str) -> str:
        alias = self.new_id()
        self._aliases[alias] = item_id
        return alias

    def result(self, call: ToolCall, epoch: int) -> list[CreateItem]:
        """The items that give a tool's result to the model. A session that never saw the call is told of it
        first.
        """
        given = [CreateItem(self.new_id(), call_id=call.call_id, output=call.output, epoch=epoch)]
        if call.epoch != epoch:
            made = CreateItem(
                self._alias(call.item_id), "", "", call.call_id, call.name, call.arguments, epoch=epoch
            )
            given.insert(0, made)
            call.epoch = epoch
        return given

    def words(self, event: TextDelta) -> None:
        self.item(event.item_id, event.response_id).generated(event.text)

    def unheard(self, response_id: str, least_bytes: int = 1) -> list[Item]:
        """Items of a muted response that have sound (`least_bytes` of it) of which nothing was ever heard."""
        return [
            item
            for item in self.items.values()
            if item.response_id == response_id
            and item.received_bytes >= least_bytes
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
    held: bool = False
    paused: bool = False
    waiting: OrderedDict[str, CreateResponse] = field(default_factory=OrderedDict)
    """By tag, the next one first. What waits already is not wanted twice."""
    muted: dict[str, bool] = field(default_factory=dict)
    """Responses of which no more is to come; whether what there was of them is heard all the same."""
    cancelled: str | None = None
    asides: dict[str, None] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    begun: CreateResponse | None = None
    loses_ends: bool = False
    """This session has begun a response while another was active: nobody told us of that one's end."""

    @property
    def idle(self) -> bool:
        return self.active is None and self.asked is None and not self.waiting

    def want(self, create: CreateResponse) -> None:
        self.waiting[create.tag] = create

    def next(self, epoch: int = 1) -> CreateResponse | None:
        """The create to send now, if any may be sent."""
        if self.held or self.paused or self.active is not None or self.asked is not None or not self.waiting:
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
        self.loses_ends = False
        self.asides.clear()
        self.muted.clear()
        self.tags.clear()

    def again(self, tag: str) -> None:
        """The response that began last failed: ask for it once more, before anything else."""
        begun = self.begun
        self._put_back(begun if begun is not None and begun.tag == tag else CreateResponse(tag))

    def started(self, event: ResponseStarted) -> bool:
        """A response began. Returns whether it is one that the caller has already talked over: it must be
        cancelled.
        """
        if event.aside:
            _remember(self.asides, event.response_id, None)
            return False
        self.loses_ends |= self.active not in (None, event.response_id)
        self.active = event.response_id
        if event.tag:
            _remember(self.tags, event.response_id, event.tag)
        self.begun = None
        if self.asked is None or event.tag != self.asked.tag:
            return False
        stale, self.begun, self.asked, self.stale = self.stale, self.asked, None, False
        if stale:
            self.mute(event.response_id)
        return stale

    def done(self, event: ResponseDone) -> None:
        self.asides.pop(event.response_id, None)
        if self.active == event.response_id:
            self.active = None

    def refused(self, tag: str | None, again: bool) -> None:
        """Our create was answered with an error: forget it, or (`again`) put it back to the head of the
        queue. `tag` None where the vendor does not say which create it was: there is only one.
        """
        if self.asked is None or tag not in (None, self.asked.tag):
            return
        if again and not self.stale:
            self._put_back(self.asked)
        self.asked, self.stale = None, False

    def mute(self, response_id: str, *, short: bool = False) -> None:
        """Nothing of this response may reach the caller any more; or only what has come of it (`short`)."""
        _remember(self.muted, response_id, short)

    def superseded(self) -> list[CreateResponse]:
        """The caller spoke: what was asked for and has not begun is out of date. Returns what is dropped
        unasked.
        """
        self.stale = self.asked is not None
        dropped = list(self.waiting.values())
        self.waiting.clear()
        return dropped


def _remember(responses: dict[str, Kept], response_id: str, what: Kept) -> None:
    """The latest of them: how many there are is the model's choice."""
    responses[response_id] = what
    while len(responses) > FORGET_RESPONSES:
        del responses[next(iter(responses))]
