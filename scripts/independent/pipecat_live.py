"""pipecat's OpenAILiveLLMService in a pipeline of its own, against our double of GPT-Live: a greeting, a
turn, a tool of the backend with its spoken answer, an interruption.

Run by a Python that has `pipecat-ai[openai]`: `pipecat_live.py BASE`, where BASE ends in /v1.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from loguru import logger  # type: ignore[import-not-found,unused-ignore]
from pipecat.adapters.schemas.function_schema import FunctionSchema  # type: ignore[import-not-found,unused-ignore]
from pipecat.adapters.schemas.tools_schema import ToolsSchema  # type: ignore[import-not-found,unused-ignore]
from pipecat.frames.frames import (  # type: ignore[import-not-found,unused-ignore]
    EndFrame,
    ErrorFrame,
    InputAudioRawFrame,
    LLMRunFrame,
    SpeechOutputAudioRawFrame,
)
from pipecat.pipeline.pipeline import Pipeline  # type: ignore[import-not-found,unused-ignore]
from pipecat.pipeline.runner import PipelineRunner  # type: ignore[import-not-found,unused-ignore]
from pipecat.pipeline.task import PipelineParams, PipelineTask  # type: ignore[import-not-found,unused-ignore]
from pipecat.processors.aggregators.llm_context import LLMContext  # type: ignore[import-not-found,unused-ignore]
from pipecat.processors.aggregators.llm_response_universal import (  # type: ignore[import-not-found,unused-ignore]
    LLMContextAggregatorPair,
)
from pipecat.processors.frame_processor import FrameProcessor  # type: ignore[import-not-found,unused-ignore]
from pipecat.services.openai.live.llm import OpenAILiveLLMService  # type: ignore[import-not-found,unused-ignore]
from pipecat.services.openai.responses.llm import (  # type: ignore[import-not-found,unused-ignore]
    OpenAIResponsesLLMService,
)
from sound import HZ, TOOL, VOICE, done

PIECE_BYTES = HZ // 50 * 2
asked: list[Any] = []


class Listener(FrameProcessor):
    """Behind the service: whether what it plays is loud, and how often it began to be."""

    def __init__(self) -> None:
        super().__init__()
        self.loud = False
        self.utterances = 0

    async def process_frame(self, frame: Any, direction: Any) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, SpeechOutputAudioRawFrame):
            loud = any(frame.audio)
            self.utterances += loud and not self.loud
            self.loud = loud
        await self.push_frame(frame, direction)


async def opening_hours(params: Any) -> None:
    asked.append(params.arguments)
    await params.result_callback("nine to five")


def service_of(base: str) -> Any:
    backend = OpenAIResponsesLLMService.Settings(model="gpt-5.4-mini")
    service = OpenAILiveLLMService(
        api_key="invented",
        base_url=base.replace("http", "ws", 1) + "/live/sessions",
        delegation=OpenAILiveLLMService.ResponsesDelegation(settings=backend),
    )
    service.register_function("opening_hours", opening_hours)
    return service


class Conversation:
    """Sends the caller's sound at its own pace, silence included, and knows what is played."""

    def __init__(self, base: str) -> None:
        schema = FunctionSchema(TOOL["name"], TOOL["description"], TOOL["parameters"]["properties"], [])
        begin = [
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": "Say now: Hello."},
        ]
        pair = LLMContextAggregatorPair(LLMContext(begin, ToolsSchema(standard_tools=[schema])))
        self.listener = Listener()
        pipeline = Pipeline([pair.user(), service_of(base), self.listener, pair.assistant()])
        params = PipelineParams(audio_in_sample_rate=HZ, audio_out_sample_rate=HZ)
        self.task = PipelineTask(pipeline, params=params, enable_rtvi=False)
        self.errors: list[Any] = []
        self.voice = b""

        @self.task.event_handler("on_pipeline_error")  # type: ignore[untyped-decorator,unused-ignore]
        async def wrong(_task: Any, frame: ErrorFrame) -> None:
            self.errors.append(frame)

    async def flows(self) -> None:
        due_s = asyncio.get_running_loop().time()
        while True:
            piece, self.voice = self.voice[:PIECE_BYTES], self.voice[PIECE_BYTES:]
            audio = piece.ljust(PIECE_BYTES, b"\0")
            await self.task.queue_frames([InputAudioRawFrame(audio=audio, sample_rate=HZ, num_channels=1)])
            due_s += 0.02
            await asyncio.sleep(max(0.0, due_s - asyncio.get_running_loop().time()))

    async def said(self, number: int) -> None:
        """Until so many utterances were begun."""
        async with asyncio.timeout(20):
            while self.listener.utterances < number and not self.errors:
                await asyncio.sleep(0.01)
        assert not self.errors, self.errors

    async def quiet(self) -> None:
        async with asyncio.timeout(20):
            while self.listener.loud:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)


async def main(base: str) -> None:
    talk = Conversation(base)
    running = asyncio.create_task(PipelineRunner(handle_sigint=False).run(talk.task))
    await talk.task.queue_frames([LLMRunFrame()])
    flowing = asyncio.create_task(talk.flows())
    await talk.said(1)
    await talk.quiet()
    talk.voice = VOICE
    await talk.said(2)
    await talk.quiet()
    talk.voice = VOICE
    await talk.said(3)
    assert asked == [{"day": "saturday"}], asked
    talk.voice = VOICE * 3  # over it
    await talk.quiet()
    flowing.cancel()
    await talk.task.queue_frames([EndFrame()])
    await asyncio.wait_for(running, 20)
    assert not talk.errors, talk.errors
    assert not warned, warned
    done()


warned: list[str] = []
"""Events that its own types do not know, or not so."""

logger.remove()
logger.add(sys.stderr, level="WARNING")
logger.add(warned.append, level="WARNING", filter=lambda record: "parse" in record["message"].lower())
asyncio.run(main(sys.argv[1]))
