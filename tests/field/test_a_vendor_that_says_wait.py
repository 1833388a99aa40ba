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
from bridge.doubles.agents import Speech
from bridge.doubles.options import ServerOptions
from bridge.doubles.tones import tone
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


class Deaf:
    """A vendor's voice detection that is left to the test."""

    def is_speech(self, buf: bytes, sample_rate: int) -> bool:  # noqa: ARG002
        return False


@pytest.mark.parametrize(("words", "wait_ms"), [("in 2.5s", 2_500), ("in 6.946s", 6_946), ("in 9.5s", 9_500)])
def test_a_turn_that_the_vendor_refuses_to_answer_is_asked_for_when_it_said_so(
    words: str, wait_ms: int
) -> None:
    """It was to answer by itself, and there is an error instead of a response; then it takes 1.5 s."""
    call = begin(model=ServerOptions(detector=Deaf()))
    call.model.answers(Speech(tone(1_000), "We open at nine."))
    call.at(1_000)
    call.caller.says("When do you open?", ms=400)
    call.at(1_050)
    call.model.sends("input_audio_buffer.speech_started", item_id="turn_1", audio_start_ms=900)
    call.at(2_000)
    call.model.sends("input_audio_buffer.speech_stopped", item_id="turn_1", audio_end_ms=1_900)
    call.model.sends("input_audio_buffer.committed", item_id="turn_1", previous_item_id=None)
    call.at(2_100)
    error = {"type": "tokens", "code": "rate_limit_exceeded", "message": f"Please try again {words}."}
    call.model.sends("error", error=error)
    call.at(2_200 + wait_ms - 150)
    call.model.behaves(latency_ms=1_500)
    call.at(2_100 + wait_ms + 5_000)
    (at_ms,) = asked_ms(call)
    assert 2_100 + wait_ms <= at_ms <= 2_100 + wait_ms + 600
    assert [action.heard for _, action in call.rehearsal.said if isinstance(action, m.Spoken)] == [
        "We open at nine."
    ]
    assert len(call.rehearsal.servers) == 1
    call.close()
