"""A scripted client of the Realtime double in virtual time; all that the server says is checked as it
comes."""

from __future__ import annotations

import functools
import json
import math
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any

import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from bridge.doubles.agents import Agent, Output, Scripted
from bridge.doubles.options import ServerOptions
from bridge.doubles.realtime import RealtimeServer
from bridge.doubles.tones import tone

PHONE: dict[str, Any] = {
    "type": "realtime",
    "audio": {"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcmu"}}},
}
AT_ONCE: dict[str, Any] = {"latency_ms": 0, "speed": math.inf}
VOICE = tone(1_000, 300)


@functools.cache
def published_types() -> TypeAdapter[Any]:
    return TypeAdapter(RealtimeServerEvent)


class Client:
    """One session. `at` says what came by then; `events` is all that ever came, `times` when."""

    def __init__(self, agent: Agent, **options: Any) -> None:
        made = options.pop("made", ServerOptions)
        self.server = RealtimeServer(agent, made(**options))
        self.events: list[dict[str, Any]] = []
        self.times: list[int] = []
        self.now_ms = 0
        self._checked = not self.server.options.strange and self.server.options.wire is None
        self._take(self.server.open(0))

    def _take(self, frames: list[str]) -> list[dict[str, Any]]:
        events = [json.loads(frame) for frame in frames]
        if self._checked:
            for event in events:
                published_types().validate_python(event)
        self.events += events
        self.times += [self.now_ms] * len(events)
        return events

    def until(self, now_ms: int) -> list[dict[str, Any]]:
        """Nothing but the clock until then."""
        assert now_ms >= self.now_ms
        before = len(self.events)
        while (due_ms := self.server.deadline_ms) is not None and due_ms <= now_ms:
            self.now_ms = max(due_ms, self.now_ms)
            self._take(self.server.wake(self.now_ms))
        self.now_ms = now_ms
        assert self.server.wake(now_ms) == []
        return self.events[before:]

    def at(self, now_ms: int, *events: dict[str, Any] | str) -> list[dict[str, Any]]:
        """What these client events brought at that moment; what was due before is in `events`."""
        self.until(now_ms)
        before = len(self.events)
        for event in events:
            frame = event if isinstance(event, str) else json.dumps(event)
            self._take(self.server.receive(frame, now_ms))
        return self.events[before:]

    def now(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        """One client event, at this moment."""
        return self.at(self.now_ms, {"type": kind, **fields})

    def hears(self, sound: bytes) -> list[dict[str, Any]]:
        """Sound in 20 ms frames at real time, with the clock; returns all that came meanwhile."""
        before = len(self.events)
        for start in range(0, len(sound), 160):
            self.at(self.now_ms + 20, append(sound[start : start + 160]))
        return self.events[before:]

    def responds(self, **response: Any) -> list[dict[str, Any]]:
        return self.now("response.create", **({"response": response} if response else {}))

    def kinds(self, events: Sequence[dict[str, Any]] | None = None) -> list[str]:
        return [event["type"] for event in (self.events if events is None else events)]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]

    def last(self, kind: str) -> dict[str, Any]:
        return self.of(kind)[-1]

    def audio(self, item_id: str) -> bytes:
        """All sound that came for an item."""
        deltas = [event for event in self.of("response.output_audio.delta") if event["item_id"] == item_id]
        return b"".join(b64decode(event["delta"]) for event in deltas)


def append(sound: bytes) -> dict[str, Any]:
    return {"type": "input_audio_buffer.append", "audio": b64encode(sound).decode()}


def silence(ms: int) -> bytes:
    return b"\xff" * (8 * ms)


def error_of(events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The one error, without its words."""
    (event,) = events
    assert event["type"] == "error"
    return {name: event["error"][name] for name in ("code", "param", "event_id")}


def phone_client(agent: Agent, *, detection: Any = ..., session: Any = None, **options: Any) -> Client:
    """A client that has configured µ-law both ways, and turn detection if asked to."""
    client = Client(agent, **options)
    tree = json.loads(json.dumps({**PHONE, **(session or {})}))
    if detection is not ...:
        tree["audio"]["input"]["turn_detection"] = detection
    assert client.kinds(client.now("session.update", session=tree)) == ["session.updated"]
    return client


def scripted(*replies: Output | Sequence[Output], **options: Any) -> Client:
    return phone_client(Scripted(replies), **options)


@pytest.fixture
def voice() -> bytes:
    return VOICE
