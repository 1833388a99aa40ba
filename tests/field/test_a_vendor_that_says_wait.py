"""A vendor that is over its limit and says for how long: the call waits so long, with fillers, and goes on.

Reported of other bridges: asked again too soon, refused again, and the caller was told that something went
wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bridge import Agent
from bridge.core import messages as m
from bridge.testing.call import begin
from bridge.testing.scripted_call import ScriptedCall


@pytest.fixture
def call() -> Iterator[ScriptedCall]:
    call = begin(Agent(instructions="x", greeting=""))
    call.at(1_000)
    yield call
    call.close()


def refuse(call: ScriptedCall, number: int, words: str) -> None:
    error = {"type": "tokens", "code": "rate_limit_exceeded", "message": words}
    started: dict[str, Any] = {"id": f"resp_{number}", "status": "in_progress", "conversation_id": "conv_1"}
    call.model.sends("response.created", response={**started, "metadata": None})
    details = {"type": "failed", "error": error}
    call.model.sends("response.done", response={**started, "status": "failed", "status_details": details})


def asked_ms(call: ScriptedCall) -> list[int]:
    return [at_ms for at_ms, action in call.rehearsal.said if isinstance(action, m.CreateResponse)]


def test_it_is_asked_again_when_it_said_so(call: ScriptedCall) -> None:
    call.model.answers("We open at nine.")
    refuse(call, 101, "Rate limit reached. Please try again in 2.5s.")
    call.at(10_000)
    assert asked_ms(call) == [3_500]
    assert [action.heard for _, action in call.rehearsal.said if isinstance(action, m.Spoken)] == [
        "We open at nine."
    ]


def test_longer_than_a_caller_waits_is_a_failure_like_any_other(call: ScriptedCall) -> None:
    refuse(call, 101, "Please try again in 45s.")
    refuse(call, 102, "Please try again in 44s.")
    call.at(15_000)
    assert call.rehearsal.ended is not None
