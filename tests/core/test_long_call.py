"""A call that lasts for hours: what is remembered of it is bounded, and the newest of it is what counts."""

from __future__ import annotations

from bridge.core.conversation import HISTORY, REMEMBERED, Conversation
from bridge.core.messages import ItemAdded


def test_the_newest_is_remembered_and_told() -> None:
    conversation = Conversation()
    for number in range(3 * REMEMBERED):
        conversation.added(ItemAdded(f"item_{number}", "message", "user", f"question {number}"))
    assert len(conversation.items) == REMEMBERED
    told = conversation.history(1)
    assert len(told) == HISTORY
    assert told[-1].text == f"question {3 * REMEMBERED - 1}"
