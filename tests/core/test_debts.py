"""Who answers: each debt is paid by a response that came after it and was heard, or named unpaid."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core import messages as m
from bridge.core.answers import CONTINUED, GO_ON, NOISE_MS, UNANSWERED_MS
from bridge.core.debts import Closed, Debts, Kind

from .conftest import LiveCall, delta, only, speech


def called(number: int = 1, response: str = "r1", name: str = "look_up") -> m.ToolCalled:
    return m.ToolCalled(response, f"f{number}", f"call_{number}", name, f'{{"n":{number}}}')


def asks(actions: list[m.Action]) -> list[str]:
    return [create.tag for create in only(m.CreateResponse, actions)]


def answers(call: LiveCall, now_ms: int, response: str, tag: str = "") -> list[m.Action]:
    """A response that is heard, from its beginning to its end."""
    sound = delta(f"i{response}", 200, response=response)
    return call.speaks(now_ms, m.ResponseStarted(response, tag=tag), sound, m.ResponseDone(response))


def turn(call: LiveCall, now_ms: int) -> list[m.Action]:
    return call.speaks(now_ms, m.SpeechStarted(), m.SpeechStopped())


def became(call: LiveCall) -> dict[str, str]:
    """What became of each debt: the response that paid it, or why none did."""
    closed = call.call.playout.debts.closed
    return {debt.key: debt.paid_by or debt.reason for debt in closed}


# --- results of tools ---------------------------------------------------------------------------------------


def test_a_result_that_comes_after_the_turn_was_answered_is_answered_by_itself(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), called(), m.ResponseDone("r1"))
    turn(call, 1_000)
    assert asks(answers(call, 1_200, "r2")) == [], "the tool still runs"
    assert asks(call.at(4_000, m.ToolFinished("call_1", "42"))) == ["tool:call_1"]
    answers(call, 4_200, "r3", tag="tool:call_1")
    assert became(call) == {"turn:1": "r2", "tools:call_1": "r3"}


def test_a_result_that_comes_while_the_turn_is_answered_is_answered_after_it(live_call: Any) -> None:
    """The response began without it."""
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), called(), m.ResponseDone("r1"))
    turn(call, 1_000)
    call.speaks(1_200, m.ResponseStarted("r2"), delta("A", 900, response="r2"))
    assert asks(call.at(1_300, m.ToolFinished("call_1", "42"))) == []
    assert asks(call.at(1_400, m.ResponseDone("r2"))) == ["tool:call_1"]


def test_a_result_before_the_turn_is_answered_is_answered_with_it(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), called(), m.ResponseDone("r1"))
    turn(call, 1_000)
    assert asks(call.at(1_100, m.ToolFinished("call_1", "42"))) == []
    assert asks(answers(call, 1_200, "r2")) == []
    assert became(call) == {"turn:1": "r2", "tools:call_1": "r2"}


def test_a_slow_batch_never_holds_a_quick_one(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), called(1, name="slow"), m.ResponseDone("r1"))
    turn(call, 1_000)
    call.speaks(1_200, m.ResponseStarted("r2"), called(2, "r2"), m.ResponseDone("r2"))
    assert asks(call.at(1_300, m.ToolFinished("call_2", "42"))) == ["tool:call_2"]
    answers(call, 1_400, "r3", tag="tool:call_2")
    assert asks(call.at(9_000, m.ToolFinished("call_1", "43"))) == ["tool:call_1"]


def test_a_result_that_comes_while_the_caller_speaks_waits_for_their_turn(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), called(), m.ResponseDone("r1"))
    call.at(500, m.SpeechStarted())
    assert asks(call.at(600, m.ToolFinished("call_1", "42"))) == []
    assert asks(call.until(9_000)) == [], "while the caller speaks nothing is asked"
    assert asks(call.at(9_000, m.SpeechStopped())) == []
    assert asks(answers(call, 9_200, "r2")) == []


def test_a_call_told_after_the_caller_began_to_speak_is_answered_with_their_turn(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.ResponseStarted("r1"))
    call.speaks(10, m.SpeechStarted(), called(), m.ResponseDone("r1", "cancelled", "turn_detected"))
    assert asks(call.at(300, m.ToolFinished("call_1", "42"))) == []
    call.at(800, m.SpeechStopped())
    answers(call, 900, "r2")
    assert became(call) == {"turn:1": "r2", "tools:call_1": "r2"}


def test_an_answer_to_a_result_that_was_talked_over_unheard_comes_with_the_turn(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), called(), m.ResponseDone("r1"), m.ToolFinished("call_1", "42"))
    call.at(100, m.ResponseStarted("r2", tag="tool:call_1"))
    call.speaks(200, m.SpeechStarted(), m.ResponseDone("r2", "cancelled", "turn_detected"), m.SpeechStopped())
    assert asks(answers(call, 400, "r3")) == []
    assert became(call)["tools:call_1"] == "r3"


def test_words_of_ours_read_out_do_not_answer_a_result(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), called(), m.ResponseDone("r1"), m.Say("say-1", "One moment."))
    call.at(10, m.ToolFinished("call_1", "42"))
    assert asks(answers(call, 100, "r2", tag="say-1")) == ["tool:call_1"]


# --- the caller's turn --------------------------------------------------------------------------------------


def test_a_turn_that_the_vendor_does_not_begin_to_answer_is_asked_for_once(live_call: Any) -> None:
    call = live_call()
    turn(call, 0)
    assert asks(call.until(UNANSWERED_MS - 1)) == []
    assert asks(call.until(UNANSWERED_MS)) == ["turn:1"]
    assert asks(call.until(7_000)) == []
    answers(call, 7_000, "r1", tag="turn:1")
    assert became(call) == {"turn:1": "r1"}


def test_a_handler_answers_its_turns_itself(live_call: Any) -> None:
    call = live_call(handler=True)
    call.at(0, m.SessionUpdated(responds=False))
    turn(call, 10)
    assert asks(call.until(5_000)) == []
    call.at(5_000, m.Say("say-1", "Yes."))
    answers(call, 5_100, "r1", tag="say-1")
    assert became(call) == {"turn:1": "r1", "say-1": "r1"}


def test_a_turn_whose_response_calls_a_tool_is_answered_with_the_result(live_call: Any) -> None:
    call = live_call()
    turn(call, 0)
    call.speaks(200, m.ResponseStarted("r1"), called(), m.ResponseDone("r1"))
    assert became(call) == {"turn:1": "its response called tools"}
    assert list(call.call.playout.debts.open) == ["tools:call_1"]


# --- tool_choice --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "forced",
    ["required", "look_up", {"type": "function", "name": "look_up"}],
    ids=["any", "name", "function"],
)
def test_a_tool_that_is_forced_is_forced_in_the_callers_turns_only(live_call: Any, forced: Any) -> None:
    call = live_call(session=m.SessionConfig(tool_choice=forced), greeting="Hello.")
    call.at(0, m.SessionUpdated(responds=False))
    answers(call, 0, "r0", tag="greeting")
    turn(call, 100)
    call.speaks(200, m.ResponseStarted("r1", tag="turn:1"), called(), m.ResponseDone("r1"))
    call.at(300, m.ToolFinished("call_1", "42"))
    answers(call, 400, "r2", tag="tool:call_1")
    call.at(500, m.Say("say-1", "Anything else?"))
    chosen = {create.tag: create.tool_choice for create in only(m.CreateResponse, call.actions)}
    assert chosen == {"greeting": "none", "turn:1": None, "tool:call_1": "auto", "say-1": "none"}


def test_where_none_is_forced_nothing_is_said_of_it(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.Say("say-1", "Hello."))
    assert [create.tool_choice for create in only(m.CreateResponse, call.actions)] == [None]


# --- the ledger by itself -----------------------------------------------------------------------------------


def test_a_debt_to_which_responses_say_nothing_is_named_unpaid() -> None:
    debts = Debts()
    debts.owe("turn:1", Kind.TURN, 0)
    for number in range(3):
        debts.began(f"r{number}", "")
        debts.ended(f"r{number}")
    assert debts.open == {}
    assert list(debts.closed) == [Closed("turn:1", reason="its responses said nothing")]


def test_the_first_sound_pays_and_later_sound_pays_nothing_more() -> None:
    debts = Debts()
    debts.owe("turn:1", Kind.TURN, 0)
    debts.began("r1", "")
    debts.sounded("r1")
    debts.owe("turn:2", Kind.TURN, 10)
    debts.sounded("r1")
    debts.ended("r1")
    assert list(debts.open) == ["turn:2"]
    assert list(debts.closed) == [Closed("turn:1", paid_by="r1")]


# --- tools that the vendor runs -----------------------------------------------------------------------------


def mcp(item_id: str, what: str = "completed", epoch: int = 1) -> m.VendorNote:
    return m.VendorNote(f"response.mcp_call.{what}", "{}", item_id, epoch)


def test_the_mcp_calls_of_a_response_are_one_batch_and_are_told_to_the_handler(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), mcp("i1", "in_progress"), mcp("i2", "in_progress"))
    call.at(500, m.ResponseDone("r1"))
    assert call.at(1_000, mcp("i1")) == [mcp("i1")]
    assert call.at(1_020, mcp("i2", "failed")) == [
        mcp("i2", "failed"),
        m.CreateResponse("tool:i2"),
    ]
    assert asks(answers(call, 1_500, "r2", tag="tool:i2")) == []


def test_a_function_and_an_mcp_call_of_one_response_are_one_batch(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), mcp("i1", "in_progress"), called(), m.ResponseDone("r1"))
    assert asks(call.at(100, m.ToolFinished("call_1", "42"))) == []
    assert asks(call.at(900, mcp("i1"))) == ["tool:i1"]


def test_mcp_calls_that_nobody_announced_are_answered_together(live_call: Any) -> None:
    call = live_call()
    assert asks(call.at(0, mcp("i0"))) == ["tool:i0"]
    assert asks(call.speaks(10, *[mcp(f"i{number}") for number in range(1, 1_000)])) == []
    assert asks(answers(call, 100, "r1", tag="tool:i0")) == []
    assert asks(call.at(200, mcp("i0"))) == ["tool:i0"]
    assert len(call.call.playout.debts.open) == 1


def test_an_mcp_call_ends_with_its_session(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), mcp("i1", "in_progress"), m.ResponseDone("r1"))
    call.at(100, m.UpstreamClosed(1011))
    assert asks(call.speaks(200, m.SessionCreated(2), m.SessionUpdated(2))) == ["restored"]
    assert became(call)["tools:i1"] == "the session was lost"


def test_while_an_mcp_call_runs_it_is_not_the_model_that_is_slow(live_call: Any) -> None:
    call = live_call(stalled_ms=8_000)
    call.speaks(0, m.ResponseStarted("r1"), mcp("i1", "in_progress"), m.ResponseDone("r1"))
    assert only(m.DialUpstream, call.until(59_000)) == []
    assert only(m.DialUpstream, call.until(75_000))[:1] == [m.DialUpstream(2)]


# --- responses that come to nothing -------------------------------------------------------------------------


@pytest.mark.parametrize("why", ["client_cancelled", "", "content_filter"])
def test_a_response_that_is_cancelled_unasked_is_owed_again(live_call: Any, why: str) -> None:
    call = live_call()
    turn(call, 0)
    call.at(200, m.ResponseStarted("r1"))
    assert asks(call.at(300, m.ResponseDone("r1", "cancelled", why))) == ["retry"]
    answers(call, 500, "r2", tag="retry")
    assert became(call) == {"turn:1": "r2"}


def test_one_that_is_cancelled_for_a_turn_that_never_comes_is_owed_again(live_call: Any) -> None:
    call = live_call()
    turn(call, 0)
    call.speaks(200, m.ResponseStarted("r1"), m.ResponseDone("r1", "cancelled", "turn_detected"))
    assert asks(call.until(200 + NOISE_MS - 1)) == [], "the turn may yet be told"
    assert asks(call.until(200 + NOISE_MS)) == ["retry"]


def test_one_that_is_cancelled_for_a_turn_is_answered_with_that(live_call: Any) -> None:
    call = live_call()
    turn(call, 0)
    call.speaks(200, m.ResponseStarted("r1"), m.ResponseDone("r1", "cancelled", "turn_detected"))
    call.at(400, m.SpeechStarted())
    assert asks(call.until(5_000)) == []
    call.at(5_000, m.SpeechStopped())
    answers(call, 5_200, "r2")
    assert asks(call.until(20_000)) == []
    assert became(call) == {"turn:1": "the caller spoke", "turn:2": "r2"}


def test_while_responses_are_cancelled_without_end_the_caller_hears_fillers(live_call: Any) -> None:
    call = live_call(phrases={"filler": speech(240, letter="F")})
    turn(call, 0)
    for number in range(40):
        call.at(250 * number, m.ResponseStarted(f"r{number}"))
        call.at(250 * number + 200, m.ResponseDone(f"r{number}", "cancelled", "turn_detected"))
        call.echo(250 * number + 200)
    begun = [at_ms for at_ms, act in call.said if isinstance(act, m.PlayAudio)]
    gaps = [after - before for before, after in zip([0, *begun], [*begun, 10_000], strict=True)]
    assert max(gaps) <= 2_240


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_what_fails_after_sound_was_heard_is_truncated_and_continued(live_call: Any, status: str) -> None:
    call = live_call()
    turn(call, 0)
    call.speaks(200, m.ResponseStarted("r1"), delta("A", 400))
    done = call.at(300, m.ResponseDone("r1", status, "server_error"))
    assert asks(done) == []
    heard = call.echo(600)
    assert only(m.TruncateItem, heard) == [m.TruncateItem("A", 0, 400)]
    [rest] = only(m.CreateResponse, heard)
    assert rest.tag == CONTINUED
    assert GO_ON in rest.instructions
    assert heard.index(m.TruncateItem("A", 0, 400)) < heard.index(rest)
    answers(call, 900, "r2", tag=CONTINUED)
    assert became(call) == {"turn:1": "r1", CONTINUED: "r2"}


def test_the_rest_is_not_wanted_any_more_when_the_caller_speaks(live_call: Any) -> None:
    call = live_call()
    turn(call, 0)
    call.speaks(200, m.ResponseStarted("r1"), delta("A", 400), m.ResponseDone("r1", "failed", "server_error"))
    said = call.at(350, m.SpeechStarted())
    assert only(m.TruncateItem, said) == [m.TruncateItem("A", 0, 150)]
    call.at(800, m.SpeechStopped())
    assert asks(answers(call, 900, "r2")) == []
    assert became(call)[CONTINUED] == "the caller spoke"


def test_a_session_that_does_not_begin_to_answer_is_replaced_whatever_else_it_says(live_call: Any) -> None:
    call = live_call(stalled_ms=8_000)
    turn(call, 0)
    for number in range(1, 80):
        call.at(100 * number, m.UpstreamFaulted("", f"{number}"))
    assert only(m.DialUpstream, call.until(7_999))[1:] == []
    assert only(m.DialUpstream, call.until(8_000)) == [m.DialUpstream(2)]


def test_a_request_that_was_lost_makes_no_response_without_a_word_an_answer(live_call: Any) -> None:
    """The request is out of date, and a vendor without tags never says what became of it."""
    call = live_call(greeting="Hello.", capabilities=m.Capabilities(tags=False))
    answers(call, 100, "r0")
    turn(call, 1_000)
    for number in range(1, 150):
        call.speaks(1_000 + 50 * number, m.ResponseStarted(f"r{number}"), m.ResponseDone(f"r{number}"))
    assert call.call.playout.owed.since_ms == 1_000


@pytest.mark.parametrize("status", ["\0weird", "", "paused"])
def test_a_status_that_nobody_knows_is_an_end_like_any_other(live_call: Any, status: str) -> None:
    call = live_call()
    turn(call, 0)
    call.at(200, m.ResponseStarted("r1"))
    assert asks(call.at(300, m.ResponseDone("r1", status))) == ["retry"]


def test_a_transcript_that_comes_several_times_is_one_turn(live_call: Any) -> None:
    call = live_call(session=m.SessionConfig(transcription="gpt-4o-transcribe"))
    call.speaks(0, m.SpeechStarted("u1"), m.SpeechStopped("u1"), m.TurnCommitted("u1"))
    call.speaks(100, *[m.CallerTranscribed("u1", text) for text in ("Hello.", "Hello, I am Robin.")])
    assert [turn.item_id for turn in only(m.Turn, call.actions)] == ["u1"]
    assert call.items["u1"].text == "Hello, I am Robin.", "the record has the last one"


BUSY = "conversation_already_has_active_response"


@pytest.mark.parametrize("refused_first", [True, False], ids=["refused first", "begun first"])
def test_what_the_vendor_has_answered_by_itself_is_not_asked_for_again(
    live_call: Any, refused_first: bool
) -> None:
    """Our request met a response that it had just begun, and that pays the debt."""
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), called(), m.ResponseDone("r1"))
    assert asks(call.at(2_000, m.ToolFinished("call_1", "42"))) == ["tool:call_1"]
    met = (m.UpstreamFaulted(BUSY, about="create:tool:call_1"), m.ResponseStarted("r2"))
    call.speaks(2_020, *(met if refused_first else met[::-1]))
    call.speaks(2_100, delta("A", 500, response="r2"), m.ResponseDone("r2"))
    call.echo(3_000)
    call.until(20_000)
    assert asks(call.actions) == ["tool:call_1"]
    assert became(call) == {"tools:call_1": "r2"}


def test_one_that_met_a_response_of_which_nothing_is_heard_is_asked_for_again(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), called(), m.ResponseDone("r1"))
    call.at(2_000, m.ToolFinished("call_1", "42"))
    call.speaks(2_020, m.ResponseStarted("r2"), m.UpstreamFaulted(BUSY, about="create:tool:call_1"))
    assert asks(call.at(2_100, m.ResponseDone("r2"))) == ["tool:call_1"]
    answers(call, 2_300, "r3", tag="tool:call_1")
    assert became(call) == {"tools:call_1": "r3"}


def test_a_turn_of_which_nothing_is_told_but_its_commit_is_asked_for_and_then_the_session_replaced(
    live_call: Any,
) -> None:
    call = live_call(media_gap_ms=10**9)
    call.at(2_000, m.TurnCommitted("u1"))
    assert asks(call.until(2_000 + UNANSWERED_MS)) == ["turn:1"]
    assert m.DialUpstream(2) in call.until(10_000)


def test_one_that_the_vendor_answers_by_itself_is_not_asked_for(live_call: Any) -> None:
    call = live_call(media_gap_ms=10**9)
    for number in (1, 2):
        call.at(5_000 * number, m.TurnCommitted(f"u{number}"))
        answers(call, 5_000 * number + 300, f"r{number}")
        call.echo(5_000 * number + 600)
    call.until(30_000)
    assert asks(call.actions) == []
    assert became(call) == {"turn:1": "r1", "turn:2": "r2"}


def test_a_commit_after_the_words_that_belong_to_it_is_no_further_turn(live_call: Any) -> None:
    call = live_call(media_gap_ms=10**9)
    turn(call, 1_000)
    answers(call, 1_200, "r1")
    call.at(1_500, m.TurnCommitted("u1"))
    call.echo(1_600)
    call.until(20_000)
    assert asks(call.actions) == []
