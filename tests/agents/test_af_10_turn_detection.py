"""AF-10: turn detection is checked to the last key; the defaults are the vendor's."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bridge.agents.agent import Agent
from bridge.agents.turn_detection import turn_detection
from bridge.core.messages import SemanticVad, ServerVad
from bridge.errors import ConfigError


def test_af_10_the_defaults() -> None:
    assert turn_detection({"type": "server_vad"}) == ServerVad(
        threshold=0.5, prefix_padding_ms=300, silence_duration_ms=500, create_response=True,
        interrupt_response=True, idle_timeout_ms=None,
    )  # fmt: skip
    assert turn_detection({"type": "semantic_vad"}) == SemanticVad("auto", True, True)
    assert turn_detection(None) is None


@pytest.mark.parametrize(
    "given",
    [
        {"type": "server_vad", "threshold": 0},
        {"type": "server_vad", "threshold": 1.0},
        {"type": "server_vad", "prefix_padding_ms": 0, "silence_duration_ms": 0},
        {"type": "server_vad", "create_response": False, "interrupt_response": False},
        {"type": "server_vad", "idle_timeout_ms": 5_000},
        {"type": "server_vad", "idle_timeout_ms": 30_000},
        {"type": "server_vad", "idle_timeout_ms": None},
        *(
            {"type": "semantic_vad", "eagerness": eagerness}
            for eagerness in ("auto", "low", "medium", "high")
        ),
        {"type": "semantic_vad", "create_response": False, "interrupt_response": False},
    ],
)
def test_af_10_what_the_vendor_takes_is_taken_as_it_is(given: dict[str, Any]) -> None:
    made = turn_detection(given)
    kept = dict(given)
    assert isinstance(made, ServerVad if kept.pop("type") == "server_vad" else SemanticVad)
    assert {name: getattr(made, name) for name in kept} == kept


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({}, r"turn_detection\.type is one of server_vad, semantic_vad, not None"),
        ({"type": "none"}, "not 'none'"),
        ({"type": "server_vad", "treshold": 0.5}, "has no 'treshold'; it has threshold, prefix_padding_ms"),
        ({"type": "server_vad", "eagerness": "low"}, "of type server_vad has no 'eagerness'"),
        ({"type": "semantic_vad", "threshold": 0.5}, "of type semantic_vad has no 'threshold'"),
        ({"type": "semantic_vad", "idle_timeout_ms": 6_000}, "has no 'idle_timeout_ms'"),
        *(
            ({"type": "server_vad", "threshold": wrong}, r"turn_detection\.threshold is a number from 0 to 1")
            for wrong in (-0.1, 1.1, math.nan, math.inf, "0.5", True, None)
        ),
        *(
            (
                {"type": "server_vad", name: wrong},
                rf"turn_detection\.{name} is a whole number of milliseconds",
            )
            for name in ("prefix_padding_ms", "silence_duration_ms")
            for wrong in (-1, 0.5, "300", True, None)
        ),
        *(
            ({"type": kind, name: wrong}, rf"turn_detection\.{name} is True or False")
            for kind in ("server_vad", "semantic_vad")
            for name in ("create_response", "interrupt_response")
            for wrong in (1, "yes", None)
        ),
        *(
            ({"type": "server_vad", "idle_timeout_ms": wrong}, "is 5000 to 30000 milliseconds, or None")
            for wrong in (4_999, 30_001, 6_000.0, True)
        ),
        *(
            ({"type": "semantic_vad", "eagerness": wrong}, "is one of auto, low, medium, high")
            for wrong in ("eager", "", None, 1)
        ),
        ("server_vad", "turn_detection is a mapping, ServerVad or SemanticVad"),
    ],
)
def test_af_10_anything_else_is_refused_and_the_key_named(given: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        turn_detection(given)


def test_af_10_a_struct_is_checked_like_a_mapping() -> None:
    assert turn_detection(ServerVad(threshold=0.8)) == ServerVad(threshold=0.8)
    with pytest.raises(ConfigError, match="threshold"):
        turn_detection(ServerVad(threshold=8))
    with pytest.raises(ConfigError, match="eagerness"):
        turn_detection(SemanticVad("very"))


def test_af_10_an_agent_checks_it_where_it_is_declared() -> None:
    with pytest.raises(ConfigError, match="has no 'treshold'"):
        Agent(turn_detection={"type": "server_vad", "treshold": 0.5})
    assert Agent(turn_detection={"type": "semantic_vad"}).turn_detection == SemanticVad()
