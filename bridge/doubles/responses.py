"""One response: its outputs turned into events, at their times, in the documented order.

Realtime API reference, "Realtime server events": *.done events are emitted for interrupted, incomplete and
cancelled output as well, and `response.done` always.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import Any, Final, Protocol, assert_never

from .agents import ApprovalRequest, Failure, Incomplete, Later, Output, Pause, Speech, ToolCall
from .formats import BYTES_PER_MS, spoken
from .items import Conversation, Item
from .options import CancelReason, ServerOptions
from .outputs import Calling, Utterance, Writing
from .tones import marked
from .usage import ASSISTANT_MS_PER_TOKEN

_ARGUMENT_DELTAS: Final = 4
_POLL_MS: Final = 5
"""Between two looks at a sound that is being made."""


class Host(Protocol):
    """What a response needs of the server it runs in."""

    options: ServerOptions
    conversation: Conversation

    def emit(self, kind: str, /, **fields: Any) -> None:
        """Send one event."""
        ...

    def new_id(self, prefix: str) -> str:
        """The next id of its kind."""
        ...

    def next_speech(self) -> int:
        """How many speeches this session has had, this one included."""
        ...

    def finished(self, response: Response, status: str, at_ms: int) -> dict[str, Any] | None:
        """Told that the response is over, returns its usage, None where there is to be none."""
        ...


class Response:
    """Makes its outputs one after the other. `due_ms` says when `wake` wants to be called, None when it is
    over.

    `request` is what `response.create` asked for, `session` the session's tree at that moment, `read` what
    the model sees. With `conversation: "none"` the items stay outside of the conversation.
    """

    def __init__(
        self, host: Host, request: dict[str, Any], session: dict[str, Any], read: Sequence[Item]
    ) -> None:
        self.host = host
        self.read = read
        self.id = host.new_id("resp")
        self.in_conversation = request.get("conversation") != "none"
        self.metadata = request.get("metadata")
        self.instructions: str = request.get("instructions", session["instructions"])
        self.modalities: list[str] = request.get("output_modalities", session["output_modalities"])
        self.max_output_tokens = request.get("max_output_tokens", session["max_output_tokens"])
        self.audio = {**session["audio"]["output"], **request.get("audio", {}).get("output", {})}
        self.output: list[Item] = []
        self.cancelled = False
        self.due_ms: int | None = None
        self._steps: Iterator[int] = iter(())
        self._part: Utterance | Calling | None = None
        self._ending: Utterance | None = None
        """An item that is complete, and ends once the next one has begun."""

    @property
    def format(self) -> str:
        """Name of its output format."""
        return str(self.audio["format"]["type"])

    @property
    def audio_ms(self) -> int:
        """Sound it has sent."""
        return sum(item.sent_bytes // item.bytes_per_ms for item in self.output)

    def begin(self, outputs: Sequence[Output], now_ms: int) -> None:
        """`response.created`, and whatever is due at once."""
        host = self.host
        host.emit("response.created", response=self.wire("in_progress", None, None))
        if not host.options.late_rate_limits:
            self._tell_rate_limits()
        self._run(self._play(outputs, now_ms + host.options.latency_ms), now_ms)

    def wake(self, now_ms: int) -> None:
        """Everything that is due by now."""
        while self.due_ms is not None and self.due_ms <= now_ms:
            self.due_ms = next(self._steps, None)

    def cancel(self, reason: CancelReason, now_ms: int) -> None:
        """Stop here; what was begun is closed as incomplete. Late deltas may come before that."""
        self.cancelled = True
        self._run(self._cancel(reason, now_ms), now_ms)

    def wire(
        self, status: str, details: dict[str, Any] | None, usage: dict[str, Any] | None
    ) -> dict[str, Any]:
        """The response object; it never holds sound."""
        voice = self.audio["voice"]
        metadata = {"metadata": self.metadata} if self.host.options.metadata else {}
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": details,
            "output": [item.wire() for item in self.output],
            "conversation_id": self.host.conversation.id if self.in_conversation else None,
            "output_modalities": self.modalities,
            "max_output_tokens": self.max_output_tokens,
            "audio": {
                "output": {
                    "format": self.audio["format"],
                    "voice": voice if isinstance(voice, str) else voice["id"],
                }
            },
            "usage": usage,
            **metadata,
        }

    def _run(self, steps: Iterator[int], now_ms: int) -> None:
        self._steps = steps
        self.due_ms = next(steps, None)
        self.wake(now_ms)

    def _play(self, outputs: Sequence[Output], at_ms: int) -> Iterator[int]:
        """Yields the times at which it wants to go on."""
        left = deque(outputs)
        while left:
            match output := left.popleft():
                case Pause():
                    at_ms += output.ms
                case Later():
                    yield at_ms
                    while (decided := output.decided()) is None:
                        at_ms += _POLL_MS
                        yield at_ms
                    left.extendleft(reversed(decided))
                case Speech():
                    whole, at_ms = yield from self._speak(output, at_ms)
                    if not whole:
                        self._finish("incomplete", {"reason": "max_output_tokens"}, at_ms)
                        return
                case ToolCall():
                    at_ms = yield from self._call(output, at_ms)
                case ApprovalRequest():
                    yield at_ms
                    self._ask(output)
                case Incomplete():
                    yield at_ms
                    self._finish("incomplete", {"reason": output.reason} if output.reason else None, at_ms)
                    return
                case Failure():
                    yield at_ms
                    error = {"type": "server_error", "code": output.code, "message": output.message}
                    self._finish("failed", {"error": error} if output.code else None, at_ms)
                    return
                case _:
                    assert_never(output)
        at_ms += self.host.options.done_ms
        yield at_ms
        self._finish("completed", None, at_ms)

    def _speak(self, speech: Speech, at_ms: int) -> Generator[int, None, tuple[bool, int]]:
        """Returns whether it fitted into the token budget, and when it ended."""
        yield at_ms
        if self.modalities == ["text"]:
            self._open(self._message(speech.phase))
            writing = Writing(self.host.emit, self._location(), self.output[-1], speech.text)
            writing.write()
            self._close(writing, "completed")
            return True, at_ms
        item = self._message(speech.phase)
        item.bytes_per_ms = BYTES_PER_MS[self.format]
        self._open(item)
        options = self.host.options
        ahead_bytes = options.words_ahead_ms * item.bytes_per_ms
        utterance = Utterance(self.host.emit, self._location(), item, ahead_bytes)
        self._part = utterance
        utterance.open()
        pace = item.bytes_per_ms * options.speed
        whole, end_ms = True, at_ms
        sizes_bytes = itertools.cycle(options.delta_bytes)
        for text, made in self._parts(speech):
            while (sound := made()) is None:
                at_ms, end_ms = at_ms + _POLL_MS, end_ms + _POLL_MS
                yield end_ms
            sound, whole = self._within_budget(sound)
            item.sound += sound
            utterance.add(text, spoken(sound, self.format))
            while utterance.left_bytes:
                utterance.size_bytes = next(sizes_bytes)
                end_ms = at_ms + int(utterance.end_byte / pace)
                yield end_ms
                utterance.say()
                self._end_before()
            if not whole:
                break
        if options.items_overlap and whole:
            self._ending, self._part = utterance, None
        else:
            self._close(utterance, "completed" if whole else "incomplete")
        return whole, end_ms

    def _parts(self, speech: Speech) -> Iterator[tuple[str, Callable[[], bytes | None]]]:
        """The words of a speech in pieces, and what asks for the sound of each."""
        number, given = self.host.next_speech(), speech.sound
        if isinstance(given, bytes | int):
            sound = marked(number, given) if isinstance(given, int) else given
            yield speech.text, lambda: sound
            return
        for index, sentence in enumerate(given.sentences):
            yield sentence + " " * (index + 1 < len(given.sentences)), partial(given.sound, index)

    def _call(self, call: ToolCall, at_ms: int) -> Generator[int, None, int]:
        """Returns when it was written."""
        yield at_ms
        call_id = call.call_id or self.host.new_id("call")
        fields = {"call_id": call_id, "name": call.name, "arguments": ""}
        self._open(Item(self.host.new_id("item"), "function_call", fields))
        self._part = calling = Calling(self.host.emit, self._location(), self.output[-1])
        self._end_before()
        arguments = call.json_arguments
        for part in range(_ARGUMENT_DELTAS):
            yield at_ms + call.ms * (part + 1) // _ARGUMENT_DELTAS
            start, end = (len(arguments) * n // _ARGUMENT_DELTAS for n in (part, part + 1))
            calling.write(arguments[start:end])
        self._close(calling, "completed")
        return at_ms + call.ms

    def _ask(self, asked: ApprovalRequest) -> None:
        """An item that is whole at once."""
        fields = {"server_label": asked.server_label, "name": asked.name, "arguments": "{}"}
        self._open(Item(self.host.new_id("mcpr"), "mcp_approval_request", fields))
        self._end_before()
        self._tell_done(self.output[-1], len(self.output) - 1)

    def _cancel(self, reason: CancelReason, now_ms: int) -> Iterator[int]:
        options = self.host.options
        for number in range(options.late_deltas):
            if not isinstance(self._part, Utterance) or not self._part.left_bytes:
                break
            yield now_ms + options.cancel_ms * (number + 1) // (options.late_deltas + 1)
            self._part.say()
        yield now_ms + options.cancel_ms
        self._finish("cancelled", {"reason": reason}, now_ms + options.cancel_ms)

    def _within_budget(self, sound: bytes) -> tuple[bytes, bool]:
        """As much as `max_output_tokens` allows, and whether that is all of it."""
        if self.max_output_tokens == "inf":
            return sound, True
        left_ms = max(0, self.max_output_tokens * ASSISTANT_MS_PER_TOKEN - self.audio_ms)
        return sound[: left_ms * 8], len(sound) <= left_ms * 8

    def _message(self, phase: str) -> Item:
        fields: dict[str, Any] = {"role": "assistant", "content": []}
        if phase or self.host.options.strange:
            fields["phase"] = phase or "final_answer"
        return Item(self.host.new_id("item"), "message", fields)

    def _location(self) -> dict[str, Any]:
        index = len(self.output) - 1
        return {"response_id": self.id, "item_id": self.output[index].id, "output_index": index}

    def _open(self, item: Item) -> None:
        item.status = "in_progress"
        self.output.append(item)
        emit = self.host.emit
        where = {"response_id": self.id, "output_index": len(self.output) - 1}
        emit("response.output_item.added", **where, item=item.wire())
        if self.in_conversation:
            self.host.conversation.add(item)
            emit("conversation.item.added", previous_item_id=item.previous_id, item=item.wire())

    def _close(self, part: Utterance | Writing | Calling, status: str) -> None:
        part.item.status = status
        part.close()
        self._part = None
        self._tell_done(part.item, part.output_index)

    def _tell_done(self, item: Item, output_index: int) -> None:
        emit = self.host.emit
        if item.id in self.host.conversation.items:
            emit("conversation.item.done", previous_item_id=item.previous_id, item=item.wire())
        where = {"response_id": self.id, "output_index": output_index}
        emit("response.output_item.done", **where, item=item.wire())

    def _end_before(self) -> None:
        """End the item before the current one, if it has not ended yet."""
        ending, self._ending = self._ending, None
        if ending is not None:
            part = self._part
            self._close(ending, "completed")
            self._part = part

    def _finish(self, status: str, details: dict[str, Any] | None, at_ms: int) -> None:
        self._end_before()
        if self._part is not None:
            self._close(self._part, "incomplete")
        usage = self.host.finished(self, status, at_ms)
        details = None if details is None else {"type": status, **details}
        self.host.emit("response.done", response=self.wire(status, details, usage))
        if self.host.options.late_rate_limits:
            self._tell_rate_limits()

    def _tell_rate_limits(self) -> None:
        if not self.host.options.rate_limits:
            return
        # "Rate limits updated": output tokens are reserved when a response begins.
        tokens = {"name": "tokens", "limit": 40_000, "remaining": 35_000, "reset_seconds": 7.5}
        self.host.emit("rate_limits.updated", rate_limits=[tokens])
