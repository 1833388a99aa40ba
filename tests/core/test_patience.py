"""Never dead air: silence is filled, and a model that says nothing is asked whether it lives."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.codecs.voice import VoiceDetector
from bridge.core import messages as m
from bridge.core.caller_audio import FORGET_MS, PAUSE_MS, VOICE_MS, silence
from bridge.core.liveness import UNHEARD_MS
from bridge.core.pending_answer import MOST_SILENT_MS
from bridge.core.recovery import RESUME_MS

from .conftest import LiveCall, delta, legs, new_call, only, phone, speech

LOUD = "A" * 216
FILLER = {"filler": speech(240, letter="F")}
ASKED = m.Probe()
LIVES = m.ProbeAnswered()
LOST = m.UpstreamClosed(1011)


def sound(number: int, audio: str = silence(160)) -> m.CallerAudio:
    return m.CallerAudio(audio, 160, at_ms=102 + 20 * number)


def says(call: LiveCall, from_ms: int, ms: int, quiet_ms: int = 0) -> None:
    """The caller speaks for so long, in frames, and is quiet for so long then."""
    for number in range(from_ms // 20, (from_ms + ms + quiet_ms) // 20):
        call.at(20 * number, sound(number, LOUD if 20 * number < from_ms + ms else silence(160)))


def fillers(call: LiveCall) -> list[int]:
    """When each filler (of one slice) began."""
    return [at_ms for at_ms, act in call.said if isinstance(act, m.PlayAudio) and act.audio[:1] == "F"]


def play_on(call: LiveCall, until_ms: int) -> None:
    """Time goes by, and what is played is echoed at once."""
    while call.now_ms < until_ms:
        call.until(call.now_ms + 20)
        if not call.line.remaining_ms(call.now_ms):
            call.echo(call.now_ms)


def asked(call: LiveCall, now_ms: int = 0) -> None:
    """The caller has asked something; the vendor noticed half a second after their last word."""
    call.speaks(now_ms, m.SpeechStarted(), m.SpeechStopped())


# --- fillers ------------------------------------------------------------------------------------------------


def test_silence_while_an_answer_is_owed_is_filled_again_and_again(live_call: Any) -> None:
    call = live_call(phrases=FILLER, stalled_ms=60_000)
    asked(call, 500)
    play_on(call, 7_000)
    first, *others = fillers(call)
    assert first <= MOST_SILENT_MS, "counted from the caller's last word"
    ends = [first + 240, *(at_ms + 240 for at_ms in others)]
    gaps = [begin - end for end, begin in zip(ends, others, strict=False)]
    assert max(gaps) <= 2_000
    assert len(gaps) >= 2


def test_the_answer_ends_the_wait(live_call: Any) -> None:
    call = live_call(phrases=FILLER)
    asked(call)
    call.speaks(600, m.ResponseStarted("r1"), delta("A", 400), m.AudioDone("r1", "A"), m.ResponseDone("r1"))
    play_on(call, 8_000)
    assert fillers(call) == []


def test_a_response_that_says_nothing_is_asked_for_once_more_and_then_the_caller_is_asked_to_go_on(
    live_call: Any,
) -> None:
    call = live_call(phrases={**FILLER, "restored": speech(240, letter="R")})
    asked(call)
    again = call.speaks(600, m.ResponseStarted("r1"), m.ResponseDone("r1"))
    assert only(m.CreateResponse, again) == [m.CreateResponse("retry")]
    said = call.speaks(900, m.ResponseStarted("r2", tag="retry"), m.ResponseDone("r2"))
    assert [sound.audio[:1] for sound in only(m.PlayAudio, said)] == ["R"]
    play_on(call, 8_000)
    assert fillers(call) == []


def test_a_key_pressed_while_we_dial_does_not_end_the_wait() -> None:
    call = new_call(phrases=FILLER, digits="interrupt", session_ms=20_000, media_gap_ms=60_000)
    call.speaks(0, m.Started("MZ1", "CA1", "AC1"), m.Admitted())
    call.at(300, m.DigitPressed("5"))
    play_on(call, 4_000)
    assert fillers(call)[0] <= 2_000


def test_a_greeting_is_owed_whatever_the_server_did_before_it_was_asked_for() -> None:
    """Some begin to speak by themselves; nobody hears that."""
    call = new_call(phrases=FILLER, greeting="Hello.", media_gap_ms=60_000)
    call.speaks(0, m.Started("MZ1", "CA1", "AC1"), m.Admitted(), m.SessionCreated())
    call.speaks(100, m.ResponseStarted("r0"), delta("i0", 400, response="r0"), m.ResponseDone("r0"))
    call.at(120, m.SessionUpdated())
    play_on(call, 4_000)
    assert fillers(call)


def test_nobody_is_talked_over_by_a_filler(live_call: Any) -> None:
    call = live_call(phrases=FILLER, stalled_ms=60_000)
    asked(call)
    call.at(1_000, m.SpeechStarted())
    call.until(3_000)
    assert fillers(call) == []


@pytest.mark.parametrize(("way_ms", "due_ms"), [(50, 1_850), (300, 1_650), (900, 1_500)])
def test_the_way_to_the_caller_is_part_of_the_silence(live_call: Any, way_ms: int, due_ms: int) -> None:
    """A tool may have five seconds, but silence may not last two; and a filler waits for its own time."""
    slow = m.ToolConfig("look_up", filler_after_ms=5_000)
    call = live_call(phrases=FILLER, session=m.SessionConfig(tool_configs=(slow,)))
    call.line.ledger.reached("probe1", way_ms)
    call.speaks(4_000, m.ResponseStarted("r1"), m.ToolCalled("r1", "f1", "call_1", "look_up", "{}"))
    call.until(8_000)
    assert fillers(call)[0] == 4_000 + due_ms


def test_before_the_carrier_is_proven_a_voice_leads_to_nothing() -> None:
    call = new_call(phrases=FILLER, session_ms=20_000)
    call.at(0, m.Started("MZ1", "CA1", "AC1"))
    says(call, 200, 800, quiet_ms=2_500)
    assert phone(call.actions) == []
    assert list(call.call.playout.debts.open) == []


def test_where_there_is_no_filler_the_wait_is_just_a_wait(live_call: Any) -> None:
    call = live_call(stalled_ms=60_000)
    asked(call)
    assert phone(call.until(5_000)) == []


def test_sound_that_waits_or_plays_is_no_silence(live_call: Any) -> None:
    call = live_call(phrases=FILLER, stalled_ms=60_000)
    asked(call)
    call.at(100, m.Play("notice", speech(3_000, letter="P")))
    play_on(call, 3_100)
    assert fillers(call) == []
    play_on(call, 6_000)
    assert fillers(call)[0] >= 3_100


def test_a_goodbye_that_is_owed_and_does_not_come_is_said_by_a_phrase(live_call: Any) -> None:
    """The filler's turn, but a filler would promise what will not be said any more."""
    goodbye = {**FILLER, "goodbye": speech(400, letter="G")}
    call = live_call(phrases=goodbye, limits=m.Limits(call_ms=60_000, goodbye_ms=15_000))
    asked(call, 44_900)
    play_on(call, 52_000)
    assert fillers(call) == []


