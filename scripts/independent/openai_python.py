"""The `openai` package's own Realtime connection, with its defaults: PCM at 24 kHz, voice detection on.

Run by a Python that has `openai[realtime]`: `openai_python.py BASE [azure|xai]`, where BASE ends in /v1. With
`azure` it is the package's own client of Azure, with a deployment; `xai` takes no truncation.
"""

from __future__ import annotations

import asyncio
import json
import sys
from base64 import b64decode, b64encode
from typing import Any

from openai import AsyncAzureOpenAI, AsyncOpenAI  # type: ignore[import-not-found,unused-ignore]
from sound import QUESTION, RECITAL, TOOL, VOICE, done

MODEL = "gpt-realtime-2.1"


class Conversation:
    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.events: list[Any] = []

    async def until(self, kind: str) -> Any:
        """The next event of that kind; an error event ends the conversation."""
        async with asyncio.timeout(15):
            while True:
                event = await self.connection.recv()
                self.events.append(event)
                if event.type == "error":
                    raise SystemExit(f"error event: {event.error}")
                if event.type == kind:
                    return event

    async def response(self) -> Any:
        return (await self.until("response.done")).response

    async def speak(self) -> None:
        await self.connection.input_audio_buffer.append(audio=b64encode(VOICE).decode())

    def audio_bytes(self) -> int:
        return sum(len(event.delta) for event in self.events if event.type == "response.output_audio.delta")


def client_of(base: str, dialect: str) -> Any:
    if dialect != "azure":
        return AsyncOpenAI(api_key="invented", websocket_base_url=base)
    place = base.replace("/v1", "/openai").replace("http", "ws", 1)
    return AsyncAzureOpenAI(
        api_key="invented",
        azure_endpoint="https://mine.openai.azure.com",
        azure_deployment=MODEL,
        api_version="2025-08-28",
        websocket_base_url=place,
    )


async def main(base: str, dialect: str = "") -> None:
    async with (
        client_of(base, dialect) as client,
        client.realtime.connect(model=MODEL, websocket_connection_options={"proxy": None}) as connection,
    ):
        talk = Conversation(connection)
        created = await talk.until("session.created")
        assert created.session.model == MODEL, created.session
        own = {"turn_detection": {"type": "server_vad"}} if dialect == "xai" else {}
        await connection.session.update(
            session={"type": "realtime", "model": "gpt-realtime", "tools": [TOOL], **own}
        )
        await talk.until("session.updated")

        await connection.response.create()
        assert (await talk.response()).status == "completed"
        assert talk.audio_bytes() > 0, "the greeting has sound"

        await talk.speak()
        await talk.until("input_audio_buffer.speech_started")
        assert (await talk.response()).status == "completed"

        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": QUESTION}]}
        await connection.conversation.item.create(item=item)
        await connection.response.create()
        (call,) = [item for item in (await talk.response()).output if item.type == "function_call"]
        assert json.loads(call.arguments) == {"day": "saturday"}, call
        output = {"type": "function_call_output", "call_id": call.call_id, "output": "nine to five"}
        await connection.conversation.item.create(item=output)
        await connection.response.create()
        words = " ".join(item.content[0].transcript for item in (await talk.response()).output)
        assert "nine to five" in words, words

        await connection.response.create(response={"instructions": RECITAL})
        first = await talk.until("response.output_audio.delta")
        await talk.speak()  # over it
        await talk.until("input_audio_buffer.speech_started")
        assert (await talk.response()).status == "cancelled"
        if dialect == "xai":
            done()
            return
        heard_ms = len(b64decode(first.delta)) // 48
        await connection.conversation.item.truncate(
            item_id=first.item_id, content_index=0, audio_end_ms=heard_ms
        )
        await talk.until("conversation.item.truncated")
        done()


asyncio.run(main(*sys.argv[1:]))
