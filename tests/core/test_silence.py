"""Nobody says a word: the handler is told, the caller is asked, and at last the call ends politely."""

from __future__ import annotations

from typing import Any

from bridge.core import messages as m

from .conftest import LiveCall, delta, legs, only, speech

NUDGED = m.Limits(nudge_ms=10_000, nudges=2)
ASK = "Ask the caller whether they are still there."


def spoken(call: LiveCall, now_ms: int, response: str = "r1", tag: str = "", ms: int = 400) -> None:
    """We said something, and it was heard to its end at `now_ms` + `ms`."""
    call.speaks(now_ms, m.ResponseStarted(response, tag), delta(f"{response}-item", ms, response=response))
    call.speaks(now_ms, m.AudioDone(response, f"{response}-item"), m.ResponseDone(response))
    call.echo(now_ms + ms)


def silences(call: LiveCall) -> list[tuple[int, int]]:
    return [(at_ms, action.ms) for at_ms, action in call.said if isinstance(action, m.CallerSilent)]


def test_the_handler_is_told_of_silence_with_its_sum(live_call: Any) -> None:
    call = live_call(silence_ms=5_000)
    spoken(call, 0)
    call.until(15_500)
    assert silences(call) == [(5_400, 5_000), (10_400, 10_000), (15_400, 15_000)]


def test_a_word_a_key_or_a_sound_of_ours_begins_anew(live_call: Any) -> None:
    call = live_call(silence_ms=5_000)
    spoken(call, 0)
    call.speaks(3_000, m.SpeechStarted())
    call.speaks(3_500, m.SpeechStopped())
    spoken(call, 4_000)
    call.until(9_399)
    assert silences(call) == []
    call.until(9_400)
    call.at(9_500, m.DigitPressed("5"))
    call.at(10_000, m.Play("jingle", speech(400)))
    call.until(10_500)
    call.echo(10_500)
    call.until(16_000)
    assert silences(call) == [(9_400, 5_000), (15_500, 5_000)]


def test_while_an_answer_is_owed_it_is_not_the_caller_who_is_silent(live_call: Any) -> None:
    call = live_call(silence_ms=1_000)
    spoken(call, 0)
    call.speaks(900, m.SpeechStarted(), m.SpeechStopped(), m.ResponseStarted("r2"))
    call.until(5_000)
    assert silences(call) == []


def test_a_silent_caller_is_asked_twice_and_then_the_model_says_goodbye(live_call: Any) -> None:
    call = live_call(limits=NUDGED)
    spoken(call, 0)
    assert legs(call.until(10_399)) == []
    assert legs(call.until(10_400)) == [m.CreateResponse("nudge:1", ASK)]
    spoken(call, 10_500, "r2", "nudge:1")
    assert legs(call.until(20_900)) == [m.CreateResponse("nudge:2", ASK)]
    spoken(call, 21_000, "r3", "nudge:2")
    why = "the caller has been silent"
    [noted, goodbye, intent] = call.until(31_400)
    assert noted == m.Noted("a limit was reached", why)
    assert (goodbye.tag, why in goodbye.instructions) == ("goodbye", True)
    assert intent == m.NoteIntent("ended")
    call.speaks(31_500, m.ResponseStarted("r4", tag="goodbye"), delta("bye", 500, response="r4"))
    call.at(31_600, m.ResponseDone("r4"))
    assert call.echo(32_100)[-1] == m.Ended(m.Reason.LIMIT, why)


def test_a_phrase_asks_where_there_is_one(live_call: Any) -> None:
    call = live_call(limits=NUDGED, phrases={"still_there": speech(300, letter="N")})
    spoken(call, 0)
    assert only(m.PlayAudio, call.until(10_400))[0].audio.startswith("N")
    assert only(m.CreateResponse, call.actions) == []


def test_a_caller_who_answers_is_asked_anew_later(live_call: Any) -> None:
    call = live_call(limits=NUDGED)
    spoken(call, 0)
    call.until(10_400)
    call.speaks(11_000, m.ResponseStarted("r2", tag="nudge:1"), m.SpeechStarted(), m.SpeechStopped())
    call.at(11_100, m.ResponseDone("r2", "cancelled"))
    spoken(call, 12_000, "r3")
    assert legs(call.until(22_400)) == [m.CreateResponse("nudge:1", ASK)]


def test_one_who_is_just_speaking_is_not_asked(live_call: Any) -> None:
    """The timer is gone with the first word; a sound of the handler's that plays defers it too."""
    call = live_call(limits=NUDGED, silence_ms=10_000)
    spoken(call, 0)
    call.at(10_300, m.Play("jingle", speech(1_000)))
    call.until(11_000)
    assert only(m.CreateResponse, call.actions) == []
    assert silences(call) == []


def test_a_call_without_a_greeting_is_not_silent_for_ever(live_call: Any) -> None:
    """Silence begins with the call where nothing is said first; no mark has to come back for it."""
    call = live_call(limits=NUDGED)
    call.until(10_000)
    assert legs(call.actions)[-1] == m.CreateResponse("nudge:1", ASK)


def test_a_key_begins_the_silence_anew(live_call: Any) -> None:
    call = live_call(silence_ms=5_000, digits="event")
    spoken(call, 0)
    call.at(4_000, m.DigitPressed("5"))
    call.until(15_000)
    assert silences(call) == [(9_000, 5_000), (14_000, 10_000)]


def test_one_whose_time_is_over_is_not_asked_whether_they_are_there(live_call: Any) -> None:
    """The limit of the call and the nudge are due in the same millisecond."""
    limits = m.Limits(nudge_ms=10_000, call_ms=10_400 + 15_000, goodbye_ms=15_000)
    call = live_call(limits=limits, phrases={"still_there": speech(300, letter="N")})
    spoken(call, 0)
    call.until(10_400)
    assert [sound.audio[:1] for sound in only(m.PlayAudio, call.actions)] == [""]
    assert only(m.CreateResponse, call.actions)[-1].tag == "goodbye"
