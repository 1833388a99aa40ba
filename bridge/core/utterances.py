"""What a handler wanted said, until it was heard or cut: each `Say` and `Respond` is answered with one
`Heard`.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from .conversation import Conversation
from .messages import Action, Heard


@dataclass(slots=True)
class _Utterance:
    """One of them. `response_id` is empty until the model has begun it."""

    say_id: str
    response_id: str = ""
    generated: bool = False


class Utterances:
    """Those that are asked for, generated or on the line. Emits into the call's list of actions; what was
    heard of them is in the conversation.
    """

    __slots__ = ("_bytes_per_ms", "_conversation", "_out", "open")

    def __init__(self, out: list[Action], conversation: Conversation, bytes_per_ms: int) -> None:
        self._out = out
        self._conversation = conversation
        self._bytes_per_ms = bytes_per_ms
        self.open: dict[str, _Utterance] = {}

    def __contains__(self, say_id: str) -> bool:
        return say_id in self.open

    def asked(self, say_id: str) -> None:
        self.open[say_id] = _Utterance(say_id)

    def started(self, say_id: str, response_id: str) -> None:
        """The model has begun it as that response."""
        if say_id in self.open:
            self.open[say_id].response_id = response_id

    def again(self, response_id: str) -> None:
        """The response came to nothing and is asked for once more: its waiter waits on."""
        for utterance in self._of(response_id):
            utterance.response_id = ""

    def generated(self, response_id: str) -> None:
        """Nothing more of that response will come."""
        for utterance in self._of(response_id):
            utterance.generated = True

    def cut(self, responses: Container[str | None]) -> None:
        """The caller hears no more of these responses."""
        for utterance in list(self.open.values()):
            if utterance.response_id and utterance.response_id in responses:
                self.close(utterance.say_id, cut=True)

    def complete(self, on_the_line: Container[str], muted: Container[str]) -> None:
        """Those that are generated and no longer on the line have been heard."""
        for utterance in list(self.open.values()):
            if utterance.generated and utterance.response_id not in on_the_line:
                self.close(utterance.say_id, cut=utterance.response_id in muted)

    def close(self, say_id: str, cut: bool) -> None:
        """Say what became of it; nothing if that was said already."""
        utterance = self.open.pop(say_id, None)
        if utterance is None:
            return
        response_id, per_ms = utterance.response_id, self._bytes_per_ms
        items = [item for item in self._conversation.of(response_id) if item.parts] if response_id else []
        heard_ms = sum(part.heard_bytes // per_ms for item in items for part in item.parts.values())
        self._out.append(Heard(say_id, heard_ms, cut, "".join(item.heard() for item in items)))

    def _of(self, response_id: str) -> list[_Utterance]:
        return [utterance for utterance in self.open.values() if utterance.response_id == response_id]
