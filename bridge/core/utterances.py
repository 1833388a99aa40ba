"""What a handler wanted said, until it was heard or cut: each `Say` and `Respond` is answered with one
`Heard`.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from .messages import Action, Heard


@dataclass(slots=True)
class _Utterance:
    """One of them. `response_id` is empty until the model has begun it."""

    say_id: str
    response_id: str = ""
    generated: bool = False
    heard_ms: int = 0
    words: list[str] = field(default_factory=list)


class Utterances:
    """Those that are asked for, generated or on the line. Emits into the call's list of actions."""

    __slots__ = ("_open", "_out")

    def __init__(self, out: list[Action]) -> None:
        self._out = out
        self._open: dict[str, _Utterance] = {}

    def __contains__(self, say_id: str) -> bool:
        return say_id in self._open

    def asked(self, say_id: str) -> None:
        self._open[say_id] = _Utterance(say_id)

    def started(self, say_id: str, response_id: str) -> None:
        """The model has begun it as that response."""
        if say_id in self._open:
            self._open[say_id].response_id = response_id

    def again(self, response_id: str) -> None:
        """The response came to nothing and is asked for once more: its waiter waits on."""
        for utterance in self._of(response_id):
            utterance.response_id = ""

    def heard(self, response_id: str, heard_ms: int, words: str) -> None:
        """The caller has heard so much of an item of that response."""
        for utterance in self._of(response_id):
            utterance.heard_ms += heard_ms
            utterance.words.append(words)

    def generated(self, response_id: str) -> None:
        """Nothing more of that response will come."""
        for utterance in self._of(response_id):
            utterance.generated = True

    def cut(self, responses: Container[str | None]) -> None:
        """The caller hears no more of these responses."""
        for utterance in list(self._open.values()):
            if utterance.response_id and utterance.response_id in responses:
                self.close(utterance.say_id, cut=True)

    def complete(self, on_the_line: Container[str], muted: Container[str]) -> None:
        """Those that are generated and no longer on the line have been heard."""
        for utterance in list(self._open.values()):
            if utterance.generated and utterance.response_id not in on_the_line:
                self.close(utterance.say_id, cut=utterance.response_id in muted)

    def close(self, say_id: str, cut: bool) -> None:
        """Say what became of it; nothing if that was said already."""
        utterance = self._open.pop(say_id, None)
        if utterance is not None:
            self._out.append(Heard(say_id, utterance.heard_ms, cut, "".join(utterance.words)))

    def _of(self, response_id: str) -> list[_Utterance]:
        return [utterance for utterance in self._open.values() if utterance.response_id == response_id]
