"""What becomes of a `Say`, `Respond` or `Play`: each is answered with one `Heard`, and it tells the truth."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core import messages as m

from .conftest import LiveCall, delta, frame, legs, only, speech, truth


def saying(call: LiveCall, text: str = "Good day to you.", ms: int = 1_000) -> None:
    """`say-1` is on the line as response r1, whole, with its words, and over for the model."""
    call.speaks(0, m.Say("say-1", text), m.ResponseStarted("r1", tag="say-1"))
    call.speaks(
        100, m.TextDelta("r1", "A", 0, text), delta("A", ms), m.AudioDone("r1", "A"), m.ResponseDone("r1")
    )


def heard(call: LiveCall) -> list[m.Heard]:
    return only(m.Heard, call.actions)


def test_it_is_heard_when_its_last_mark_comes_back(live_call: Any) -> None:
    call = live_call()
    saying(call)
    assert heard(call) == []
    assert only(m.Heard, call.echo(1_160)) == [m.Heard("say-1", 1_000, cut=False, text="Good day to you.")]


def test_it_is_cut_where_the_caller_spoke(live_call: Any) -> None:
    call = live_call()
    saying(call)
    assert only(m.Heard, call.at(600, m.SpeechStarted())) == [
        m.Heard("say-1", 500, cut=True, text="Good day")
    ]
    call.echo(700)
    assert len(heard(call)) == 1


def test_what_was_played_whole_is_not_cut_though_its_echo_is_still_on_its_way(live_call: Any) -> None:
    """The caller answers at once: faster than the way from the carrier to us."""
    call = live_call()
    saying(call)
    actions = call.at(1_140, m.SpeechStarted())
    assert truth(actions) == [m.ClearPlayout()]
    assert only(m.Heard, actions) == [m.Heard("say-1", 1_000, cut=False, text="Good day to you.")]
    assert only(m.Spoken, actions) == [
        m.Spoken("A", "Good day to you.", "Good day to you.", 1_000, cut=False)
    ]
    assert only(m.Cut, actions) == []
    assert call.echo(1_160) == []


def test_a_sound_that_was_played_whole_is_not_cut_either(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.Play("jingle", speech(400, "Ta-da!")))
    call.until(390)
    actions = call.at(420, m.SpeechStarted())
    assert only(m.Heard, actions) == [m.Heard("jingle", 400, cut=False, text="Ta-da!")]


def test_a_sound_that_was_cut_leaves_what_was_heard_of_its_words_in_the_conversation(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.Play("hours", speech(2_000, "We open at nine o'clock")))
    call.until(900)
    actions = call.at(1_000, m.SpeechStarted())
    assert only(m.Heard, actions) == [m.Heard("hours", 1_000, cut=True, text="We open at")]
    assert only(m.CreateItem, actions) == [m.CreateItem("pb_1", "assistant", "We open at")]


def test_one_that_waits_and_is_talked_over_was_not_heard(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r0"), m.Say("say-1", "Hi."))
    assert only(m.Heard, call.at(100, m.SpeechStarted())) == [m.Heard("say-1", 0, cut=True)]


@pytest.mark.parametrize(
    "answer",
    [
        (m.ResponseStarted("r1", tag="say-1"), m.ResponseDone("r1", "cancelled")),
        (m.UpstreamFaulted("conversation_already_has_active_response", about="create:say-1"),),
        (m.UpstreamFaulted("rate_limit_exceeded", about="create:say-1"),),
    ],
    ids=["begun", "busy", "refused"],
)
def test_one_that_was_asked_for_and_is_talked_over_was_not_heard(
    live_call: Any, answer: tuple[m.Event, ...]
) -> None:
    """Whatever the model answers to the request then, the handler that waits for it goes on."""
    call = live_call()
    call.speaks(0, m.Say("say-1", "Hi."), m.SpeechStarted())
    call.speaks(100, *answer)
    assert heard(call) == [m.Heard("say-1", 0, cut=True)]


def test_one_that_is_refused_was_not_heard(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.Say("say-1", "Hi."))
    assert only(m.Heard, call.at(50, m.UpstreamFaulted("invalid_value", about="create:say-1"))) == [
        m.Heard("say-1", 0, cut=True)
    ]


def test_a_response_without_sound_is_over_when_it_is_done(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.Respond("say-1"), m.ResponseStarted("r1", tag="say-1"))
    assert only(m.Heard, call.at(500, m.ResponseDone("r1"))) == [m.Heard("say-1", 0, cut=False)]


def test_one_that_the_vendor_broke_off_for_a_turn_of_the_callers_was_cut(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.Respond("say-1"), m.ResponseStarted("r1", tag="say-1"))
    assert only(m.Heard, call.at(500, m.ResponseDone("r1", "cancelled", "turn_detected"))) == []
    assert only(m.Heard, call.at(600, m.SpeechStarted())) == [m.Heard("say-1", 0, cut=True)]
    assert only(m.CreateResponse, call.until(9_000)) == []


def test_one_that_the_vendor_broke_off_for_a_noise_is_asked_for_again(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.Respond("say-1"), m.ResponseStarted("r1", tag="say-1"))
    call.at(500, m.ResponseDone("r1", "cancelled", "turn_detected"))
    assert only(m.CreateResponse, call.until(1_500)) == [m.CreateResponse("say-1")]
    call.speaks(1_600, m.ResponseStarted("r2", tag="say-1"), delta("A", 200, response="r2"))
    call.at(1_700, m.ResponseDone("r2"))
    assert only(m.Heard, call.echo(1_900)) == [m.Heard("say-1", 200, cut=False)]


def test_several_items_of_one_response_are_heard_as_one(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.Respond("say-1"), m.ResponseStarted("r1", tag="say-1"))
    for item in "AB":
        call.speaks(50, m.TextDelta("r1", item, 0, f"{item} "), delta(item, 400), m.AudioDone("r1", item))
    assert only(m.Heard, call.echo(500, 1)) == []
    call.at(600, m.ResponseDone("r1"))
    assert only(m.Heard, call.echo(900)) == [m.Heard("say-1", 800, cut=False, text="A B ")]


def test_a_say_that_failed_is_asked_for_again_in_the_same_words(live_call: Any) -> None:
    call = live_call()
    [asked] = legs(call.at(0, m.Say("say-1", "Your code is 4711.")))
    call.at(50, m.ResponseStarted("r1", tag="say-1"))
    actions = call.at(100, m.ResponseDone("r1", "failed", "server_error"))
    assert legs(actions) == [asked]
    assert only(m.Heard, actions) == []
    call.speaks(
        200, m.ResponseStarted("r2", tag="say-1"), delta("A", 400, response="r2"), m.ResponseDone("r2")
    )
    assert only(m.Heard, call.echo(700)) == [m.Heard("say-1", 400, cut=False)]


def test_one_that_waits_meanwhile_waits_on(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.Say("say-1", "One."), m.Say("say-2", "Two."), m.ResponseStarted("r1", tag="say-1"))
    assert [create.tag for create in only(m.CreateResponse, call.actions)] == ["say-1"]
    again = call.at(100, m.ResponseDone("r1", "failed", "server_error"))
    again += call.until(5_000)
    assert [create.tag for create in only(m.CreateResponse, again)] == ["say-1"]
    assert heard(call) == []


def test_an_answer_to_the_caller_that_failed_is_asked_for_again(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.ResponseStarted("r1"))
    assert legs(call.at(100, m.ResponseDone("r1", "failed", "server_error"))) == [m.CreateResponse("retry")]


def test_two_failures_in_a_row_are_the_end(live_call: Any) -> None:
    call = live_call()
    for number in range(2):
        call.speaks(
            number, m.ResponseStarted(f"r{number}"), m.ResponseDone(f"r{number}", "failed", "server_error")
        )
    assert call.actions[-1] == m.Ended(m.Reason.UPSTREAM_LOST, "responses fail: server_error")


def test_a_success_between_two_failures_starts_the_count_anew(live_call: Any) -> None:
    call = live_call()
    for number, status in enumerate(["failed", "completed", "failed", "completed"]):
        call.speaks(
            number, m.ResponseStarted(f"r{number}"), m.ResponseDone(f"r{number}", status, "server_error")
        )
    assert only(m.Ended, call.actions) == []


def test_the_handlers_interrupt_counts_for_its_own_response_only(live_call: Any) -> None:
    """A guardrail's verdict may come late: what it is about is over by then."""
    call = live_call()
    saying(call)
    assert legs(call.at(200, m.Interrupt("r0"))) == []
    assert truth(call.at(300, m.Interrupt("r1"))) == [m.ClearPlayout(), m.TruncateItem("A", 0, 200)]
    call.at(400, m.ResponseStarted("r2"))
    assert truth(call.at(450, m.Interrupt("r2"))) == [m.CancelResponse("r2")]