# --- signs of life ------------------------------------------------------------------------------------------


def test_a_model_that_owes_an_answer_and_is_silent_is_asked_for_a_sign_of_life(live_call: Any) -> None:
    call = live_call(probe_ms=1_000, stalled_ms=8_000)
    asked(call)
    assert only(m.Probe, call.until(1_000)) == []
    at_ms = next_probe(call)
    assert at_ms <= 2_000
    assert call.at(at_ms + 50, LIVES) == []
    assert only(m.DialUpstream, call.until(at_ms + 1_500)) == []


def next_probe(call: LiveCall) -> int:
    while ASKED not in call.actions:
        call.until(call.now_ms + 10)
    return call.now_ms


def test_one_that_gives_none_is_taken_for_lost(live_call: Any) -> None:
    call = live_call(probe_ms=1_000)
    asked(call)
    at_ms = next_probe(call)
    assert legs(call.until(at_ms + 999)) == []
    assert legs(call.until(at_ms + 1_000)) == [m.CloseUpstream(1), m.DialUpstream(2)]


def test_any_word_of_it_is_a_sign_of_life(live_call: Any) -> None:
    call = live_call(probe_ms=1_000)
    asked(call)
    at_ms = next_probe(call)
    call.at(at_ms + 100, m.ResponseStarted("r1"))
    assert only(m.DialUpstream, call.until(at_ms + 1_500)) == []


def test_one_that_lives_and_still_does_not_answer_is_taken_for_lost_later(live_call: Any) -> None:
    """Answers to our question do not count as words about the caller's."""
    call = live_call(probe_ms=1_000, stalled_ms=8_000)
    asked(call)
    while call.now_ms < 12_000 and m.DialUpstream(2) not in call.actions:
        at_ms = call.now_ms + 10
        if ASKED in call.until(at_ms):
            call.at(at_ms, LIVES)
    assert 8_000 <= call.now_ms <= 10_500


def test_one_that_has_begun_to_answer_may_think_three_times_as_long(live_call: Any) -> None:
    call = live_call(stalled_ms=2_000)
    asked(call)
    call.at(100, m.ResponseStarted("r1"))
    assert only(m.DialUpstream, call.until(6_000)) == []
    assert only(m.DialUpstream, call.until(9_000)) == [m.DialUpstream(2)]


