"""A GPT-Live server: one session of the Live API, whose time is the sound that it is sent.

https://developers.openai.com/api/docs/guides/live and the API reference's "Live client events" and "Live
server events".

It speaks and listens at once. Each 20 ms of input moves the session's timeline by 20 ms, and only that does:
without input nothing is said and nothing is acknowledged. For each 100 ms a delta of 100 ms goes out, silence
included. What it says is its agent's matter, how it misbehaves `LiveOptions`'.
"""

from __future__ import annotations

import binascii
import functools
import heapq
import itertools
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, Literal

import msgspec

from .agents import Agent, Asked, Later, Output, Pause, Speech, ToolCall
from .ears import Listening, Words
from .formats import Ear, spoken
from .items import Item
from .live_backend import Backend
from .live_commands import Refusal, answers, check, check_session, check_update, told
from .live_options import LiveOptions, Refused
from .live_speech import DELTA_MS, FRAME_MS, Voice, labelled
from .live_wire import DELTA, Wire
from .turns import FRAME_BYTES, InputBuffer, TurnStopped
from .turns import FRAME_MS as STEP_MS

PATHS: Final = ("/v1/live/sessions", "/openai/v1/live/sessions", "/live/sessions")
"""Where it answers: the vendor's own path, Azure's, and without a prefix."""

_APPEND: Final = "session.input_audio.append"
_LONG_APPEND: Final = 200
_decode = msgspec.json.Decoder().decode
_Timed = tuple[int, int, Callable[[int], None]]


