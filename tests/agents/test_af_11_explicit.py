"""AF-11: provider and transport are what somebody said, never inferred; and `input()` works."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.agents.agent import Agent
from bridge.agents.calls import UserSide
from bridge.agents.config import AgentConfigs
from bridge.agents.loop import SameLoop
from bridge.agents.session import Session
from bridge.core import messages as m
from bridge.errors import ConfigError
from tests.agents.virtual_time import run


@pytest.mark.parametrize("model", ["gemini-2.5-flash-live", "grok-voice", "gpt-realtime-2.1"])
def test_af_11_a_models_name_chooses_no_provider(model: str) -> None:
    agent = Agent(model=model)
    assert (agent.provider, agent.transport) == (None, "websocket")
    AgentConfigs(m.CallConfig()).check(agent, "openai")  # the settings' word is the only one there is


def test_af_11_an_agent_without_a_provider_goes_where_the_settings_say() -> None:
    for upstream in ("openai", "embedded"):
        AgentConfigs(m.CallConfig()).check(Agent(), upstream)


def test_af_11_an_agent_with_one_is_never_taken_elsewhere() -> None:
    with pytest.raises(ConfigError, match="declared for provider embedded, and BRIDGE_UPSTREAM is openai"):
        AgentConfigs(m.CallConfig()).check(Agent(provider="embedded"), "openai")


def test_af_11_whoever_it_hands_off_to_is_asked_as_well() -> None:
    agent = Agent(name="front", handoffs=[Agent(name="back", provider="embedded")])
    with pytest.raises(ConfigError, match="agent back is declared for provider embedded"):
        AgentConfigs(m.CallConfig()).check(agent, "openai")


def test_af_11_the_start_fails_not_the_first_call() -> None:
    async def start() -> None:
        with pytest.raises(ConfigError, match="agent agent is declared for provider embedded"):
            UserSide(
                Agent(provider="embedded"),
                AgentConfigs(m.CallConfig()),
                upstream="openai",
                loops=[SameLoop()],
            )

    run(start())


def test_af_11_input_of_an_explicit_pair_raises_nothing(calls: Any) -> None:
    texts: list[str] = []

    async def handler(session: Session) -> None:
        texts.append((await session.input()).text)

    agent = Agent(provider="openai", transport="websocket", handler=handler)
    live = calls(agent)
    live.caller.says("it works")
    live.until_over()
    assert texts == ["it works"]
