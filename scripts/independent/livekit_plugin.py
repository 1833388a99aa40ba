"""livekit's OpenAI plugin: its RealtimeModel and session, as its agents use them, with the default model.

Run by a Python that has `livekit-agents` and `livekit-plugins-openai`: `livekit_plugin.py BASE`, where BASE
ends in /v1.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from livekit import rtc  # type: ignore[import-not-found,unused-ignore]
from livekit.agents import llm  # type: ignore[import-not-found,unused-ignore]
from livekit.plugins.openai.realtime import RealtimeModel  # type: ignore[import-not-found,unused-ignore]
from sound import HZ, QUESTION, RECITAL, VOICE, done

SECOND_BYTES = 2 * HZ


@llm.function_tool
async def opening_hours(day: str) -> str:
    """Look up the opening hours."""
    return f"{day}: nine to five"


class Conversation:
    def __init__(self, session: Any) -> None:
        self.session = session
        self.events: list[dict[str, Any]] = []
        session.on("openai_server_event_received", self.events.append)
        session.on("error", lambda error: self.events.append({"type": "error", "error": error}))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(15):
            while not condition():
                wrong = [event for event in self.events if event["type"] == "error"]
                if wrong:
                    raise SystemExit(f"error event: {wrong[0]}")
                await asyncio.sleep(0.01)

    def count(self, kind: str) -> int:
        return sum(event["type"] == kind for event in self.events)

    async def responded(self, count: int) -> dict[str, Any]:
        await self.until(lambda: self.count("response.done") >= count)
        return [event["response"] for event in self.events if event["type"] == "response.done"][count - 1]

    def speak(self) -> None:
        for at in range(0, len(VOICE), SECOND_BYTES // 50):
            piece = VOICE[at : at + SECOND_BYTES // 50]
            self.session.push_audio(rtc.AudioFrame(piece, HZ, 1, len(piece) // 2))

    async def told(self, item: Any) -> None:
        context = self.session.chat_ctx.copy()
        context.items.append(item)
        await self.session.update_chat_ctx(context)


async def main(base: str) -> None:
    model = RealtimeModel(base_url=base, api_key="invented")
    session = model.session()
    talk = Conversation(session)
    await session.update_instructions("Be brief.")
    await session.update_tools([opening_hours])

    await session.generate_reply()
    assert (await talk.responded(1))["status"] == "completed"
    assert talk.count("response.output_audio.delta") > 0, "the greeting has sound"

    talk.speak()
    await talk.until(lambda: talk.count("input_audio_buffer.speech_started") == 1)
    assert (await talk.responded(2))["status"] == "completed"

    await talk.told(llm.ChatMessage(role="user", content=[QUESTION]))
    reply = await session.generate_reply()
    async for call in reply.function_stream:
        assert (call.name, call.arguments) == ("opening_hours", '{"day": "saturday"}'), call
        output = llm.FunctionCallOutput(
            name=call.name, call_id=call.call_id, output="nine to five", is_error=False
        )
    await talk.responded(3)
    await talk.told(output)
    await session.generate_reply()
    told = await talk.responded(4)
    words = " ".join(item["content"][0]["transcript"] for item in told["output"])
    assert "nine to five" in words, words

    sounding = talk.count("response.output_audio.delta")
    reply = await session.generate_reply(instructions=RECITAL)
    await talk.until(lambda: talk.count("response.output_audio.delta") > sounding)
    message = await anext(aiter(reply.message_stream))
    talk.speak()  # over it
    assert (await talk.responded(5))["status"] == "cancelled"
    session.truncate(message_id=message.message_id, modalities=["audio"], audio_end_ms=10)
    await talk.until(lambda: talk.count("conversation.item.truncated") == 1)
    await session.aclose()
    await model.aclose()
    done()


asyncio.run(main(sys.argv[1]))
