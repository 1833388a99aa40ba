"""A Realtime server: one session, the GA events and no others, in the documented order.

https://developers.openai.com/api/docs/api-reference/realtime-server-events

It hears true µ-law (or PCM, A-law: whatever the session says), finds turns in it, cancels at a barge-in,
keeps each item's true length, and refuses what the vendor refuses, in the vendor's words. What it says is its
agent's matter, how it misbehaves `ServerOptions`'.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar, Final, Literal

import msgspec

from .agents import Agent, Asked
from .client_events import check
from .client_items import made
from .faults import Fault
from .items import Conversation, Item
from .listening import Listener
from .options import ServerOptions
from .responses import Response
from .session import Session
from .turns import Heard, TurnStarted
from .usage import Meter

_APPEND: Final = "input_audio_buffer.append"
_APPEND_FIELDS: Final = frozenset({"type", "audio", "event_id"})
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class RealtimeServer:
    """`open` first, then `receive` for every frame and `wake` when `deadline_ms` has come; each returns the
    frames to send, in order. When `close` is set the shell closes the socket after sending them.

    What happened can be read off: `log` (client events as they came, appended sound as one entry for each run
    of it), `sent` (events by type), `errors`, `usage` (one for each response), `items` and what became of
    them.
    """

    def __init__(self, agent: Agent, options: ServerOptions | None = None) -> None:
        self.agent = agent
        self.options = options = options or ServerOptions()
        self.session = Session(options.model, options.impose, options.defaults)
        self.conversation = Conversation(options.short_by_ms)
        self.close: tuple[int, str] | None = None
        """Code and reason, once this server wants its socket closed; 1006 for a cut without a close frame."""
        self.stalled = False
        """True while the server neither reads nor writes: a shell should stop reading its socket too."""
        self.log: list[dict[str, Any]] = []
        self.sent: Counter[str] = Counter()
        self.errors: list[dict[str, Any]] = []
        self.usage: list[dict[str, Any]] = []
        self.speech_started_ms: list[int] = []
        """When the start of each turn was noticed, on the clock of `now_ms`."""
        self._wire = None if options.wire is None else options.wire()
        self._listener = Listener(self)
        self._meter = Meter()
        self._ids: Counter[str] = Counter()
        self._asked = 0
        self._speeches = 0
        self._responses: list[Response] = []
        self._timers: list[tuple[int, int, Callable[[int], None]]] = []
        self._ties = itertools.count()
        self._idle_due_ms: int | None = None
        self._unread: list[str | bytes] = []
        self._out: list[str] = []
        self._over = False

    # --- the form of all doubles ----------------------------------------------------------------------------

    def open(self, now_ms: int, model: str = "") -> list[str]:
        """The socket is up: `session.created` and `conversation.created`. `model` is the one that the URL
        names, empty for that of the options.
        """
        expires_ms = now_ms + self.options.expires_after_ms
        self.at(expires_ms, self._expire)
        expires_at_s = self.options.created_at_s + expires_ms // 1000
        self.session.begin(model or self.options.model, expires_at_s)
        self.emit("session.created", session=self.session.tree)
        conversation = {"id": self.conversation.id, "object": "realtime.conversation"}
        self.emit("conversation.created", conversation=conversation)
        if self.options.ping_ms is not None:
            self._ping(now_ms)
        return self._drain()

    def receive(self, frame: str | bytes, now_ms: int) -> list[str]:
        """One frame of the client's. Nothing it can hold raises: what is wrong becomes an `error` event."""
        self._run(now_ms)
        if self.stalled:
            self._unread.append(frame)
        else:
            self._read(frame, now_ms)
        return self._drain()

    def wake(self, now_ms: int) -> list[str]:
        """All that has become due by now; [] when nothing has."""
        self._run(now_ms)
        return self._drain()

    @property
    def deadline_ms(self) -> int | None:
        """When something is due next; None before `open`, while stalled and after the close."""
        if self._over or self.close is not None or self.stalled:
            return None
        due_ms = self._timers[0][0] if self._timers else None
        for response in self._responses:
            if response.due_ms is not None and (due_ms is None or response.due_ms < due_ms):
                due_ms = response.due_ms
        if self._idle_due_ms is not None and (due_ms is None or self._idle_due_ms < due_ms):
            due_ms = self._idle_due_ms
        return due_ms

    def gone(self, now_ms: int) -> list[str]:
        """The client closed the socket, or it was cut: nothing more will happen. Returns []."""
        self.wake(now_ms)
        if self.options.ears is not None and not self._over:
            self.options.ears.close()
        self._over = True
        return []

    def drop(self, code: int, now_ms: int, *, reason: str = "") -> list[str]:
        """Close here and now; 1006 asks for a cut without a close frame."""
        out = self.wake(now_ms)
        if not self._over and self.close is None:
            self.close = (code, reason)
        return out

    def stall(self, now_ms: int) -> list[str]:
        """Neither read nor write until `resume`."""
        out = self.wake(now_ms)
        self.stalled = True
        return out

    def resume(self, now_ms: int) -> list[str]:
        """Go on: first with what was to be said meanwhile, then with what was sent to us."""
        self.stalled = False
        self._run(now_ms)
        unread, self._unread = self._unread, []
        for frame in unread:
            self._read(frame, now_ms)
        return self._drain()

    # --- what it knows --------------------------------------------------------------------------------------

    @property
    def items(self) -> dict[str, Item]:
        """The conversation in its order, by item id. `conversation.ever` has the deleted items too."""
        return self.conversation.items

    @property
    def truncations(self) -> dict[str, int]:
        """The last `audio_end_ms` of each truncated item."""
        return self.conversation.truncations

    @property
    def deleted(self) -> list[str]:
        """Ids of deleted items, in the order of their deletion."""
        return self.conversation.deleted

    @property
    def hears_a_turn(self) -> bool:
        """Whether the caller is in the middle of a turn."""
        return self._listener.speaking

    @property
    def active(self) -> Response | None:
        """The response that is being made in the conversation, or None."""
        return next((response for response in self._responses if response.in_conversation), None)

    # --- what responses and the listener need of it ---------------------------------------------------------

    def emit(self, kind: str, /, **fields: Any) -> None:
        """Send one event, unless the socket is closed or the type withheld."""
        if self._over or self.close is not None or kind in self.options.withhold:
            return
        event = {"type": kind, "event_id": self.new_id("event"), **fields}
        if self.options.strange:
            event["x_unknown"] = {"at": [1, None]}
        if self._wire is None:
            self._out.append(_encode(event).decode())
        else:
            told = self._wire.outgoing(event, self.conversation.ever)
            self._out += [_encode({"event_id": self.new_id("event"), **one}).decode() for one in told]
        self.sent[kind] += 1
        for drop in self.options.drops:
            if drop.after == kind and drop.nth == self.sent[kind]:
                self.close = (drop.code, drop.reason)
        if self.options.strange and kind == "response.created":
            self.emit("response.mood.updated", mood="strange")

    def new_id(self, prefix: str) -> str:
        """The next id of its kind: `item_1`, `item_2` and so on."""
        while True:
            self._ids[prefix] += 1
            new_id = f"{prefix}_{self._ids[prefix]}"
            if new_id not in self.conversation.ever:  # a client may have chosen it
                return new_id

    def at(self, due_ms: int, do: Callable[[int], None]) -> None:
        """Call back at that time, with it."""
        heapq.heappush(self._timers, (due_ms, next(self._ties), do))

    def next_speech(self) -> int:
        """How many speeches this session has had, this one included."""
        self._speeches += 1
        return self._speeches

    def finished(self, response: Response, status: str, at_ms: int) -> dict[str, Any] | None:
        """A response is over. Returns its usage, None where there is to be none."""
        self._responses.remove(response)
        detection = self.session.turn_detection or {}
        idle_ms = detection.get("idle_timeout_ms")
        if idle_ms and response.in_conversation and not self._listener.speaking:
            # "idle_timeout_ms": counted from the response.done time plus the duration of its audio.
            self._idle_due_ms = at_ms + response.audio_ms + idle_ms
        self._listener.transcribe(at_ms)
        if status == "failed":
            return None
        usage = self._meter.measure(response.read, response.instructions, response.output)
        self.usage.append(usage)
        return usage if self.options.usage else None

    # --- time -----------------------------------------------------------------------------------------------

    def _drain(self) -> list[str]:
        out, self._out = self._out, []
        return out

    def _run(self, now_ms: int) -> None:
        while (due_ms := self.deadline_ms) is not None and due_ms <= now_ms:
            if self._timers and self._timers[0][0] <= due_ms:
                heapq.heappop(self._timers)[2](due_ms)
            elif self._idle_due_ms is not None and self._idle_due_ms <= due_ms:
                self._idle_due_ms = None
                self._listener.idle(due_ms)
                self._answer("idle", due_ms)
            else:
                for response in list(self._responses):
                    response.wake(due_ms)

    def _ping(self, now_ms: int) -> None:
        self.emit("ping", timestamp=1000 * self.options.created_at_s + now_ms, previous_item_id=None)
        self.at(now_ms + (self.options.ping_ms or 0), self._ping)

    def _expire(self, _now_ms: int) -> None:
        minutes = self.options.expires_after_ms // 60_000
        message = f"Your session hit the maximum duration of {minutes} minutes."
        self._refuse(Fault("session_expired", message), None)
        self.close = (1001, message)

    # --- client events --------------------------------------------------------------------------------------

    def _read(self, frame: str | bytes, now_ms: int) -> None:
        if self._over or self.close is not None:
            return
        event: Any = None
        try:
            try:
                event = _decode(frame)
            except (msgspec.DecodeError, UnicodeError, RecursionError) as unreadable:
                raise Fault("invalid_json", f"The frame is not JSON: {unreadable}.") from None
            if not isinstance(event, dict) or not isinstance(event.get("type"), str):
                raise Fault("invalid_event", "An event is a JSON object with a type.", "type")
            if event["type"] == _APPEND and event.keys() <= _APPEND_FIELDS:
                self._append(event, now_ms)
                return
            self.log.append(event)
            event = event if self._wire is None else self._wire.incoming(event)
            check(event, self.options.unknown_fields)
            if event["type"] in self.options.refuse:
                code = self.options.refuse[event["type"]]
                unknown = f"Unknown event type: '{event['type']}'."
                raise Fault(code, unknown if code == "unknown_event" else "Refused, as the script has it.")
            self._readers[event["type"]](self, event, now_ms)
        except Fault as fault:
            event_id = event.get("event_id") if isinstance(event, dict) else None
            self._refuse(fault, event_id if isinstance(event_id, str) else None)

    def _refuse(self, fault: Fault, event_id: str | None) -> None:
        body = fault.body(event_id)
        self.errors.append(body)
        self.emit("error", error=body)

    def _append(self, event: dict[str, Any], now_ms: int) -> None:
        deaf = self.options.deaf_until_configured and not self.sent["session.updated"]
        size_bytes, heard = self._listener.hear(event.get("audio"), heeded=not deaf)
        if not self.log or self.log[-1]["type"] != _APPEND:
            self.log.append({"type": _APPEND, "frames": 0, "bytes": 0})
        self.log[-1]["frames"] += 1
        self.log[-1]["bytes"] += size_bytes
        for noticed in heard:
            self._noticed(noticed, now_ms)

    def _noticed(self, noticed: Heard, now_ms: int) -> None:
        detection = self.session.turn_detection or {}
        if not isinstance(noticed, TurnStarted):
            self._listener.turn(noticed.audio_end_ms, noticed.sound, now_ms)
            # Where interrupt_response is off, a turn that ends while a response runs gets none.
            if detection.get("create_response") and self.active is None:
                self._answer("turn", now_ms)
            return
        self.speech_started_ms.append(now_ms)
        self._idle_due_ms = None
        active = self.active
        interrupts = bool(detection.get("interrupt_response")) and active is not None and not active.cancelled
        if active is not None and interrupts and self.options.done_first:
            active.cancel("turn_detected", now_ms)
        self._listener.announce(noticed)
        if active is not None and interrupts and not self.options.done_first:
            active.cancel("turn_detected", now_ms)

    def _answer(self, reason: Literal["turn", "client", "idle"], now_ms: int, request: Any = None) -> None:
        request = request or {}
        seen = self._seen(request)
        response = Response(self, request, self.session.tree, seen)
        asked = Asked(self._asked, reason, seen, request, self.session.tree)
        self._asked += 1
        outputs = self.agent.answer(asked)
        self._responses.append(response)
        if response.in_conversation:
            self._idle_due_ms = None
        response.begin(outputs, now_ms)

    def _seen(self, request: dict[str, Any]) -> list[Item]:
        """What the model sees: the conversation, or the request's own input."""
        if "input" not in request:
            return list(self.items.values())
        find = self.conversation.find
        return [
            find(given["id"], "item_not_found") if given["type"] == "item_reference" else self._made(given)
            for given in request["input"]
        ]

    def _update(self, event: dict[str, Any], _now_ms: int) -> None:
        before = self.session.tree
        self.session.update(event["session"], has_spoken=self.sent["response.output_audio.delta"] > 0)
        if self.options.voices is not None and self.session.output["voice"] not in self.options.voices:
            self.session.tree = before
            raise Fault("invalid_value", "There is no such voice.", "session.audio.output.voice")
        self._listener.configure()
        if any(before[name] != self.session.tree[name] for name in ("instructions", "tools")):
            self._meter.forget()
        self.emit("session.updated", session=self.session.tree)

    def _commit(self, _event: dict[str, Any], now_ms: int) -> None:
        self._listener.commit(now_ms)

    def _clear(self, _event: dict[str, Any], _now_ms: int) -> None:
        self._listener.clear()

    def _create(self, event: dict[str, Any], _now_ms: int) -> None:
        item = self._made(event["item"])
        if item.type == "function_call_output":
            self.conversation.find_call(item.fields["call_id"])
        self.conversation.add(item, event.get("previous_item_id"))
        self.emit("conversation.item.added", item=item.wire(), previous_item_id=item.previous_id)
        self.emit("conversation.item.done", item=item.wire(), previous_item_id=item.previous_id)

    def _made(self, given: dict[str, Any]) -> Item:
        return made(given, self.new_id, self.session.input["format"]["type"])

    def _retrieve(self, event: dict[str, Any], _now_ms: int) -> None:
        item = self.conversation.find(event["item_id"], "item_retrieve_invalid_item_id")
        half = self.session.input if item.role == "user" else self.session.output
        self.emit("conversation.item.retrieved", item=item.wire_with_sound(half["format"]["type"]))

    def _delete(self, event: dict[str, Any], _now_ms: int) -> None:
        self.conversation.delete(event["item_id"])
        self.emit("conversation.item.deleted", item_id=event["item_id"])

    def _truncate(self, event: dict[str, Any], _now_ms: int) -> None:
        cut = {name: event[name] for name in ("item_id", "content_index", "audio_end_ms")}
        try:
            self.conversation.truncate(**cut)
        except Fault as fault:
            if not self.options.coded_errors and fault.code != "item_truncate_invalid_item_id":
                fault.code = None
            raise
        self.emit("conversation.item.truncated", **cut)

    def _respond(self, event: dict[str, Any], now_ms: int) -> None:
        request = _set_members(event.get("response") or {})
        if "audio" in request:
            request["audio"] = {"output": _set_members(request["audio"].get("output") or {})}
        active = self.active
        if active is None or request.get("conversation") == "none":
            self._answer("client", now_ms, request)
            return
        message = (
            f"Conversation already has an active response in progress: {active.id}. "
            "Wait until the response is finished before creating a new one."
        )
        names_event = self.options.echo_create_id
        raise Fault("conversation_already_has_active_response", message, names_event=names_event)

    def _cancel(self, event: dict[str, Any], now_ms: int) -> None:
        wanted = event.get("response_id")
        for response in self._responses:
            if (
                response.id == wanted or (wanted is None and response.in_conversation)
            ) and not response.cancelled:
                response.cancel("client_cancelled", now_ms)
                return
        raise Fault("response_cancel_not_active", "Cancellation failed: no active response found")

    def _no_output_buffer(self, _event: dict[str, Any], _now_ms: int) -> None:
        # "output_audio_buffer.clear": WebRTC and SIP only.
        raise Fault("invalid_event", "There is no output audio buffer on a websocket.", "type")

    _readers: ClassVar[dict[str, Callable[[RealtimeServer, dict[str, Any], int], None]]] = {
        "session.update": _update,
        "input_audio_buffer.append": _append,
        "input_audio_buffer.commit": _commit,
        "input_audio_buffer.clear": _clear,
        "conversation.item.create": _create,
        "conversation.item.retrieve": _retrieve,
        "conversation.item.delete": _delete,
        "conversation.item.truncate": _truncate,
        "response.create": _respond,
        "response.cancel": _cancel,
        "output_audio_buffer.clear": _no_output_buffer,
    }


def _set_members(given: dict[str, Any]) -> dict[str, Any]:
    """An object without its nulls, which say that a member was not set."""
    return {name: value for name, value in given.items() if value is not None}
