"""A turn that the model does not end: which bound acts when, and what is done then."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from bridge.core import messages as m
from bridge.core.open_turn import has_words

from .conftest import delta, only, speech

LOUD = b64encode(b"\x10" * 160).decode()

BOUNDS = m.TurnBounds()
STARTED, STOPPED = m.SpeechStarted("u1"), m.SpeechStopped("u1")
COMMITTED = m.TurnCommitted("u1")
COMMIT, CLEAR = m.CommitAudio(1), m.ForgetAudio(1)


@pytest.fixture
def call(live_call: Any) -> Any:
    return live_call(
        turn_bounds=BOUNDS,
        phrases={"still_there": speech(500, letter="S"), "filler": speech(400, letter="F")},
    )


def hears(call: Any, now_ms: int, *, loud: bool = True, steady: bool = False) -> None:
    """From here on our ear hears the caller, or does not."""
    call.call.caller_frame(m.CallerAudio(LOUD, 160, now_ms), now_ms)
    call.at(now_ms, m.CallerVoice(loud, steady))


def says(call: Any, from_ms: int, to_ms: int) -> None:
    """The caller speaks, the model notices that they began, and our ear that they stopped."""
    hears(call, from_ms)
    call.at(from_ms + 100, STARTED)
    hears(call, to_ms, loud=False)


def goes_on(call: Any, until_ms: int, *, silent: bool = False) -> None:
    """The line is alive: a frame each 20 ms."""
    for now_ms in range(call.now_ms, until_ms, 20):
        call.until(now_ms)
        if not silent:
            call.call.caller_frame(m.CallerAudio(LOUD, 160, now_ms), now_ms)
    call.until(until_ms)


def at_ms(call: Any, action: m.Action) -> list[int]:
    return [at for at, one in call.said if one == action]


def codes(call: Any) -> list[str]:
    return [f"{note.what}: {note.detail.partition(':')[0]}" for note in only(m.Noted, call.actions)]


def asked_ms(call: Any) -> list[int]:
    return [at for at, one in call.said if isinstance(one, m.CreateResponse)]


# --- quiet --------------------------------------------------------------------------------------------------


def test_it_is_committed_and_asked_for_when_our_ear_has_been_quiet_for_long_enough(call: Any) -> None:
    says(call, 1_000, 2_000)
    call.until(3_499)
    assert at_ms(call, COMMIT) == []
    brought = [one for one in call.until(3_500) if not isinstance(one, m.AppendAudio)]
    assert [type(one) for one in brought] == [m.Noted, m.CallerSpoke, m.CommitAudio, m.CreateResponse]
    assert codes(call) == ["turn without end: quiet_ear"]


def test_and_a_filler_covers_the_wait(call: Any) -> None:
    says(call, 1_000, 2_000)
    call.until(3_900)
    assert only(m.PlayAudio, call.actions)


def test_without_bounds_it_is_not(live_call: Any) -> None:
    """As in all recordings from before there were any."""
    call = live_call()
    says(call, 1_000, 2_000)
    call.until(200_000)
    assert only(m.CommitAudio, call.actions) == []


def test_a_model_that_ends_it_in_time_is_left_alone(call: Any) -> None:
    says(call, 1_000, 2_000)
    call.speaks(2_500, STOPPED, COMMITTED, m.ResponseStarted("r1"), delta("A", 500), m.ResponseDone("r1"))
    call.until(10_000)
    assert at_ms(call, COMMIT) == asked_ms(call) == []


def test_a_pause_begins_it_anew(call: Any) -> None:
    says(call, 1_000, 2_000)
    call.until(3_000)
    hears(call, 3_000)
    hears(call, 3_200, loud=False)
    call.until(10_000)
    assert at_ms(call, COMMIT) == [4_700]


def test_a_phone_that_stops_sending_is_quiet_though_it_was_loud(call: Any) -> None:
    hears(call, 1_000)
    call.at(1_100, STARTED)
    goes_on(call, 2_000)
    call.until(5_000)
    assert at_ms(call, COMMIT) == [1_980 + 1_500]


def test_words_of_this_turn_hold_it_open(call: Any) -> None:
    says(call, 1_000, 2_000)
    call.at(3_000, m.CallerWords("u1", "and then"))
    call.until(20_000)
    assert at_ms(call, COMMIT) == [13_000]


def test_words_of_the_turn_before_do_not(call: Any) -> None:
    call.speaks(500, m.SpeechStarted("u0"), m.SpeechStopped("u0"), m.TurnCommitted("u0"))
    call.speaks(600, m.ResponseStarted("r1"), delta("A", 100), m.ResponseDone("r1"))
    says(call, 1_000, 2_000)
    call.at(2_500, m.CallerTranscribed("u0", "Good morning."))
    call.until(20_000)
    assert at_ms(call, COMMIT)[0] == 3_500


def test_what_the_model_says_of_it_later_is_too_late(call: Any) -> None:
    says(call, 1_000, 2_000)
    call.until(3_500)
    call.speaks(3_600, COMMITTED, m.ResponseStarted("r1", "turn:1"), delta("A", 400), m.ResponseDone("r1"))
    call.speaks(3_700, STOPPED)
    call.until(20_000)
    assert asked_ms(call) == [3_500]
    assert only(m.Cut, call.actions) == []


def test_a_flicker_does_not_begin_it_anew_nor_cut_what_is_said(call: Any) -> None:
    says(call, 1_000, 2_000)
    for now_ms in range(2_100, 6_000, 300):
        call.at(now_ms, m.SpeechStopped(f"u{now_ms}"))
        call.at(now_ms + 150, m.SpeechStarted(f"u{now_ms}"))
    assert at_ms(call, COMMIT)[0] == asked_ms(call)[0] == 3_400
    assert only(m.ClearPlayout, call.actions) == []


def test_the_caller_who_speaks_again_is_believed_again(call: Any) -> None:
    says(call, 1_000, 2_000)
    call.until(3_500)
    call.speaks(3_600, COMMITTED, m.ResponseStarted("r1", "turn:1"), delta("A", 5_000))
    hears(call, 5_000)
    assert only(m.ClearPlayout, call.at(5_200, m.SpeechStarted("u2"))) == [m.ClearPlayout()]


def test_a_model_that_notices_nothing_more_is_told_each_time(call: Any) -> None:
    says(call, 1_000, 2_000)
    for turn, begins_ms in enumerate((4_000, 14_000, 24_000), 1):
        call.until(begins_ms)
        call.speaks(begins_ms, m.TurnCommitted(f"u{turn}"), m.ResponseStarted(f"r{turn}", f"turn:{turn}"))
        call.speaks(begins_ms, delta(f"A{turn}", 100, response=f"r{turn}"), m.ResponseDone(f"r{turn}"))
        hears(call, begins_ms + 7_500)
        hears(call, begins_ms + 8_000, loud=False)
    call.until(25_000)
    assert at_ms(call, COMMIT) == [3_500, 13_500, 23_500]


@pytest.mark.parametrize("kind", [m.UpstreamClosed(1006), m.HangUp("done"), m.Stopped()])
def test_a_call_that_is_ending_or_has_no_model_has_no_bound(call: Any, kind: m.Event) -> None:
    says(call, 1_000, 2_000)
    call.at(2_500, kind)
    call.until(9_000)
    assert only(m.CommitAudio, call.actions) == []


def test_a_backchannel_that_does_not_end_is_speech(live_call: Any) -> None:
    call = live_call(turn_bounds=BOUNDS, backchannel_ms=3_000, interrupts=False)
    call.speaks(500, m.ResponseStarted("r1"), delta("A", 20_000))
    says(call, 1_000, 2_000)
    call.until(3_600)
    assert only(m.ClearPlayout, call.actions) == [m.ClearPlayout()]
    assert len(only(m.CommitAudio, call.actions)) == 1


# --- 90 seconds ---------------------------------------------------------------------------------------------


def test_a_voice_is_let_speak_for_90_seconds(call: Any) -> None:
    hears(call, 1_000)
    call.at(1_100, STARTED)
    goes_on(call, 91_000)
    assert at_ms(call, COMMIT) == at_ms(call, CLEAR) == []
    goes_on(call, 91_200)
    assert at_ms(call, COMMIT) == [91_100]
    assert codes(call) == ["turn without end: longest_turn"]


# --- the turn as an item ------------------------------------------------------------------------------------


def test_a_turn_that_is_not_taken_is_committed_by_us(call: Any) -> None:
    says(call, 1_000, 2_000)
    call.at(2_500, STOPPED)
    call.until(3_600)
    assert at_ms(call, COMMIT) == asked_ms(call) == [3_500]
    assert codes(call) == ["turn without end: not_committed"]


def test_one_that_is_taken_is_asked_for_later_and_not_committed(call: Any) -> None:
    says(call, 1_000, 2_000)
    call.speaks(2_500, STOPPED, COMMITTED)
    call.until(6_000)
    assert at_ms(call, COMMIT) == []
    assert asked_ms(call) == [5_500]


@pytest.mark.parametrize(
    "answer",
    [
        COMMITTED,
        m.UpstreamFaulted("input_audio_buffer_commit_empty"),
        m.UpstreamFaulted("invalid_value", about="commit"),
    ],
)
def test_a_session_that_answers_our_commit_stays(call: Any, answer: m.Event) -> None:
    says(call, 1_000, 2_000)
    call.until(3_500)
    call.speaks(3_600, answer, m.ResponseStarted("r1", "turn:1"), delta("A", 100), m.ResponseDone("r1"))
    call.until(9_000)
    assert only(m.DialUpstream, call.actions) == [m.DialUpstream(1)]


def test_one_that_does_not_is_replaced_when_what_it_says_was_heard(call: Any) -> None:
    says(call, 1_000, 2_000)
    call.until(3_500)
    call.speaks(3_600, m.ResponseStarted("r1", "turn:1"), delta("A", 3_000), m.ResponseDone("r1"))
    call.until(6_000)
    assert len(only(m.DialUpstream, call.actions)) == 1
    call.echo(6_700)
    call.until(6_800)
    assert len(only(m.DialUpstream, call.actions)) == 2
    call.speaks(6_900, m.SessionCreated(2), m.SessionUpdated(2))
    kept = [one for one in call.actions if isinstance(one, m.AppendAudio) and one.epoch == 2]
    assert kept, "what the caller said is said again"


def test_the_second_that_does_not_ends_the_call(call: Any) -> None:
    says(call, 1_000, 2_000)
    call.until(5_100)
    call.speaks(5_200, m.SessionCreated(2), m.SessionUpdated(2))
    call.at(5_300, m.SpeechStarted("u1", epoch=2))
    call.until(20_000)
    ended = only(m.Ended, call.actions)
    assert [end.reason for end in ended] == [m.Reason.UPSTREAM_LOST]


# --- sound without words ------------------------------------------------------------------------------------


def plays_music(call: Any, from_ms: int, to_ms: int) -> None:
    """From the first second on the model takes it for speech; after ten our ear knows better."""
    hears(call, from_ms)
    call.at(from_ms + 100, STARTED)
    goes_on(call, from_ms + 10_000)
    hears(call, from_ms + 10_000, steady=True)
    goes_on(call, to_ms)


def test_it_is_cleared_and_the_caller_is_asked_once(call: Any) -> None:
    plays_music(call, 1_000, 40_000)
    assert at_ms(call, CLEAR) == [26_100]
    assert at_ms(call, COMMIT) == asked_ms(call) == []
    assert sum(played.size_bytes for played in only(m.PlayAudio, call.actions)) == 500 * 8
    assert codes(call)[0] == "turn without end: no_words"


def test_what_the_model_takes_for_speech_then_does_not_cut_the_question(call: Any) -> None:
    plays_music(call, 1_000, 26_100)
    call.at(26_150, m.SpeechStarted("u2"))
    assert only(m.ClearPlayout, call.actions) == []


def test_without_the_phrase_the_model_asks(live_call: Any) -> None:
    call = live_call(turn_bounds=BOUNDS)
    plays_music(call, 1_000, 27_000)
    assert asked_ms(call) == [26_100]


def test_words_make_it_a_turn(call: Any) -> None:
    hears(call, 1_000)
    call.at(1_100, STARTED)
    goes_on(call, 11_000)
    hears(call, 11_000, steady=True)
    for now_ms in range(12_000, 60_000, 8_000):
        goes_on(call, now_ms)
        call.at(now_ms, m.CallerWords("u1", "and so on"))
    assert at_ms(call, CLEAR) == at_ms(call, COMMIT) == []


@pytest.fixture
def held(call: Any) -> Any:
    """A call that is on hold since 51.1 s."""
    plays_music(call, 1_000, 55_000)
    assert codes(call)[-1] == "on hold: on_hold"
    assert at_ms(call, CLEAR) == [26_100, 51_100]
    return call


def test_the_second_time_nothing_is_asked_and_the_buffer_stays_small(held: Any) -> None:
    played = len(only(m.PlayAudio, held.actions))
    goes_on(held, 130_000)
    assert len(only(m.PlayAudio, held.actions)) == played
    assert at_ms(held, CLEAR) == [26_100, 51_100, 76_100, 101_100, 126_100]
    assert asked_ms(held) == []


def test_what_the_model_says_on_hold_is_cut(held: Any) -> None:
    held.speaks(56_000, STOPPED, COMMITTED, m.ResponseStarted("r1"), delta("A", 500))
    assert m.CancelResponse("r1") in held.actions
    assert only(m.PlayAudio, held.speaks(56_100, delta("A", 500))) == []


def test_what_a_handler_says_on_hold_is_said(held: Any) -> None:
    hears(held, 55_900, loud=False)
    held.speaks(56_000, STOPPED, COMMITTED)
    held.at(56_100, m.Say("s1", "Please wait."))
    held.speaks(56_200, m.ResponseStarted("r1", "s1"))
    assert only(m.PlayAudio, held.speaks(56_300, delta("A", 500)))


def test_words_end_it_and_are_answered(held: Any) -> None:
    held.speaks(56_000, STOPPED, COMMITTED)
    held.at(57_000, m.CallerTranscribed("u1", "[Music]"))
    assert asked_ms(held) == []
    held.at(58_000, m.CallerTranscribed("u1", "Hello? Are you there?"))
    assert asked_ms(held) == [58_000]
    assert codes(held)[-1] == "on hold: words"


def test_ten_minutes_end_it(held: Any) -> None:
    goes_on(held, 651_200)
    assert codes(held)[-2:] == ["on hold: hold_over", "turn without end: no_words"]


@pytest.mark.parametrize(
    ("transcript", "words"),
    [
        ("Hello?", True), ("[Music] Hello", True), ("你好", True), ("5", True),
        ("", False), ("[Music]", False), ("(dog barks)", False), ("*sighs*", False), ("♪ la la ♪", False),
        ("... !", False), ("[MUSIC", False),
    ],
)  # fmt: skip
def test_what_counts_as_words(transcript: str, words: bool) -> None:
    assert has_words(transcript) is words


def test_a_bound_of_0_never_acts(live_call: Any) -> None:
    call = live_call(turn_bounds=m.TurnBounds(0, 0, 0, 0, 0))
    says(call, 1_000, 2_000)
    call.until(300_000)
    assert only(m.CommitAudio, call.actions) == only(m.ForgetAudio, call.actions) == []
