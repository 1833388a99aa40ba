"""The caller's sound on its way up: as it came, padded where it has a gap, silent where they wish."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest

from bridge.core import messages as m
from bridge.core.caller_audio import GAP_MS, MOST_PADDED_MS, STALL_PADDING_MS, STALLED_MS, silence

from .conftest import frame, legs, only


@pytest.mark.parametrize("size_bytes", [0, 1, 2, 3, 160, 8_000])
def test_silence_is_mu_law_silence_in_base64(size_bytes: int) -> None:
    assert b64decode(silence(size_bytes), validate=True) == b"\xff" * size_bytes


def test_a_frame_goes_up_as_it_came(live_call: Any) -> None:
    call = live_call()
    assert call.at(20, frame(0)) == [m.AppendAudio("frame 0", 160)]
    assert call.call.caller_audio.frames == 1


@pytest.mark.parametrize(
    ("gap_ms", "padded_ms"),
    [(3, 0), (GAP_MS - 1, 0), (GAP_MS, GAP_MS), (2_000, 2_000), (60_000, MOST_PADDED_MS)],
)
def test_a_gap_in_the_carriers_clock_is_filled_with_silence(
    live_call: Any, gap_ms: int, padded_ms: int
) -> None:
    """Voice detection counts audio written, not time. A few ms are jitter; after 10 s it is no gap."""
    call = live_call()
    call.at(20, m.CallerAudio("a", 160, at_ms=102))
    *padding, append = call.at(40 + gap_ms, m.CallerAudio("b", 160, at_ms=122 + gap_ms))
    assert append == m.AppendAudio("b", 160)
    assert padding == [m.AppendAudio(silence(padded_ms * 8), padded_ms * 8)] * (padded_ms > 0)


def test_a_clock_that_runs_backwards_is_no_gap(live_call: Any) -> None:
    call = live_call()
    call.at(20, m.CallerAudio("a", 160, at_ms=5_000))
    assert call.at(40, m.CallerAudio("b", 160, at_ms=0)) == [m.AppendAudio("b", 160)]


def test_frames_that_stop_while_the_caller_speaks_are_replaced_by_silence_so_that_the_turn_can_end(
    live_call: Any,
) -> None:
    call = live_call()
    call.speaks(100, frame(0), m.SpeechStarted())
    assert call.until(100 + STALLED_MS - 1) == []
    stall = m.AppendAudio(silence(STALL_PADDING_MS * 8), STALL_PADDING_MS * 8)
    assert call.until(100 + STALLED_MS) == [stall]
    assert call.until(100 + 2 * STALLED_MS) == [stall]
    call.at(1_700, m.SpeechStopped())
    assert legs(call.until(3_000)) == []
    late = m.CallerAudio("late", 160, at_ms=122 + 2_900)
    assert call.at(3_020, late) == [
        m.AppendAudio(silence(900 * 8), 900 * 8),
        m.AppendAudio("late", 160),
    ], "what was filled in already is not filled in again"


def test_while_frames_come_nothing_is_filled_in(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.SpeechStarted())
    for number in range(1, 100):
        assert call.at(20 * number, frame(number)) == [m.AppendAudio(f"frame {number}", 160)]
    assert len(only(m.AppendAudio, call.actions)) == 99


def test_a_caller_who_is_muted_is_silence_to_the_model(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.Mute())
    assert call.at(20, frame(0)) == [m.AppendAudio(silence(160), 160)]
    call.at(30, m.Mute(on=False))
    assert call.at(40, frame(1)) == [m.AppendAudio("frame 1", 160)]


def test_what_was_kept_of_a_muted_caller_is_silence_too(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.Say("say-1", "Listen.", interruptible=False), m.Mute(), frame(0))
    assert m.AppendAudio(silence(160), 160) in call.at(50, m.Interrupt())


# --- turns --------------------------------------------------------------------------------------------------


def test_a_turn_is_told_when_its_words_have_come(live_call: Any) -> None:
    call = live_call(session=m.SessionConfig(transcription="gpt-transcribe"))
    assert call.at(0, m.TurnCommitted("u1")) == []
    usage = m.Usage(audio_in=12)
    words = m.CallerTranscribed("u1", "Hello!", seconds=1.5, usage=usage)
    assert call.at(300, words) == [m.Turn("u1", "Hello!", 1.5, usage)]
    assert call.call.stats.transcribed_s == 1.5
    assert call.at(400, m.CallerTranscribed("u2", "", failed=True)) == [m.Turn("u2", "")]


def test_without_transcription_it_is_told_at_once(live_call: Any) -> None:
    call = live_call()
    assert call.at(0, m.TurnCommitted("u1")) == [m.Turn("u1", "")]
    assert call.items["u1"].role == "user"


def test_the_time_to_our_first_word_is_measured_from_the_callers_last(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.SpeechStarted(), m.SpeechStopped())
    call.speaks(600, m.ResponseStarted("r1"), m.AudioDelta("r1", "A", 0, "", 800))
    call.speaks(700, m.AudioDelta("r1", "A", 0, "", 800))
    stats = call.call.stats
    assert (stats.turns, stats.turn_latencies_ms, stats.first_audio_ms) == (1, [600], 600)
    assert stats.heard_bytes == 0, "nothing of it is told as heard yet"


def test_where_the_vendor_does_not_answer_by_itself_we_ask_for_the_answer(live_call: Any) -> None:
    call = live_call()
    call.at(0, m.SessionUpdated(responds=False))
    call.at(100, m.SpeechStarted())
    assert legs(call.at(600, m.SpeechStopped())) == [m.CreateResponse("turn:1")]


def test_with_a_handler_the_handler_answers(live_call: Any) -> None:
    call = live_call(handler=True)
    call.at(0, m.SessionUpdated(responds=False))
    assert legs(call.speaks(100, m.SpeechStarted(), m.SpeechStopped())) == []
    assert legs(call.until(30_000)) == [], "nor is anybody's answer owed"


def test_running_words_are_told_as_they_come_if_somebody_asked_for_them(live_call: Any) -> None:
    call = live_call(running_words=True)
    call.at(0, m.ResponseStarted("r1"))
    assert call.at(10, m.TextDelta("r1", "A", 0, "Good ")) == [m.TranscriptDelta("r1", "A", "Good ")]
    call.speaks(20, m.Interrupt(), m.ResponseStarted("s1", aside=True))
    assert call.at(30, m.TextDelta("r1", "A", 0, "day.")) == [], "it is muted"
    assert call.at(40, m.TextDelta("s1", "S", 0, "Summary")) == [], "it is not for the caller"
    assert live_call().at(10, m.TextDelta("r1", "A", 0, "Good ")) == []


def test_who_is_unmuted_in_the_middle_of_a_word_has_a_voice_again(live_call: Any) -> None:
    call = live_call()
    call.call.receive(m.CallerVoice(True), 0)
    call.call.receive(m.Mute(True), 100)
    assert not call.call.caller_audio.loud
    call.call.receive(m.Mute(False), 200)
    assert call.call.caller_audio.loud
    call.call.receive(m.CallerVoice(False), 300)
    assert not call.call.caller_audio.loud