def test_while_a_tool_runs_it_is_not_the_model_that_is_slow(live_call: Any) -> None:
    call = live_call(stalled_ms=2_000)
    call.speaks(0, m.ResponseStarted("r1"), m.ToolCalled("r1", "f1", "call_1", "look_up", "{}"))
    call.at(10, m.ResponseDone("r1"))
    assert only(m.DialUpstream, call.until(9_000)) == []


def test_where_nobody_answers_such_questions_nobody_asks(live_call: Any) -> None:
    call = live_call(probe_ms=0)
    asked(call)
    assert only(m.Probe, call.until(7_000)) == []


def test_a_question_to_a_session_that_is_over_ends_with_it(live_call: Any) -> None:
    call = live_call(probe_ms=1_000)
    asked(call)
    at_ms = next_probe(call)
    call.at(at_ms + 10, LOST)
    assert only(m.CloseUpstream, call.until(at_ms + 2_000)) == []


# --- the caller's own voice ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("audio", "loud"),
    [(LOUD, True), (silence(160), False), ("", False), ("AAA", False), ("µ-law", False), ("AAAA", True)],
)
def test_loud_is_what_may_be_a_voice(audio: str, loud: bool) -> None:
    voice = VoiceDetector()
    voice.update(audio)
    assert voice.loud is loud


def test_a_turn_that_the_model_does_not_notice_makes_us_ask_whether_it_lives(live_call: Any) -> None:
    call = live_call(probe_ms=1_000)
    says(call, 1_000, 600, quiet_ms=2_000)
    assert [at_ms for at_ms, action in call.said if action == ASKED] == [1_580 + UNHEARD_MS]
    assert (1_580 + UNHEARD_MS + 1_000, m.DialUpstream(2)) in call.said


def test_one_that_it_noticed_does_not(live_call: Any) -> None:
    call = live_call(probe_ms=1_000)
    says(call, 1_000, 600)
    call.at(1_610, m.SpeechStarted())
    call.speaks(2_100, m.SpeechStopped(), m.ResponseStarted("r1"), delta("A", 200), m.ResponseDone("r1"))
    says(call, 2_100, 0, quiet_ms=1_000)
    assert only(m.Probe, call.actions) == []


def test_a_model_that_lives_owes_nothing_for_a_noise_it_did_not_take_for_speech(live_call: Any) -> None:
    call = live_call(probe_ms=1_000, phrases=FILLER)
    says(call, 1_000, 600, quiet_ms=920)
    at_ms = next_probe(call)
    call.at(at_ms + 50, LIVES)
    play_on(call, at_ms + 6_000)
    assert fillers(call) == []
    assert only(m.DialUpstream, call.actions)[1:] == []


@pytest.mark.parametrize(
    ("ms", "muted"), [(VOICE_MS - 40, False), (600, True)], ids=["a cough", "while muted"]
)
def test_what_is_no_utterance_makes_nobody_ask(live_call: Any, ms: int, muted: bool) -> None:
    call = live_call(probe_ms=1_000)
    call.at(0, m.Mute(on=muted))
    says(call, 1_000, ms, quiet_ms=2_000)
    assert only(m.Probe, call.actions) == []


def test_pauses_between_words_are_part_of_the_utterance(live_call: Any) -> None:
    call = live_call(probe_ms=1_000)
    says(call, 1_000, 600, quiet_ms=PAUSE_MS - 100)
    says(call, 2_200, 600, quiet_ms=1_000)
    assert [at_ms for at_ms, action in call.said if action == ASKED] == [2_780 + UNHEARD_MS]


# --- what the caller was saying when the model was lost -----------------------------------------------------


def heard(actions: list[m.Action]) -> int:
    """How many loud frames a session was given."""
    return [action.audio for action in only(m.AppendAudio, actions)].count(LOUD)


def restored(call: LiveCall, now_ms: int) -> list[m.Action]:
    call.at(now_ms, m.SessionCreated(2))
    return call.at(now_ms, m.SessionUpdated(2))


def test_an_utterance_that_was_not_answered_is_heard_whole_by_the_next_session(live_call: Any) -> None:
    call = live_call()
    says(call, 1_000, 600)
    call.at(1_600, LOST)
    says(call, 1_620, 400, quiet_ms=100)
    assert heard(restored(call, 2_200)) == 30 + 20


