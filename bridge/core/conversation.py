"""The model's conversation as we know it: its items, what of them was heard, and whose turn it is to
respond.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from .ledger import Span
from .messages import CreateItem, ItemAdded, Sound, TextDelta
from .sentences import SentenceStarts
from .toolbox import Toolbox, ToolCall

NOTHING: Mapping[Span, int] = MappingProxyType({})
HISTORY = 200
"""Most items a new session is told of."""
REMEMBERED = HISTORY + 40
"""Most items there are, for some need not be told: a call of an hour has more, and none of the older
ones is asked for again."""
MOST_CHARACTERS = 32_768
"""Of one item's words, the first that are kept: half an hour of speech."""
LEAST_LETTERS = 4
"""Of words without any sound, before they count as an answer that could not be heard."""


@dataclass(slots=True)
class Item:
    """One item. What the caller heard of it, the line knows: `parts` are its sound that was on its way."""

    item_id: str
    kind: str = "message"
    role: str = ""
    text: str = ""
    response_id: str = ""
    call_id: str = ""
    received_bytes: int = 0
    audible_bytes: int = 0
    spoken: bool = False
    parts: dict[int, Span] = field(default_factory=dict)
    cut: bool = False
    gone: bool = False
    commentary: bool = False
    """Whether the model says it on its way to an answer, which it is not."""
    commits: int = 0
    turns: int = 0
    """How often it was committed, and how many turns were told of it. Some vendors send an item's transcript
    several times; xAI goes on with the item of a caller who has paused, and commits it once more."""
    ours: bool = False
    """Whether its id is ours, and no other session's."""
    _words: list[str] = field(default_factory=list)
    _characters: int = 0
    _sentences: SentenceStarts | None = None

    @property
    def audible(self) -> bool:
        """Whether some of its sound can be heard."""
        return self.audible_bytes > 0

    @property
    def worded(self) -> bool:
        """Whether there are words that should be heard."""
        return self.spoken and sum(map(str.isalpha, self.said())) >= LEAST_LETTERS

    @property
    def told(self) -> bool:
        """Whether the handler was told of the turn."""
        return self.turns >= max(1, self.commits)

    def generated(self, words: str, start_ms: int | None = None) -> None:
        """The model has generated more words for it, whose sound begins at `start_ms` if that is known."""
        if start_ms is not None:
            if self._sentences is None:
                self._sentences = SentenceStarts()
            self._sentences.add(self._characters, start_ms)
        words = words[: MOST_CHARACTERS - self._characters]
        if words:
            self._words.append(words)
            self._characters += len(words)

    def said(self) -> str:
        """All words the model generated for it."""
        if len(self._words) > 1:
            self._words = ["".join(self._words)]
        return self._words[0] if self._words else self.text

    @property
    def heard_bytes(self) -> int:
        """How much of its sound the caller heard; while it plays, as far as that is proven."""
        return sum(part.heard_bytes for part in self.parts.values())

    def heard(self, more: Mapping[Span, int] = NOTHING) -> str:
        """The words the caller heard: cut at a word, where the ledger says.

        Text and sound of a delta carry no common clock, and come at no fixed distance from each other: the
        text is spread evenly over the sound, or over that of its sentence where its start is known. `more` is
        what was heard beyond `heard_bytes` of what plays now.
        """
        said = self.said()
        if self.spoken and not self.received_bytes:
            return ""  # its sound has not begun, or never will
        heard_bytes = sum(part.heard_bytes + more.get(part, 0) for part in self.parts.values())
        if self.spoken and self._sentences:
            characters = self._sentences.heard(heard_bytes, self.received_bytes, len(said))
        elif heard_bytes >= self.received_bytes:
            return said
        else:
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
            item = self.enter(Item(item_id, role="assistant", response_id=response_id))
        return item

    def enter(self, item: Item) -> Item:
        """It stands in the conversation from now on."""
        self.items[item.item_id] = item
        if len(self.items) > REMEMBERED:
            del self.items[next(iter(self.items))]
        return item

    def added(self, event: ItemAdded) -> None:
        item = self.item(event.item_id, event.response_id)
        item.kind, item.role = event.kind, event.role or item.role
        item.commentary |= event.commentary
        item.text = event.text[:MOST_CHARACTERS] or item.text

    def created(self, role: str, text: str) -> Item:
        """An item that the bridge puts into the conversation now."""
        return self.enter(Item(self.new_id(), role=role, text=text))

    def sounding(self, say_id: str, sound: Sound) -> None:
        """A recorded sound is queued: its words will be a model message, here, as far as they are heard."""
        if sound.text:
            item = self.created("assistant", sound.text)
            item.received_bytes = sound.size_bytes
            self.sounds[say_id] = item

    def retire(self, epoch: int) -> None:
        """That upstream session is over, and its ids with it: the next one may use the same again."""
        for item in self.items.values():
            item.response_id = ""
        self.items = {key if item.ours else f"{epoch}/{key}": item for key, item in self.items.items()}
        self._aliases.clear()

    def history(self, epoch: int) -> list[CreateItem]:
        """What a new upstream session must be told: what the caller said, what of the model the caller
        **heard**, and tool calls that have their results. Model sound cannot be inserted (Realtime reference:
        assistant items take text), and our own ids let each item be found again.
        """
        told: list[CreateItem] = []
        for key, entry in self.record():
            if isinstance(entry, ToolCall):
                told += self._told_call(key, entry, epoch)
            else:
                told.append(CreateItem(self._alias(key), *entry, epoch=epoch))
        told = told[-HISTORY:]
        while told and told[0].output is not None:
            del told[0]  # its call is among what was left out
        return told

    def record(self, more: Mapping[Span, int] = NOTHING) -> list[tuple[str, tuple[str, str] | ToolCall]]:
        """What was said and done, in order, each with its key: role and words of a message, the model's as
        far as the caller heard them (`more` as in `Item.heard`); or a tool's call.
        """
        entries: list[tuple[str, tuple[str, str] | ToolCall]] = []
        calls, plays = self.tools.calls, {item.item_id for item in self.sounds.values()}
        for key, item in self.items.items():
            text = item.heard(more) if item.role == "assistant" else item.text
            if item.kind == "message" and item.role and text and not item.gone and key not in plays:
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

    @property
    def answered(self) -> bool:
        """Whether the caller has heard any of our words since they last said something, or at all."""
        for item in reversed(self.items.values()):
            if item.role == "assistant" and item.kind == "message" and (item.heard_bytes or item.heard()):
                return True
            if item.role == "user" and (item.text or not item.told):
                break
        return False

    @property
    def tool_ran(self) -> bool:
        """Whether the model has called a tool since the caller's last turn, and has its result."""
        for item in reversed(self.items.values()):
            if item.call_id:
                return item.call_id in self.tools.calls and self.tools.calls[item.call_id].output is not None
            if item.role == "user":
                break
        return False

    def words(self, event: TextDelta) -> None:
        item = self.item(event.item_id, event.response_id)
        item.spoken |= event.spoken
        item.generated(event.text, event.start_ms)

    def of(self, response_id: str) -> list[Item]:
        """The items of that response."""
        return [item for item in self.items.values() if item.response_id == response_id]
