"""AF-7: one declaration says it all: name, provider, transport, model, modalities, voice, turn detection,
tools, tags, metadata; with the handler below it.
"""

from __future__ import annotations

from typing import Any

import pytest

from bridge.agents.agent import Agent
from bridge.agents.session import Session
from bridge.agents.tools import tool
from bridge.core import messages as m
from bridge.errors import ConfigError
from bridge.testing.call import TRANSCRIPTION


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


def test_af_07_what_is_declared_is_what_the_model_is_configured_with(calls: Any) -> None:
    seen.clear()
    live = calls(front_desk)
    session = live.model.told("session.update")[-1]["session"]
    live.caller.hangs_up()
    live.until_over()
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
            "transcription": {"model": TRANSCRIPTION},
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


def test_af_07_audio_brings_its_text_with_it(calls: Any) -> None:
    """Modalities audio and text: the vendor gives either, and with audio always the transcript."""
    texts: list[str] = []

    async def handler(session: Session) -> None:
        texts.append((await session.say("Both.")).text)

    live = calls(Agent(handler=handler, modalities=["audio", "text"]))
    live.until_over()
    assert live.caller.heard_ms == 60 * len("Both.")
    assert texts == ["Both."]


def test_af_07_one_declaration_serves_many_calls(calls: Any) -> None:
    seen.clear()
    for call in (calls(front_desk), calls(front_desk)):
        call.caller.hangs_up()
        call.wait(100)
    assert len({id(session) for session in seen}) == 2


def test_af_07_a_phone_has_no_use_for_text_alone() -> None:
    with pytest.raises(ConfigError, match="modalities is audio, or audio and text"):
        Agent(modalities=["text"])
