"""A scripted client of the GPT-Live double in virtual time, which sends 20 ms of input each 20 ms. All that
either side says is checked against the vendor's published types."""

from __future__ import annotations

import functools
import json
from base64 import b64decode, b64encode
from typing import Any

from openai.types.live import ClientEvent, ServerEvent
from pydantic import TypeAdapter

from bridge.doubles.agents import Agent
from bridge.doubles.gpt_live import LiveServer
from bridge.doubles.live_options import LiveOptions

SILENCE = b"\xff" * 160
START: dict[str, Any] = {
    "type": "session.start",
    "event_id": "start:1",
    "session": {
        "model": "gpt-live-1",
        "instructions": "Be brief.",
        "audio": {"format": {"type": "audio/pcmu", "rate": 8000}, "output": {"voice": "marin"}},
        "delegation": {"type": "client"},
    },
}


@functools.cache
def server_events() -> TypeAdapter[Any]:
    return TypeAdapter(ServerEvent)


@functools.cache
def client_events() -> TypeAdapter[Any]:
    return TypeAdapter(ClientEvent)


def start(**session: Any) -> dict[str, Any]:
    """A `session.start` like `START`, with these members of its session."""
    return {**START, "session": {**START["session"], **session}}


def responses(*tools: str) -> dict[str, Any]:
    """A delegation to the vendor's backend."""
    made = [{"type": "function", "name": name, "parameters": {"type": "object"}} for name in tools]
    return {"type": "responses", "responses": {"model": "gpt-5.4-mini", "tools": made}}


class Client:
    """One session. `events` is all that came, `times` when; sound that came is in `sound`."""

    def __init__(self, agent: Agent, **options: Any) -> None:
        self.server = LiveServer(agent, LiveOptions(**options))
        self.events: list[dict[str, Any]] = []
        self.times: list[int] = []
        self.sound = b""
        self.now_ms = 0
        self.lines: list[tuple[int, bytes]] = []  # what the caller says, and when
        self._checked = not (self.server.options.strange or self.server.options.alpha)
        self._sent_ms: int | None = None
        assert self.server.open(0) == []

    def send(self, event: dict[str, Any] | str, *, checked: bool = True) -> None:
        """One client event, here and now."""
        if checked and isinstance(event, dict):
            client_events().validate_python(event)
        frame = event if isinstance(event, str) else json.dumps(event)
        self._take(self.server.receive(frame, self.now_ms))

    def say(self, at_ms: int, sound: bytes) -> None:
        """The caller says that at that time."""
        self.lines.append((at_ms, sound))

    def until(self, now_ms: int, *, flowing: bool = True) -> list[dict[str, Any]]:
        """Time passes; once there is a session its input flows, 20 ms each 20 ms. Returns what came."""
        before = len(self.events)
        while self.server.close is None:
            flows_ms = now_ms if self._sent_ms is None or not flowing else self._sent_ms + 20
            due_ms = min(now_ms, max(self.now_ms, flows_ms), self.server.deadline_ms or now_ms)
            self.now_ms = max(self.now_ms, due_ms)
            self._take(self.server.wake(self.now_ms))
            if self._sent_ms is None and self.server.started:
                self._sent_ms = self.now_ms
            elif flowing and self._sent_ms is not None and self._sent_ms + 20 <= self.now_ms:
                self._sent_ms += 20
                self.append(self._frame(self._sent_ms - 20))
            elif self.now_ms >= now_ms:
                break
        return self.events[before:]

    def append(self, sound: bytes) -> None:
        """That much input, here and now."""
        event = {"type": "session.input_audio.append", "audio": b64encode(sound).decode()}
        self._take(self.server.receive(json.dumps(event), self.now_ms))

    def kinds(self) -> list[str]:
        """The types of what came, sound left out."""
        return [event["type"] for event in self.events if "output_audio" not in event["type"]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """What came of that type."""
        return [event for event in self.events if event["type"] == kind]

    def nested(self, kind: str) -> list[dict[str, Any]]:
        """What the backend's stream had of that type."""
        return [one["event"] for one in self.of("response.event") if one["event"]["type"] == kind]

    def time_of(self, kind: str, nth: int = 0) -> int:
        """When that came."""
        return [at for at, event in zip(self.times, self.events, strict=True) if event["type"] == kind][nth]

    def _frame(self, now_ms: int) -> bytes:
        for at_ms, sound in self.lines:
            offset = (now_ms - at_ms) * 8
            if 0 <= offset < len(sound):
                return sound[offset : offset + 160].ljust(160, b"\xff")
        return SILENCE

    def _take(self, frames: list[str]) -> None:
        for frame in frames:
            event = json.loads(frame)
            if self._checked and (event.get("error") or {}).get("code", "") is not None:
                server_events().validate_python(event)
            if event["type"] == "session.output_audio.delta":
                self.sound += b64decode(event["delta"])
            self.events.append(event)
            self.times.append(self.now_ms)
