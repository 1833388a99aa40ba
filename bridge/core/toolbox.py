"""Tool calls of the model: each runs once, and has one result."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from .due import NEVER
from .messages import ToolCalled

FAILED: Final = "it failed"


class _Failure(msgspec.Struct, gc=False):
    error: object = None


_failure = msgspec.json.Decoder(_Failure).decode


def failure(output: str) -> str | None:
    """What a tool's result says of its failure: it is an object with an `error`, as the bridge itself writes
    one; None for any other. `FAILED` where `error` is no text.
    """
    if '"error"' not in output:
        return None
    try:
        error = _failure(output).error
    except (ValueError, RecursionError):
        return None
    if not error:
        return None
    return error if isinstance(error, str) else FAILED


@dataclass(slots=True)
class ToolCall:
    """One call. `output` is None while it runs."""

    call_id: str
    item_id: str
    name: str
    arguments: str
    epoch: int
    output: str | None = None
    twin_of: str = ""
    """The same call, made in a session that is over, which is still running: its result will be this one's
    too."""


class Toolbox:
    """All calls of the conversation, in order. `running` are those the model still waits for, by call id.

    How many run at once is the model's choice, up to a limit of the user's: no method looks at all of them.
    """

    __slots__ = ("_due", "_same", "_twins", "calls", "deferred", "due_ms", "running")

    def __init__(self) -> None:
        self.calls: dict[str, ToolCall] = {}
        self.running: dict[str, ToolCall] = {}
        self.deferred: dict[str, ToolCall] = {}
        """Those whose result comes when a detour is over: it is not waited for."""
        self._same: dict[tuple[str, str], dict[int, dict[str, ToolCall]]] = {}
        """The running ones by name and arguments, and by session."""
        self._twins: dict[str, list[ToolCall]] = {}
        self._due: list[tuple[int, int, ToolCall]] = []
        """A heap. A call that is answered leaves it when it comes up."""
        self.due_ms = NEVER
        """When the first of the running calls is overdue."""

    @property
    def first(self) -> ToolCall | None:
        """The oldest of the running calls."""
        return next(iter(self.running.values()), None)

    def overdue(self, now_ms: int) -> Iterator[ToolCall]:
        """The running calls whose time is over, each once."""
        while self.due_ms <= now_ms:
            late = heapq.heappop(self._due)[2]
            self._look()
            yield late

    def _look(self) -> None:
        while self._due and self._due[0][2].call_id not in self.running:
            heapq.heappop(self._due)
        self.due_ms = self._due[0][0] if self._due else NEVER

    def called(self, event: ToolCalled) -> ToolCall | None:
        """A call came. None if it must not run: cut off mid-call, known already, or made once more by a
        session that does not know of the first, which still runs.
        """
        if not event.complete or event.call_id in self.calls:
            return None
        call = ToolCall(event.call_id, event.item_id, event.name, event.arguments, event.epoch)
        same = self._same.setdefault((call.name, call.arguments), {})
        others = (calls for epoch, calls in same.items() if epoch != call.epoch)
        first = next((next(iter(calls.values())) for calls in others), None)
        same.setdefault(call.epoch, {})[call.call_id] = call
        self.calls[call.call_id] = self.running[call.call_id] = call
        if first is None:
            return call
        call.twin_of = first.twin_of or first.call_id
        self._twins.setdefault(call.twin_of, []).append(call)
        return None

    def wait_until(self, due_ms: int, call: ToolCall) -> None:
        """The call, and its twins with it, has until then."""
        heapq.heappush(self._due, (due_ms, len(self.calls), call))
        self._look()

    def defer(self, call_id: str) -> None:
        """Its result may take as long as it likes. Nothing for a call that does not run."""
        call = self.running.pop(call_id, None)
        if call is not None:
            self.deferred[call_id] = call
            self._look()

    def twins(self, call_id: str) -> list[ToolCall]:
        """Calls that wait for the result of this one."""
        return self._twins.pop(call_id, [])

    def finished(self, call_id: str, output: str) -> ToolCall | None:
        """A result came. None for a call that is unknown or answered already."""
        call = self.running.pop(call_id, None) or self.deferred.pop(call_id, None)
        if call is None:
            return None
        call.output = output
        self._look()
        self._forget_same(call)
        return call

    def _forget_same(self, call: ToolCall) -> None:
        same = self._same[call.name, call.arguments]
        del same[call.epoch][call.call_id]
        if not same[call.epoch]:
            del same[call.epoch]
        if not same:
            del self._same[call.name, call.arguments]
