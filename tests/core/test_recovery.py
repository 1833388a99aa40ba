"""The model's session is lost in mid-call: the carrier leg stays, and the caller hardly notices."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core import messages as m
from bridge.core.history import RESTORED
from bridge.core.upstream_leg import RECOVERIES

from .conftest import LiveCall, delta, frame, legs, only, phone, speech, truth

LOST = m.UpstreamClosed(1011, "server error")
FILLER = {"filler": speech(300, letter="F")}


def restored(call: LiveCall, now_ms: int, epoch: int = 2) -> list[m.Action]:
    """The new session is there; returns what it is told."""
    call.at(now_ms, m.SessionCreated(epoch))
    return legs(call.at(now_ms, m.SessionUpdated(epoch)))


def note(item_id: str, epoch: int = 2) -> m.CreateItem:
    return m.CreateItem(item_id, "system", RESTORED, epoch=epoch)


def answer(call: LiveCall, now_ms: int, ms: int = 2_000, words: str = "One two three four") -> None:
    """The caller asked something, and the model answers with item A of response r1."""
    call.speaks(now_ms, m.SpeechStarted("u1"), m.SpeechStopped("u1"), m.TurnCommitted("u1"))
    call.speaks(now_ms, m.CallerTranscribed("u1", "Count!"), m.ResponseStarted("r1"))
    call.speaks(now_ms, m.TextDelta("r1", "A", 0, words), delta("A", ms))


def test_in_silence_a_new_session_is_dialled_and_told_the_conversation(live_call: Any) -> None:
    call = live_call()
    answer(call, 0, 400)
    call.speaks(100, m.AudioDone("r1", "A"), m.ResponseDone("r1"))
    call.echo(450)
    assert legs(call.at(1_000, LOST)) == [m.DialUpstream(2)]
    assert call.at(1_020, frame(1)) == []
    assert restored(call, 1_200) == [
        m.CreateItem("pb_1", "user", "Count!", epoch=2),
        m.CreateItem("pb_2", "assistant", "One two three four", epoch=2),
        note("pb_3"),
        m.AppendAudio("frame 1", 160, 2),
    ]
    assert call.at(1_220, frame(2)) == [m.AppendAudio("frame 2", 160, 2)]
    stats = call.call.stats
    assert (stats.recoveries, stats.gaps_ms) == (1, [200])


def test_speech_half_played_is_cleared_settled_and_taken_up_again(live_call: Any) -> None:
    """The model is told what was heard; there is nothing to truncate, its items are gone with it."""
    call = live_call()
    answer(call, 0)
    assert legs(call.at(1_000, LOST)) == [m.ClearPlayout(), m.DialUpstream(2)]
    assert only(m.Spoken, call.actions) == [m.Spoken("A", "One two three four", "One two", 1_000, cut=True)]
    assert restored(call, 1_200) == [
        m.CreateItem("pb_1", "user", "Count!", epoch=2),
        m.CreateItem("pb_2", "assistant", "One two", epoch=2),
        note("pb_3"),
        m.CreateResponse("restored", epoch=2),
    ]
    assert call.call.stats.barge_ins == []


def test_words_of_the_lost_session_mean_nothing_any_more(live_call: Any) -> None:
    call = live_call()
    answer(call, 0)
    call.at(1_000, LOST)
    assert call.speaks(1_050, delta("A", 400), m.SpeechStarted(), m.ResponseDone("r1"), LOST) == []
    restored(call, 1_200)
    assert phone(call.speaks(1_300, m.ResponseStarted("r2", epoch=2), delta("A2", 100, response="r2"))) == []
    new = m.AudioDelta("r2", "A2", 0, "", 800, 2)
    assert phone(call.at(1_310, new)) == [m.PlayAudio("", 800), m.SendMark("2")]
    assert truth(call.at(1_360, m.SpeechStarted(epoch=2))) == [
        m.ClearPlayout(),
        m.TruncateItem("A2", 0, 50, 2),
    ]


def test_while_an_answer_is_owed_the_caller_hears_a_filler(live_call: Any) -> None:
    call = live_call(phrases=FILLER)
    answer(call, 0)
    call.at(1_000, LOST)
    assert phone(call.until(2_499)) == []
    assert phone(call.until(2_500))[0] == m.PlayAudio("F" * 2_560, 1_920)


def test_a_response_that_was_asked_for_is_asked_for_again_and_only_it(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.Say("say-1", "Hello."))
    call.at(100, LOST)
    asked = m.CreateResponse("say-1", 'Say exactly this and nothing else: "Hello."', epoch=2)
    assert restored(call, 300) == [note("pb_1"), asked]


def test_a_greeting_that_had_not_begun_is_still_a_greeting(live_call: Any) -> None:
    """The new session is not told to go on where nothing was said yet."""
    call = live_call(greeting="Hello.")
    call.at(100, LOST)
    [create] = restored(call, 300)
    assert isinstance(create, m.CreateResponse)
    assert (create.tag, create.epoch) == ("greeting", 2)
    assert create.instructions == 'Begin the call now. Say: "Hello."'


def test_what_the_handler_wishes_meanwhile_waits(live_call: Any) -> None:
    call = live_call()
    call.at(0, LOST)
    wishes = (m.AddText("It is Ada."), m.SendRaw("{}"), m.Respond("say-1"))
    assert legs(call.speaks(50, *wishes)) == []
    assert restored(call, 200) == [
        note("pb_1"),
        m.CreateItem("pb_2", "user", "It is Ada.", epoch=2),
        m.SendVendorEvent("{}", 2),
        m.CreateResponse("say-1", epoch=2),
    ]


def test_a_caller_who_was_speaking_is_answered(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.SpeechStarted())
    call.at(100, LOST)
    assert m.CreateResponse("restored", epoch=2) in restored(call, 300)


def test_a_tool_that_ran_meanwhile_does_not_run_again_and_its_result_is_told_with_the_call(
    live_call: Any,
) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), m.ToolCalled("r1", "f1", "call_1", "look_up", '{"a":1}'))
    call.speaks(50, m.ItemAdded("f1", "function_call"), m.ResponseDone("r1"))
    call.at(100, LOST)
    assert legs(call.at(200, m.ToolFinished("call_1", "42"))) == []
    assert restored(call, 300) == [
        m.CreateItem("pb_1", "", "", "call_1", "look_up", '{"a":1}', epoch=2),
        m.CreateItem("pb_2", call_id="call_1", output="42", epoch=2),
        note("pb_3"),
        m.CreateResponse("tool:call_1", epoch=2),
    ]
    assert only(m.ToolWanted, call.actions) == [m.ToolWanted("call_1", "look_up", '{"a":1}')]


def test_a_tool_that_still_runs_is_told_with_its_call_when_it_has_finished(live_call: Any) -> None:
    """Asked any sooner, a model that does not know of the call might well make it again."""
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), m.ToolCalled("r1", "f1", "call_1", "look_up", "{}"))
    call.speaks(50, m.ItemAdded("f1", "function_call"), m.ResponseDone("r1"), LOST)
    assert restored(call, 300) == [note("pb_1")]
    assert legs(call.at(400, m.ToolFinished("call_1", "42"))) == [
        m.CreateItem("pb_3", "", "", "call_1", "look_up", "{}", epoch=2),
        m.CreateItem("pb_2", call_id="call_1", output="42", epoch=2),
        m.CreateResponse("tool:call_1", epoch=2),
    ]


def test_a_new_session_that_is_lost_too_is_dialled_again(live_call: Any) -> None:
    call = live_call()
    call.at(0, LOST)
    call.at(100, m.UpstreamClosed(1011, "server error", 2))
    call.until(1_000)
    assert restored(call, 1_000, epoch=3) == [note("pb_1", 3)]
    assert (call.call.stats.recoveries, call.call.stats.gaps_ms) == (1, [1_000])


def test_a_model_that_cannot_be_had_back_ends_the_call_with_an_apology(live_call: Any) -> None:
    call = live_call(phrases={"apology": speech(400)})
    call.speaks(0, LOST, m.DialFailed(2, 401, "invalid_api_key"))
    assert m.NoteIntent("ended") in call.actions
    call.until(500)
    assert call.echo(500)[-1] == m.Ended(m.Reason.UPSTREAM_LOST, "401 invalid_api_key")


def test_a_session_that_is_lost_again_and_again_is_given_up(live_call: Any) -> None:
    call = live_call()
    for number in range(RECOVERIES):
        call.at(1_000 * number, m.UpstreamClosed(1011, "server error", number + 1))
        restored(call, 1_000 * number + 100, epoch=number + 2)
    end = call.at(10_000, m.UpstreamClosed(1011, "server error", RECOVERIES + 1))
    assert end[-1] == m.Ended(m.Reason.UPSTREAM_LOST, "1011 server error")


def test_after_a_minute_without_a_loss_it_may_be_lost_again(live_call: Any) -> None:
    call = live_call()
    for number in range(2 * RECOVERIES):
        call.at(13_000 * number, m.UpstreamClosed(1011, "", number + 1))
        restored(call, 13_000 * number + 100, epoch=number + 2)
    assert only(m.Ended, call.actions) == []


def test_a_model_that_owes_an_answer_and_says_nothing_is_taken_for_lost(live_call: Any) -> None:
    call = live_call(stalled_ms=8_000, phrases=FILLER)
    call.speaks(0, m.SpeechStarted(), m.SpeechStopped())
    while call.now_ms < 12_000 and m.DialUpstream(2) not in call.actions:
        call.until(call.now_ms + 100)
        call.echo(call.now_ms)
    at_ms = next(at_ms for at_ms, action in call.said if action == m.DialUpstream(2))
    assert 8_000 <= at_ms <= 10_000
    assert m.CloseUpstream(1) in call.actions


@pytest.mark.parametrize("whole", [True, False], ids=["all generated", "not to its end"])
def test_a_goodbye_that_is_being_played_is_played_on_when_the_model_is_lost(
    live_call: Any, whole: bool
) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), delta("bye", 1_050))
    if whole:
        call.speaks(100, m.AudioDone("r1", "bye"), m.ResponseDone("r1"))
    call.at(200, m.HangUp())
    assert only(m.ClearPlayout, call.at(500, LOST)) == []
    assert only(m.DialUpstream, call.until(1_000)) == []
    [spoken, *_, ended] = call.echo(1_110)
    assert spoken == m.Spoken("bye", "", "", 1_050, cut=False)
    assert ended == m.Ended(m.Reason.WE_HUNG_UP)


def test_nothing_is_dialled_for_a_goodbye_that_has_not_begun(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.Say("say-1", "Goodbye."), m.HangUp())
    assert call.at(100, LOST)[-1] == m.Ended(m.Reason.WE_HUNG_UP)
