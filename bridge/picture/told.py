"""What the model was told of the items that it has spoken, as a recording has it."""

from __future__ import annotations

from typing import Final

import msgspec

from ..recording.json_text import UNREADABLE
from ..recording.steps import Step

_ABOUT_ITEMS: Final = ("conversation.item.truncate", "conversation.item.delete")


class _Event(msgspec.Struct, gc=False):
    """How much of an item was heard; to forget it, if nothing."""

    type: str = ""
    item_id: str = ""
    audio_end_ms: int = 0


_event: Final = msgspec.json.Decoder(_Event).decode


class Told:
    """Reads the frames that went to the model."""

    def __init__(self) -> None:
        self._items: dict[str, list[tuple[int, int]]] = {}

    def step(self, step: Step) -> None:
        for output in step.outputs:
            if output.door != "upstream" or not isinstance(output.frame, str) or output.usual:
                continue
            try:
                told = _event(output.frame)
            except UNREADABLE:  # a vendor's event that user code sent may be anything
                continue
            if told.type in _ABOUT_ITEMS:
                self._items.setdefault(told.item_id, []).append((step.t_ms, told.audio_end_ms))

    def heard_ms(self, item_id: str, at_ms: int) -> int | None:
        """How much of this item was heard, as the model was told nearest to that moment; None: it was not
        told.
        """
        told = self._items.get(item_id)
        return min(told, key=lambda one: abs(one[0] - at_ms))[1] if told else None
