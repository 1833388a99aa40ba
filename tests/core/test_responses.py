"""Whose turn it is: at most one response active, at most one asked for, and everybody's gets its turn."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core import messages as m
from bridge.core.response_gate import FORGET_RESPONSES, ResponseGate

from .conftest import LiveCall, delta, legs, only, phone, truth

BUSY = "conversation_already_has_active_response"


def asks(actions: list[m.Action]) -> list[str]:
    return [create.tag for create in only(m.CreateResponse, actions)]


def test_while_a_response_is_active_the_next_one_waits(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.ResponseStarted("r1"))
    assert call.speaks(10, m.Say("say-1", "One."), m.Respond("say-2")) == []
    assert asks(call.at(500, m.ResponseDone("r1"))) == ["say-1"]
    assert call.at(510, m.Respond("say-3")) == []
    assert call.speaks(600, m.ResponseStarted("r2", tag="say-1"), m.AudioDone("r2", "i2")) == []
    assert asks(call.at(900, m.ResponseDone("r2"))) == ["say-2"]
    call.at(950, m.ResponseStarted("r3", tag="say-2"))
    assert asks(call.at(990, m.ResponseDone("r3"))) == ["say-3"]


def test_while_one_is_asked_for_the_next_one_waits(live_call: Any) -> None:
    call = live_call()
    assert asks(call.speaks(0, m.Respond("say-1"), m.Respond("say-2"))) == ["say-1"]


def test_what_waits_already_is_not_wanted_twice(live_call: Any) -> None:
    """A model that ends the caller's turn again and again, and answers none of them itself."""
    call = live_call()
    call.speaks(0, m.SessionUpdated(responds=False), m.ResponseStarted("r1"))
    call.speaks(10, *[m.SpeechStopped("u1")] * 100)
    call.at(20, delta("A", 400))
    assert asks(call.at(500, m.ResponseDone("r1"))) == ["turn:0"]
    call.speaks(600, m.ResponseStarted("r2", tag="turn:0"), delta("B", 400, response="r2"))
    assert asks(call.at(700, m.ResponseDone("r2"))) == []


def test_instructions_given_along_do_not_lose_those_of_the_session(live_call: Any) -> None:
    """Those of a response replace the session's for it."""
    call = live_call(session=m.SessionConfig(instructions="Be brief."))
    [create] = call.at(0, m.Say("say-1", "Good day."))
    assert create.instructions == 'Be brief.\n\nSay exactly this and nothing else: "Good day."'
    call.speaks(10, m.ResponseStarted("r1", tag="say-1"), m.ResponseDone("r1"))
    assert call.at(20, m.Respond("say-2")) == [m.CreateResponse("say-2")]


def test_a_tag_tells_ours_from_one_that_voice_detection_began(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.Respond("say-1"), m.ResponseStarted("r0"))
    assert call.gate.asked == m.CreateResponse("say-1")
    call.at(100, m.ResponseStarted("r1", tag="say-1"))
    assert call.gate.asked is None
    assert call.gate.tags == {"r1": "say-1"}


@pytest.mark.parametrize("about", ["create:say-1", ""], ids=["about", "no word about what"])
def test_a_create_that_met_another_response_is_asked_for_again_when_that_is_over(
    live_call: Any, about: str
) -> None:
    """Current servers name the event at fault, older ones do not."""
    call = live_call()
    call.speaks(0, m.Respond("say-1"), m.Respond("say-2"), m.ResponseStarted("r0"))
    assert call.at(50, m.UpstreamFaulted(BUSY, about=about)) == []
    assert asks(call.at(900, m.ResponseDone("r0"))) == ["say-1"]
    assert call.call.stats.faults == {BUSY: 1}


def test_a_fault_about_someone_elses_create_leaves_ours_alone(live_call: Any) -> None:
    """User code may send its own events."""
    call = live_call()
    call.at(0, m.Respond("say-1"))
    call.speaks(10, m.UpstreamFaulted(BUSY, about="create:theirs"), m.ResponseDone("r0"))
    assert call.gate.asked == m.CreateResponse("say-1")


