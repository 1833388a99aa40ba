"""livekit's GPT-Live model and session against our double: a greeting, a turn, a tool of the backend with its
spoken answer, an interruption.

Run by a Python that has `livekit-agents` and `livekit-plugins-openai`: `livekit_live.py BASE`, where BASE
ends in /v1.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from livekit import rtc  # type: ignore[import-not-found,unused-ignore]
from livekit.agents import llm  # type: ignore[import-not-found,unused-ignore]
from livekit.plugins.openai.realtime import GPTLiveModel  # type: ignore[import-not-found,unused-ignore]
from sound import HZ, VOICE, done

FRAME_BYTES = 2 * HZ // 50


@llm.function_tool
async def opening_hours(day: str) -> str:
    """Look up the opening hours."""
    return f"{day}: nine to five"


class Conversation:
    """Sends the caller's sound at its own pace, silence included, and keeps what comes."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.events: list[dict[str, Any]] = []
        self.calls: list[Any] = []
        self.voice = b""
        self.loud = False
        session.on("openai_server_event_received", self.events.append)
        session.on("function_call", self.calls.append)
        session.on("error", lambda error: self.events.append({"type": "error", "error": error}))

    async def flows(self) -> None:
        while True:
            frame, self.voice = self.voice[:FRAME_BYTES], self.voice[FRAME_BYTES:]
            frame = frame.ljust(FRAME_BYTES, b"\0")
            self.session.push_audio(rtc.AudioFrame(frame, HZ, 1, FRAME_BYTES // 2))
            await asyncio.sleep(0.02)

    async def hears(self) -> None:
        async for heard in self.session.audio_stream:
            self.loud = any(bytes(getattr(heard, "frame", heard).data))

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(15):
            while not condition():
                wrong = [event for event in self.events if event["type"] == "error"]
                if wrong:
                    raise SystemExit(f"error event: {wrong[0]}")
                await asyncio.sleep(0.01)

    def count(self, kind: str) -> int:
        return sum(event["type"] == kind for event in self.events)


async def main(base: str) -> None:
    model = GPTLiveModel(base_url=base, api_key="invented")
    session = model.session()
    talk = Conversation(session)
    # As its own adapter configures it, before the session is started.
    await session._update_session(instructions="Be brief.", tools=[opening_hours])  # noqa: SLF001
    tasks = [asyncio.create_task(talk.flows()), asyncio.create_task(talk.hears())]
    await talk.until(lambda: talk.count("session.started"))

    session.append_commentary("Say now: Hello.")
    await talk.until(lambda: talk.loud)
    await talk.until(lambda: not talk.loud)

    talk.voice = VOICE
    await talk.until(lambda: talk.count("session.input_transcript.delta"))
    await talk.until(lambda: talk.loud)
    await talk.until(lambda: not talk.loud)

    talk.voice = VOICE
    await talk.until(lambda: talk.calls)
    call = talk.calls[0]
    assert (call.name, call.arguments) == ("opening_hours", '{"day": "saturday"}'), call
    output = llm.FunctionCallOutput(
        name=call.name, call_id=call.call_id, output="nine to five", is_error=False
    )
    await session._append_items([output])  # noqa: SLF001
    await talk.until(lambda: talk.loud)
    talk.voice = VOICE * 3  # over it
    await talk.until(lambda: not talk.loud)
    for task in tasks:
        task.cancel()
    await session.aclose()
    await model.aclose()
    done()


asyncio.run(main(sys.argv[1]))
