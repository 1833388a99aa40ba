"""Which response is ours: the tag that we gave it, or the order in which we asked."""

from __future__ import annotations

import msgspec

from . import server_events as wire
from .values import id_of


class AskedResponses:
    """Responses of one session that were asked for and have not begun."""

    __slots__ = ("_asked", "_names_conversations", "_tags", "_turns")

    def __init__(self, *, tags: bool) -> None:
        self._tags = tags  # whether metadata comes back
        self._asked: dict[str, bool] = {}  # by tag; true for an aside
        self._names_conversations = False
        self._turns = 0  # that the caller has had since the last of them was asked for

    def ask(self, tag: str, *, aside: bool) -> None:
        """A response.create goes out."""
        self._turns = 0
        self._asked[tag] = aside

    def refused(self, tag: str) -> None:
        """The vendor makes none."""
        self._asked.pop(tag, None)

    def first(self) -> str:
        """The tag of the first that belongs to the conversation; empty for none."""
        return next((tag for tag, aside in self._asked.items() if not aside), "")

    def turn_taken(self) -> None:
        """The caller's turn is an item: the vendor may answer it by itself."""
        self._turns += 1

    def conversation_named(self) -> None:
        """The server gives conversations a name."""
        self._names_conversations = True

    def begun(self, response: wire.Response) -> tuple[str, bool]:
        """Its tag, empty for one that we did not ask for, and whether it is outside of the conversation."""
        tagged = response.metadata.get("tag") if isinstance(response.metadata, dict) else None
        tag = id_of(tagged, "tag") if isinstance(tagged, str) else ""
        if not self._tags or response.metadata is msgspec.UNSET:
            # OpenAI and Azure always have the field, null or not; xAI is asked without. There responses are
            # told apart by their order: one conversation has one active response, and the one that begins
            # while we have asked for one is ours, unless it answers a turn that came after.
            tag = "" if self._turns else self.first()
            self._turns = 0
        conversation_id = response.conversation_id
        self._names_conversations |= isinstance(conversation_id, str)
        aside = self._asked.pop(tag, None)
        if aside is None:
            # Not ours. API reference, response.conversation_id: null for one outside of the conversation. But
            # some servers never name a conversation: there, a response must be marked as well.
            marked = self._names_conversations or (
                response.metadata is not msgspec.UNSET and bool(response.metadata)
            )
            aside = conversation_id is None and marked
        return tag, aside
