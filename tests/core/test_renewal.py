"""The vendor ends every session after an hour: a second one takes over before, in a quiet moment."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core import messages as m
from bridge.core.history import RESTORED
from bridge.core.vendor_errors import PROMPT_OBJECTS

from .conftest import LiveCall, delta, frame, legs, only

RENEW = {"renew_ms": 10_000, "renew_forced_ms": 20_000, "renew_again_ms": 2_000, "session_ms": 3_000}
NOTE = m.CreateItem("pb_1", "system", RESTORED, epoch=2)
SPARE = (m.SessionCreated(2), m.SessionUpdated(2))


def dials(call: LiveCall) -> list[tuple[int, int]]:
    return [(at_ms, action.epoch) for at_ms, action in call.said if isinstance(action, m.DialUpstream)]


def test_a_second_session_is_dialled_configured_and_takes_over_in_silence(live_call: Any) -> None:
    call = live_call(**RENEW)
    assert call.until(9_999) == []
    assert call.until(10_000) == [m.DialUpstream(2)]
    assert call.at(10_100, m.SessionCreated(2)) == [m.ConfigureSession(m.SessionConfig(), epoch=2)]
    assert call.at(10_120, frame(1)) == [m.AppendAudio("frame 1", 160, 1)]
    assert call.at(10_200, m.SessionUpdated(2)) == [
        m.Noted("session renewed", "1 -> 2"),
        NOTE,
        m.CloseUpstream(1),
    ]
    assert call.call.up.ready_ms == 10_200, "from then on it is billed, where time is"
    assert call.at(10_220, frame(2)) == [m.AppendAudio("frame 2", 160, 2)]
    assert call.at(10_230, m.UpstreamClosed(1000, epoch=1)) == []
    assert call.call.stats.recoveries == 0
    assert dials(call)[1:] == [(10_000, 2)]
    call.until(21_000)
    assert dials(call)[2:] == [(20_200, 3)], "and so on"


def test_words_of_the_caller_that_are_on_their_way_are_waited_for(live_call: Any) -> None:
    """Without them the next session would not be told of the turn."""
    session = m.SessionConfig(transcription="gpt-transcribe")
    call = live_call(**RENEW, session=session)
    call.speaks(9_000, m.SpeechStarted(), m.SpeechStopped(), m.TurnCommitted("u1"))
    call.speaks(9_100, m.ResponseStarted("r1"), delta("A", 200), m.AudioDone("r1", "A"))
    call.at(9_100, m.ResponseDone("r1"))
    call.echo(9_400)
    call.until(10_000)
    call.at(10_100, m.SessionCreated(2))
    assert m.CloseUpstream(1) not in call.at(10_200, m.SessionUpdated(2))
    taken_over = call.at(10_400, m.CallerTranscribed("u1", "Count!"))
    assert [one.text for one in only(m.CreateItem, taken_over) if one.role == "user"] == ["Count!"]
    assert m.CloseUpstream(1) in taken_over


REFUSED = m.UpstreamFaulted(
    "invalid_value", "no such voice", "configure:1", "session.audio.output.voice", epoch=2
)


@pytest.mark.parametrize(
    ("word", "why"),
    [
        (REFUSED, "invalid_value session.audio.output.voice: no such voice"),
        (m.UpstreamFaulted("insufficient_quota", "no money", epoch=2), "insufficient_quota : no money"),
        (m.SessionUpdated(2, formats_ok=False), "the audio formats in force are not the phone's"),
    ],
    ids=["refused", "fatal", "formats"],
)
def test_one_that_is_refused_is_given_up_at_once_and_tried_again(
    live_call: Any, word: m.Event, why: str
) -> None:
    call = live_call(**RENEW)
    call.speaks(10_100, m.SessionCreated(2))
    assert call.at(10_200, word) == [
        m.Noted("configuration refused", why),
        m.CloseUpstream(2),
        m.Noted("renewal failed", "will be tried again"),
    ]
    assert call.at(10_220, frame(1)) == [m.AppendAudio("frame 1", 160, 1)]
    assert call.until(12_200) == [m.DialUpstream(3)]


def test_an_error_that_is_not_about_its_configuration_does_not_end_it(live_call: Any) -> None:
    call = live_call(**RENEW)
    call.speaks(10_100, m.SessionCreated(2))
    assert call.at(10_200, m.UpstreamFaulted("server_error", epoch=2)) == []
    assert m.CloseUpstream(1) in call.at(10_300, m.SessionUpdated(2))


def test_it_waits_while_somebody_speaks(live_call: Any) -> None:
    call = live_call(**RENEW)
    call.speaks(9_000, m.SpeechStarted(), frame(1))
    call.speaks(10_000, *SPARE)
    assert legs(call.at(10_100, m.SpeechStopped())) == []
    call.speaks(10_200, m.ResponseStarted("r1"), delta("A", 2_000), m.AudioDone("r1", "A"))
    assert legs(call.at(10_300, m.ResponseDone("r1"))) == []
    assert m.CloseUpstream(1) in call.echo(12_300)
    assert call.at(12_400, frame(2)) == [m.AppendAudio("frame 2", 160, 2)]


def test_it_waits_for_tools_and_for_keys_that_are_being_pressed(live_call: Any) -> None:
    call = live_call(**RENEW, digits="text")
    call.speaks(9_000, m.ResponseStarted("r1"), m.ToolCalled("r1", "f1", "call_1", "look_up", "{}"))
    call.speaks(9_100, m.ResponseDone("r1"))
    call.at(10_000, m.DigitPressed("4"))
    assert legs(call.speaks(10_100, *SPARE)) == [m.ConfigureSession(m.SessionConfig(), epoch=2)]
    assert m.CloseUpstream(1) not in call.at(10_200, m.ToolFinished("call_1", "42", respond=False))
    assert m.CloseUpstream(1) not in call.at(10_300, m.DigitPressed("#"))


def test_it_is_forced_before_the_hour_is_over(live_call: Any) -> None:
    """In the middle of a word, if it must be; the new session takes it up where the caller lost it."""
    call = live_call(**RENEW)
    words = m.TextDelta("r1", "A", 0, "One two three four")
    call.speaks(9_000, m.ResponseStarted("r1"), delta("A", 22_000), words)
    call.until(10_000)
    call.speaks(10_100, *SPARE)
    forced = call.until(20_000)
    heard_ms = only(m.Spoken, forced)[0].heard_ms
    assert [action for action in legs(forced) if not isinstance(action, m.PlayAudio | m.SendMark)] == [
        m.ClearPlayout(),
        m.CreateItem("pb_1", "assistant", "One two", epoch=2),
        m.CreateItem("pb_2", "system", RESTORED, epoch=2),
        m.CloseUpstream(1),
        m.CreateResponse("restored", epoch=2),
    ]
    assert heard_ms == 11_000


def test_it_is_not_forced_where_there_is_nothing_to_go_to(live_call: Any) -> None:
    call = live_call(**RENEW)
    call.speaks(9_000, m.ResponseStarted("r1"), delta("A", 60_000))
    call.until(10_000)
    assert only(m.ClearPlayout, call.until(20_000)) == []
    call.speaks(20_500, m.SessionCreated(4), m.SessionUpdated(4))
    assert only(m.ClearPlayout, call.until(21_000)), "but as soon as there is"


def test_a_spare_that_does_not_come_in_time_is_a_renewal_that_failed(live_call: Any) -> None:
    call = live_call(**RENEW)
    call.until(10_000)
    assert call.until(12_999) == []
    assert call.until(13_000) == [m.CloseUpstream(2), m.Noted("renewal failed", "will be tried again")]
    assert call.until(15_000) == [m.DialUpstream(3)]


def test_nor_where_a_lost_session_is_just_being_replaced(live_call: Any) -> None:
    call = live_call(**{**RENEW, "renew_again_ms": 60_000})
    call.at(9_990, m.SpeechStarted())
    call.at(10_000, m.DialFailed(2, 503))
    call.at(19_900, m.UpstreamClosed(1011))
    assert dials(call)[-1][0] == 19_900
    assert only(m.CloseUpstream, call.until(20_500)) == []
    assert dials(call)[-1][0] == 19_900


def test_one_that_is_refused_for_its_prompt_object_is_not_tried_again(live_call: Any) -> None:
    """The session that there is goes on to its end."""
    call = live_call(**RENEW)
    call.speaks(10_100, m.SessionCreated(2))
    refused = call.at(10_200, m.UpstreamFaulted("unknown_parameter", "so", "", "session.prompt", epoch=2))
    assert refused == [
        m.Noted("configuration refused", f"unknown_parameter session.prompt: so ({PROMPT_OBJECTS})"),
        m.CloseUpstream(2),
        m.Noted("renewal failed", "will not be tried again"),
    ]
    call.until(60_000)
    assert dials(call)[2:] == []


def test_a_renewal_that_fails_is_tried_again_a_while_later(live_call: Any) -> None:
    """However long the model has had nothing to say."""
    call = live_call(**RENEW)
    call.until(10_000)
    assert call.at(10_050, m.DialFailed(2, 503)) == [m.Noted("renewal failed", "will be tried again")]
    call.until(12_049)
    assert dials(call)[1:] == [(10_000, 2)]
    call.until(12_050)
    assert dials(call)[1:] == [(10_000, 2), (12_050, 3)]


def test_a_spare_whose_formats_differ_never_takes_over(live_call: Any) -> None:
    call = live_call(**RENEW)
    call.until(10_000)
    call.speaks(10_100, m.SessionCreated(2), m.SessionUpdated(2, formats_ok=False))
    assert call.at(10_120, frame(1)) == [m.AppendAudio("frame 1", 160, 1)]


def test_what_the_spare_says_otherwise_is_not_for_anybody(live_call: Any) -> None:
    call = live_call(**RENEW)
    call.until(10_000)
    assert call.speaks(10_010, m.SpeechStarted(epoch=2), m.ResponseStarted("r", epoch=2)) == []


def test_a_spare_that_is_ready_takes_over_when_the_first_session_is_lost(live_call: Any) -> None:
    """And no timer of the session that was being dialled in its place may end it."""
    call = live_call(**RENEW)
    call.at(9_000, m.SpeechStarted())
    call.until(10_000)
    call.speaks(10_100, *SPARE)
    call.at(10_150, m.SpeechStopped())
    call.speaks(10_200, m.ResponseStarted("r1"), m.ResponseDone("r1"))
    call.at(10_300, m.UpstreamClosed(1011))
    assert call.at(10_320, frame(1)) == [m.AppendAudio("frame 1", 160, 2)]
    assert only(m.CloseUpstream, call.until(18_000)) == []


def test_a_session_that_is_dialled_and_overtaken_by_the_spare_leaves_no_timer_behind(live_call: Any) -> None:
    call = live_call(**RENEW)
    call.until(10_000)
    call.at(10_050, m.SessionCreated(2))
    call.at(10_100, m.UpstreamClosed(1011))
    assert dials(call)[-1] == (10_100, 3)
    assert legs(call.at(10_200, m.SessionUpdated(2)))[-1] == m.CloseUpstream(3)
    call.until(14_000)
    assert call.at(14_020, frame(1)) == [m.AppendAudio("frame 1", 160, 2)]
    assert [action for action in call.actions if action == m.CloseUpstream(2)] == []


def test_a_change_of_configuration_reaches_the_spare_too(live_call: Any) -> None:
    call = live_call(**RENEW)
    call.at(9_000, m.SpeechStarted())
    call.until(10_000)
    call.speaks(10_100, *SPARE)
    new = m.SessionConfig(instructions="Speak French.")
    assert legs(call.at(10_200, m.Reconfigure(new))) == [
        m.ConfigureSession(new, True, 1),
        m.ConfigureSession(new, True, 2),
    ]


def test_a_change_that_was_under_way_does_not_hold_responses_back_after_the_swap(live_call: Any) -> None:
    call = live_call(**RENEW)
    call.until(10_000)
    call.at(10_100, m.SessionCreated(2))
    call.at(10_150, m.Reconfigure(m.SessionConfig(instructions="Speak French.")))
    call.at(10_200, m.SessionUpdated(2))
    assert only(m.CreateResponse, call.at(10_300, m.Respond("say-1"))) == [m.CreateResponse("say-1", epoch=2)]


def test_a_question_to_the_old_session_is_none_to_the_new_one(live_call: Any) -> None:
    """It owed an answer and was asked whether it lives when the renewal was forced."""
    call = live_call(**RENEW, probe_ms=1_000)
    call.at(9_000, m.SpeechStarted())
    call.until(10_000)
    call.speaks(10_100, *SPARE)
    call.at(18_400, m.SpeechStopped())
    assert m.Probe(1) in call.until(20_000)
    assert only(m.CloseUpstream, call.actions) == [m.CloseUpstream(1)]
    assert only(m.CloseUpstream, call.until(20_900)) == []


def test_no_renewal_is_begun_for_a_call_that_is_about_to_end(live_call: Any) -> None:
    call = live_call(**RENEW)
    call.speaks(9_000, m.ResponseStarted("r1"), delta("A", 3_000), m.ResponseDone("r1"), m.HangUp())
    assert legs(call.until(11_000)) == []


def test_both_are_closed_at_the_end(live_call: Any) -> None:
    call = live_call(**RENEW)
    call.until(10_000)
    assert only(m.CloseUpstream, call.at(10_050, m.Stopped())) == [m.CloseUpstream(1), m.CloseUpstream(2)]


def test_no_dial_is_left_over_when_the_spare_takes_the_place_of_a_lost_session(live_call: Any) -> None:
    """The lost session was being dialled again when the spare came: it must not replace it a moment later."""
    call = live_call(**RENEW)
    call.speaks(10_100, m.SessionCreated(2), m.UpstreamClosed(1011), m.DialFailed(3, status=503))
    assert m.Noted("session renewed", "3 -> 2") in call.at(10_150, m.SessionUpdated(2))
    call.until(19_000)
    assert dials(call)[1:] == [(10_000, 2), (10_100, 3)]
