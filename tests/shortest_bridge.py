"""The shortest bridge there is, for benches to find out: it carries sound both ways and nothing else."""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from bridge.sockets.dial import Socket, dial
from bridge.sockets.uvicorn import take_socket

PCMU = {"format": {"type": "audio/pcmu"}}


class ShortestBridge:
    """Subclasses say what it does with an event of each side beside the sound."""

    audio: ClassVar[dict[str, Any]] = {"input": PCMU, "output": PCMU}

    def __init__(self, upstream_url: str) -> None:
        self.upstream_url = upstream_url

    def lets_pass(self, _event: dict[str, Any], _model: Socket) -> bool:
        """Whether sound in this event of the phone's goes to the model."""
        return True

    def answers(self, _event: dict[str, Any], _phone: Socket, _stream: dict[str, str]) -> None:
        """An event of the model's came."""

    async def call(self, websocket: WebSocket) -> None:
        await websocket.accept()
        phone = take_socket(websocket)
        model = await dial(f"{self.upstream_url}?model=x", {})
        over = asyncio.get_running_loop().create_future()
        stream: dict[str, str] = {}

        def from_phone(frame: str | bytes) -> None:
            event = json.loads(frame)
            if event["event"] == "start":
                stream["streamSid"] = event["streamSid"]
            if self.lets_pass(event, model) and event["event"] == "media":
                append = {"type": "input_audio_buffer.append", "audio": event["media"]["payload"]}
                model.send(json.dumps(append))

        def from_model(frame: str | bytes) -> None:
            event = json.loads(frame)
            if event["type"] == "session.created":
                session = {"type": "realtime", "audio": self.audio}
                model.send(json.dumps({"type": "session.update", "session": session}))
            elif event["type"] == "response.output_audio.delta":
                phone.send(json.dumps({"event": "media", **stream, "media": {"payload": event["delta"]}}))
            self.answers(event, phone, stream)

        def ended(_code: int, _reason: str) -> None:
            for socket in (phone, model):
                socket.close()
            if not over.done():
                over.set_result(None)

        model.start(from_model, ended)
        phone.start(from_phone, ended)
        await over

    def app(self) -> Starlette:
        return Starlette(routes=[WebSocketRoute("/stream", self.call)])
