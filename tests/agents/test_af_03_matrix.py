"""AF-3: a pair of provider and transport works, or is refused, where it is declared and at the start."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.agents.agent import TRANSPORTS, Agent
from bridge.agents.config import AgentConfigs
from bridge.core import messages as m
from bridge.errors import ConfigError
from bridge.upstreams import REHEARSALS, UPSTREAMS

PAIRS = [(provider, transport) for provider, transports in TRANSPORTS.items() for transport in transports]


@pytest.mark.parametrize(("provider", "transport"), PAIRS)
def test_af_03_every_pair_in_the_matrix_has_a_session_to_dial(provider: str, transport: str) -> None:
    agent = Agent(provider=provider, transport=transport)
    configs = AgentConfigs(m.CallConfig())
    configs.check(agent, provider)
    dialled = UPSTREAMS[provider](1, "wss://voice.example.com/v1/realtime").dial(configs.session(agent))
    assert dialled.url.startswith("wss://voice.example.com/")


def test_af_03_openai_over_websocket_is_a_working_session(calls: Any) -> None:
    live = calls(Agent(provider="openai", transport="websocket", greeting="Good day."))
    live.wait(3_000)
    live.caller.hangs_up()
    live.until_over()
    heard_ms, said = live.caller.heard_ms, [item.text for item in live.model.server.items.values()]
    assert said
    assert heard_ms > 0


@pytest.mark.parametrize(
    ("provider", "transport", "complaint"),
    [
        ("gemini", "websocket", r"agent agent: provider is one of openai, .*embedded.*, not 'gemini'"),
        ("openai", "webrtc", r"agent agent: openai over 'webrtc' is not supported; there is websocket"),
        ("openai", "sip", "is not supported"),
        ("bedrock", "websocket", "provider is one of"),
        (None, "carrier pigeon", "any provider over 'carrier pigeon' is not supported"),
    ],
)
def test_af_03_a_pair_that_is_not_in_it_is_refused_where_it_is_declared(
    provider: str | None, transport: str, complaint: str
) -> None:
    if provider is not None:
        assert transport not in TRANSPORTS.get(provider, ())
    with pytest.raises(ConfigError, match=complaint):
        Agent(provider=provider, transport=transport)


def test_af_03_and_at_the_start_where_the_settings_say_another_provider(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridge.agents.agent.TRANSPORTS", {**TRANSPORTS, "other": ("websocket",)})
    agent = Agent(provider="other")
    with pytest.raises(ConfigError, match="declared for provider other, and BRIDGE_UPSTREAM is openai"):
        AgentConfigs(m.CallConfig()).check(agent, "openai")


def test_af_03_and_at_the_start_where_the_upstream_has_no_such_transport() -> None:
    with pytest.raises(ConfigError, match="gemini over 'websocket' is not supported"):
        AgentConfigs(m.CallConfig()).check(Agent(), "gemini")


@pytest.mark.parametrize("rehearsal", sorted(REHEARSALS))
def test_af_03_a_rehearsal_takes_every_provider(rehearsal: str) -> None:
    for provider, _ in PAIRS:
        AgentConfigs(m.CallConfig()).check(Agent(provider=provider), rehearsal)
