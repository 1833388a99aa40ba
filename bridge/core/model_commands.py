"""What a session is asked to say, and told about the model's own words: in what it has words for
(`Capabilities`).

Where a model can be cancelled and its items be cut, it knows what the caller has heard of it. A duplex model
can be told by text alone, and takes that as it likes.
"""

from __future__ import annotations

from typing import Final

from . import messages as m
from .conversation import Item
from .ledger import Span
from .upstream_leg import UpstreamSession

ANSWER: Final = "Answer the caller now."
AGAIN: Final = "The caller could not hear you. Say it again."
RETRY: Final = "retry"
"""The tag of a response in place of one that came to nothing."""
INAUDIBLE: Final = "inaudible"
MODERATED: Final = "moderated"
FILTERED: Final = "A filter has cut off what you said. Tell the caller so in one short sentence, and go on."
USUAL: Final = {"restored": "Go on where you were.", RETRY: AGAIN, INAUDIBLE: AGAIN, MODERATED: FILTERED}
"""What is to be said by the tag of a response that has no words of its own."""
STOP: Final = "Stop speaking now and listen."
TOLD: Final = 'The caller was told by a recording: "{}".'
UNHEARD: Final = 'The caller did not hear your last words: "{}".'
MOST_UNHEARD_CHARACTERS: Final = 140
"""Of the words that were lost, the last: a note is short, for it colours what is said next."""
LOST: Final = "unheard:"
"""What such a note is about, before the item's id."""
LOST_MS: Final = 1_000
"""Of lost sound are worth a note."""


def ask(session: UpstreamSession, create: m.CreateResponse, config: m.SessionConfig) -> m.Action:
    """The model shall speak: what it shall say is among the instructions of `create`, behind the session's
    own.
    """
    if session.can.speaks != "append":
        return create
    wish = (create.instructions or "").removeprefix(config.instructions).strip()
    wish = wish or USUAL.get(create.tag, ANSWER)
    return m.TellModel("say", wish, f"say:{create.tag}", epoch=session.epoch)


def cancel(session: UpstreamSession, response_id: str) -> list[m.Action]:
    """No more of this response is wanted."""
    can = session.can
    if can.cancels:
        return [m.CancelResponse(response_id, session.epoch)]
    return [m.TellModel("rule", STOP, f"stop:{response_id}", epoch=session.epoch)] if can.duplex else []


def cut(session: UpstreamSession, item: Item, span: Span, bytes_per_ms: int) -> list[m.Action]:
    """The caller hears no more of this item, and the model cannot be told how much that was: it is told in
    words, where it takes some at any time and enough of it is lost.
    """
    can, epoch = session.can, session.epoch
    if can.deletes and not span.heard_bytes and not span.part:
        return [m.DeleteItem(item.item_id, epoch)]
    lost_ms = (span.received_bytes - span.heard_bytes) // bytes_per_ms
    said, heard = item.said(), item.heard()
    lost = said[len(heard) :].strip() if said.startswith(heard) else said
    if not can.duplex or lost_ms < LOST_MS or not lost:
        return []
    if len(lost) > MOST_UNHEARD_CHARACTERS:
        lost = lost[-MOST_UNHEARD_CHARACTERS:].partition(" ")[2]
    return [m.TellModel("fact", UNHEARD.format(lost), f"{LOST}{item.item_id}", epoch=epoch)]


def message(session: UpstreamSession, item_id: str, role: str, text: str) -> m.Action:
    """Something was said or is to be known, and not by the model: as an item, or as a fact where it has
    none.
    """
    if not session.can.duplex:
        return m.CreateItem(item_id, role, text, epoch=session.epoch)
    told = TOLD.format(text) if role == "assistant" else text
    return m.TellModel("fact", told, f"item:{item_id}", epoch=session.epoch)


def delete(session: UpstreamSession, item_id: str) -> list[m.Action]:
    """Nothing of this item was heard."""
    return [m.DeleteItem(item_id, session.epoch)] if session.can.deletes else []
