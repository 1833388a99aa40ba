"""Tools run once, and each batch of them is answered with one response, at the right time."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core import messages as m
from bridge.core.conversation import HISTORY
from bridge.core.due import NEVER
from bridge.core.responses import OVERLONG
from bridge.core.tool_calls import NO_ANSWER, TOOL_GRACE_MS
from bridge.core.toolbox import FAILED, Toolbox, failure

from .conftest import LiveCall, delta, legs, only, speech


def called(number: int = 1, response: str = "r1", *, complete: bool = True) -> m.ToolCalled:
    return m.ToolCalled(response, f"f{number}", f"call_{number}", "look_up", "{}", complete)


def output(number: int, item_id: str, text: str = "42") -> m.CreateItem:
    return m.CreateItem(item_id, call_id=f"call_{number}", output=text)


@pytest.mark.parametrize(
    ("result", "why"),
    [
        ('{"error": "no such order"}', "no such order"),
        ('{ "id": 7, "error": {"code": 5}}', FAILED),
        ('{"error": true}', FAILED),
        ('{"error": null}', None),
        ('{"error": ""}', None),
        ('{"errors": "none"}', None),
        ('["error"]', None),
        ('"error"', None),
        ('{"error": "\\ud800"}', None),
        ('{"error": ' + "[" * 9_000, None),
        ("\ud800", None),
    ],
)
def test_what_a_result_says_of_its_failure(result: str, why: str | None) -> None:
    assert failure(result) == why


def test_a_call_id_runs_once(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.ResponseStarted("r1"))
    assert only(m.ToolWanted, call.at(10, called())) == [m.ToolWanted("call_1", "look_up", "{}")]
    assert only(m.ToolWanted, call.speaks(20, called(), called(2, complete=False))) == []
    assert call.call.stats.tools == 1


def test_a_call_with_endless_arguments_is_answered_with_an_error_and_not_run(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.ResponseStarted("r1"))
    said = call.at(10, m.ToolCalled("r1", "f1", "call_1", "look_up", "x" * 65_537))
    assert only(m.ToolWanted, said) == []
    assert legs(said) == [m.CreateItem("pb_1", call_id="call_1", output=OVERLONG)]
    assert only(m.CreateResponse, call.at(20, m.ResponseDone("r1"))) == [m.CreateResponse("tool:call_1")]
    assert call.call.playout.conversation.tools.calls["call_1"].arguments == "{}"


def test_a_batch_is_answered_once_when_it_is_whole_and_the_response_over(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), called(1), called(2))
    assert legs(call.at(50, m.ToolFinished("call_1", "42"))) == [output(1, "pb_1")]
    call.at(100, m.ResponseDone("r1"))
    assert legs(call.at(200, m.ToolFinished("call_2", "42"))) == [
        output(2, "pb_2"),
        m.CreateResponse("tool:call_2"),
    ]
    assert call.at(300, m.ToolFinished("call_2", "42")) == [], "it was answered"
    assert call.at(310, m.ToolFinished("call_9", "42")) == [], "nobody asked"


def test_a_tool_that_wants_no_answer_gets_none(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), called(1), called(2), m.ResponseDone("r1"))
    assert legs(call.at(50, m.ToolFinished("call_1", "42", respond=False))) == [output(1, "pb_1")]
    assert legs(call.at(60, m.ToolFinished("call_2", "42", respond=False))) == [output(2, "pb_2")]


def test_a_result_after_which_the_caller_has_spoken_is_not_answered_by_itself(live_call: Any) -> None:
    """The caller's turn brings a response of its own, and the result is in the conversation by then."""
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), called(), m.ResponseDone("r1"))
    call.speaks(100, m.SpeechStarted(), m.SpeechStopped())
    assert legs(call.at(200, m.ToolFinished("call_1", "42"))) == [output(1, "pb_1")]


def test_what_the_later_turn_is_owed_stays_owed(live_call: Any) -> None:
    call = live_call(phrases={"filler": speech(240, letter="F")}, stalled_ms=60_000)
    call.speaks(0, m.ResponseStarted("r1"), called(), m.ResponseDone("r1"))
    call.speaks(100, m.SpeechStarted(), m.SpeechStopped(), m.ToolFinished("call_1", "42"))
    call.until(3_000)
    assert fillers(call)


def test_a_result_that_wants_no_answer_leaves_nothing_owed(live_call: Any) -> None:
    call = live_call(phrases={"filler": speech(240, letter="F")}, stalled_ms=60_000)
    call.speaks(0, m.ResponseStarted("r1"), called(), m.ResponseDone("r1"))
    call.at(100, m.ToolFinished("call_1", "42", respond=False))
    call.until(3_000)
    assert fillers(call) == []


