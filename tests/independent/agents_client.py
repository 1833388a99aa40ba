"""Run by another Python, which has `openai-agents` and nothing of ours: a conversation with a server.

Greeting, turn, tool call, barge-in, by the SDK's own model class. Prints one JSON line: the types of events
it got, in order, and what went wrong, which must be nothing.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

try:
    from agents.realtime import (  # type: ignore[import-not-found]
        RealtimeModelSendAudio,
        RealtimeModelSendRawMessage,
        RealtimeModelSendToolOutput,
        RealtimeModelSendUserInput,
    )
    from agents.realtime.openai_realtime import OpenAIRealtimeWebSocketModel  # type: ignore[import-not-found]
except ImportError as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(77)  # the test knows it, and is skipped

FRAME = 160
LOUD = bytes([0x00, 0x80] * 80)  # as loud as mu-law gets, alternating: nobody takes it for silence
SILENT = b"\xff" * FRAME
TOOL = {
    "type": "function", "name": "look", "description": "Looks something up.",
    "parameters": {"type": "object", "properties": {}},
}  # fmt: skip


class Listener:
    def __init__(self, model: OpenAIRealtimeWebSocketModel) -> None:
        self.model = model
        self.got: list[str] = []
        self.wrong: list[str] = []
        self.news = asyncio.Event()

    async def on_event(self, event: Any) -> None:
        self.got.append(event.type)
        self.news.set()
        if event.type in ("error", "exception"):
            self.wrong.append(repr(event))
        if event.type == "function_call":
            output = RealtimeModelSendToolOutput(tool_call=event, output="42", start_response=True)
            await self.model.send_event(output)

    async def until(self, kind: str, count: int = 1) -> None:
        async with asyncio.timeout(10):
            while self.got.count(kind) < count:
                self.news.clear()
                await self.news.wait()


async def speak(model: OpenAIRealtimeWebSocketModel, ms: int = 600) -> None:
    for frame in [LOUD] * (ms // 20) + [SILENT] * 20:
        await model.send_event(RealtimeModelSendAudio(audio=frame))


async def main(url: str) -> None:
    model = OpenAIRealtimeWebSocketModel()
    listener = Listener(model)
    model.add_listener(listener)
    detection = {"type": "server_vad", "silence_duration_ms": 200, "interrupt_response": True}
    settings = {
        "model_name": "gpt-realtime-2.1", "voice": "marin", "modalities": ["audio"],
        "input_audio_format": "g711_ulaw", "output_audio_format": "g711_ulaw",
        "input_audio_transcription": {"model": "gpt-transcribe"}, "turn_detection": detection,
        "instructions": "Be brief.",
    }  # fmt: skip
    await model.connect({"api_key": "invented", "url": url, "initial_model_settings": settings})
    greet = RealtimeModelSendRawMessage(message={"type": "response.create"})
    update = {"session": {"type": "realtime", "tools": [TOOL]}}
    await model.send_event(
        RealtimeModelSendRawMessage(message={"type": "session.update", "other_data": update})
    )
    await model.send_event(greet)
    await listener.until("turn_ended")
    await speak(model)
    await listener.until("turn_ended", 2)
    await speak(model, 1_200)  # a long turn: the front desk calls its tool, and tells the result
    await listener.until("function_call")
    await listener.until("turn_ended", 4)
    turns = listener.got.count("turn_started")
    await model.send_event(RealtimeModelSendUserInput(user_input="Tell me more."))
    await listener.until("turn_started", turns + 1)
    audio = listener.got.count("audio")
    await listener.until("audio", audio + 1)
    await speak(model)  # over it
    await listener.until("audio_interrupted")
    await listener.until("turn_ended", turns + 2)
    await asyncio.sleep(0.3)
    await model.close()
    sys.stdout.write(json.dumps({"got": listener.got, "wrong": listener.wrong}) + "\n")


asyncio.run(main(sys.argv[1]))