def test_the_answer_is_asked_for_only_if_the_new_session_finds_no_turn_in_it(live_call: Any) -> None:
    call = live_call()
    says(call, 1_000, 600)
    call.speaks(1_600, m.SpeechStarted(), LOST)
    says(call, 1_620, 0, quiet_ms=500)
    assert only(m.CreateResponse, restored(call, 2_200)) == []
    assert only(m.CreateResponse, call.until(2_200 + RESUME_MS - 1)) == []
    assert only(m.CreateResponse, call.until(2_200 + RESUME_MS)) == [m.CreateResponse("restored", epoch=2)]


def test_a_turn_that_it_finds_is_answered_by_itself(live_call: Any) -> None:
    call = live_call()
    says(call, 1_000, 600)
    call.speaks(1_600, m.SpeechStarted(), LOST)
    says(call, 1_620, 0, quiet_ms=500)
    restored(call, 2_200)
    assert call.at(2_400, m.SpeechStarted(epoch=2)) == [m.CallerSpoke(True)]
    call.at(2_500, m.SpeechStopped(epoch=2))
    assert only(m.CreateResponse, call.until(2_200 + RESUME_MS)) == []


@pytest.mark.parametrize("voice_ms", [VOICE_MS - 100, VOICE_MS + 60])
def test_a_click_that_the_new_session_hears_holds_no_answer_back(live_call: Any, voice_ms: int) -> None:
    call = live_call()
    call.speaks(600, m.SpeechStarted(), m.SpeechStopped(), m.ResponseStarted("r1"), LOST)
    says(call, 1_020, voice_ms, quiet_ms=400)
    given = restored(call, 2_200)
    assert heard(given) == voice_ms // 20
    assert bool(only(m.CreateResponse, given)) is (voice_ms < VOICE_MS)


def test_what_was_answered_is_not_heard_again(live_call: Any) -> None:
    call = live_call()
    says(call, 1_000, 600)
    call.speaks(1_600, m.SpeechStarted(), m.SpeechStopped(), m.ResponseStarted("r1"), delta("A", 200))
    call.speaks(1_900, m.AudioDone("r1", "A"), m.ResponseDone("r1"))
    call.at(2_000, LOST)
    assert heard(restored(call, 2_200)) == 0


def test_what_nobody_answered_for_long_is_no_turn_any_more(live_call: Any) -> None:
    call = live_call()
    says(call, 1_000, 600, quiet_ms=FORGET_MS + 100)
    call.at(12_000, LOST)
    assert heard(restored(call, 12_200)) == 0


def test_of_a_very_long_utterance_the_last_five_seconds_are_kept(live_call: Any) -> None:
    call = live_call()
    says(call, 1_000, 8_000)
    call.at(9_000, LOST)
    assert heard(restored(call, 9_200)) == 250


def test_a_response_of_which_nothing_was_heard_is_asked_for_again(live_call: Any) -> None:
    call = live_call()
    call.speaks(0, m.Say("say-1", "Hello."), m.ResponseStarted("r1", tag="say-1"), LOST)
    [create] = only(m.CreateResponse, restored(call, 200))
    assert (create.tag, create.epoch) == ("say-1", 2)
    assert only(m.Heard, call.actions) == []


def test_a_caller_who_speaks_to_nobody_is_answered_when_there_is_somebody(live_call: Any) -> None:
    call = live_call(phrases=FILLER, session_ms=5_000)
    call.at(0, LOST)
    says(call, 100, 600, quiet_ms=2_000)
    assert fillers(call)
    assert fillers(call)[0] - 700 <= MOST_SILENT_MS


# --- what the next session hears of the one before ----------------------------------------------------------


def appended(call: LiveCall, epoch: int) -> list[str]:
    sent = only(m.AppendAudio, call.actions)
    return ["loud" if append.audio == LOUD else "quiet" for append in sent if append.epoch == epoch]


def another_session(call: LiveCall, now_ms: int, *before: m.Event) -> None:
    call.speaks(now_ms, LOST, *before, m.SessionCreated(2), m.SessionUpdated(2))


@pytest.mark.parametrize(("voice_ms", "kept"), [(VOICE_MS - 60, 0), (VOICE_MS + 60, (VOICE_MS + 60) // 20)])
def test_a_cough_is_not_kept_as_long_as_an_utterance(live_call: Any, voice_ms: int, kept: int) -> None:
    call = live_call()
    says(call, 1_000, voice_ms, quiet_ms=2_000)
    another_session(call, 1_000 + voice_ms + 2_000)
    assert appended(call, 2).count("loud") == kept


def test_what_was_kept_before_the_caller_was_muted_is_not_sent_while_they_are(live_call: Any) -> None:
    call = live_call()
    says(call, 1_000, 800)
    another_session(call, 1_800, m.Mute(on=True))
    assert set(appended(call, 2)) == {"quiet"}
