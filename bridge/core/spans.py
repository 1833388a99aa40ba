"""The spans on their way to the caller's ear: each found by its item part, and by the response it is of,
without a look at the others. How many there are is the model's choice.
"""

from __future__ import annotations

from collections.abc import Container

from .ledger import Span

Key = tuple[str, int]


class Spans(dict[Key, Span]):
    """By item id and part, in the order they began. Changed by `begin` and `end` only."""

    __slots__ = ("_by_response",)

    def __init__(self) -> None:
        super().__init__()
        self._by_response: dict[str, dict[Key, Span]] = {}

    def begin(self, span: Span) -> Span:
        """Something of it is on its way. Takes the place of one of the same key."""
        key = span.item_id, span.part
        self.end(key)
        self[key] = span
        self._by_response.setdefault(span.response_id, {})[key] = span
        return span

    def end(self, key: Key) -> None:
        """It was heard, or cut. Nothing happens if it was ended before."""
        span = self.pop(key, None)
        if span is None:
            return
        siblings = self._by_response[span.response_id]
        del siblings[key]
        if not siblings:
            del self._by_response[span.response_id]

    def of(self, response_id: str) -> list[Span]:
        """Those of that response; "" for our own sounds."""
        return list(self._by_response.get(response_id, {}).values())

    @property
    def responses(self) -> Container[str]:
        """The responses that have something on its way."""
        return self._by_response.keys()
