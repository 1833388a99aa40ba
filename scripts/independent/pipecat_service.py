"""pipecat's OpenAIRealtimeLLMService in a pipeline of its own, with its default model; or its xAI service.

Run by a Python that has `pipecat-ai[openai]`: `pipecat_service.py BASE [xai]`, where BASE ends in /v1. What
it greets with is the tool's answer: a text that comes later is no turn to it.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

from loguru import logger  # type: ignore[import-not-found,unused-ignore]
from pipecat.adapters.schemas.function_schema import FunctionSchema  # type: ignore[import-not-found,unused-ignore]
from pipecat.adapters.schemas.tools_schema import ToolsSchema  # type: ignore[import-not-found,unused-ignore]
from pipecat.frames.frames import (  # type: ignore[import-not-found,unused-ignore]
    EndFrame,
    ErrorFrame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMRunFrame,
    TTSAudioRawFrame,
    TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline  # type: ignore[import-not-found,unused-ignore]
from pipecat.pipeline.runner import PipelineRunner  # type: ignore[import-not-found,unused-ignore]
from pipecat.pipeline.task import PipelineParams, PipelineTask  # type: ignore[import-not-found,unused-ignore]
from pipecat.processors.aggregators.llm_context import LLMContext  # type: ignore[import-not-found,unused-ignore]
from pipecat.processors.aggregators.llm_response_universal import (  # type: ignore[import-not-found,unused-ignore]
    LLMContextAggregatorPair,
)
from pipecat.processors.frame_processor import FrameProcessor  # type: ignore[import-not-found,unused-ignore]
from sound import HZ, QUESTION, TOOL, VOICE, done

asked: list[Any] = []


class Listener(FrameProcessor):
    """Behind the service: counts the frames that it makes, and keeps its words."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: Counter[type[Any]] = Counter()
        self.words = ""

    async def process_frame(self, frame: Any, direction: Any) -> None:
        await super().process_frame(frame, direction)
        self.frames[type(frame)] += 1
        if isinstance(frame, TTSTextFrame):
            self.words += frame.text
        await self.push_frame(frame, direction)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(15):
            while not condition():
                await asyncio.sleep(0.01)


async def opening_hours(params: Any) -> None:
    asked.append(params.arguments)
    await params.result_callback("nine to five")


def service_of(base: str, dialect: str) -> Any:
    url = base.replace("http", "ws", 1) + "/realtime"
    if dialect == "xai":
        from pipecat.services.xai.realtime.llm import (  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
            GrokRealtimeLLMService,
        )

        return GrokRealtimeLLMService(api_key="invented", base_url=url)
    from pipecat.services.openai.realtime.llm import (  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
        OpenAIRealtimeLLMService,
    )

    return OpenAIRealtimeLLMService(api_key="invented", base_url=url)


async def main(base: str, dialect: str = "") -> None:
    service = service_of(base, dialect)
    service.register_function("opening_hours", opening_hours)
    schema = FunctionSchema(TOOL["name"], TOOL["description"], TOOL["parameters"]["properties"], [])
    begin = [{"role": "user", "content": QUESTION}]
    pair = LLMContextAggregatorPair(LLMContext(begin, ToolsSchema(standard_tools=[schema])))
    listener = Listener()
    pipeline = Pipeline([pair.user(), service, listener, pair.assistant()])
    task = PipelineTask(
        pipeline, params=PipelineParams(audio_in_sample_rate=HZ, audio_out_sample_rate=HZ), enable_rtvi=False
    )
    errors: list[Any] = []

    @task.event_handler("on_pipeline_error")  # type: ignore[untyped-decorator,unused-ignore]
    async def wrong(_task: Any, frame: ErrorFrame) -> None:
        errors.append(frame)

    running = asyncio.create_task(PipelineRunner(handle_sigint=False).run(task))

    async def speak() -> None:
        """At real time: its xAI service cancels what is active a moment after a voice began."""
        frame_bytes = HZ // 50 * 2
        for at in range(0, len(VOICE), frame_bytes):
            piece = VOICE[at : at + frame_bytes]
            await task.queue_frames([InputAudioRawFrame(audio=piece, sample_rate=HZ, num_channels=1)])
            await asyncio.sleep(0.02)

    # A context is read once, at the beginning: so the first thing asked for is the tool's.
    await task.queue_frames([LLMRunFrame()])
    await listener.until(lambda: "nine to five" in listener.words)
    assert asked == [{"day": "saturday"}], asked
    await asyncio.sleep(1)

    sounding, cut = listener.frames[TTSAudioRawFrame], listener.frames[InterruptionFrame]
    await speak()
    await listener.until(lambda: listener.frames[TTSAudioRawFrame] > sounding)
    await speak()  # over the answer
    await listener.until(lambda: listener.frames[InterruptionFrame] > cut + 1)
    await asyncio.sleep(1)
    await task.queue_frames([EndFrame()])
    await asyncio.wait_for(running, 10)
    if dialect == "xai":  # which takes no truncation, as far as is known
        errors = [one for one in errors if "conversation.item.truncate" not in str(one)]
    assert not errors, errors
    assert not unread, unread
    done()


unread: list[str] = []
"""Events that its own types do not know, or not so."""

logger.remove()
logger.add(sys.stderr, level="ERROR")
logger.add(unread.append, level="WARNING", filter=lambda record: "Failed to parse" in record["message"])
asyncio.run(main(*sys.argv[1:]))
