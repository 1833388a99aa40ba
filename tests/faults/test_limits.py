"""Limits that end politely: the model is told and says goodbye; a phrase does if it does not.

These calls may last 12 s: the goodbye begins at 7 s.
"""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core import messages as m
from bridge.core.messages import Limits
from bridge.doubles.agents import Failure, Pause, ToolCall

from .rig import Clerk, Plan, Rig, answer

LONG = "a limit was reached: it has lasted as long as it may"


def limited(agent: Clerk | None = None, **config: Any) -> Rig:
    config.setdefault("limits", Limits(call_ms=12_000, goodbye_ms=5_000))
    rig = Rig(agent, **config)
    rig.says(4_000)
    return rig


def test_the_model_says_goodbye_before_the_time_is_over() -> None:
    rig = limited().play(20_000)
    assert rig.story() == ["answer 1", "answer 2", "answer 3"]
    assert (rig.reason, rig.intent, rig.notes) == (m.Reason.LIMIT, "ended", [LONG])
    assert "The call has to end now" in rig.agent.asked[-1].request["instructions"]
    assert rig.phone.heard_spans[-1].at_ms < 12_000


@pytest.mark.parametrize(
    "pause", [[Pause(20_000), answer(3)], [], [Failure()]], ids=["late", "mute", "failed"]
)
def test_a_phrase_says_it_where_the_model_does_not(pause: Any) -> None:
    rig = limited(Clerk({3: pause, 4: pause})).play(20_000)
    assert rig.story() == ["answer 1", "answer 2", "goodbye"]
    assert rig.reason is m.Reason.LIMIT


def test_a_phrase_says_it_where_the_model_is_a_black_hole() -> None:
    rig = limited()
    rig.stalls(6_900)
    rig.play(20_000)
    assert rig.story() == ["answer 1", "answer 2", "goodbye"]


def test_a_phrase_says_it_where_the_model_is_lost() -> None:
    rig = limited()
    rig.loses(7_100)
    rig.play(20_000)
    assert rig.story() == ["answer 1", "answer 2", "goodbye"]
    assert rig.reason is m.Reason.LIMIT


def test_a_model_that_is_being_dialled_when_the_time_is_over_says_it() -> None:
    rig = limited()
    rig.loses(6_985)
    rig.play(20_000)
    assert rig.story() == ["answer 1", "answer 2", "answer 3"]
    assert rig.reason is m.Reason.LIMIT


def test_a_caller_who_talks_over_the_goodbye_hears_a_phrase_and_then_it_is_over() -> None:
    rig = limited()
    rig.says(7_600)
    rig.start()
    rig.until(20_000)
    assert rig.story()[:2] == ["answer 1", "answer 2"]
    assert rig.story()[-1] == "goodbye"
    assert rig.reason is m.Reason.LIMIT


def test_money_ends_a_call_with_enough_left_for_the_goodbye() -> None:
    prices = {"audio_out": 1_000.0}
    limits = Limits(cost_micro_usd=90_000, goodbye_micro_usd=30_000)
    rig = limited(limits=limits, prices=prices)
    rig.play(20_000)
    assert rig.notes[0].startswith("a limit was reached: the call has cost 0.0")
    assert rig.story()[-1] == f"answer {len(rig.agent.asked)}"
    assert rig.reason is m.Reason.LIMIT
    assert rig.call.stats.cost_micro_usd <= 90_000


def test_a_model_that_calls_tools_in_a_circle_is_stopped() -> None:
    circle: Plan = {number: [ToolCall("look_up", {"n": number}, f"call_{number}")] for number in range(2, 20)}
    rig = limited(Clerk(circle), limits=Limits(tools=4))
    rig.answers_tools(100)
    rig.play(20_000)
    assert rig.notes == ["a limit was reached: 5 tools were called"]
    assert rig.reason is m.Reason.LIMIT
    assert len(rig.tools) <= 6
    assert rig.story()[-1] == "goodbye"


def test_a_caller_who_is_not_there_is_asked_twice_and_then_left() -> None:
    rig = Rig(limits=Limits(nudge_ms=4_000)).play(30_000)
    assert rig.story() == ["answer 1", "still_there", "still_there", "answer 2"]
    assert (rig.reason, rig.notes) == (m.Reason.LIMIT, ["a limit was reached: the caller has been silent"])


def test_a_caller_who_was_only_thinking_is_not_left() -> None:
    rig = Rig(limits=Limits(nudge_ms=4_000))
    rig.says(7_000)
    rig.play(10_000)
    assert rig.story() == ["answer 1", "still_there", "answer 2"]
    assert rig.ended is None


def test_a_handler_that_fails_ends_the_call_in_words() -> None:
    rig = Rig()
    rig.does(800, m.HandlerFailed("ValueError"))
    rig.play(10_000)
    assert rig.story() == ["answer 1 (550 ms)", "apology"]
    assert (rig.reason, rig.intent) == (m.Reason.HANDLER_FAILED, "ended")


def test_a_process_that_goes_down_ends_the_call_at_once() -> None:
    rig = Rig()
    rig.does(800, m.ShutDown())
    rig.play(10_000)
    assert rig.story() == ["answer 1 (550 ms)"]
    assert (rig.reason, rig.intent) == (m.Reason.SHUTDOWN, "ended")
