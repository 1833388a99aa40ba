"""Tool calls of the model: each runs once, and each batch is answered with at most one response."""

from __future__ import annotations

from dataclasses import dataclass

from .messages import ToolCalled


@dataclass(slots=True)
class ToolCall:
    """One call. `turn` counts the caller's turns when it was made; `output` None while it runs."""

    call_id: str
    item_id: str
    name: str
    arguments: str
    epoch: int
    turn: int
    output: str | None = None
    due_ms: int = 0
    twin_of: str = ""
    """The same call, made in a session that is over, which is still running: its result will be this one's
    too."""


class Toolbox:
    """All calls of the conversation, in order. `running` are those the model still waits for."""

    __slots__ = ("_wants_response", "calls")

    def __init__(self) -> None:
        self.calls: dict[str, ToolCall] = {}
        self._wants_response = False

    @property
    def running(self) -> list[ToolCall]:
        return [call for call in self.calls.values() if call.output is None]

    @property
    def deadline_ms(self) -> int | None:
        """When the first of the running calls is overdue."""
        return min((call.due_ms for call in self.running), default=None)

    def called(self, event: ToolCalled, turn: int) -> ToolCall | None:
        """A call came. None if it must not run: cut off mid-call, known already, or made once more by a
        session that does not know of the first, which still runs.
        """
        if not event.complete or event.call_id in self.calls:
            return None
        call = ToolCall(event.call_id, event.item_id, event.name, event.arguments, event.epoch, turn)
        first = next((other for other in self.running if _same(other, call)), None)
        self.calls[event.call_id] = call
        if first is None:
            return call
        call.twin_of, call.due_ms = first.twin_of or first.call_id, first.due_ms
        return None

    def twins(self, call_id: str) -> list[ToolCall]:
        """Calls that wait for the result of this one."""
        return [call for call in self.running if call.twin_of == call_id]

    def finished(self, call_id: str, output: str, respond: bool) -> ToolCall | None:
        """A result came. None for a call that is unknown or answered already."""
        call = self.calls.get(call_id)
        if call is None or call.output is not None:
            return None
        call.output = output
        self._wants_response |= respond
        return call

    def owes_response(self, turn: int) -> bool:
        """Asked after each result: whether the batch is whole and the model shall speak about it. Not if the
        caller has moved on meanwhile: their turn brings a response of its own.
        """
        if self.running:
            return False
        wanted, self._wants_response = self._wants_response, False
        latest = max((call.turn for call in self.calls.values()), default=turn)
        return wanted and latest == turn


def _same(first: ToolCall, again: ToolCall) -> bool:
    return (first.name, first.arguments) == (again.name, again.arguments) and first.epoch != again.epoch
