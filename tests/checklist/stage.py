"""A model on a stage: a script for a server, a clock set by hand, and all that listeners are told."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from bridge.client.config import SessionOptions, laid_over
from bridge.client.events import ModelEvent, RawEvent
from bridge.client.model import RealtimeModel
from bridge.codecs import PCMU, AudioFormat
from bridge.sockets.transport import MemoryTransport

T = TypeVar("T")
PHONE = SessionOptions(input_format=PCMU, output_format=PCMU)
SERVER: dict[str, Any] = {
    "type": "realtime",
    "id": "sess_1",
    "model": "gpt-realtime-2.1",
    "tracing": None,
    "audio": {
        "input": {"format": {"type": "audio/pcm", "rate": 24_000}, "turn_detection": {"type": "server_vad"}},
        "output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "marin"},
    },
}


def play(work: Coroutine[Any, Any, None]) -> None:
    """Runs a test to its end, within 10 s."""

    async def main() -> None:
        async with asyncio.timeout(10):
            await work

    asyncio.run(main())


async def settled() -> None:
    """Everything that can happen now has happened."""
    for _ in range(20):
        await asyncio.sleep(0)


class Stage:
    """`model` is connected by `begin`; what it sends is answered like this: sessions are taken over as asked.

    Frames of the script are the vendor's events without their event id.
    """

    def __init__(self, *, session: dict[str, Any] | None = None, **given: Any) -> None:
        self.now_ms = 0
        self.events: list[ModelEvent] = []
        self.session = laid_over(SERVER, session or {})
        self.updates = True
        self.transport = MemoryTransport(self._answer, first=[self._frame({"type": "session.created"})])
        given = {"options": PHONE, "transport": lambda: self.transport, **given}
        self.model = RealtimeModel(clock=lambda: (self.now_ms + 0.5) / 1000, **given)
        self.model.add_listener(self.events.append)

    def _frame(self, event: dict[str, Any]) -> str:
        return json.dumps({"session": self.session, **event})

    def _answer(self, frame: str) -> Iterator[str]:
        event = json.loads(frame)
        if event["type"] == "session.update" and self.updates:
            self.session = laid_over(self.session, event["session"])
            yield self._frame({"type": "session.updated"})

    async def begin(self) -> None:
        await self.model.connect()
        await settled()
        self.transport.sent.clear()
        self.events.clear()

    async def server(self, *events: dict[str, Any] | str) -> None:
        """The server says this."""
        for event in events:
            self.transport.say(event if isinstance(event, str) else json.dumps(event))
        await settled()

    def sent(self, kind: str = "") -> list[dict[str, Any]]:
        """What went out, without our event ids; of one type, or all."""
        events = [json.loads(frame) for frame in self.transport.sent]
        for event in events:
            event.pop("event_id", None)
        return [event for event in events if event["type"] == kind or not kind]

    def told(self, kind: type[T]) -> list[T]:
        """What the listener was told, of one type."""
        return [event for event in self.events if isinstance(event, kind)]

    def order(self) -> list[str]:
        """The types of what it was told, raw events left out."""
        return [type(event).__name__ for event in self.events if not isinstance(event, RawEvent)]


# --- what servers say


def started(response: str = "r1", tag: str = "") -> dict[str, Any]:
    metadata = {"tag": tag} if tag else None
    made = {"id": response, "status": "in_progress", "conversation_id": "conv_1", "metadata": metadata}
    return {"type": "response.created", "response": made}


def delta(
    ms: int, item: str = "i1", response: str = "r1", audio: AudioFormat = PCMU, part: int = 0
) -> dict[str, Any]:
    sound = b64encode(audio.silence(ms)).decode()
    return {
        "type": "response.output_audio.delta", "response_id": response, "item_id": item, "output_index": 0,
        "content_index": part, "delta": sound,
    }  # fmt: skip


def audio_done(item: str = "i1", response: str = "r1") -> dict[str, Any]:
    return {
        "type": "response.output_audio.done", "response_id": response, "item_id": item, "content_index": 0,
    }  # fmt: skip


def done(response: str = "r1", status: str = "completed", **more: Any) -> dict[str, Any]:
    return {"type": "response.done", "response": {"id": response, "status": status, **more}}


def speech(item: str = "u1", at_ms: int = 0) -> dict[str, Any]:
    return {"type": "input_audio_buffer.speech_started", "item_id": item, "audio_start_ms": at_ms}


def called(call: str = "c1", item: str = "f1", status: str = "completed") -> dict[str, Any]:
    made = {
        "id": item, "type": "function_call", "status": status, "call_id": call, "name": "look",
        "arguments": '{"a":1}',
    }  # fmt: skip
    return {"type": "response.output_item.done", "response_id": "r1", "item": made}


def error(code: str, about: str | None = None, message: str = "no") -> dict[str, Any]:
    fault = {"type": "invalid_request_error", "code": code, "message": message, "event_id": about}
    return {"type": "error", "error": fault}