def test_user_code_that_blocks_is_answered_for(live_call: Any) -> None:
    config = m.SessionConfig(tool_configs=(m.ToolConfig("look_up", deadline_ms=3_000),))
    call = live_call(session=config)
    call.speaks(0, m.ResponseStarted("r1"), called(), m.ResponseDone("r1"))
    late_ms = 3_000 + TOOL_GRACE_MS
    assert only(m.Noted, call.until(late_ms - 1)) == []
    assert call.until(late_ms) == [
        m.Noted("a tool gave no answer", "look_up"),
        output(1, "pb_1", NO_ANSWER),
        m.CreateResponse("tool:call_1"),
    ]
    assert call.at(late_ms + 1, m.ToolFinished("call_1", "42")) == []


def test_of_two_that_run_only_the_late_one_is(live_call: Any) -> None:
    slow = m.ToolConfig("slow", deadline_ms=60_000)
    call = live_call(session=m.SessionConfig(tool_configs=(slow,)))
    call.speaks(0, m.ResponseStarted("r1"), called())
    call.at(10, m.ToolCalled("r1", "f2", "call_2", "slow", "{}"))
    call.at(20, m.ResponseDone("r1"))
    assert only(m.Noted, call.until(20_000)) == [m.Noted("a tool gave no answer", "look_up")]


def fillers(call: LiveCall) -> list[int]:
    """When a filler began, each of which is one slice long."""
    return [at_ms for at_ms, act in call.said if isinstance(act, m.PlayAudio) and act.audio[:1] == "F"]


def test_a_tool_has_a_filler_of_its_own(live_call: Any) -> None:
    tool = m.ToolConfig("look_up", filler="typing", filler_after_ms=800)
    phrases = {"filler": speech(240, letter="X"), "typing": speech(240, letter="F")}
    call = live_call(session=m.SessionConfig(tool_configs=(tool,)), phrases=phrases)
    call.speaks(0, m.ResponseStarted("r1"), called(), m.ResponseDone("r1"))
    call.until(1_500)
    assert fillers(call) == [800]


def test_or_none(live_call: Any) -> None:
    tool = m.ToolConfig("look_up", filler=None)
    call = live_call(
        session=m.SessionConfig(tool_configs=(tool,)), phrases={"filler": speech(240, letter="F")}
    )
    call.speaks(0, m.ResponseStarted("r1"), called(), m.ResponseDone("r1"))
    call.until(5_000)
    assert fillers(call) == []


def test_no_call_no_deadline() -> None:
    toolbox = Toolbox()
    assert toolbox.due_ms == NEVER


def test_a_new_session_is_told_of_the_newest_items_only(live_call: Any) -> None:
    call = live_call()
    for number in range(HISTORY + 10):
        call.at(number, m.CallerTranscribed(f"u{number}", f"{number}"))
    call.at(1_000, m.UpstreamClosed(1011))
    call.at(1_100, m.SessionCreated(2))
    *told, _ = only(m.CreateItem, call.at(1_100, m.SessionUpdated(2)))
    assert [item.text for item in told] == [str(number) for number in range(10, HISTORY + 10)]


def test_history_never_begins_with_a_result_whose_call_is_left_out(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), called(), m.ResponseDone("r1"), m.ToolFinished("call_1", "42"))
    for number in range(HISTORY - 1):
        call.at(number, m.CallerTranscribed(f"u{number}", f"{number}"))
    call.at(1_000, m.UpstreamClosed(1011))
    call.at(1_100, m.SessionCreated(2))
    *told, _ = only(m.CreateItem, call.at(1_100, m.SessionUpdated(2)))
    assert [item.text for item in told] == [str(number) for number in range(HISTORY - 1)]


def test_a_tool_asked_for_again_by_a_session_that_knows_nothing_of_it_runs_once(live_call: Any) -> None:
    """Whatever it does, it would do twice; its result answers the call that the new session made."""
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), called(1), m.ResponseDone("r1"), m.UpstreamClosed(1011))
    call.speaks(100, m.SessionCreated(2), m.SessionUpdated(2))
    call.at(200, m.ResponseStarted("r2", epoch=2))
    again = m.ToolCalled("r2", "f1", "call_2", "look_up", "{}", epoch=2)
    assert only(m.ToolWanted, call.at(210, again)) == []
    call.at(220, m.ResponseDone("r2", epoch=2))
    [result, create] = legs(call.at(300, m.ToolFinished("call_1", "42")))
    assert isinstance(result, m.CreateItem)
    assert (result.call_id, result.output, result.epoch) == ("call_2", "42", 2)
    assert create == m.CreateResponse("tool:call_1", epoch=2)
    assert len(only(m.ToolWanted, call.actions)) == 1


def test_an_item_that_is_gone_or_says_nothing_is_not_told(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.CallerTranscribed("u1", "One"), m.CallerTranscribed("u2", "Two"), m.ItemGone("u1"))
    call.speaks(10, m.ItemAdded("u3", "message", "user"), m.ItemAdded("f1", "function_call"))
    call.speaks(20, m.ResponseStarted("r1"), delta("A", 400), m.ResponseDone("r1"))
    call.at(1_000, m.UpstreamClosed(1011))
    call.at(1_100, m.SessionCreated(2))
    *told, _ = only(m.CreateItem, call.at(1_100, m.SessionUpdated(2)))
    assert [item.text for item in told] == ["Two"]