class LiveServer:
    """`open` first, then `receive` for every frame and `wake` when `deadline_ms` has come; each returns the
    frames to send, in order. When `close` is set the shell closes the socket after sending them.

    What happened can be read off: `log` (client events as they came, appended sound as one entry for each run
    of it), `sent` (events by type), `errors`, `voice.utterances` (what was said, and where on the timeline it
    sounds), `turns` (what the caller said).
    """

    def __init__(self, agent: Agent, options: LiveOptions | None = None) -> None:
        self.agent = agent
        self.options = options = options or LiveOptions()
        self.session: dict[str, Any] = {}
        """The session in force, {} before it is started."""
        self.close: tuple[int, str] | None = None
        """Code and reason, once this server wants its socket closed; 1006 for a cut without a close frame."""
        self.stalled = False
        """True while the server neither reads nor writes."""
        self.timeline_ms = 0
        self.voice = Voice(tick=options.tick)
        self.backend = Backend(self)
        self.delegations: list[str] = []
        self.turns: list[Item] = []
        self.items: list[Item] = []
        """What the mind sees: what both have said, and what tools have given."""
        self.log: list[dict[str, Any]] = []
        self._wire = Wire(options)
        self.errors: list[dict[str, Any]] = []
        self._started_ms: int | None = None
        self._starting = self._muted = self._over = False
        self._ear = Ear("audio/pcm")
        self._hears = InputBuffer(options.detector)
        self._listening = None if options.ears is None else Listening(options.ears, self._hears)
        self._made_out: list[Words] = []
        self._over_ms = 0  # how long the caller has spoken over the voice
        self._unread = b""
        self.asked = 0
        """How often the mind was asked."""
        self._ids: Counter[str] = Counter()
        self._ties = itertools.count()
        self._timers: list[_Timed] = []  # by the clock
        self._plan: list[_Timed] = []  # by the timeline

    # --- the form of all doubles ----------------------------------------------------------------------------

    def open(self, now_ms: int, model: str = "") -> list[str]:  # noqa: ARG002  as all doubles have it
        """The socket is up. The server waits for `session.start`; the URL names no model."""
        return []

    def receive(self, frame: str | bytes, now_ms: int) -> list[str]:
        """One frame of the client's. Nothing it can hold raises: what is wrong becomes an `error` event."""
        self._run(now_ms)
        if not self.stalled:
            self._read(frame, now_ms)
        return self._drain(now_ms)

    def wake(self, now_ms: int) -> list[str]:
        """All that has become due by now; [] when nothing has."""
        self._run(now_ms)
        return self._drain(now_ms)

    @property
    def deadline_ms(self) -> int | None:
        """When something is due next by the clock; None for nothing."""
        if self._over or self.close is not None or self.stalled:
            return None
        due = [self._wire.due_ms, self._timers[0][0] if self._timers else None]
        return min((due_ms for due_ms in due if due_ms is not None), default=None)

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

    def finish(self, reason: str, now_ms: int, client_event_id: str | None = None) -> list[str]:
        """The session ends for that reason: `session.closed`, and the socket is closed."""
        out = self.wake(now_ms)
        self._finish(reason, now_ms, client_event_id)
        return out + self._drain(now_ms)

    def delegate(self, now_ms: int, *calls: ToolCall) -> list[str]:
        """The model hands work over here and now, while the caller still speaks, say."""
        out = self.wake(now_ms)
        self._delegate(calls, now_ms)
        return out + self._drain(now_ms)

    @property
    def sent(self) -> Counter[str]:
        """How many events of each type have been sent."""
        return self._wire.sent

    @property
    def started(self) -> bool:
        """Whether there is a session."""
        return self._started_ms is not None

    @property
    def hears_a_turn(self) -> bool:
        """Whether the caller is in the middle of a turn."""
        return self._hears.speaking

    def seconds(self, now_ms: int) -> int:
        """What the session is billed for so far: whole seconds since it was started."""
        return 0 if self._started_ms is None else (now_ms - self._started_ms) // 1000

    # --- what its parts need of it --------------------------------------------------------------------------

    def emit(self, kind: str, now_ms: int, /, **fields: Any) -> None:
        """Send one event, unless the socket is closed."""
        if self._over or self.close is not None:
            return
        if kind != DELTA:
            fields["event_id"] = self.new_id("event")
        self._wire.put(kind, now_ms, self.timeline_ms, fields)

    def new_id(self, prefix: str) -> str:
        """The next id of its kind: `item_1`, `item_2` and so on."""
        self._ids[prefix] += 1
        return f"{prefix}_{self._ids[prefix]}"

    def at(self, due_ms: int, do: Callable[[int], None]) -> None:
        """Call back at that time of the clock, with it."""
        heapq.heappush(self._timers, (due_ms, next(self._ties), do))

    def given(self, item: dict[str, Any]) -> None:
        """The client has put an item into the backend's input."""
        fields = {name: value for name, value in item.items() if name not in ("id", "type", "status")}
        self.items.append(Item(self.new_id("item"), item["type"], fields))

    def ask(self, why: str, **request: Any) -> Sequence[Output]:
        """What the mind makes of all that there is now."""
        reason: Literal["turn", "client"] = "turn" if why == "turn" else "client"
        number, self.asked = self.asked, self.asked + 1
        backend = self.session["delegation"].get("responses") or {}
        tools = {name: backend[name] for name in ("tools", "tool_choice") if name in backend}
        return self.agent.answer(Asked(number, reason, list(self.items), request, {**self.session, **tools}))

    def speak(self, speech: Sequence[Speech], _now_ms: int) -> None:
        """The voice says what the backend has written."""
        self._lay_out(speech, self.timeline_ms + (self.options.answer_ms if speech else 0))

    # --- time -----------------------------------------------------------------------------------------------

    def _drain(self, now_ms: int) -> list[str]:
        if self.stalled:
            return []
        return self._wire.take(None if self.close is not None else now_ms)

    def _run(self, now_ms: int) -> None:
        while self._timers and self._timers[0][0] <= now_ms and not self._over and self.close is None:
            due_ms, _, do = heapq.heappop(self._timers)
            do(due_ms)

    def _soon(self, due_ms: int, do: Callable[[int], None]) -> None:
        """Call back at that time of the timeline, with the clock's."""
        heapq.heappush(self._plan, (due_ms, next(self._ties), do))

    def _step(self, frame: bytes, now_ms: int) -> None:
        """20 ms of input: the timeline moves by as much."""
        self.timeline_ms = at_ms = self.timeline_ms + STEP_MS
        heard = self._hears.write(frame)
        if self._listening is not None:
            self._made_out += self._listening.hear(heard)
        for noticed in heard:
            if isinstance(noticed, TurnStopped):
                self._turn(noticed)
        self._yield(at_ms)
        while self._plan and self._plan[0][0] <= at_ms:
            heapq.heappop(self._plan)[2](now_ms)
        for fragment in self.voice.words_due(at_ms, self.options.words_early_ms):
            label_ms = fragment.from_ms // FRAME_MS * FRAME_MS - self.options.labels_early_ms
            self._fragment("output", fragment.text, max(0, label_ms), now_ms)
        if at_ms % DELTA_MS == 0:
            sound = spoken(self.voice.delta(at_ms - DELTA_MS), self._ear.name)
            self.emit(DELTA, now_ms, delta=b64encode(sound).decode())
        self.voice.begin(at_ms)

    def _yield(self, at_ms: int) -> None:
        talks_over = self._hears.speaking and self.voice.speaks(at_ms)
        self._over_ms = self._over_ms + STEP_MS if talks_over else 0
        after_ms = self.options.yields_after_ms
        if after_ms is not None and self._over_ms >= max(after_ms, STEP_MS):
            self.voice.stop(at_ms)

    # --- the conversation -----------------------------------------------------------------------------------

    def _turn(self, ended: TurnStopped) -> None:
        content = [{"type": "input_audio", "transcript": None}]
        item = Item(self.new_id("item"), "message", {"role": "user", "content": content}, sound=ended.sound)
        item.words = self._made_out.pop(0) if self._made_out else None
        self.turns.append(item)
        self.items.append(item)
        self._transcribe(item, ended)
        answer = functools.partial(self._answer_turn, self.timeline_ms)
        self._soon(self.timeline_ms + self.options.latency_ms, answer)

    def _transcribe(self, item: Item, ended: TurnStopped, _now_ms: int = 0) -> None:
        """The caller's words, once they are made out."""
        unknown = item.words is not None and item.words.text() is None
        if unknown and self.timeline_ms < ended.audio_end_ms + self.options.ears_ms:
            self._soon(self.timeline_ms + FRAME_MS, functools.partial(self._transcribe, item, ended))
            return
        words = self.options.transcribe(item)
        item.fields["content"] = [{"type": "input_audio", "transcript": words}]
        for word, said_ms in labelled(words or "", ended.audio_end_ms, len(ended.sound) // 8):
            tell = functools.partial(self._fragment, "input", word, said_ms // FRAME_MS * FRAME_MS)
            self._soon(said_ms + self.options.transcript_ms, tell)

    def _answer_turn(self, ended_ms: int, _now_ms: int) -> None:
        self._answer(self.ask("turn"), ended_ms)

    def _answer(self, outputs: Sequence[Output], ended_ms: int, _now_ms: int = 0) -> None:
        """What was made of the caller's turn, once that is decided."""
        made = outputs[0].decided() if outputs and isinstance(outputs[0], Later) else outputs
        if made is None:
            again = functools.partial(self._answer, outputs, ended_ms)
            self._soon(self.timeline_ms + FRAME_MS, again)
        else:
            self._lay_out(made, self.timeline_ms, ended_ms + self.options.delegation_ms)

    def _lay_out(self, outputs: Sequence[Output], at_ms: int, delegate_ms: int = 0) -> None:
        """Put what is said on the timeline, and hand over what is to be done."""
        calls = [output for output in outputs if isinstance(output, ToolCall)]
        for output in outputs:
            if isinstance(output, Pause):
                at_ms += output.ms
            elif isinstance(output, Speech):
                self.voice.say(output, at_ms)
                content = [{"type": "output_audio", "transcript": output.text}]
                fields = {"role": "assistant", "content": content}
                self.items.append(Item(self.new_id("item"), "message", fields))
        if calls and not self.options.promises_only:
            self._soon(delegate_ms, functools.partial(self._delegate, calls))

    def _delegate(self, calls: Sequence[ToolCall], now_ms: int) -> None:
        target = self.session["delegation"]["type"]
        delegation = {"id": self.new_id("item_d"), "type": "delegation", "target": target}
        if target == "responses":
            delegation["response_id"] = self.new_id("resp")
        self.delegations.append(delegation["id"])
        kind = "session.delegation.created"
        for _ in range(2 if self.options.repeats_delegations else 1):
            self.emit(kind, now_ms, offset_ms=self.timeline_ms, delegation=delegation)
        if target == "responses":
            self.backend.begin(delegation["id"], delegation["response_id"], calls, now_ms)

    def _fragment(self, whose: str, text: str, label_ms: int, now_ms: int) -> None:
        kind = f"session.{whose}_transcript.delta"
        self.emit(kind, now_ms, delta=text, start_ms=label_ms, end_ms=label_ms + FRAME_MS)

    # --- client events --------------------------------------------------------------------------------------

    def _read(self, frame: str | bytes, now_ms: int) -> None:
        if self._over or self.close is not None:
            return
        event: Any = None
        try:
            try:
                event = _decode(frame)
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                raise Refusal("invalid_json", "The frame is not JSON.") from None
            if not isinstance(event, dict) or not isinstance(event.get("type"), str):
                raise Refusal("invalid_value", "An event is a JSON object with a type.", "type")
            if event["type"] != _APPEND:
                self.log.append(event)
            elif not self.log or self.log[-1]["type"] != _APPEND:
                self.log.append({"type": _APPEND, "frames": 0, "bytes": 0})
            check(event)
            if event["type"] in self.options.refuse:
                raise Refusal(self.options.refuse[event["type"]], "Refused, as the script has it.")
            if event["type"] != "session.start" and self._started_ms is None:
                raise Refusal("invalid_value", "A session is started first.", "type")
            self._readers[event["type"]](self, event, now_ms)
        except Refusal as refusal:
            event_id = event.get("event_id") if isinstance(event, dict) else None
            self._refuse(refusal.error, now_ms, refusal.param, event_id)
            if self._started_ms is None and not self._starting:
                self._cut(now_ms)

    def _refuse(
        self, error: Refused, now_ms: int, param: str | None = None, event_id: str | None = None
    ) -> None:
        code = error.code if self.options.coded_errors else None
        body: dict[str, Any] = {"type": error.kind, "code": code, "message": error.message, "param": param}
        if event_id is not None:
            body["client_event_id"] = event_id
        self.errors.append(body)
        self.emit("error", now_ms, error=body)

    def _cut(self, now_ms: int) -> None:
        self._starting = True
        self.at(now_ms + self.options.cut_ms, lambda _now_ms: setattr(self, "close", (1006, "")))

    def _start(self, event: dict[str, Any], now_ms: int) -> None:
        if self._starting:
            raise Refusal("invalid_value", "The session is started already.", "type")
        check_session(event["session"])
        self._starting = True
        due_ms = now_ms + self.options.start_ms
        if self.options.refuse_start is not None:
            self.at(due_ms, self._refuse_start)
            return
        if self.options.missing_scope:
            missing = Refused("missing_scope", message="You lack the scope api.responses.write.")
            self.at(due_ms - 200, functools.partial(self._refuse, missing))
        self.at(due_ms, functools.partial(self._begin, event))

    def _refuse_start(self, now_ms: int) -> None:
        if self.options.refuse_start is not None:
            self._refuse(self.options.refuse_start, now_ms)
        self._cut(now_ms)

    def _begin(self, event: dict[str, Any], now_ms: int) -> None:
        options, asked = self.options, event["session"]
        audio = asked.get("audio") or {}
        self.session = {
            "id": self.new_id("live"),
            "status": "active",
            "expires_at": options.created_at_s + (now_ms + options.expires_after_ms) // 1000,
            **{name: value for name, value in asked.items() if value is not None},
            "audio": {
                "format": audio.get("format") or {"type": "audio/pcm", "rate": 24_000},
                "output": {"voice": (audio.get("output") or {}).get("voice") or "marin"},
            },
            "delegation": asked.get("delegation") or {"type": "client"},
            **options.impose,
        }
        self._ear = Ear(self.session["audio"]["format"]["type"])
        if options.ears is not None:
            options.ears.configure((self.session["delegation"].get("responses") or {}).get("tools", ()))
        detection = {"type": "server_vad", "prefix_padding_ms": 0, "silence_duration_ms": options.silence_ms}
        self._hears.configure(detection)
        for number, message in enumerate(asked.get("input") or ()):
            content = [{"type": "text", "text": message["content"][0]["text"]}]
            fields = {"role": message["role"], "content": content}
            self.items.append(Item(f"input_{number}", "message", fields))
        self._started_ms = self._wire.began_ms = now_ms
        self.emit("session.started", now_ms, session=self.session, **answers(event))
        self.at(now_ms + options.usage_ms, self._tell_usage)
        self.at(now_ms + options.expires_after_ms, lambda at_ms: self._finish("expired", at_ms))

    def _tell_usage(self, now_ms: int) -> None:
        told: dict[str, Any] = {"usage": {"seconds": self.seconds(now_ms)}}
        if self.options.usage_ratio is not None:
            told["context_window"] = {"usage_ratio": self.options.usage_ratio}
        self.emit("session.usage.updated", now_ms, **told)
        self.at(now_ms + self.options.usage_ms, self._tell_usage)

    def _append(self, event: dict[str, Any], now_ms: int) -> None:
        try:
            sound = binascii.a2b_base64(event["audio"], strict_mode=True)
        except (ValueError, TypeError):
            raise Refusal("invalid_value", "Invalid 'audio': not base64.", "audio") from None
        self.log[-1]["frames"] += 1
        self.log[-1]["bytes"] += len(sound)
        heard = self._ear.hear(sound)
        self._unread += b"\xff" * len(heard) if self._muted else heard
        while len(self._unread) >= FRAME_BYTES:
            frame, self._unread = self._unread[:FRAME_BYTES], self._unread[FRAME_BYTES:]
            self._step(frame, now_ms)

    def _mute(self, event: dict[str, Any], now_ms: int) -> None:
        self._muted = event["type"].endswith(".mute")
        kind = "session.input_audio.muted" if self._muted else "session.input_audio.unmuted"
        self.emit(kind, now_ms, **answers(event))

    def _words(self, event: dict[str, Any], _now_ms: int) -> None:
        """An append takes its place on the timeline, and is acknowledged when that is reached."""
        about, content, at_ms = event["delegation_id"], event["content"], self.timeline_ms
        ours = self.session["delegation"]["type"] == "client" and about in self.delegations
        if about is not None and not ours:
            raise Refusal("invalid_value", f"There is no client delegation '{about}'.", "delegation_id")
        end_ms = -(-(at_ms + self.options.ack_ms) // FRAME_MS) * FRAME_MS
        self._soon(at_ms + self.options.ack_ms, functools.partial(self._acknowledge, event, end_ms))
        kind = event["type"].split(".")[1]
        if self.options.phantom and len(content) >= _LONG_APPEND:
            self._soon(end_ms, functools.partial(self._fragment, "input", self.options.phantom, end_ms))
        if kind == "instructions" and self.options.obeys:
            self._soon(at_ms + self.options.ack_ms, lambda _now_ms: self.voice.stop(self.timeline_ms))
        if kind == "commentary":
            words = self.options.paraphrase(content)
            self._soon(at_ms + self.options.say_ms, functools.partial(self._comment, words))
        elif kind == "thinking":
            self.items.append(Item(self.new_id("item"), "message", told("developer", content)))

    def _comment(self, words: str, _now_ms: int) -> None:
        """It is said once neither side speaks."""
        if self._hears.speaking:
            self._soon(self.timeline_ms + FRAME_MS, functools.partial(self._comment, words))
            return
        self._lay_out(self.ask("client", instructions=words), self.timeline_ms, self.timeline_ms)

    def _acknowledge(self, event: dict[str, Any], end_ms: int, now_ms: int) -> None:
        kind = event["type"].removesuffix(".append") + ".appended"
        self.emit(kind, now_ms, start_ms=end_ms - FRAME_MS, end_ms=end_ms, **answers(event))

    def _update(self, event: dict[str, Any], now_ms: int) -> None:
        before = self.session["delegation"]
        check_update(event["session"], before)
        given = event["session"].get("delegation") or {}
        responses = {**before.get("responses", {}), **given.get("responses", {})}
        self.session["delegation"] = {**before, **given} | ({"responses": responses} if responses else {})
        self.emit("session.updated", now_ms + 150, session=self.session, **answers(event))

    def _item(self, event: dict[str, Any], now_ms: int) -> None:
        self._only_responses()
        try:
            self.backend.item(event["item"])
        except Refusal as refusal:
            if refusal.error.code == "response_input_buffer_full":
                self._refuse(refusal.error, now_ms, None, event.get("event_id"))
                raise Refusal("function_call_outputs_required", "Function calls have no output.") from None
            raise

    def _create(self, _event: dict[str, Any], now_ms: int) -> None:
        self._only_responses()
        self.backend.create(now_ms)

    def _only_responses(self) -> None:
        if self.session["delegation"]["type"] != "responses":
            raise Refusal("invalid_value", "This session does not delegate to Responses.", "type")

    def _close(self, event: dict[str, Any], now_ms: int) -> None:
        close = functools.partial(self._finish, "close_requested", client_event_id=event.get("event_id"))
        self.at(now_ms + 300, close)

    def _finish(self, reason: str, now_ms: int, client_event_id: str | None = None) -> None:
        about = {} if client_event_id is None else {"client_event_id": client_event_id}
        usage = {"seconds": self.seconds(now_ms)}
        self.emit("session.closed", now_ms, reason=reason, session=self.session, usage=usage, **about)
        if self.close is None:
            self.close = (1000, reason)

    _readers: ClassVar[dict[str, Callable[[LiveServer, dict[str, Any], int], None]]] = {
        "session.start": _start,
        _APPEND: _append,
        "session.input_audio.mute": _mute,
        "session.input_audio.unmute": _mute,
        "session.instructions.append": _words,
        "session.thinking.append": _words,
        "session.commentary.append": _words,
        "session.update": _update,
        "response.item.create": _item,
        "response.create": _create,
        "session.close": _close,
    }