def test_a_fault_when_nothing_is_asked_for_changes_nothing(live_call: Any) -> None:
    call = live_call()
    assert call.at(10, m.UpstreamFaulted(BUSY)) == []
    assert asks(call.at(20, m.Respond("say-1"))) == ["say-1"]


def test_a_create_that_was_talked_over_is_not_asked_for_again(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.Respond("say-1"), m.ResponseStarted("r0"), m.SpeechStarted())
    call.at(50, m.UpstreamFaulted(BUSY, about="create:say-1"))
    assert legs(call.at(90, m.ResponseDone("r0", "cancelled"))) == []
    assert call.gate.idle


def test_a_create_that_is_refused_for_another_reason_makes_room_for_the_next(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.Respond("say-1"), m.Respond("say-2"))
    assert asks(call.at(50, m.UpstreamFaulted("invalid_value", about="create:say-1"))) == ["say-2"]


def test_the_caller_who_speaks_makes_what_waits_out_of_date(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), m.Respond("say-1"), m.Say("say-2", "Two."))
    assert only(m.Heard, call.at(100, m.SpeechStarted())) == [
        m.Heard("say-1", 0, cut=True),
        m.Heard("say-2", 0, cut=True),
    ]
    assert legs(call.at(200, m.ResponseDone("r1", "cancelled"))) == []


def test_speech_the_model_began_itself_is_cancelled_at_our_wish_once(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), delta("A", 1_000))
    assert truth(call.at(300, m.Interrupt())) == [
        m.ClearPlayout(),
        m.CancelResponse("r1"),
        m.TruncateItem("A", 0, 300),
    ]
    assert truth(call.speaks(310, m.Interrupt(), m.SpeechStarted())) == []


def test_what_is_out_of_band_never_reaches_the_phone_and_takes_no_turn(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.ResponseStarted("summary", aside=True))
    assert phone(call.at(10, delta("S", 400, response="summary"))) == []
    assert call.call.stats.late_bytes == 3_200
    assert asks(call.at(20, m.Respond("say-1"))) == ["say-1"]
    call.at(30, m.ResponseStarted("r1", tag="say-1"))
    assert phone(call.at(40, delta("A", 400))) == [m.PlayAudio("", 3_200), m.SendMark("1")]
    assert legs(call.at(50, m.ResponseDone("summary"))) == []
    assert call.gate.active == "r1"
    assert truth(call.at(100, m.SpeechStarted())) == [m.ClearPlayout(), m.TruncateItem("A", 0, 60)]


def test_late_sound_is_still_known_to_be_late_after_many_more_responses(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), delta("A", 1_000), m.SpeechStarted(), m.ResponseDone("r1"))
    for number in range(FORGET_RESPONSES - 1):
        call.speaks(10, m.ResponseStarted(f"n{number}"), m.Interrupt(), m.ResponseDone(f"n{number}"))
    assert phone(call.at(20, delta("A2", 100))) == []
    assert len(call.call.playout.muted) == FORGET_RESPONSES
    call.speaks(30, m.ResponseStarted("last"), m.Interrupt())
    assert len(call.call.playout.muted) == FORGET_RESPONSES


@pytest.mark.parametrize(
    ("status", "notes"), [("completed", 0), ("cancelled", 0), ("incomplete", 1), ("failed", 1)]
)
def test_a_response_that_came_to_nothing_is_noted(live_call: Any, status: str, notes: int) -> None:
    call = live_call()
    call.at(0, m.ResponseStarted("r1"))
    done = call.at(10, m.ResponseDone("r1", status, "content_filter"))
    assert only(m.Noted, done) == [m.Noted(f"response {status}", "content_filter")] * notes
    assert only(m.ResponseEnded, done) == [m.ResponseEnded("r1", "", status, "content_filter")]