def test_while_something_may_not_be_interrupted_the_model_does_not_hear_the_caller(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.Say("say-1", "Listen.", interruptible=False))
    assert call.at(20, frame(0)) == []
    call.speaks(40, m.ResponseStarted("r1", tag="say-1"), delta("A", 400), m.ResponseDone("r1"))
    assert call.at(60, frame(1)) == []
    assert legs(call.echo(500)) == [m.AppendAudio("frame 0", 160), m.AppendAudio("frame 1", 160)]
    assert call.at(520, frame(2)) == [m.AppendAudio("frame 2", 160)]


@pytest.mark.parametrize("event", [m.Interrupt(), m.UpstreamFaulted("invalid_value", about="create:say-1")])
def test_the_model_hears_the_caller_again_however_that_ended(live_call: Any, event: m.Event) -> None:
    call = live_call()
    call.speaks(0, m.Say("say-1", "Listen.", interruptible=False), frame(0))
    assert m.AppendAudio("frame 0", 160) in call.at(50, event)


def test_it_hears_the_caller_again_when_such_a_thing_was_cut_as_it_was_being_played(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.Say("say-1", "Listen.", interruptible=False), m.ResponseStarted("r1", tag="say-1"))
    call.speaks(50, delta("A", 4_000), m.ResponseDone("r1"), frame(0))
    assert m.AppendAudio("frame 0", 160) in call.at(500, m.Interrupt())
