"""Turns as a handler gets them: which item, words that never come, a handler that thinks too long."""

from __future__ import annotations

from typing import Any

from bridge.core import messages as m
from bridge.core.liveness import HANDLER_FILLERS
from bridge.core.transcripts import TRANSCRIPT_MS

from .conftest import only, speech

SESSION = m.SessionConfig(transcription="gpt-transcribe")


def test_speech_says_which_item_it_will_be(live_call: Any) -> None:
    call = live_call()
    call.speaks(1_000, m.SpeechStarted("u1"), m.SpeechStopped("u1"))
    spoken = [action for _, action in call.said if isinstance(action, m.CallerSpoke)]
    assert spoken == [m.CallerSpoke(True, "u1"), m.CallerSpoke(False, "u1")]


def test_a_turn_whose_words_never_come_is_told_without_them(live_call: Any) -> None:
    call = live_call(session=SESSION, handler=True)
    call.speaks(1_000, m.SpeechStarted("u1"), m.SpeechStopped("u1"), m.TurnCommitted("u1"))
    assert only(m.Turn, call.until(1_000 + TRANSCRIPT_MS - 1)) == []
    assert only(m.Turn, call.until(1_000 + TRANSCRIPT_MS)) == [m.Turn("u1", "")]


def test_words_that_come_after_all_are_recorded_and_not_told_twice(live_call: Any) -> None:
    call = live_call(session=SESSION, handler=True)
    call.speaks(1_000, m.SpeechStarted("u1"), m.SpeechStopped("u1"), m.TurnCommitted("u1"))
    call.until(20_000)
    assert only(m.Turn, call.at(20_000, m.CallerTranscribed("u1", "hello"))) == []
    assert call.call.playout.conversation.item("u1").text == "hello"


def test_words_in_time_end_the_waiting(live_call: Any) -> None:
    call = live_call(session=SESSION, handler=True)
    call.speaks(1_000, m.SpeechStarted("u1"), m.SpeechStopped("u1"), m.TurnCommitted("u1"))
    assert only(m.Turn, call.at(2_000, m.CallerTranscribed("u1", "hello"))) == [m.Turn("u1", "hello")]
    assert only(m.Turn, call.until(30_000)) == []


def test_a_handler_that_thinks_is_covered_twice_and_then_taken_to_listen(live_call: Any) -> None:
    call = live_call(handler=True, phrases={"filler": speech(240)}, probe_ms=0)
    call.speaks(1_000, m.SpeechStarted("u1"), m.SpeechStopped("u1"), m.TurnCommitted("u1"))
    for at_ms in range(1_020, 60_000, 20):
        call.until(at_ms)
        call.echo(at_ms)
    assert len(only(m.PlayAudio, [action for _, action in call.said])) == HANDLER_FILLERS
    assert only(m.DialUpstream, [action for _, action in call.said]) == [m.DialUpstream(1)]
