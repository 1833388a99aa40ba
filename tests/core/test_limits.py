"""Minutes, money and tools end a call politely: the model says goodbye, or a phrase does."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core import messages as m
from bridge.core.due import NEVER
from bridge.core.limits import LimitWatch, Spending, cost_micro_usd

from .conftest import LiveCall, delta, legs, only, speech

PRICES = {
    "text_in": 4.0,
    "audio_in": 32.0,
    "image_in": 5.0,
    "cached_text": 0.4,
    "cached_audio": 0.4,
    "text_out": 16.0,
    "audio_out": 64.0,
    "transcription_minute": 0.6,
}
GOODBYE = {"goodbye": speech(600, "Goodbye.", "G")}


def test_cached_tokens_are_a_subset_with_a_price_of_their_own() -> None:
    usage = m.Usage(
        text_in=1_000, cached_text=400, audio_in=2_000, cached_audio=2_000, audio_out=100, image_in=10
    )
    expected = 600 * 4.0 + 400 * 0.4 + 2_000 * 0.4 + 100 * 64.0 + 10 * 5.0
    assert cost_micro_usd(usage, PRICES) == round(expected)
    assert cost_micro_usd(usage, {}) == 0


def test_nothing_has_a_deadline_before_the_call_has_begun() -> None:
    assert LimitWatch(m.Limits()).due_ms == NEVER


def said_goodbye(call: LiveCall, now_ms: int) -> None:
    call.speaks(now_ms, m.ResponseStarted("bye", tag="goodbye"), delta("B", 500, response="bye"))
    call.speaks(now_ms, m.AudioDone("bye", "B"), m.ResponseDone("bye"))


def test_a_call_that_has_lasted_long_enough_says_goodbye_before_its_limit(live_call: Any) -> None:
    call = live_call(limits=m.Limits(call_ms=60_000, goodbye_ms=15_000))
    assert call.until(44_999) == []
    [noted, goodbye, intent] = call.until(45_000)
    why = "it has lasted as long as it may"
    assert noted == m.Noted("a limit was reached", why)
    assert goodbye.instructions.startswith("The call has to end now, because it has lasted")
    assert intent == m.NoteIntent("ended")
    said_goodbye(call, 46_000)
    assert call.echo(46_600)[-1] == m.Ended(m.Reason.LIMIT, why)


@pytest.mark.parametrize("begun", [True, False], ids=["begun and stuck", "never begun"])
def test_a_phrase_says_goodbye_where_the_model_does_not(live_call: Any, begun: bool) -> None:
    call = live_call(limits=m.Limits(call_ms=60_000, goodbye_ms=15_000), phrases=GOODBYE)
    call.until(45_000)
    if begun:
        call.at(45_100, m.ResponseStarted("bye", tag="goodbye"))
    call.until(45_000 + 1_500)
    assert only(m.PlayAudio, call.actions)[0].audio.startswith("G")
    assert only(m.CancelResponse, call.actions) == [m.CancelResponse("bye")] * begun
    call.until(47_200)
    assert call.echo(47_300)[-1] == m.Ended(m.Reason.LIMIT, "it has lasted as long as it may")


def test_without_a_phrase_it_just_ends(live_call: Any) -> None:
    call = live_call(limits=m.Limits(call_ms=60_000, goodbye_ms=15_000))
    call.until(45_000)
    assert call.until(52_500)[-1] == m.Ended(m.Reason.LIMIT, "it has lasted as long as it may")


def test_money_ends_a_call_with_enough_left_for_the_goodbye(live_call: Any) -> None:
    limits = m.Limits(cost_micro_usd=100_000, goodbye_micro_usd=20_000)
    call = live_call(limits=limits, prices=PRICES)
    call.speaks(0, m.ResponseStarted("r1"), m.ResponseDone("r1", usage=m.Usage(audio_out=1_000)))
    assert call.call.stats.cost_micro_usd == 64_000
    assert only(m.CreateResponse, call.actions) == []
    call.speaks(100, m.ResponseStarted("r2"))
    done = call.at(200, m.ResponseDone("r2", usage=m.Usage(audio_out=250)))
    assert only(m.Noted, done) == [m.Noted("a limit was reached", "the call has cost 0.08 USD")]
    assert [create.tag for create in only(m.CreateResponse, done)] == ["goodbye"]


def test_transcription_costs_too(live_call: Any) -> None:
    call = live_call(prices=PRICES)
    call.at(0, m.CallerTranscribed("u1", "Hello!", seconds=30.0))
    call.speaks(10, m.ResponseStarted("r1"), m.ResponseDone("r1"))
    assert call.call.stats.cost_micro_usd == 300_000


def test_a_model_that_calls_tools_without_end_is_stopped(live_call: Any) -> None:
    call = live_call(limits=m.Limits(tools=2))
    call.at(0, m.ResponseStarted("r1"))
    for number in range(2):
        call.at(10, m.ToolCalled("r1", f"f{number}", f"call_{number}", "look_up", "{}"))
    assert only(m.Noted, call.actions) == []
    third = call.at(20, m.ToolCalled("r1", "f2", "call_2", "look_up", "{}"))
    assert only(m.Noted, third) == [m.Noted("a limit was reached", "3 tools were called")]


def test_calls_past_the_limit_are_refused_before_anything_of_them_is_kept(live_call: Any) -> None:
    call = live_call(limits=m.Limits(tools=2))
    call.at(0, m.ResponseStarted("r1"))
    for number in range(100):
        call.at(10, m.ToolCalled("r1", f"f{number}", f"call_{number}", "look_up", "{}"))
    assert [wanted.call_id for wanted in only(m.ToolWanted, call.actions)] == ["call_0", "call_1"]
    assert len(only(m.Noted, call.actions)) == 1
    assert list(call.call.playout.conversation.tools.calls) == ["call_0", "call_1"]
    assert list(call.items) == ["f0", "f1"]


def test_a_call_that_is_told_twice_is_none_past_the_limit(live_call: Any) -> None:
    call = live_call(limits=m.Limits(tools=1))
    call.at(0, m.ResponseStarted("r1"))
    for _ in range(2):
        call.at(10, m.ToolCalled("r1", "f1", "call_1", "look_up", "{}"))
    call.at(10, m.ToolCalled("r1", "f2", "call_2", "look_up", "{", complete=False))
    assert only(m.Noted, call.actions) == []


def test_a_limit_during_a_goodbye_changes_nothing(live_call: Any) -> None:
    call = live_call(limits=m.Limits(call_ms=60_000, goodbye_ms=15_000))
    call.speaks(44_000, m.ResponseStarted("r1"), delta("A", 3_000), m.ResponseDone("r1"), m.HangUp())
    assert legs(call.until(46_000)) == []


def test_a_handler_that_failed_ends_the_call_with_an_apology(live_call: Any) -> None:
    call = live_call(phrases={"apology": speech(400, letter="S")})
    call.speaks(0, m.ResponseStarted("r1"), delta("A", 5_000))
    clear, cancel, *_ = legs(call.at(1_000, m.HandlerFailed("ValueError")))
    assert [clear, cancel] == [m.ClearPlayout(), m.CancelResponse("r1")]
    call.at(1_050, m.ResponseDone("r1", "cancelled"))
    call.until(1_400)
    assert call.echo(1_500)[-1] == m.Ended(m.Reason.HANDLER_FAILED, "ValueError")


def test_without_an_apology_it_just_ends(live_call: Any) -> None:
    call = live_call()
    assert call.at(1_000, m.HandlerFailed("ValueError"))[-1] == m.Ended(m.Reason.HANDLER_FAILED, "ValueError")


# --- money that is not spent with a response


BY_TOKENS = {"transcription_audio_in": 6.0, "transcription_text_out": 10.0, "transcription_minute": 600.0}


def test_a_transcription_billed_by_tokens_costs_its_tokens(live_call: Any) -> None:
    call = live_call(prices=PRICES | BY_TOKENS)
    usage = m.Usage(audio_in=1_000, text_out=100)
    call.at(0, m.CallerTranscribed("u1", "Hello!", seconds=30.0, usage=usage))
    assert call.call.stats.cost_micro_usd == 7_000


@pytest.mark.parametrize(
    "said",
    [
        m.CallerTranscribed("u1", "Hello!", usage=m.Usage(audio_in=20_000)),
        m.CallerTranscribed("u1", "Hello!", seconds=12.0),
    ],
    ids=["tokens", "seconds"],
)
def test_a_transcription_can_end_the_call_without_any_response(
    live_call: Any, said: m.CallerTranscribed
) -> None:
    call = live_call(
        limits=m.Limits(cost_micro_usd=120_000, goodbye_micro_usd=20_000),
        prices={"transcription_audio_in": 6.0, "transcription_minute": 0.6},
    )
    done = call.at(0, said)
    assert only(m.Noted, done) == [m.Noted("a limit was reached", "the call has cost 0.12 USD")]
    assert [create.tag for create in only(m.CreateResponse, done)] == ["goodbye"]


def test_what_the_call_has_cost_before_counts(live_call: Any) -> None:
    limits = m.Limits(cost_micro_usd=100_000, goodbye_micro_usd=20_000)
    carried = m.CallSnapshot(cost_micro_usd=70_000, disclosed=True)
    call = live_call(limits=limits, prices=PRICES, carried=carried)
    call.speaks(0, m.ResponseStarted("r1"))
    done = call.at(10, m.ResponseDone("r1", usage=m.Usage(audio_out=200)))
    assert only(m.Noted, done) == [m.Noted("a limit was reached", "the call has cost 0.08 USD")]


def test_a_session_that_is_sold_by_the_minute_costs_while_nobody_speaks(live_call: Any) -> None:
    """0.06 USD a minute, 0.02 USD of room: gone after twenty seconds, without any event."""
    limits = m.Limits(cost_micro_usd=40_000, goodbye_micro_usd=20_000)
    can = m.Capabilities(priced_by="session_seconds")
    call = live_call(limits=limits, prices={"session_minute": 0.06}, capabilities=can)
    ready_ms = call.call.up.ready_ms
    assert only(m.Noted, call.until(ready_ms + 19_999)) == []
    told = only(m.Noted, call.until(ready_ms + 20_002))
    assert told == [m.Noted("a limit was reached", "the call has cost 0.02 USD")]
    assert call.call.stats.cost_micro_usd == pytest.approx(20_000, abs=3)


def test_seconds_of_several_sessions_add_up_and_an_open_one_counts_by_the_clock() -> None:
    spending = Spending(m.Limits(), {"session_minute": 0.6})
    spending.opened({1: 1_000}, 1_000)
    assert spending.micro_usd(31_000) == 300_000
    spending.seconds(1, 45.0)  # the vendor counts what we could not see
    assert spending.micro_usd(31_000) == 450_000
    spending.opened({2: 60_000}, 61_000)  # the first was lost at 61 s
    assert spending.micro_usd(61_000) == 600_000 + 10_000
    spending.seconds(1, 59.0, final=True)
    assert spending.micro_usd(120_000) == 590_000 + 600_000
    spending.opened({}, 120_000)
    assert spending.micro_usd(500_000) == 590_000 + 600_000
    assert spending.due_ms == NEVER


def test_told_seconds_are_a_sum_and_never_fall() -> None:
    spending = Spending(m.Limits(), {"sound_second": 0.0013})
    for total_s in (1.0, 3.0, 2.0):
        spending.seconds(1, total_s)
    spending.seconds(2, 4.0)
    assert spending.micro_usd(0) == 7 * 1_300


def test_a_session_sold_by_sound_costs_nothing_while_nobody_speaks(live_call: Any) -> None:
    call = live_call(limits=m.Limits(cost_micro_usd=40_000), prices={"sound_second": 0.0013})
    assert only(m.Noted, call.until(600_000)) == []
    assert call.call.stats.cost_micro_usd == 0
