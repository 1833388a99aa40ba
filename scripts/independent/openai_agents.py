"""`openai-agents`' RealtimeSession with its defaults: it runs the tool, answers with it, and truncates.

Run by a Python that has `openai-agents`: `openai_agents.py BASE`, where BASE ends in /v1.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from agents import function_tool  # type: ignore[import-not-found,unused-ignore]
from agents.realtime import (  # type: ignore[import-not-found,unused-ignore]
    RealtimeAgent,
    RealtimeModelSendRawMessage,
    RealtimeRunner,
)
from sound import QUESTION, RECITAL, VOICE, done

asked: list[str] = []


@function_tool
def opening_hours(day: str) -> str:
    """Look up the opening hours."""
    asked.append(day)
    return "nine to five"


class Conversation:
    def __init__(self, session: Any) -> None:
        self.session = session
        self.kinds: list[str] = []
        self.raw: list[dict[str, Any]] = []
        self.news = asyncio.Event()

    async def read(self) -> None:
        async for event in self.session:
            self.kinds.append(event.type)
            if event.type == "error":
                raise SystemExit(f"error event: {event.error}")
            if event.type == "raw_model_event":
                if event.data.type in ("error", "exception"):
                    raise SystemExit(f"error event: {event.data}")
                if event.data.type == "raw_server_event":
                    self.raw.append(event.data.data)
            self.news.set()

    async def until(self, count: int, of: Any) -> None:
        async with asyncio.timeout(15):
            while of() < count:
                self.news.clear()
                await self.news.wait()

    def raw_count(self, kind: str) -> int:
        return sum(event["type"] == kind for event in self.raw)

    async def responses(self, count: int) -> str:
        """Until so many are done; the status of the last."""
        await self.until(count, lambda: self.raw_count("response.done"))
        return [event["response"]["status"] for event in self.raw if event["type"] == "response.done"][-1]

    def words(self) -> str:
        """What the last response said."""
        (*_, last) = (event["response"] for event in self.raw if event["type"] == "response.done")
        return " ".join(item["content"][0]["transcript"] for item in last["output"])

    async def asks(self, **response: str) -> None:
        message: dict[str, Any] = {"type": "response.create"}
        if response:
            message["other_data"] = {"response": response}
        await self.session.model.send_event(RealtimeModelSendRawMessage(message=message))


async def main(base: str) -> None:
    agent = RealtimeAgent(name="desk", instructions="Be brief.", tools=[opening_hours])
    url = f"{base.replace('http', 'ws', 1)}/realtime?model=any-name"
    session = await RealtimeRunner(agent).run(model_config={"api_key": "invented", "url": url})
    async with session:
        talk = Conversation(session)
        reading = asyncio.create_task(talk.read())
        await talk.asks()
        assert await talk.responses(1) == "completed"
        assert "audio" in talk.kinds, "the greeting has sound"

        await session.send_audio(VOICE)
        assert await talk.responses(2) == "completed"

        await session.send_message(QUESTION)
        assert await talk.responses(4) == "completed"
        assert asked == ["saturday"], asked
        assert "nine to five" in talk.words(), talk.words()

        sounding = talk.kinds.count("audio")
        await talk.asks(instructions=RECITAL)
        await talk.until(sounding + 1, lambda: talk.kinds.count("audio"))
        await session.send_audio(VOICE)  # over it
        await talk.until(1, lambda: talk.kinds.count("audio_interrupted"))
        assert await talk.responses(5) == "cancelled"
        await talk.until(1, lambda: talk.raw_count("conversation.item.truncated"))
        if reading.done():
            reading.result()
        reading.cancel()
    done()


asyncio.run(main(sys.argv[1]))
