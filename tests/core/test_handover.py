"""A call that goes on in another process, and one whose carrier opens a newer stream for it."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core import messages as m
from bridge.core.history import CUT_OFF, RESTORED, UNKNOWN

from .conftest import LiveCall, delta, frame, legs, new_call, only, phone, speech, truth

NOTICE = {"notice": speech(500, letter="P")}
BACK = {"restored": speech(300, "We were cut off.", "B")}
WORDS = m.TextDelta("r1", "A", 0, "One two three four")
TRANSCRIBED = m.SessionConfig(transcription="gpt-transcribe")
SAID = (m.SnapshotItem("user", "Count!"), m.SnapshotItem("assistant", "One two three four"))


def counting(call: LiveCall, now_ms: int = 0) -> None:
    """The caller asked, and the model counts for two seconds."""
    call.speaks(now_ms, m.SpeechStarted(), m.SpeechStopped(), m.CallerTranscribed("u1", "Count!"))
    call.speaks(now_ms, m.ResponseStarted("r1"), WORDS, delta("A", 2_000), m.AudioDone("r1", "A"))
    call.at(now_ms, m.ResponseDone("r1"))


def handed_over(call: LiveCall) -> m.CallSnapshot:
    [handed] = only(m.HandedOver, call.actions)
    return handed.carried  # type: ignore[no-any-return]


def going_on(carried: m.CallSnapshot | None, **config: Any) -> LiveCall:
    """The call in the process that took it over, with its stream open and its model not there yet."""
    call = new_call(carried=carried, media_gap_ms=60_000, **config)
    call.at(0, m.Started("MZ2", "CA1", "AC1"))
    return call


def begun(call: LiveCall, now_ms: int = 100) -> list[m.Action]:
    call.speaks(now_ms, m.SessionCreated(), m.Admitted())
    return call.at(now_ms, m.SessionUpdated())


# --- leaving ------------------------------------------------------------------------------------------------


def test_in_silence_a_call_leaves_at_once_and_takes_its_conversation_along(live_call: Any) -> None:
    call = live_call()
    counting(call)
    call.echo(2_060)
    carried = m.CallSnapshot(SAID, session=m.SessionConfig(), lasted_ms=3_000, turns=1)
    assert call.at(3_000, m.HandOver(10_000)) == [
        m.NoteIntent("handover"),
        m.HandedOver(carried),
        m.CloseUpstream(),
        m.CloseCarrier(),
        m.Ended(m.Reason.HANDED_OVER),
    ]


def test_while_we_speak_it_leaves_when_that_was_heard(live_call: Any) -> None:
    call = live_call()
    counting(call)
    assert call.at(1_000, m.HandOver(10_000)) == []
    assert call.until(2_000) == []
    assert call.echo(2_060)[-1] == m.Ended(m.Reason.HANDED_OVER)
    assert handed_over(call).items == SAID
    assert not handed_over(call).owed


def test_when_the_time_is_over_it_leaves_in_the_middle_of_a_word(live_call: Any) -> None:
    """What the caller did not hear is not carried along, and that they wait for the rest is."""
    call = live_call()
    counting(call)
    call.at(500, m.HandOver(500))
    end = call.until(1_000)
    assert truth(end) == [m.ClearPlayout()]
    assert end[-1] == m.Ended(m.Reason.HANDED_OVER)
    assert handed_over(call).items == (SAID[0], m.SnapshotItem("assistant", "One two"))
    assert handed_over(call).owed


def test_a_caller_who_speaks_is_waited_for_and_then_owed_an_answer(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.SpeechStarted())
    assert call.at(100, m.HandOver(1_000)) == []
    call.at(1_090, frame(0))
    call.until(1_100)
    assert handed_over(call).owed


def test_words_of_the_caller_that_are_on_their_way_are_waited_for(live_call: Any) -> None:
    """A short answer may be heard before they come; the next machine would not know of the turn."""
    call = live_call(session=TRANSCRIBED)
    call.speaks(0, m.SpeechStarted(), m.SpeechStopped(), m.TurnCommitted("u1"))
    call.speaks(0, m.ResponseStarted("r1"), WORDS, delta("A", 200), m.AudioDone("r1", "A"))
    call.at(0, m.ResponseDone("r1"))
    call.echo(260)
    assert call.at(1_000, m.HandOver(5_000)) == []
    assert call.at(1_200, m.CallerTranscribed("u1", "Count!"))[-1] == m.Ended(m.Reason.HANDED_OVER)
    assert handed_over(call).items == SAID


def test_words_that_do_not_come_are_waited_for_as_long_as_there_is_time(live_call: Any) -> None:
    call = live_call(session=TRANSCRIBED)
    call.speaks(0, m.SpeechStarted(), m.SpeechStopped(), m.TurnCommitted("u1"))
    call.speaks(0, m.ResponseStarted("r1"), WORDS, delta("A", 200), m.AudioDone("r1", "A"))
    call.at(0, m.ResponseDone("r1"))
    call.echo(260)
    call.at(1_000, m.HandOver(5_000))
    assert only(m.Ended, call.until(5_999)) == []
    assert only(m.Ended, call.until(6_000)) == [m.Ended(m.Reason.HANDED_OVER)]
    assert not handed_over(call).owed


def test_a_tool_that_runs_is_carried_as_one_whose_end_is_not_known(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), m.ToolCalled("r1", "f1", "call_1", "book", '{"for":4}'))
    call.speaks(10, m.ResponseDone("r1"), m.HandOver(1_000))
    call.until(1_010)
    [item] = handed_over(call).items
    assert item == m.SnapshotItem("", "", "call_1", "book", '{"for":4}', UNKNOWN)
    assert handed_over(call).tools == 1


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_a_call_that_is_ending_anyway_ends_as_it_would_but_in_time(live_call: Any, first: bool) -> None:
    call = live_call()
    call.speaks(0, m.ResponseStarted("r1"), delta("bye", 60_000), m.ResponseDone("r1"))
    call.speaks(100, *([m.HandOver(5_000), m.HangUp()] if first else [m.HangUp(), m.HandOver(5_000)]))
    assert only(m.Ended, call.until(5_099)) == []
    assert only(m.Ended, call.until(5_100)) == [m.Ended(m.Reason.WE_HUNG_UP)]
    assert only(m.HandedOver, call.actions) == []


def test_what_it_would_take_along_can_be_asked_at_any_moment(live_call: Any) -> None:
    call = live_call(disclosure="notice", phrases=NOTICE)
    counting(call)
    call.until(900)
    call.echo(900)
    carried = call.call.carried(1_500)
    assert carried.items[0] == SAID[0]
    assert carried.disclosed
    assert call.call.carried(1_500) == carried, "asking changes nothing"


# --- going on -----------------------------------------------------------------------------------------------


def test_the_next_process_tells_its_model_what_was_said_and_does_not_greet() -> None:
    call = going_on(m.CallSnapshot(SAID), greeting="Hello.")
    assert begun(call) == [
        m.CallBegan(),
        m.CreateItem("pb_1", "user", "Count!"),
        m.CreateItem("pb_2", "assistant", "One two three four"),
        m.CreateItem("pb_3", "system", RESTORED),
    ]
    assert call.at(200, frame(0)) == [m.AppendAudio("frame 0", 160)]


def test_an_answer_that_was_owed_is_asked_for() -> None:
    assert begun(going_on(m.CallSnapshot(SAID, owed=True)))[-1] == m.CreateResponse("restored")


def test_a_tool_is_told_with_its_result_and_not_run_again() -> None:
    tool = m.SnapshotItem("", "", "call_1", "book", '{"for":4}', "done")
    call = going_on(m.CallSnapshot((tool,)))
    made, result, _ = only(m.CreateItem, begun(call))
    assert (made.name, made.arguments, result.call_id, result.output) == (
        "book",
        '{"for":4}',
        "call_1",
        "done",
    )
    call.at(200, m.ResponseStarted("r1"))
    assert only(m.ToolWanted, call.at(210, m.ToolCalled("r1", "f1", "call_1", "book", '{"for":4}'))) == []


def test_the_configuration_in_force_goes_along() -> None:
    french = m.SessionConfig(instructions="Speak French.")
    call = going_on(m.CallSnapshot(SAID, session=french))
    assert call.at(50, m.SessionCreated()) == [m.ConfigureSession(french)]


@pytest.mark.parametrize("disclosed", [True, False])
def test_the_disclosure_is_played_only_if_it_was_not_heard(disclosed: bool) -> None:
    call = going_on(m.CallSnapshot(SAID, disclosed=disclosed), disclosure="notice", phrases=NOTICE)
    begun(call)
    assert bool(only(m.PlayAudio, call.actions)) is not disclosed
    assert call.call.carried(200).disclosed is disclosed


def test_the_limits_go_on_counting() -> None:
    limits = m.Limits(call_ms=60_000, goodbye_ms=15_000)
    before = m.CallSnapshot(SAID, lasted_ms=40_000, cost_micro_usd=500, tools=3)
    call = going_on(before, limits=limits)
    begun(call, 100)
    after = call.call.carried(1_100)
    assert (after.lasted_ms, after.cost_micro_usd, after.tools) == (41_000, 500, 3)
    assert only(m.Noted, call.until(5_099)) == []
    assert only(m.Noted, call.until(5_100)) == [
        m.Noted("a limit was reached", "it has lasted as long as it may")
    ]


def test_a_call_that_was_cut_off_goes_on_with_a_word_to_the_caller_even_if_nothing_is_known() -> None:
    call = going_on(None, resumed=True, greeting="Hello.", phrases=BACK)
    actions = begun(call)
    assert only(m.PlayAudio, call.actions)[0].audio.startswith("B")
    assert [(item.role, item.text) for item in only(m.CreateItem, actions)] == [("system", CUT_OFF)]
    assert only(m.CreateResponse, actions) == []


def test_one_that_was_handed_over_goes_on_without() -> None:
    call = going_on(m.CallSnapshot(SAID), phrases=BACK)
    begun(call)
    assert only(m.PlayAudio, call.actions) == []


def test_where_there_is_nothing_to_carry_the_call_begins_as_any_other() -> None:
    assert only(m.CreateResponse, begun(going_on(m.CallSnapshot(), greeting="Hello.")))[0].tag == "greeting"


# --- a newer stream -----------------------------------------------------------------------------------------

NEWER = m.Started("MZ2", "CA1", "AC1")


def test_a_newer_stream_takes_over_and_the_model_goes_on_from_what_was_heard(live_call: Any) -> None:
    call = live_call()
    counting(call)
    actions = call.at(1_000, NEWER)
    assert actions[0] == m.Noted("newer stream", "the call goes on over it")
    assert truth(actions) == [m.TruncateItem("A", 0, 1_000)]
    assert only(m.CreateResponse, actions) == [m.CreateResponse("restored", RESTORED)]
    assert call.at(1_100, frame(0)) == [m.AppendAudio("frame 0", 160)], "its clock is its own"


def test_of_a_sound_of_ours_the_rest_is_lost(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.Play("hours", speech(2_000, "We open at nine o'clock")))
    call.until(1_000)
    actions = call.at(1_000, NEWER)
    assert phone(actions) == []
    assert only(m.Heard, actions) == [m.Heard("hours", 1_000, cut=True, text="We open at")]


def test_in_silence_nothing_is_to_be_said_about_it(live_call: Any) -> None:
    call = live_call()
    counting(call)
    call.echo(2_060)
    assert legs(call.at(3_000, NEWER)) == []


def test_a_disclosure_begins_anew_on_it(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.Play("notice", speech(500, letter="P"), protected=True))
    call.until(300)
    again = phone(call.at(300, NEWER))
    assert only(m.PlayAudio, again)[0] == m.PlayAudio("P" * 2_560, 1_920)
    call.until(800)
    sent = only(m.PlayAudio, call.actions)
    assert sum(action.size_bytes for action in sent) == 2 * 500 * 8
    assert only(m.Heard, call.echo(900)) == [m.Heard("notice", 500, cut=False)]


def test_a_goodbye_that_was_lost_with_the_old_one_is_said_by_a_phrase(live_call: Any) -> None:
    call = live_call(phrases={"goodbye": speech(240, letter="G")})
    call.speaks(0, m.ResponseStarted("r1"), delta("bye", 2_000), m.ResponseDone("r1"), m.HangUp())
    assert only(m.PlayAudio, call.at(500, NEWER))[0].audio.startswith("G")
    assert call.echo(900)[-1] == m.Ended(m.Reason.WE_HUNG_UP)
