"""The backend of a GPT-Live session that delegates to Responses: function calls, their outputs, one task at a
time.

Live API guide, "Delegation": the backend's stream comes nested in `response.event`. A call comes three times
in it (added without arguments, its arguments without a call id, done), and `response.completed` has an empty
`output`. Times are by the clock: the backend runs while no sound comes in.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from .agents import Failure, Incomplete, Output, Speech, ToolCall
from .live_commands import Refusal
from .live_options import LiveOptions


class Host(Protocol):
    """What the backend needs of the session it belongs to."""

    options: LiveOptions

    def emit(self, kind: str, now_ms: int, /, **fields: Any) -> None:
        """Send one event."""
        ...

    def new_id(self, prefix: str) -> str:
        """The next id of its kind."""
        ...

    def at(self, due_ms: int, do: Callable[[int], None]) -> None:
        """Call back at that time of the clock, with it."""
        ...

    def given(self, item: dict[str, Any]) -> None:
        """The client has put an item into the backend's input."""
        ...

    def ask(self, why: str) -> Sequence[Output]:
        """What the mind makes of all that there is now."""
        ...

    def speak(self, speech: Sequence[Speech], now_ms: int) -> None:
        """The voice says what the backend has written."""
        ...


class Backend:
    """One session's."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._delegation_id: str | None = None
        self.calls: dict[str, bool] = {}
        """Those that count, and whether they have an output."""
        self.running: str | None = None
        """The id of the response that is being made."""
        self.items = 0
        self.bytes = 0
        self._held = False

    def begin(
        self, delegation_id: str | None, response_id: str, outputs: Sequence[Output], now_ms: int
    ) -> None:
        """A response: its calls, or what is to be said."""
        self._delegation_id, self.running = delegation_id, response_id
        self._nested(now_ms, "response.created", response=self._response("in_progress"))
        due_ms = now_ms + self._host.options.backend_ms
        calls = [output for output in outputs if isinstance(output, ToolCall)]
        self._host.at(due_ms, functools.partial(self._write, calls))
        self._host.at(
            due_ms + (self._host.options.completed_ms if calls else 0),
            functools.partial(self._end, list(outputs)),
        )

    def item(self, item: Any) -> None:
        """`response.item.create`. Raises `Refusal`."""
        if not isinstance(item, dict) or item.get("type") not in ("function_call_output", "message"):
            raise Refusal("invalid_value", "Invalid 'item'.", "item")
        size_bytes = len(json.dumps(item, ensure_ascii=False).encode())
        options = self._host.options
        if self.items + 1 > options.most_items or self.bytes + size_bytes > options.most_bytes:
            raise Refusal("response_input_buffer_full", "The input of this session's backend is full.")
        if item["type"] == "function_call_output":
            call_id = item.get("call_id")
            if not isinstance(item.get("output"), str):
                raise Refusal("invalid_value", "Invalid 'item.output'.", "item.output")
            if call_id not in self.calls:
                raise Refusal(
                    "invalid_value", f"No function call '{call_id}' awaits an output.", "item.call_id"
                )
            self.calls[call_id] = True
        self.items += 1
        self.bytes += size_bytes
        self._host.given(item)

    def create(self, now_ms: int) -> None:
        """`response.create`: with all outputs, and held while a response runs. Raises `Refusal`."""
        if not all(self.calls.values()):
            raise Refusal("function_call_outputs_required", "Some function calls have no output yet.")
        if self.running is not None:
            self._held = True
            return
        self.calls.clear()
        self.begin(self._delegation_id, self._host.new_id("resp"), self._host.ask("client"), now_ms)

    def _write(self, calls: Sequence[ToolCall], now_ms: int) -> None:
        for index, call in enumerate(calls):
            call_id = call.call_id or self._host.new_id("call")
            self.calls[call_id] = False
            item = {
                "id": self._host.new_id("fc"), "type": "function_call", "status": "in_progress",
                "call_id": call_id, "name": call.name, "arguments": "",
            }  # fmt: skip
            where = {"output_index": index}
            told = {"item_id": item["id"], "arguments": call.json_arguments}
            self._nested(now_ms, "response.output_item.added", item=item, **where)
            self._nested(now_ms, "response.function_call_arguments.done", **told, **where)
            done = item | {"status": "completed", "arguments": call.json_arguments}
            self._nested(now_ms, "response.output_item.done", item=done, **where)

    def _end(self, outputs: Sequence[Output], now_ms: int) -> None:
        calls = any(isinstance(output, ToolCall) for output in outputs)
        failed = self._host.options.fails if calls else ""
        for output in outputs:
            failed = "failed" if isinstance(output, Failure) else failed
            failed = "incomplete" if isinstance(output, Incomplete) else failed
        status = failed or "completed"
        response = self._response(status)
        self.running = None
        if failed:
            self.calls.clear()  # an output for one of them is refused
        repeats = self._host.options.repeats_completed and not failed
        for _ in range(2 if repeats else 1):
            self._nested(now_ms, f"response.{status}", response=response)
        self._host.speak([output for output in outputs if isinstance(output, Speech)], now_ms)
        if self._held:
            self._held = False
            try:
                self.create(now_ms)
            except Refusal:
                return  # it asked before the calls of this response were known

    def _response(self, status: str) -> dict[str, Any]:
        read = 400 + self.bytes // 4
        usage = {
            "input_tokens": read, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 20, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": read + 20,
        }  # fmt: skip
        told = None if status == "in_progress" else usage
        return {"id": self.running, "object": "response", "status": status, "output": [], "usage": told}

    def _nested(self, now_ms: int, kind: str, **fields: Any) -> None:
        event = {"type": kind, **fields}
        self._host.emit("response.event", now_ms, delegation_id=self._delegation_id, event=event)