def test_tokens_are_summed_and_a_response_without_figures_is_counted(live_call: Any) -> None:
    call = live_call()
    for number, usage in enumerate(
        [m.Usage(text_in=5, audio_out=7), m.Usage(text_in=1, cached_text=1), None]
    ):
        call.speaks(number, m.ResponseStarted(f"r{number}"), m.ResponseDone(f"r{number}", usage=usage))
    stats = call.call.stats
    assert stats.usage == m.Usage(text_in=6, cached_text=1, audio_out=7)
    assert (stats.responses, stats.usage_missing) == (3, 1)


def test_faults_that_need_nobody_are_counted_and_the_rest_is_noted(live_call: Any) -> None:
    call = live_call()
    assert call.at(0, m.UpstreamFaulted("response_cancel_not_active", about="cancel:r1")) == []
    assert call.at(1, m.UpstreamFaulted("invalid_value", "already shorter", "truncate:A")) == []
    assert call.at(2, m.UpstreamFaulted("", "what?")) == [m.Noted("upstream error", "  what?")]
    assert call.call.stats.faults == {"response_cancel_not_active": 1, "invalid_value": 1, "unknown": 1}


def test_a_tool_that_the_model_was_cut_off_in_does_not_run(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.ResponseStarted("r1"))
    assert call.at(10, m.ToolCalled("r1", "f1", "call_1", "pay", '{"am', complete=False)) == []
    assert call.at(20, m.ToolCalled("r1", "f2", "call_2", "pay", "{}")) == [
        m.ToolWanted("call_2", "pay", "{}")
    ]


def test_a_tools_result_asks_for_a_response_when_its_own_is_over(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), m.ToolCalled("r1", "f1", "call_1", "look_up", "{}"))
    assert call.at(10, m.ToolFinished("call_1", "42")) == [
        m.CreateItem("pb_1", call_id="call_1", output="42")
    ]
    assert legs(call.at(20, m.ResponseDone("r1"))) == [m.CreateResponse("tool:call_1")]


def test_a_late_word_about_a_response_that_is_not_active_changes_nothing() -> None:
    gate = ResponseGate(active="r2")
    gate.done(m.ResponseDone("r1"))
    assert gate.active == "r2"


def test_words_and_items_are_kept_by_id(live_call: Any) -> None:
    call = live_call()
    items = call.items
    call.speaks(0, m.ResponseStarted("r1"), m.ItemAdded("A", "message", "assistant", response_id="r1"))
    call.speaks(10, m.TextDelta("r1", "A", 0, "Good "), m.TextDelta("r1", "A", 0, "day."), delta("A", 400))
    assert items["A"].said() == "Good day."
    call.speaks(20, m.TurnCommitted("u1"), m.ItemAdded("u1", "message", "user", "hello?"), m.ItemGone("u1"))
    assert (items["u1"].role, items["u1"].text, items["u1"].gone) == ("user", "hello?", True)
    assert call.at(30, m.CallerTranscribed("u1", "Hello!")) == [m.Turn("u1", "Hello!")]
    assert items["u1"].said() == "Hello!"


@pytest.mark.parametrize(
    ("at_ms", "heard"),
    [(0, ""), (100, ""), (250, "One"), (500, "One two"), (700, "One two"), (740, "One two three")],
)
def test_the_words_the_caller_heard_end_at_a_word(live_call: Any, at_ms: int, heard: str) -> None:
    """Eighteen characters spread evenly over a second of sound."""
    call: LiveCall = live_call()
    call.speaks(
        0, m.ResponseStarted("r1"), delta("A", 1_000), m.TextDelta("r1", "A", 0, "One two three four")
    )
    [spoken] = only(m.Spoken, call.at(at_ms, m.SpeechStarted()))
    assert spoken == m.Spoken("A", "One two three four", heard, at_ms, cut=True)


def test_all_words_count_as_heard_when_all_sound_was(live_call: Any) -> None:
    """The item is still being made: its next words would come, had the caller not spoken."""
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), delta("A", 1_000), m.TextDelta("r1", "A", 0, "One two"))
    call.echo(1_000)
    assert only(m.Spoken, call.at(1_500, m.SpeechStarted())) == [
        m.Spoken("A", "One two", "One two", 1_000, cut=True)
    ]
