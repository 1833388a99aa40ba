"""AF-7: one declaration says it all: name, provider, transport, model, modalities, voice, turn detection,
tools, tags, metadata; with the handler below it.
"""

from __future__ import annotations

import asyncio

import pytest

from bridge.agents.agent import Agent
from bridge.agents.session import Session
from bridge.agents.tools import tool
from bridge.core import messages as m
from bridge.errors import ConfigError
from tests.agents.line import configured, live_call
from tests.agents.virtual_time import run


@tool
def weather(place: str) -> str:
    """Tell the weather at a place."""
    return f"Sun in {place}."


@Agent(
    "Be brief.",
    name="front desk",
    provider="openai",
    transport="websocket",
    model="gpt-realtime-2.1-mini",
    modalities=["audio"],
    voice="cedar",
    turn_detection={"type": "semantic_vad", "eagerness": "low"},
    tools=[weather],
    tags=["hotel"],
    metadata={"desk": "1"},
).answered_by
async def front_desk(session: Session) -> None:
    seen.append(session)
    await session.input()


seen: list[Session] = []


def test_af_07_a_decorated_handler_is_the_agent() -> None:
    assert isinstance(front_desk, Agent)
    assert front_desk.handler is not None
    assert front_desk.name == "front desk"
    assert front_desk.tags == ("hotel",)


def test_af_07_what_is_declared_is_what_the_model_is_configured_with() -> None:
    async def call() -> dict[str, object]:
        seen.clear()
        async with live_call(front_desk) as live:
            session = configured(live)
            live.hangs_up()
            await live.over()
            return session

    session = run(call())
    assert session["instructions"] == "Be brief."
    assert session["output_modalities"] == ["audio"]
    assert session["audio"] == {
        "input": {
            "format": {"type": "audio/pcmu"},
            "turn_detection": {
                "type": "semantic_vad",
                "eagerness": "low",
                "create_response": False,  # the handler answers
                "interrupt_response": True,
            },
            "transcription": {"model": "gpt-transcribe"},
        },
        "output": {"format": {"type": "audio/pcmu"}, "voice": "cedar"},
    }
    assert [known["name"] for known in session["tools"]] == ["weather"]  # type: ignore[attr-defined]
    (only,) = seen
    assert only.agent is front_desk
    assert only.metadata == {"desk": "1"}


def test_af_07_defaults_are_a_phone_call() -> None:
    agent = Agent()
    assert agent.modalities == ("audio", "text")
    assert agent.turn_detection == m.ServerVad(0.5, 300, 500, True, True)
    assert (agent.provider, agent.transport) == (None, "websocket")
    assert (agent.tools, agent.tags, dict(agent.metadata)) == ((), (), {})


def test_af_07_audio_brings_its_text_with_it() -> None:
    """Modalities audio and text: the vendor gives either, and with audio always the transcript."""
    texts: list[str] = []

    async def handler(session: Session) -> None:
        texts.append((await session.say("Both.")).text)

    async def call() -> int:
        async with live_call(Agent(handler=handler, modalities=["audio", "text"])) as live:
            await live.over()
            return live.heard_ms()

    assert run(call()) == 60 * len("Both.")
    assert texts == ["Both."]


def test_af_07_one_declaration_serves_many_calls() -> None:
    async def call() -> int:
        seen.clear()
        async with live_call(front_desk) as one, live_call(front_desk) as other:
            one.hangs_up()
            other.hangs_up()
            await asyncio.sleep(0.1)
        return len({id(session) for session in seen})

    assert run(call()) == 2


def test_af_07_a_phone_has_no_use_for_text_alone() -> None:
    with pytest.raises(ConfigError, match="modalities is audio, or audio and text"):
        Agent(modalities=["text"])
