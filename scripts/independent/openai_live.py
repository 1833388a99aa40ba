"""The `openai` package's own Live connection against our GPT-Live double: a session in PCM at 24 kHz, a
greeting, a turn, work that is handed to the client, an interruption, the end.

Run by a Python that has `openai[realtime]`: `openai_live.py BASE`, where BASE ends in /v1.
"""

from __future__ import annotations

import asyncio
import sys
from base64 import b64decode, b64encode
from typing import Any

from openai import AsyncOpenAI  # type: ignore[import-not-found,unused-ignore]
from sound import HZ, VOICE, done

FRAME_BYTES = 2 * HZ // 50
MODEL = "gpt-live-1.1"


class Conversation:
    """Sends the caller's sound at its own pace, silence included, and keeps what comes."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.events: list[Any] = []
        self.voice = b""
        self.sound = b""

    async def flows(self) -> None:
        while True:
            frame, self.voice = self.voice[:FRAME_BYTES], self.voice[FRAME_BYTES:]
            frame = frame.ljust(FRAME_BYTES, b"\0")
            await self.connection.session.input_audio.append(audio=b64encode(frame).decode())
            await asyncio.sleep(0.02)

    async def until(self, kind: str) -> Any:
        """The next event of that kind; an error event ends the conversation."""
        async with asyncio.timeout(15):
            while True:
                event = await self.connection.recv()
                self.events.append(event)
                if event.type == "error":
                    raise SystemExit(f"error event: {event.error}")
                if event.type == "session.output_audio.delta":
                    self.sound += b64decode(event.delta)
                if event.type == kind:
                    return event

    async def until_it_sounds(self, on: bool) -> None:
        async with asyncio.timeout(15):
            while any(self.sound[-4_800:]) is not on:
                await self.until("session.output_audio.delta")


async def main(base: str) -> None:
    async with (
        AsyncOpenAI(api_key="invented", websocket_base_url=base) as client,
        client.live.connect(websocket_connection_options={"proxy": None}) as connection,
    ):
        talk = Conversation(connection)
        await connection.session.start(session={"model": MODEL, "instructions": "Be brief."})
        started = await talk.until("session.started")
        assert started.session.model == MODEL, started.session
        flow = asyncio.create_task(talk.flows())

        await connection.session.commentary.append(content="Say now: Hello.", delegation_id=None)
        await talk.until("session.commentary.appended")
        await talk.until_it_sounds(True)
        await talk.until_it_sounds(False)

        talk.voice = VOICE
        await talk.until("session.input_transcript.delta")
        await talk.until("session.output_transcript.delta")
        await talk.until_it_sounds(False)

        talk.voice = VOICE
        work = await talk.until("session.delegation.created")
        assert work.delegation.target == "client", work
        await connection.session.commentary.append(content="Nine to five.", delegation_id=work.delegation.id)
        await talk.until_it_sounds(True)
        talk.voice = VOICE * 3  # over it
        await talk.until_it_sounds(False)

        await connection.session.close()
        closed = await talk.until("session.closed")
        assert closed.reason == "close_requested", closed
        assert closed.usage.seconds >= 1, closed
        flow.cancel()
        done()


asyncio.run(main(sys.argv[1]))
